#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes C out of protocol/guest/calls.yaml, into the build folder.

usage: generate.py WHAT calls.yaml OUTPUT     WHAT: calls.h calls.c client.h dispatch.h dispatch.c page

The table is checked first (unknown types, holes in a layout, records that outgrow a ring record or a reply
slot); a fault is an error with the record's name, so a bad table never becomes code.
"""
import pathlib
import re
import sys

import yaml

SCALARS = {"u8": ("uint8_t", 1), "char": ("char", 1), "u32": ("uint32_t", 4), "i32": ("int32_t", 4),
           "f32": ("float", 4), "u64": ("uint64_t", 8), "i64": ("int64_t", 8)}
RECORD_MAX = 64 << 10
REPLY_ROOM = (8 << 10) - 16
HEADER = 16
COSTS = ["query", "object", "memory", "copy", "launch"]


def fail(text):
    sys.exit(f"calls.yaml: {text}")


class Field:
    """One field of a record or reply: its C declaration, its place, and the rule its value must keep."""

    def __init__(self, owner, name, text):
        self.name, self.text, self.array = name, str(text), None
        m = re.fullmatch(r"(\w+) x (\d+)", self.text)
        base = m.group(1) if m else self.text
        self.array = int(m.group(2)) if m else None
        self.rule, self.arg = None, None
        m = re.fullmatch(r"(enum|flags|handle|maybe|new|slot|range)\((.*)\)", base)
        if m:
            self.rule, self.arg = m.group(1), m.group(2)
        elif base in ("stream", "reserved"):
            self.rule = base
        wide = self.rule in ("handle", "maybe", "new", "stream")
        base = "u64" if wide else "u32" if self.rule else base
        if base not in SCALARS:
            fail(f"{owner}.{name}: unknown type {text}")
        self.ctype, self.unit = SCALARS[base]
        self.size = self.unit * (self.array or 1)
        self.kind = "stream" if self.rule == "stream" else self.arg if wide else None

    def declare(self):
        return f"\t{self.ctype} {self.name}{f'[{self.array}]' if self.array else ''};"


def fields_of(owner, table):
    out, offset = [], 0
    for name, text in (table or {}).items():
        f = Field(owner, name, text)
        if offset % f.unit:
            fail(f"{owner}.{name}: hole in the layout at byte {offset}")
        f.offset = offset
        offset += f.size
        out.append(f)
    if offset % 8:
        fail(f"{owner}: {offset} bytes, not a multiple of 8: add a reserved field")
    return out, offset


class Record:
    def __init__(self, number, table):
        self.number, self.name, self.doc = number, table["name"], table.get("doc", "")
        self.fields, self.size = fields_of(self.name, table.get("fields"))
        self.tail, self.reply_tail = table.get("tail"), table.get("reply_tail")
        self.has_reply = "reply" in table
        self.reply, self.reply_size = fields_of(self.name + ".reply", table.get("reply"))
        self.gpu, self.cost = bool(table.get("gpu")), table["cost"]
        self.in_graphs = bool(table.get("graph"))
        self.feature = table.get("feature")
        unknown = set(table) - {"name", "doc", "fields", "tail", "reply", "reply_tail", "gpu", "cost", "graph", "feature"}
        if unknown:
            fail(f"{self.name}: unknown keys {sorted(unknown)}")
        if self.cost not in COSTS:
            fail(f"{self.name}: unknown cost {self.cost}")
        if self.reply_tail and not self.has_reply:
            fail(f"{self.name}: reply_tail without reply")
        if self.gpu and self.has_reply:
            fail(f"{self.name}: GPU work has no reply; ask for a fence")
        if HEADER + self.size + self.tail_max() > RECORD_MAX:
            fail(f"{self.name}: longer than a ring record may be")
        if self.reply_size + (self.reply_tail or {}).get("max", 0) > REPLY_ROOM:
            fail(f"{self.name}: reply does not fit its slot")

    def tail_max(self):
        if not self.tail:
            return 0
        if "equals" in self.tail:
            field = next(f for f in self.fields if f.name == self.tail["equals"])
            return int(field.arg.split(",")[1])
        return self.tail["max"]

    def objects(self):
        return [f for f in self.fields if f.kind]

    def handler(self):
        args = ["struct executor *x", f"const struct record_{self.name} *r"]
        for f in self.objects():
            args.append(f"struct {f.kind} *{'*ret_' if f.rule == 'new' else ''}{f.name}")
        if self.tail:
            args += ["const uint8_t *tail", "uint32_t tail_bytes"]
        if self.has_reply and self.reply:
            args.append(f"struct reply_{self.name} *ret")
        if self.reply_tail:
            args.append("struct reply_tail *ret_tail")
        return f"int32_t on_{self.name}({', '.join(args)})"


class Table:
    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            t = yaml.safe_load(f)
        self.handles, self.enums = t["handles"], t.get("enums", {})
        self.features = t.get("features", {})
        if len(self.features) > 64:
            fail("more features than a word has bits")
        self.records = [Record(i + 1, r) for i, r in enumerate(t["records"])]
        names = [r.name for r in self.records]
        if len(set(names)) != len(names):
            fail("a record's name stands twice")
        for r in self.records:
            if r.feature and r.feature not in self.features:
                fail(f"{r.name}: unknown feature {r.feature}")
            for f in r.fields:
                if f.kind and f.kind not in self.handles:
                    fail(f"{r.name}.{f.name}: unknown handle kind {f.kind}")
                if f.rule == "enum" and f.arg not in self.enums:
                    fail(f"{r.name}.{f.name}: unknown enum {f.arg}")


MADE = "/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */\n/* Made by protocol/generate.py of protocol/guest/calls.yaml. */\n"


def struct(prefix, name, fields, size):
    body = "\n".join(f.declare() for f in fields)
    return (f"struct {prefix}_{name} {{\n{body}\n}};\n"
            f"static_assert(sizeof(struct {prefix}_{name}) == {size}, \"wire\");\n")


def calls_h(t):
    out = [MADE + "#ifndef VGPU_PROTOCOL_GUEST_CALLS_H\n#define VGPU_PROTOCOL_GUEST_CALLS_H\n\n"
           "#include <assert.h>\n#include <stdint.h>\n"]
    out.append("enum opcode {\n" + "".join(f"\tOPCODE_{r.name.upper()} = {r.number},\n" for r in t.records)
               + f"\tOPCODE_COUNT = {len(t.records) + 1}\n}};\n")
    out.append("enum handle_kind_id {\n" + "".join(
        f"\tHANDLE_{k.upper()} = {h['kind']},\n" for k, h in t.handles.items())
        + f"\tHANDLE_KINDS = {max(h['kind'] for h in t.handles.values()) + 1}\n}};\n")
    for name, values in t.enums.items():
        out.append(f"enum {name} {{\n" + "".join(f"\t{name.upper()}_{v} = {i},\n" for i, v in enumerate(values)) + "};\n")
    out.append("enum call_feature {\n" + "".join(f"\tFEATURE_{f.upper()} = {i},\n" for i, f in enumerate(t.features))
               + f"\tFEATURE_COUNT = {len(t.features)}\n}};\n")
    out.append("extern const char *const call_feature_names[FEATURE_COUNT];\n")
    out.append("enum call_cost {\n" + "".join(f"\tCOST_{c.upper()},\n" for c in COSTS) + "};\n")
    for r in t.records:
        if r.fields:
            out.append(struct("record", r.name, r.fields, r.size))
        else:
            out.append(f"struct record_{r.name} {{\n\tuint8_t empty[0];\n}};\n")
        if r.reply:
            out.append(struct("reply", r.name, r.reply, r.reply_size))
    out.append("""// What is known of a record without looking into it. Index: opcode; entry 0 is the pad.
