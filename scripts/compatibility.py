#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Build-time generator of compatibility.md and compatibility.json: every exported function of the tenants' libraries, how it is
answered, since when, what restricts it and which tests call it.

Where each fact is from: how a call is answered, from the tables that the libraries are made of (coverage.json of
guest/libcuda/generate.py and guest/libnvml/generate.py, guest/libvgpu/abi.txt); restrictions, from `limits` in the same calls.yaml,
each of which is the beginning of a point of docs/limits.md; who calls it, from the object files of the test programs (what they
leave undefined, and names among their string constants), from the text of tests in Python, and from tests/recorded_calls.yaml.
What cannot be placed stops the build."""
import argparse
import collections
import fnmatch
import json
import pathlib
import re
import subprocess
import sys

import jinja2
import yaml

NAME = r'(?:cu[A-Z]|nvml[A-Z]|vgpu_)\w+'

# Without one of these a program's strings are words only.
LOOK_UP = {'dlsym', 'driver_symbol', 'cuGetProcAddress', 'cuGetProcAddress_v2'}
# They compare addresses of all names, or ask every call with nothing but zeros: no test of what a call does.
ONLY_LOOK_UP = {'proc_address', 'proc_table'}
ZEROS = 'zero_arguments'

# The first pattern that a name without "cu" begins with is its area.
CUDA_AREAS = [
    ('Start, versions, errors, logs', 'Init|DriverGet|GetError|GetProc|GetExport|Logs|Profiler'),
    ('External memory and semaphores', r'Import|External|DestroyExternal|Signal|WaitExternal|\w+ExternalSem|DeviceGetNvSci'),
    ('Graphics interoperability', 'Graphics|GL|EGL|VDPAU'),
    ('Checkpoints, core dumps, notices', r'Checkpoint|Coredump|Device\w+AsyncNotification'),
    ('Green contexts and resources', r'Green|CtxFromGreen|\w*DevResource|DevSm|StreamGetGreen'),
    ('Several devices: peers, multicast', r'Multicast|\w+PeerAccess|\w+CanAccessPeer|DeviceGetP2P|LaunchCooperativeKernelMulti'),
    ('Graphs', r'Graph|UserObject|Device\w*GraphMem'),
    ('Memory pools', r'MemPool|Device\w+MemPool|Mem\w+MemPool|MemAllocFromPool|MemAllocAsync|MemFreeAsync'),
    ('Managed memory', 'MemAllocManaged|MemAdvise|MemPrefetch|MemDiscard|MemRange|StreamAttach|LibraryGetManaged'),
    ('Virtual memory', 'MemAddress|MemCreate|MemMap|MemUnmap|MemSetAccess|MemGetAccess|MemGetAllocation|MemRetain|MemRelease'
     '|MemExport|MemImport|MemGetHandle'),
    ('Arrays, textures, surfaces', r'\w*Array(?!.*Async$)|Mipmapped|Tex|Surf|DeviceGetTexture|ModuleGet(?:Tex|Surf)Ref|ParamSetTex'),
    ('Tensor maps', 'TensorMap'),
    ('Copies', r'Memcpy|MemBatchDecompress|MemMapArray'),
    ('Fills', 'Memset'),
    ('Sharing between processes', 'Ipc'),
    ('Memory and pointers', 'Mem|Pointer'),
    ('Contexts', 'Ctx(?!Record|Wait)|DevicePrimaryCtx'),
    ('Devices', 'Device'),
    ('Events', 'Event|Ctx'),
    ('Words in memory', r'Stream(?:Write|Wait)Value|StreamBatch|FlushGPU'),
    ('Stream capture', r'Stream\w*Capt|ThreadExchange'),
    ('Streams', 'Stream'),
    ('Linker', 'Link'),
    ('Launches and occupancy', 'Launch|Param|Occupancy|FuncSetBlock|FuncSetShared'),
    ('Modules, libraries, functions', 'Module|Library|Kernel|Func'),
]
NVML_AREAS = [
    ('vGPUs and virtualization', r'Vgpu|GetVgpu|SetVgpu|Device\w*(?:Vgpu|Virtualization)|DeviceGetPgpu'),
    ('MIG instances', r'GpuInstance|ComputeInstance|Device\w*(?:Mig|GpuInstance|ComputeInstance|Attributes)|GpmMig'),
    ('NVLink and fabric', r'\w*(?:NvLink|Nvlink|Fabric|C2c)'),
    ('Performance counters', r'\w*Gpm'),
    ('Events', r'\w*Event(?!s?Reason)'),
    ('Confidential computing', r'\w*ConfCompute'),
    ('Clocks, power, temperature, fans', r'Device\w*(?:Clock|Clk|Power|Temperature|Fan|Pstate|PState|Perf|Energy|Cooler|Thermal|Violation)'),
    ('Memory, errors, PCI', r'Device\w*(?:Memory|Ecc|Retired|Row|Remap|Repair|Pci|Bridge|Bus|BAR)'),
    ('Processes, utilization, accounting', r'Device\w*(?:Process|Utilization|Accounting|Samples|Encoder|FBC)'),
    ('Start, system, units', 'Init|Shutdown|ErrorString|Internal|System|Unit|Get'),
    ('Device', 'Device'),
]
NVML_ANSWERS = {  # how: (is it an answer, words of the page)
    'library': (True, 'in the guest'),
    'snapshot': (True, 'what the host tells'),
    'denied': (False, 'NVML_ERROR_NO_PERMISSION'),
    'unknown': (False, 'NVML_ERROR_INVALID_ARGUMENT: there are no such handles'),
    'absent': (False, 'NVML_ERROR_NOT_SUPPORTED, as a driver says for a device without it'),
    'missing': (False, 'NVML_ERROR_NOT_SUPPORTED, logged once'),
}
CUDA_WHERE = {'guest': 'in the guest', 'executor': 'on the host', 'both': 'guest and host'}

PAGE = '''# Compatibility

Every name that the libraries of vgpu {{ version }} export. Made when it was built (`scripts/compatibility.py`): how a name is answered is from
the tables that the libraries are made of, which tests call it from the test programs' object files. The same for programs: compatibility.json.

| library | names | answered | of these tested | of these restricted | refused |
|---|---|---|---|---|---|
{% for l in libraries %}| `{{ l.name }}` ({{ l.what }}) | {{ l.sum.names }} | {{ l.sum.works }} | {{ l.sum.tested }} | {{ l.sum.restricted }} | {{ l.sum.refused }} |
{% endfor %}
- *Tested*: a program that checks itself calls it: end-to-end programs through the whole stack (`tests/e2e`), unit tests of the library alone
  (`unit/`), and *programs of others*, whose calls were [recorded](#recorded-programs). It does not say that every argument was tried. What is
  answered and called by none of them [has a section](#answered-and-called-by-no-test).
- *Restricted*: the column says how, in the first words of a point of docs/limits.md.
- *Refused*: always the error that the column says. For NVML that is mostly what a driver tells an unprivileged user, or of a device without the thing.
- *By protocol*: the first two libraries are CUDA's interface, the third vgpu's own; a program may use all three.
- *By personality*: there is no difference. A machine of the personality `nvidia` has the same libraries, and its calls travel the same way as
  in one of `custom`; its second device has no part in them (docs/nvidia-personality.md, docs/which-protocol.md).

## How to read the tables

- CUDA: a form for the per-thread stream stands with its plain name, and counts beside it. `=`: an older name of the same function. *Since*: the version
  of CUDA's driver that has the name first. *push*: a record that nobody waits for; *call*: a round trip to the executor; *wait*: until work on the
  GPU is done. What is refused is CUDA_ERROR_NOT_SUPPORTED, before cuInit CUDA_ERROR_NOT_INITIALIZED, and is logged once by name.
- NVML: *what the host tells* is NVML_ERROR_NOT_SUPPORTED where the host has no such reading.
- libvgpu: by manual page, which says what each costs. *Since*: the version of the symbol.

## By area

| area | names | answered | tested | restricted | refused |
|---|---|---|---|---|---|
{% for l in libraries %}{% for a in l.areas %}| [{{ l.short }}: {{ a.title }}](#{{ a.anchor }}) | {{ a.sum.names }} | {{ a.sum.works }} | {{ a.sum.tested }} | {{ a.sum.restricted }} | {{ a.sum.refused }} |
{% endfor %}{% endfor %}
{% for l in libraries %}{% for a in l.areas %}## {{ l.short }}: {{ a.title }}

| call |{{ ' since |' if l.since }} answered | restriction | tests |
|---|{{ '---|' if l.since }}---|---|---|
{% for r in a.rows %}| {{ r.name }}{{ ', ' + r.per_thread if r.per_thread }}{{ ' = ' + r.same_as if r.same_as }} |{{ ' %s |' % r.since if l.since }} {{ r.answer }} | {{ r.restrictions | join('; ') }} | {{ r.shown }} |
{% endfor %}
{% endfor %}{% endfor %}## Answered, and called by no test

{% for text, rows in untested %}{{ text }} ({{ rows | sum(attribute=1) }}):

{% for title, n, names in rows %}- {{ title }}: {{ names | join(', ') }}
{% endfor %}
{% endfor %}
## Recorded programs

From tests/recorded_calls.yaml.

| program | names | how its calls were recorded |
|---|---|---|
{% for r in recorded %}| *{{ r.program }}* | {{ r.calls | length }} | {{ r.how }} |
{% endfor %}'''


def area_of(name, prefix, areas):
    for title, pattern in areas:
        if re.match(pattern, name[len(prefix):]):
            return title
    sys.exit(f'compatibility.py: {name} belongs to no area')


# ---- who calls what

def undefined(nm, path):
    out = subprocess.run([nm, '-u', path], check=True, capture_output=True, text=True).stdout
    return set(re.findall(r' U (\w+)$', out, re.M))


def named(readelf, path):
    """Names that are whole string constants of the file: looked up when the program runs."""
    sections = [a for s in ('.rodata', '.rodata.str1.1', '.rodata.str1.8') for a in ('-p', s)]
    out = subprocess.run([readelf, '-W', *sections, path], check=True, capture_output=True, text=True, errors='replace').stdout
    return set(re.findall(rf'^ *\[ *[0-9a-f]+\] +({NAME})$', out, re.M))


def program_of(path):
    """tests/e2e/NAME.p/FILE.c.o is NAME; of unit tests the library and the test."""
    path = pathlib.PurePath(path)
    name = path.parent.name.removesuffix('.p').removesuffix('.a')
    if 'unit' in path.parts:
        return f'unit/{path.parts[path.parts.index("unit") + 1]}/{path.name.removesuffix(".c.o")}'
    return 'every program' if name == 'libe2e-check' else name


class Callers:
    """By name: the tests that call it, in the order they are to be shown."""

    def __init__(self):
        self.by_name = collections.defaultdict(list)
        self.zeros = set()

    def add(self, names, caller):
        for name in names:
            if caller not in self.by_name[name]:
                self.by_name[name].append(caller)

    def add_object(self, tools, path):
        program = program_of(path)
        needs = undefined(tools['nm'], path)
        called, strings = {n for n in needs if re.match(NAME, n)}, set()
        if needs & LOOK_UP:
            strings = named(tools['readelf'], path)
        if program == ZEROS:
            self.zeros |= strings
        elif program not in ONLY_LOOK_UP:
            called |= strings
        self.add(sorted(called), program)

    def add_python(self, path):
        with open(path, encoding='utf-8') as f:
            self.add(sorted(set(re.findall(rf'\.({NAME})\(', f.read()))), pathlib.PurePath(path).name)

    def show(self, names, most=4):
        callers = list(dict.fromkeys(c for n in names for c in self.by_name.get(n, ())))
        return ', '.join(callers[:most]) + (f' and {len(callers) - most} more' if len(callers) > most else '')


# ---- what is restricted

def points(path):
    """The points of docs/limits.md, each as one line."""
    with open(path, encoding='utf-8') as f:
        blocks = re.split(r'\n(?=- |\n|#)', f.read())
    return [' '.join(b.removeprefix('- ').replace('`', '').split()) for b in blocks if b.startswith('- ')]


class Limits:
    """Of one calls.yaml: which names each point of docs/limits.md is about."""

    def __init__(self, calls, prefix, known, names):
        self.calls, self.found = calls, collections.defaultdict(list)
        with open(calls, encoding='utf-8') as f:
            limits = yaml.safe_load(f)['limits']
        for text, patterns in limits.items():
            if sum(p.startswith(text) for p in known) != 1:
                sys.exit(f'{calls}: limits: not exactly one point of docs/limits.md begins with "{text}"')
            for pattern in patterns:
                matched = fnmatch.filter(names, prefix + pattern)
                if not matched:
                    sys.exit(f'{calls}: limits: there is no {prefix}{pattern}')
                for name in matched:
                    self.found[name].append(text)

    def of(self, name, must=False):
        if must and not self.found[name]:
            sys.exit(f'{self.calls}: limits: no point of docs/limits.md says that {name} is missing')
        return self.found[name]


# ---- the three libraries

def cuda(args, known):
    with open(args.cuda, encoding='utf-8') as f:
        coverage = json.load(f)
    limits = Limits(args.cuda_calls, 'cu', known, [c['name'] for c in coverage])
    forms = {c['per_thread_form_of']: c['name'] for c in coverage if c['per_thread_form_of']}
    rows = []
    for c in coverage:
        if c['per_thread_form_of']:
            continue
        cost = '' if c.get('cost') in (None, 'local') else ', ' + c['cost']
        rows.append({'name': c['name'], 'per_thread': forms.get(c['name']), 'area': area_of(c['name'], 'cu', CUDA_AREAS),
                     'since': '%d.%d' % (c['since'] // 1000, c['since'] % 1000 // 10), 'works': c['works'],
                     'answer': CUDA_WHERE[c['where']] + cost if c['works'] else 'CUDA_ERROR_NOT_SUPPORTED',
                     'same_as': c['alias_of'], 'restrictions': limits.of(c['alias_of'] or c['name'], must=not c['works'])})
    return {'name': 'libcuda.so.1', 'short': 'CUDA', 'what': 'CUDA driver, names of 580', 'since': True, 'rows': rows,
            'order': [title for title, _ in CUDA_AREAS]}


def nvml(args, known):
    with open(args.nvml, encoding='utf-8') as f:
        coverage = json.load(f)
    limits = Limits(args.nvml_calls, 'nvml', known, [c['name'] for c in coverage])
    rows = [{'name': c['name'], 'per_thread': None, 'area': area_of(c['name'], 'nvml', NVML_AREAS), 'since': None,
             'works': NVML_ANSWERS[c['how']][0], 'answer': NVML_ANSWERS[c['how']][1], 'same_as': c['alias_of'],
             'restrictions': limits.of(c['alias_of'] or c['name'], must=c['how'] == 'missing')}
            for c in coverage]
    return {'name': 'libnvidia-ml.so.1', 'short': 'NVML', 'what': 'NVML, names of 580', 'since': False, 'rows': rows,
            'order': [title for title, _ in NVML_AREAS]}


def libvgpu(args):
    with open(args.abi, encoding='utf-8') as f:
        symbols = re.findall(r'^symbol (\w+)@@(\w+)$', f.read(), re.M)
    pages = {}
    for path in args.man:
        with open(path, encoding='utf-8') as f:
            synopsis = f.read().split('# DESCRIPTION')[0]
        for name in re.findall(r'\b(vgpu_\w+)\(', synopsis.split('# SYNOPSIS')[1]):
            pages[name] = pathlib.PurePath(path).name.split('.')[0]
    if without := {name for name, _ in symbols} - set(pages):
        sys.exit(f'{args.abi}: no manual page has {sorted(without)} in its synopsis')
    rows = [{'name': name, 'per_thread': None, 'area': f'{pages[name]}(3)', 'since': since, 'works': True, 'answer': 'supported',
             'same_as': None, 'restrictions': []} for name, since in symbols]
    return {'name': 'libvgpu.so.1', 'short': 'libvgpu', 'what': "vgpu's own C API", 'since': True, 'rows': rows,
            'order': sorted({r['area'] for r in rows})}


# ---- the page

def count(rows):
    """Names, so that a per-thread form counts beside its plain one."""
    result = dict.fromkeys(('names', 'works', 'tested', 'restricted', 'refused'), 0)
    for r in rows:
        n = 2 if r['per_thread'] else 1
        result['names'] += n
        result['works' if r['works'] else 'refused'] += n
        if r['works']:
            result['tested'] += len(r['tests'])
            result['restricted'] += n if r['restrictions'] else 0
    return result


def finish(library, callers):
    for r in library['rows']:
        names = [r['name']] + ([r['per_thread']] if r['per_thread'] else [])
        r['tests'] = {n: callers.by_name[n] for n in names if callers.by_name.get(n)}
        r['shown'] = callers.show(names)
        r['zeros'] = any(n in callers.zeros for n in names)
    by_area = collections.defaultdict(list)
    for r in library['rows']:
        by_area[r['area']].append(r)
    library['sum'] = count(library['rows'])
    library['areas'] = []
    for title in library['order']:
        heading = f"{library['short']}: {title}"
        anchor = re.sub(r'[^\w -]', '', heading.lower()).replace(' ', '-')
        library['areas'].append({'title': title, 'anchor': anchor, 'rows': by_area[title], 'sum': count(by_area[title])})


def untested(libraries):
    """Lists by how much is known of them all the same. A plain name brings its form for the per-thread stream."""
    def names(rows):
        return [n for r in rows for n in (r['name'], r['per_thread']) if n]

    kinds = {'Asked with nothing but zeros (`zero_arguments`)': [], 'Older or other names of what is tested': [],
             'Forms for the per-thread stream, generated around a plain name that is tested': [], 'Not at all': []}
    zeros, other, forms, none = kinds.values()
    for lib in libraries:
        tested = {r['name'] for r in lib['rows'] if r['tests']}
        for a in lib['areas']:
            rows = [r for r in a['rows'] if r['works'] and not r['tests']]
            aliases = [r for r in rows if r['same_as'] in tested]
            asked = [r for r in rows if r not in aliases and r['zeros']]
            lists = ((zeros, names(asked)), (other, names(aliases)), (none, names(r for r in rows if r not in aliases and r not in asked)),
                     (forms, [r['per_thread'] for r in a['rows'] if r['tests'] and r['per_thread'] not in (None, *r['tests'])]))
            for kind, some in lists:
                if some:
                    kind.append((f"{lib['short']}: {a['title']}", len(some), some))
    return [(text, rows) for text, rows in kinds.items() if rows]


def write_json(path, version, libraries, recorded):
    keys = ('name', 'per_thread', 'same_as', 'area', 'since', 'works', 'answer', 'restrictions', 'tests')
    text = {'version': version, 'recorded': recorded,
            'libraries': [{'name': lib['name'], 'sum': lib['sum'], 'areas': {a['title']: a['sum'] for a in lib['areas']},
                           'calls': [{k: r[k] for k in keys} for r in lib['rows']]} for lib in libraries]}
    with open(path, 'w', encoding='utf-8') as out:
        json.dump(text, out, indent=1)


def main():
    parser = argparse.ArgumentParser()
    for option in ('cuda', 'cuda-calls', 'nvml', 'nvml-calls', 'abi', 'limits', 'recorded', 'nm', 'readelf', 'version', 'page', 'json'):
        parser.add_argument('--' + option, required=True)
    for option in ('man', 'python', 'objects'):
        parser.add_argument('--' + option, nargs='+', default=[])
    args = parser.parse_args()
    known = points(args.limits)
    libraries = [cuda(args, known), nvml(args, known), libvgpu(args)]
    exported = {n for lib in libraries for r in lib['rows'] for n in (r['name'], r['per_thread'])}
    callers = Callers()
    for path in sorted(args.objects, key=lambda p: ('/unit/' in p, p)):
        callers.add_object({'nm': args.nm, 'readelf': args.readelf}, path)
    for path in args.python:
        callers.add_python(path)
    if not callers.zeros:
        sys.exit(f'compatibility.py: no names among the string constants of {ZEROS}: does {args.readelf} print them?')
    with open(args.recorded, encoding='utf-8') as f:
        recorded = yaml.safe_load(f)
    for r in recorded:
        if unknown := set(r['calls']) - exported:
            sys.exit(f'{args.recorded}: {r["program"]}: nothing exports {sorted(unknown)}')
        callers.add(r['calls'], f'*{r["program"]}*')
    for library in libraries:
        finish(library, callers)
    context = {'version': args.version, 'libraries': libraries, 'recorded': recorded, 'untested': untested(libraries)}
    with open(args.page, 'w', encoding='utf-8') as out:
        out.write(jinja2.Template(PAGE, keep_trailing_newline=True).render(context))
    write_json(args.json, args.version, libraries, recorded)


if __name__ == '__main__':
    main()
