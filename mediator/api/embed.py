#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes C of the web page's files: embed.py OUTPUT FILE... They are served by their names; index.html is /."""
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8"}


def main():
    out, *names = sys.argv[1:]
    data, rows = [], []
    for i, path in enumerate(map(pathlib.Path, names)):
        content = path.read_bytes()
        lines = (", ".join(map(str, content[at:at + 24])) for at in range(0, len(content), 24))
        data.append(f"static const unsigned char data_{i}[] = {{\n\t" + ",\n\t".join(lines) + ",\n};\n")
        where = "/" if path.name == "index.html" else f"/{path.name}"
        rows.append(f'\t{{ "{where}", "{TYPES[path.suffix]}", data_{i}, sizeof(data_{i}) }},\n')
    pathlib.Path(out).write_text("// Made by mediator/api/embed.py.\n#include \"mediator/api/page.h\"\n\n" + "\n".join(data)
                                 + "\nconst struct api_page api_pages[] = {\n" + "".join(rows) + "\t{ 0 },\n};\n",
                                 encoding="utf-8")


main()