struct call_info {
	const char *name;
	uint32_t bytes;	      // of the fields
	uint32_t reply_bytes; // of the reply's fields
	uint8_t cost;	      // enum call_cost
	uint8_t gpu;	      // waits for the turn
	uint8_t has_reply;
	uint8_t has_tail;
	uint64_t features; // bits by enum call_feature
};
extern const struct call_info call_infos[OPCODE_COUNT];

#endif
""")
    return "\n".join(out)


def feature_bit(r):
    return f"UINT64_C(1) << FEATURE_{r.feature.upper()}" if r.feature else "0"


def calls_c(t):
    rows = "".join(f"\t[OPCODE_{r.name.upper()}] = {{ \"{r.name}\", {r.size}, {r.reply_size}, COST_{r.cost.upper()}, "
                   f"{int(r.gpu)}, {int(r.has_reply)}, {int(bool(r.tail))}, {feature_bit(r)} }},\n" for r in t.records)
    names = "".join(f"\t[FEATURE_{f.upper()}] = \"{f}\",\n" for f in t.features)
    return (MADE + "#include \"protocol/guest/calls.h\"\n\nconst struct call_info call_infos[OPCODE_COUNT] = {\n"
            "\t[0] = { \"pad\", 0, 0, COST_QUERY, 0, 0, 0, 0 },\n" + rows + "};\n\n"
            "const char *const call_feature_names[FEATURE_COUNT] = {\n" + names + "};\n")


def client_h(t):
    out = [MADE + "#ifndef VGPU_CLIENT_CALLS_GEN_H\n#define VGPU_CLIENT_CALLS_GEN_H\n\n"
           "#include \"guest/client/client.h\"\n#include \"protocol/guest/calls.h\"\n"]
    for r in t.records:
        verb = "call" if r.has_reply else "push"
        args, pass_ = ["struct vgpu_client *c"], []
        if r.fields:
            args.append(f"const struct record_{r.name} *r")
        if r.tail:
            args += ["const void *tail", "uint32_t tail_bytes"]
        pass_ = [f"OPCODE_{r.name.upper()}", "r" if r.fields else "NULL", str(r.size),
                 "tail" if r.tail else "NULL", "tail_bytes" if r.tail else "0"]
        if r.has_reply:
            if r.reply:
                args.append(f"struct reply_{r.name} *ret")
            if r.reply_tail:
                args += ["void *ret_tail", "uint32_t ret_tail_room", "uint32_t *ret_tail_bytes"]
            pass_ += ["ret" if r.reply else "NULL", str(r.reply_size), "ret_tail" if r.reply_tail else "NULL",
                      "ret_tail_room" if r.reply_tail else "0", "ret_tail_bytes" if r.reply_tail else "NULL"]
        doc = f"// {r.doc.strip()}\n" if r.doc.strip() else ""
        out.append(doc.replace("\n", " ").strip() + ("\n" if doc else "")
                   + f"static inline int vgpu_{verb}_{r.name}({', '.join(args)})\n{{\n"
                   f"\treturn vgpu_client_{verb}(c, {', '.join(pass_)});\n}}\n")
    out.append("#endif\n")
    return "\n".join(out)


def dispatch_h(t):
    kinds = "".join(f"struct {k};\n" for k in t.handles)
    out = [MADE + "#ifndef VGPU_EXECUTOR_DISPATCH_GEN_H\n#define VGPU_EXECUTOR_DISPATCH_GEN_H\n\n"
           "#include <stddef.h>\n#include <stdint.h>\n\n#include \"protocol/guest/calls.h\"\n\nstruct executor;\n" + kinds + """
