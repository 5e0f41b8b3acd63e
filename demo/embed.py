#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a text file as a C string constant: embed.py INPUT OUTPUT. The constant is named after the file."""
import pathlib
import sys

source, target = map(pathlib.Path, sys.argv[1:3])
name = source.name.replace(".", "_")
with target.open("w", encoding="utf-8") as out:
    out.write(f"// Made from {source.name}.\nstatic const char {name}[] =\n")
    for line in source.read_text(encoding="utf-8").splitlines():
        text = line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
        out.write(f'\t"{text}\\n"\n')
    out.write("\t;\n")
