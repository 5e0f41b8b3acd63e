#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
# Build-time generator of libnvidia-ml.so.1: reads calls.yaml (every exported name and how it is answered),
# nvml_calls.def (signatures; errors need none) and export_table.yaml; writes the linker version script, the functions that need no
# thought (values, texts, aliases, errors), the export table, and what scripts/compatibility.py makes its page of. The linker checks that
# table and code agree: a call that works but has no code is undefined, one that has code but is declared otherwise is defined twice.
import argparse
import json
import re
import sys

import jinja2
import yaml

HEAD = '// SPDX-License-Identifier: Apache-2.0\n// Made by guest/libnvml/generate.py; do not edit.\n'

EXPORTED = 404  # names of driver 580's library

MAP = '''{
global:
{% for s in symbols %}	{{ s }};
{% endfor %}local:
	*;
};
'''

CALLS = HEAD + '''#include "guest/libnvml/libnvml.h"

// One number of the device, or several.
{% for v in values %}nvmlReturn_t {{ v.name }}({{ v.params }})
{
{% if v.args | length == 1 %}	return nv_{{ 'wide_' if v.wide else '' }}value(device, DEVICE_{{ v.which[0] }}, {{ v.args[0] }});
{% else %}	return nv_values(device, (const enum device_value[]){ DEVICE_{{ v.which | join(', DEVICE_') }} },
			 (unsigned int *const[]){ {{ v.args | join(', ') }} }, {{ v.args | length }});
{% endif %}}

{% endfor %}// One of its texts.
{% for t in texts %}nvmlReturn_t {{ t.name }}({{ t.params }})
{
	return nv_device_text(device, offsetof(struct device_texts, {{ t.text }}), {{ t.args | join(', ') }});
}

{% endfor %}// The same function under another name.
{% for a in aliases %}nvmlReturn_t {{ a.name }}({{ a.params }})
{
	return {{ a.target }}({{ a.args | join(', ') }});
}

{% endfor %}'''

STUBS = HEAD + '''// Calls that only answer an error. The arguments of those without a signature of their own are left where the caller
// put them, but for the device.
#include "guest/libnvml/libnvml.h"

{% for s in stubs %}{% if s.own %}NV_EXPORT nvmlReturn_t {{ s.name }}({{ s.params }});
{% endif %}nvmlReturn_t {{ s.name }}({{ s.params }})
{
{% if not s.result %}	static struct nv_missing once = { "{{ s.name }}", 0 };

{% endif %}{% for a in s.unused %}	(void){{ a }};
{% endfor %}	return nv_{{ 'refuse' if s.result else 'missing' }}{{ '_device(device, ' if s.device else '(' }}{{ s.result or '&once' }});
}

{% endfor %}'''

TABLE = HEAD + '''#include "guest/libnvml/export_table.h"

#define MISSING(word)                                                     \\
	static nvmlReturn_t word_##word(void)                             \\
	{                                                                 \\
		static struct nv_missing once = { "export table[" #word "]", 0 }; \\
		return nv_missing(&once);                                 \\
	}

{% for w in words if not w.known %}MISSING({{ w.index }})
{% endfor %}
const uint8_t export_table_uuid[16] = { {{ uuid }} };
const export_word export_table[{{ words | length + 1 }}] = {
	(export_word)(uintptr_t){{ 8 * (words | length + 1) }},
{% for w in words %}	(export_word){{ 'export_' + w.known if w.known else 'word_%d' % w.index }},
{% endfor %}};
'''

RESULTS = {'denied': 'NVML_ERROR_NO_PERMISSION', 'unknown': 'NVML_ERROR_INVALID_ARGUMENT',
           'absent': 'NVML_ERROR_NOT_SUPPORTED'}