// Room for a reply's variable part: the handler writes at most room bytes to data and sets bytes.
struct reply_tail {
	uint8_t *data;
	uint32_t room, bytes;
};

// What dispatch_record hands back: result is the CUresult; payload[0..bytes) is the reply.
struct dispatch_reply {
	int32_t result;
	uint32_t bytes;
	uint8_t *payload; // room for a whole reply slot's payload
	uint32_t room;
};

// Checks the record completely (payload is a private copy, payload_bytes long) and runs its handler.
// 0: handled, reply filled. -EPROTO: malformed; *why names what. The channel must end then.
int dispatch_record(struct executor *x, uint16_t opcode, const uint8_t *payload, uint32_t payload_bytes,
		    struct dispatch_reply *reply, const char **why);

// Handlers, one a record. Arguments are validated as the table says; handles are resolved. The result is a
// CUresult value. On success a handler of a new object stores it in *ret_NAME; dispatch enters it in the table.
"""]
    out += [r.handler() + ";" for r in t.records]
    out.append("""
// What may stand in a graph (executor/graph.c): the same checks without running the record. 0 with the resolved
// handles and *result (0, or why a handle is refused); -EPROTO: malformed.""")
    out += [check_signature(r) + ";" for r in t.records if r.in_graphs]
    return "\n".join(out) + "\n\n#endif\n"


