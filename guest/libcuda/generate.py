#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Build-time generator of libcuda.so.1: reads symbols.yaml (what the driver exports), calls.yaml (what works
# here), cuda_calls.def (signatures) and export_tables.yaml (the tables behind cuGetExportTable); writes the
# linker version script, the cuGetProcAddress table, the functions that need no thought (not-supported answers,
# old names, per-thread-stream forms), the forms that log their results, the export tables, and what scripts/compatibility.py makes
# its page of. The linker checks that table and code agree: a call that works but has no code is undefined, one that has code but is
# not declared is defined twice.
import argparse
import json
import re
import sys

import jinja2
import yaml

HEAD = '// SPDX-License-Identifier: Apache-2.0\n// Made by guest/libcuda/generate.py; do not edit.\n'

MAP = '''{
global:
{% for s in symbols %}	{{ s }};
{% endfor %}local:
	*;
};
'''

PROCADDR = HEAD + '''#include "guest/libcuda/procaddr.h"

{% for s in symbols %}extern char {{ s }}[] __attribute__((visibility("default")));
{% endfor %}
{% for b in bases %}static const struct proc_version versions_{{ b.name }}[] = {
{% for v in b.versions %}	{ {{ v.since }}, {{ v.symbol }}, {{ v.per_thread or 'NULL' }}, {{ v.per_thread_since or 0 }} },
{% endfor %}};
{% endfor %}
const struct proc_entry proc_table[] = {
{% for b in bases %}	{ "{{ b.name }}", versions_{{ b.name }}, {{ b.versions | length }} },
{% endfor %}};
const size_t proc_table_count = sizeof(proc_table) / sizeof(proc_table[0]);
'''

CALLS = HEAD + '''#include "guest/libcuda/libcuda.h"

// Old names: the same function under the name that earlier versions gave it.
{% for a in aliases %}CUresult {{ a.name }}({{ a.params }})
{
	return {{ a.target }}({{ a.args }});
}

{% endfor %}
// Per-thread-stream forms: the NULL stream means the calling thread's stream while the call lasts.
{% for w in wrappers %}VC_EXPORT CUresult {{ w.name }}({{ w.params }});
CUresult {{ w.name }}({{ w.params }})
{
	CUresult result;

	vc_thread.per_thread++;
	result = {{ w.target }}({{ w.args }});
	vc_thread.per_thread--;
	return result;
}

{% endfor %}'''

STUBS = HEAD + '''// Calls that are known but not there yet: CUDA_ERROR_NOT_SUPPORTED, logged once by name.
#include "guest/libcuda/log.h"

#define NOT_SUPPORTED(call)                                               \\
	__attribute__((visibility("default"))) int call(void);            \\
	int call(void)                                                    \\
	{                                                                 \\
		static struct vc_unsupported once = { #call, 0 };         \\
		return vc_not_supported(&once);                           \\
	}

{% for s in stubs %}NOT_SUPPORTED({{ s }})
{% endfor %}'''

TRACE = HEAD + '''#include "guest/libcuda/trace.h"

#include "guest/libcuda/libcuda.h"

{% for w in wrappers %}VC_EXPORT CUresult {{ w.name }}({{ w.params }});
{% endfor %}
// The same calls with a look at their result; cuGetProcAddress hands them out when the log is on.
{% for t in traced %}static CUresult traced_{{ t.name }}({{ t.params }})
{
	return vc_trace("{{ t.name }}", {{ t.name }}({{ t.args }}));
}

{% endfor %}const struct trace_entry trace_table[] = {
{% for t in traced %}	{ (void *){{ t.name }}, (void *)traced_{{ t.name }} },
{% endfor %}};
const size_t trace_table_count = sizeof(trace_table) / sizeof(trace_table[0]);
'''

TABLES = HEAD + '''#include "guest/libcuda/export_tables.h"
#include "guest/libcuda/log.h"

#define NOT_SUPPORTED(name, text)                                         \\
	static int name(void)                                             \\
	{                                                                 \\
		static struct vc_unsupported once = { text, 0 };          \\
		return vc_not_supported(&once);                           \\
	}

{% for t in tables %}{% for w in t.words if w.refused %}NOT_SUPPORTED({{ w.refused }}, "export table {{ t.title }} ({{ t.uuid }})[{{ w.index }}]")
{% endfor %}
const export_slot export_{{ t.name }}_words[{{ t.words | length }}] = {
{% for w in t.words %}	{{ w.text }},
{% endfor %}};

{% endfor %}const struct export_table export_tables[] = {
{% for t in tables %}	{ { {{ t.bytes }} }, export_{{ t.name }}_words },
{% endfor %}};
const size_t export_table_count = sizeof(export_tables) / sizeof(export_tables[0]);
'''


def read_signatures(path):
    text = open(path).read()
    calls = {}
    for name, params in re.findall(r'CUDA_CALL\(\s*(\w+)\s*,\s*\(([^()]*)\)\s*\)', text):
        params = ' '.join(params.split())
        names = [] if params == 'void' else [re.search(r'(\w+)$', p.strip()).group(1) for p in params.split(',')]
        calls[name] = (params, ', '.join(names))
    return calls