def read_signatures(path):
    calls = {}
    for name, params in re.findall(r'NVML_CALL\((\w+), \(([^()]*)\)\)', open(path).read()):
        names = [] if params == 'void' else [re.search(r'(\w+)$', p).group(1) for p in params.split(', ')]
        calls[name] = (params, names)
    return calls


class Calls:
    def __init__(self, path, signatures):
        self.signatures = signatures
        self.rows, self.values, self.texts, self.aliases, self.stubs = {}, [], [], [], []
        for group, names in yaml.safe_load(open(path)).items():
            if group == 'limits':
                continue
            kind, _, device = group.partition(' ')
            for name in names:
                self.add(kind, device, 'nvml' + name, names[name] if isinstance(names, dict) else None)
        if len(self.rows) != EXPORTED:
            sys.exit('calls.yaml: %d names, not %d' % (len(self.rows), EXPORTED))

    def add(self, kind, device, name, what):
        if name in self.rows:
            sys.exit('calls.yaml: %s is there twice' % name)
        self.rows[name] = {'values': 'snapshot', 'texts': 'snapshot'}.get(kind, kind)
        if kind in RESULTS or kind == 'missing':
            own = name not in self.signatures
            params, args = ('nvmlDevice_t device' if device else 'void', ['device'] if device else []) if own else self.signatures[name]
            self.stubs.append({'name': name, 'own': own, 'params': params, 'device': bool(device),
                               'unused': args[1:] if device else args, 'result': RESULTS.get(kind)})
        elif name == 'nvmlErrorString':
            return
        elif name not in self.signatures:
            sys.exit('nvml_calls.def: no signature of %s' % name)
        else:
            self.add_code(kind, name, what)

    def add_code(self, kind, name, what):
        params, args = self.signatures[name]
        row = {'name': name, 'params': params, 'args': args[1:]}
        if kind == 'values':
            row['which'] = what if isinstance(what, list) else [what]
            row['wide'] = 'unsigned long long *' in params
            if len(row['which']) != len(row['args']):
                sys.exit('calls.yaml: %s has %d results' % (name, len(row['args'])))
            self.values.append(row)
        elif kind == 'texts':
            self.texts.append(dict(row, text=what))
        elif kind == 'aliases':
            target = 'nvml' + what
            if self.signatures.get(target) != self.signatures[name]:
                sys.exit('nvml_calls.def: %s and %s must have the same signature' % (name, target))
            self.rows[name] = self.rows.get(target) or sys.exit('calls.yaml: alias of unknown %s' % target)
            self.aliases.append(dict(row, target=target, args=args))
        elif kind not in ('library', 'snapshot'):
            sys.exit('calls.yaml: no group %s' % kind)


def main():
    parser = argparse.ArgumentParser()
    for option in ('--calls', '--signatures', '--export-table', '--map', '--calls-out', '--stubs', '--table-out', '--coverage'):
        parser.add_argument(option, required=True)
    args = parser.parse_args()
    calls = Calls(args.calls, read_signatures(args.signatures))
    table = yaml.safe_load(open(args.export_table))
    digits = table['uuid'].replace('-', '')
    context = {
        'symbols': sorted(calls.rows), 'values': calls.values, 'texts': calls.texts, 'aliases': calls.aliases,
        'stubs': calls.stubs,
        'words': [{'index': i, 'known': table['slots'].get(i)} for i in range(1, table['words'])],
        'uuid': ', '.join('0x' + digits[i:i + 2] for i in range(0, 32, 2))}
    for path, template in ((args.map, MAP), (args.calls_out, CALLS), (args.stubs, STUBS), (args.table_out, TABLE)):
        with open(path, 'w') as out:
            out.write(jinja2.Template(template, keep_trailing_newline=True).render(context))
    aliases = {a['name']: a['target'] for a in calls.aliases}
    with open(args.coverage, 'w') as out:
        json.dump([{'name': n, 'how': calls.rows[n], 'alias_of': aliases.get(n)} for n in sorted(calls.rows)], out, indent=1)


main()