def check_of(t, r, f):
    bad = f'{{\n\t\t*why = "{r.name}: {f.name}";\n\t\treturn -EPROTO;\n\t}}'
    if f.rule == "reserved":
        return f"\tif (r.{f.name} != 0) {bad}\n"
    if f.rule == "flags":
        return f"\tif (r.{f.name} & ~{f.arg}u) {bad}\n"
    if f.rule == "enum":
        return f"\tif (r.{f.name} >= {len(t.enums[f.arg])}u) {bad}\n"
    if f.rule == "slot":
        return f"\tif (r.{f.name} >= VGPU_FENCE_SLOTS) {bad}\n"
    if f.rule == "range":
        low, high = [x.strip() for x in f.arg.split(",")]
        test = f"r.{f.name} > {high}u" if low == "0" else f"r.{f.name} < {low}u || r.{f.name} > {high}u"
        return f"\tif ({test}) {bad}\n"
    return ""


def check_signature(r):
    objects = "".join(f", struct {f.kind} **{f.name}" for f in r.objects() if f.rule != "new")
    return (f"int check_{r.name}(struct executor *x, const uint8_t *payload, uint32_t bytes, "
            f"struct record_{r.name} *ret{objects}, int32_t *result, const char **why)")


def check_one(t, r):
    """Everything that can be said of a record before its handler runs: lengths, ranges, handles."""
    out = [("" if r.in_graphs else "static ") + check_signature(r) + "\n{\n"]
    if r.fields:
        out.append(f"\tstruct record_{r.name} r;\n\n")
    length = f"bytes != {r.size}" if not r.tail else f"bytes < {r.size}"
    out.append("\t(void)x;\n")
    out.append(f'\tif ({length}) {{\n\t\t*why = "{r.name}: length";\n\t\treturn -EPROTO;\n\t}}\n')
    if r.fields:
        out.append(f"\tmemcpy(&r, payload, {r.size});\n\t*ret = r;\n")
    else:
        out.append("\t(void)payload;\n\t(void)ret;\n")
    for f in r.fields:
        out.append(check_of(t, r, f))
    if r.tail:
        if "equals" in r.tail:
            test = f"bytes - {r.size} != r.{r.tail['equals']}"
        else:
            low, high = r.tail["min"], r.tail["max"]
            test = (f"bytes - {r.size} < {low} || " if low else "") + f"bytes - {r.size} > {high}"
        out.append(f'\tif ({test}) {{\n\t\t*why = "{r.name}: tail length";\n\t\treturn -EPROTO;\n\t}}\n')
    out.append("\t*result = 0;\n")
    for f in r.objects():
        if f.rule == "new":
            out.append(f"\t*result = handle_check_new(x, HANDLE_{f.kind.upper()}, r.{f.name});\n")
        else:
            nothing = {"stream": "STREAM_LEGACY", "maybe": "0"}.get(f.rule)
            optional = f"r.{f.name} != {nothing} && " if nothing else ""
            out.append(f"\t*{f.name} = NULL;\n"
                       f"\tif ({optional}!(*{f.name} = handle_get(x, HANDLE_{f.kind.upper()}, r.{f.name})))\n"
                       "\t\t*result = CUDA_ERROR_INVALID_HANDLE;\n")
        out.append("\tif (*result)\n\t\treturn 0;\n")
    out.append("\treturn 0;\n}\n\n")
    return "".join(out)