def read_bases(path):
    bases, symbols = [], set()
    for name, text in yaml.safe_load(open(path)).items():
        versions, _, forms = str(text).partition(';')
        kind, suffixes = (forms.split()[0], forms.split()[1:]) if forms else (None, [])
        rows = []
        for version in versions.split():
            since, _, suffix = version.partition('_')
            suffix = '_' + suffix if suffix else ''
            symbol = 'cu' + name + suffix
            per_thread = None
            if (suffix or '.') in suffixes:
                per_thread = '%s_%s' % (symbol, kind)
                symbols.add(per_thread)
            symbols.add(symbol)
            rows.append({'since': int(since), 'symbol': symbol, 'per_thread': per_thread,
                         'per_thread_since': max(7000, int(since)) if per_thread else None})
        rows.sort(key=lambda r: -r['since'])
        bases.append({'name': 'cu' + name, 'versions': rows})
    bases.sort(key=lambda b: b['name'])
    return bases, sorted(symbols)


def read_works(path, symbols):
    data = yaml.safe_load(open(path))
    works, aliases = {}, {}
    for group, names in data['works'].items():
        where, cost = group.split()
        for name in names:
            symbol = 'cu' + name
            if symbol in works or symbol not in symbols:
                sys.exit('calls.yaml: %s is twice or not in symbols.yaml' % symbol)
            works[symbol] = (where, cost)
    for name, target in data['aliases'].items():
        if 'cu' + name not in symbols or 'cu' + target not in works:
            sys.exit('calls.yaml: alias %s is no symbol or its target does not work' % name)
        aliases['cu' + name] = 'cu' + target
    return works, aliases


def plan(symbols, works, aliases, signatures):
    wrappers, alias_rows, stubs, rows = [], [], [], []
    for symbol in symbols:
        plain = re.sub(r'_pt[ds][sz]$', '', symbol)
        target = aliases.get(symbol, plain)
        real = aliases.get(target, target)
        state = works.get(real)
        if state is None:
            stubs.append(symbol)
            rows.append({'name': symbol, 'works': False, 'alias_of': None})
            continue
        rows.append({'name': symbol, 'works': True, 'where': state[0], 'cost': state[1], 'alias_of': aliases.get(symbol)})
        if symbol in works:
            if symbol not in signatures:
                sys.exit('cuda_calls.def: no signature of %s' % symbol)
            continue
        if target not in signatures:
            sys.exit('cuda_calls.def: no signature of %s' % target)
        params, args = signatures[target]
        row = {'name': symbol, 'target': target, 'params': params, 'args': args}
        if symbol in aliases:
            if signatures.get(symbol) != signatures[target]:
                sys.exit('cuda_calls.def: %s and %s must have the same signature' % (symbol, target))
            alias_rows.append(row)
        else:
            wrappers.append(row)
    return wrappers, alias_rows, stubs, rows


def coverage(bases, rows):
    """Each exported name: how it is answered, and since which version of the driver's interface it is there."""
    since = {}
    for b in bases:
        for v in b['versions']:
            since[v['symbol']] = (v['since'], None)
            if v['per_thread']:
                since[v['per_thread']] = (v['per_thread_since'], v['symbol'])
    return [dict(r, since=since[r['name']][0], per_thread_form_of=since[r['name']][1]) for r in rows]


def read_tables(path):
    tables = yaml.safe_load(open(path))
    for t in tables:
        words = []
        slots, empty, sized = t.get('slots', {}), t.get('empty', []), t.get('sized', True)
        if (set(slots) | set(empty)) - set(range(1 if sized else 0, t['words'])):
            sys.exit('export_tables.yaml: %s: a slot lies outside' % t['name'])
        for i in range(t['words']):
            refused = None
            if i == 0 and sized:
                text = '(export_slot)(uintptr_t)%d' % (8 * t['words'])
            elif i in slots:
                text = '(export_slot)export_' + slots[i]
            elif i in empty:
                text = 'NULL'
            else:
                refused = '%s_%d' % (t['name'], i)
                text = '(export_slot)' + refused
            words.append({'index': i, 'text': text, 'refused': refused})
        digits = t['uuid'].replace('-', '')
        t['bytes'] = ', '.join('0x' + digits[i:i + 2] for i in range(0, 32, 2))
        t['words'] = words
    return tables


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--symbols', required=True)
    parser.add_argument('--calls', required=True)
    parser.add_argument('--signatures', required=True)
    parser.add_argument('--export-tables', required=True)
    parser.add_argument('--map')
    parser.add_argument('--procaddr')
    parser.add_argument('--calls-out')
    parser.add_argument('--stubs')
    parser.add_argument('--coverage')
    parser.add_argument('--tables-out')
    parser.add_argument('--trace')
    args = parser.parse_args()
    bases, symbols = read_bases(args.symbols)
    works, aliases = read_works(args.calls, set(symbols))
    signatures = read_signatures(args.signatures)
    wrappers, alias_rows, stubs, rows = plan(symbols, works, aliases, signatures)
    traced = wrappers + alias_rows + [{'name': s, 'params': signatures[s][0], 'args': signatures[s][1]} for s in works]
    context = {'symbols': symbols, 'bases': bases, 'wrappers': wrappers, 'aliases': alias_rows, 'stubs': stubs, 'traced': traced,
               'tables': read_tables(args.export_tables)}
    for path, template in ((args.map, MAP), (args.procaddr, PROCADDR), (args.calls_out, CALLS),
                           (args.stubs, STUBS), (args.tables_out, TABLES), (args.trace, TRACE)):
        if path:
            with open(path, 'w') as out:
                out.write(jinja2.Template(template, keep_trailing_newline=True).render(context))
    if args.coverage:
        with open(args.coverage, 'w') as out:
            json.dump(coverage(bases, rows), out, indent=1)


main()
