#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The promise that vgpu.h and libvgpu.so.1 make to programs that are built already, as text: exported symbols with
their versions, functions as they are declared, sizes and places of public structures, numbers of constants.

usage: abi.py check|write COMPILER HEADER LIBRARY abi.txt

check compares the text with what was promised (meson test), write puts it down anew.
"""
import difflib
import os
import re
import subprocess
import sys
import tempfile

CHANGED = """
abi.txt is what programs rely on that were built before, and this build keeps less or more than it says.
 - A line is gone or different: such a program would break. Undo it; or, when the soname is raised to libvgpu.so.2 in the
   same change, promise anew.
 - There are new lines only: a new function stands in a new node of libvgpu.map that inherits the one before, a new field
   at the end of a structure that begins with its size, VGPU_VERSION_MINOR is one higher. Then promise anew.
To promise anew: ninja -C BUILD abi-write, and commit guest/libvgpu/abi.txt.
"""


def run(*command, **kw):
    return subprocess.run(command, check=True, capture_output=True, text=True, **kw).stdout


def symbols(library):
    lines = [line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines() if " T " in line]
    return sorted(f"symbol {line}" for line in lines)


def declarations(compiler, header):
    """The header's own text behind what it includes, without comments: one declaration a line."""
    text = run(*compiler, "-E", "-P", "-x", "c", header)
    text = text[text.index("struct vgpu;"):]
    out, depth, now = [], 0, ""
    for c in " ".join(text.split()):
        now += c
        depth += (c == "{") - (c == "}")
        if c == ";" and not depth:
            out.append(now.strip(" ;"))
            now = ""
    return out


def names_of(body):
    """The fields of a structure: `int32_t a, b[3];` are a and b."""
    for field in filter(str.strip, body.split(";")):
        for one in field.split(","):
            yield re.search(r"(\w+)\s*(?:\[[^]]*\]\s*)*$", one).group(1)


def layout(compiler, header, found):
    """What only the compiler knows, printed by a program that it makes."""
    lines = []
    for text in found:
        m = re.fullmatch(r"struct (\w+) \{(.*)\}", text)
        if m:
            lines.append(f'printf("size struct {m[1]} %zu\\n", sizeof(struct {m[1]}));')
            lines += [f'printf("place struct {m[1]}.{name} %zu size %zu\\n", offsetof(struct {m[1]}, {name}), '
                      f'sizeof(((struct {m[1]} *)0)->{name}));' for name in names_of(m[2])]
        m = re.fullmatch(r"enum (\w+) \{(.*)\}", text)
        if m:
            lines += [f'printf("constant {name} %d\\n", {name});' for name in re.findall(r"(\w+) =", m[2])]
    with open(header, encoding="utf-8") as f:
        macros = re.findall(r"^#define (VGPU_\w+)[ \t]+\S", f.read(), re.M)
    # The minor version is no promise, it counts them.
    lines += [f'printf("constant {name} %llu\\n", (unsigned long long){name});' for name in macros
              if name != "VGPU_VERSION_MINOR"]
    source = (f'#include "{os.path.abspath(header)}"\n#include <stdio.h>\nint main(void)\n{{\n' + "\n".join(lines)
              + "\nreturn 0;\n}\n")
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "layout")
        run(*compiler, "-x", "c", "-", "-o", program, input=source)
        return run(program).splitlines()


def promise(compiler, header, library):
    found = declarations(compiler, header)
    functions = [f"function {text}" for text in found if "(" in text]
    return "\n".join([f"library {os.path.basename(library)}", *symbols(library), *functions,
                      *layout(compiler, header, found)]) + "\n"


def main():
    if len(sys.argv) < 6 or sys.argv[1] not in ("check", "write"):
        sys.exit(__doc__)
    what, *compiler, header, library, path = sys.argv[1:]
    now = promise(compiler, header, library)
    if what == "write":
        with open(path, "w", encoding="utf-8") as f:
            f.write(now)
        return
    with open(path, encoding="utf-8") as f:
        promised = f.read()
    if now != promised:
        sys.stdout.writelines(difflib.unified_diff(promised.splitlines(True), now.splitlines(True), "promised", "now"))
        sys.exit(CHANGED)


main()