def dispatch_one(t, r):
    sig = (f"static int do_{r.name}(struct executor *x, const uint8_t *payload, uint32_t bytes, "
           "struct dispatch_reply *reply, const char **why)\n{\n")
    out, call, got = [], ["x", "&r"], []
    out.append(f"\tstruct record_{r.name} r;\n")
    for f in r.objects():
        out.append(f"\tstruct {f.kind} *{f.name} = NULL;\n")
        call.append(f"&{f.name}" if f.rule == "new" else f.name)
        got += [] if f.rule == "new" else [f", &{f.name}"]
    if r.reply:
        out.append(f"\tstruct reply_{r.name} ret;\n")
    if r.reply_tail:
        out.append(f"\tstruct reply_tail ret_tail = {{ reply->payload + {r.reply_size}, "
                   f"reply->room - {r.reply_size}, 0 }};\n")
    out.append(f"\tint bad = check_{r.name}(x, payload, bytes, &r{''.join(got)}, &reply->result, why);\n\n"
               "\tif (bad || reply->result)\n\t\treturn bad;\n")
    if r.tail:
        call += [f"payload + {r.size}", f"bytes - {r.size}"]
    if r.reply:
        out.append("\tmemset(&ret, 0, sizeof(ret));\n")
        call.append("&ret")
    if r.reply_tail:
        call.append("&ret_tail")
    out.append(f"\treply->result = on_{r.name}({', '.join(call)});\n")
    for f in r.objects():
        if f.rule == "new":
            out.append(f"\tif (!reply->result)\n\t\thandle_enter(x, HANDLE_{f.kind.upper()}, r.{f.name}, {f.name});\n")
    if r.reply:
        out.append(f"\tmemcpy(reply->payload, &ret, {r.reply_size});\n\treply->bytes = {r.reply_size};\n")
    if r.reply_tail:
        out.append("\treply->bytes += ret_tail.bytes;\n")
    out.append("\treturn 0;\n}\n")
    return check_one(t, r) + sig + "".join(out)


def dispatch_c(t):
    table = "".join(f"\t[OPCODE_{r.name.upper()}] = do_{r.name},\n" for r in t.records)
    return (MADE + """#include "executor/dispatch_gen.h"

#include <errno.h>
#include <string.h>

#include "common/limits.h"
#include "executor/handles.h"
#include "protocol/cuda/cuda_abi.h"
#include "protocol/guest/channel.h"

""" + "\n".join(dispatch_one(t, r) for r in t.records) + """
typedef int (*record_fn)(struct executor *, const uint8_t *, uint32_t, struct dispatch_reply *, const char **);

static const record_fn functions[OPCODE_COUNT] = {
""" + table + """};

int dispatch_record(struct executor *x, uint16_t opcode, const uint8_t *payload, uint32_t payload_bytes,
		    struct dispatch_reply *reply, const char **why)
{
	if (opcode >= OPCODE_COUNT || !functions[opcode]) {
		*why = "unknown opcode";
		return -EPROTO;
	}
	reply->result = 0;
	reply->bytes = 0;
	return functions[opcode](x, payload, payload_bytes, reply, why);
}
""")


PAGE_HEAD = """# The channel's records

Made of `protocol/guest/calls.yaml`, for who writes a client; PROTOCOL.md says what surrounds them. All numbers are little
endian. "byte" counts from the beginning of the record, or of the reply's payload. A record has {header} bytes of header
(opcode u16, reply slot u16, length u32, cookie u64), its fields, then its tail if it has one; length says where that ends, and
must say exactly so. A reply's fields stand at the beginning of its slot's payload, its tail behind them.

| type | what is allowed |
|---|---|
| u32, u64, i32, f32, u8, char | any value, as far as the text does not say otherwise |
| TYPE x N | an array of N |
| enum(NAME) | a number of that enum below |
| flags(MASK) | u32 without a bit outside the mask |
| range(A, B) | u32 from A to B |
| slot(fence) | u32: a slot of the fence page |
| handle(KIND) | u64: a live object of the channel; else the call's result is 400 |
| maybe(KIND) | the same, or 0 for none |
| new(KIND) | u64: a handle that the client chooses, its index free |
| stream | handle(stream), or 0 for the legacy stream |
| reserved | u32, 0 |

What breaks one of these rules, but for handles, is malformed and ends the channel with the record's and the field's name. A
call without reply that is refused leaves its result in the header's deferred_error. Results are numbers of CUDA's CUresult.

## Kinds of handles

| kind | number | indices below |
|---|---|---|
"""


def limits():
    """The numbers of common/limits.h that need no arithmetic."""
    path = pathlib.Path(__file__).resolve().parents[1] / "common" / "limits.h"
    return dict(re.findall(r"^#define (VGPU_\w+)\s+(\d+)\b", path.read_text(encoding="utf-8"), re.M))


def layout_of(fields, begin):
    return "".join(f"| {begin + f.offset} | {f.name} | {f.text} |\n" for f in fields)


def page_of(r):
    traits = [f"Counts as {r.cost}."]
    traits += ["GPU work."] if r.gpu else []
    traits += ["May stand in a graph."] if r.in_graphs else []
    traits += [f"Counts as use of {r.feature}."] if r.feature else []
    out = [f"### {r.number} {r.name}\n\n", " ".join([*r.doc.split(), *traits]) + "\n\n"]
    if r.fields:
        out.append("| byte | field | type |\n|---|---|---|\n" + layout_of(r.fields, HEADER) + "\n")
    if not r.tail:
        tail = "No tail."
    elif "equals" in r.tail:
        tail = f"Tail at {HEADER + r.size}: exactly {r.tail['equals']} bytes."
    else:
        tail = f"Tail at {HEADER + r.size}: {r.tail['min']} to {r.tail['max']} bytes."
    reply = "No reply: reply slot 0xffff, cookie 0."
    if r.has_reply:
        reply = f"Reply: {r.reply_size} bytes" + (f" and a tail of up to {r.reply_tail['max']}." if r.reply_tail else ".")
    out.append(f"{tail} {reply}\n\n")
    if r.reply:
        out.append("| byte of the reply | field | type |\n|---|---|---|\n" + layout_of(r.reply, 0) + "\n")
    return "".join(out)


def page(t):
    numbers = limits()
    out = [PAGE_HEAD.format(header=HEADER)]
    out += [f"| {k} | {h['kind']} | {numbers[h['limit']]} ({h['limit']}) |\n" for k, h in t.handles.items()]
    out.append("\n## Enums\n\n")
    out += [f"- {name}: " + ", ".join(f"{v} {i}" for i, v in enumerate(values)) + "\n" for name, values in t.enums.items()]
    out.append("\n## Records\n\n")
    return "".join(out + [page_of(r) for r in t.records])


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    makers = {"calls.h": calls_h, "calls.c": calls_c, "client.h": client_h, "dispatch.h": dispatch_h,
              "dispatch.c": dispatch_c, "page": page}
    text = makers[sys.argv[1]](Table(sys.argv[2]))
    with open(sys.argv[3], "w", encoding="utf-8") as f:
        f.write(text)


main()
