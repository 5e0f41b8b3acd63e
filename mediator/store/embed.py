#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py OUT.c NNNN-NAME.sql...: the store's migrations as C text. They are numbered from 1 without holes."""
import pathlib
import sys

out, paths = sys.argv[1], [pathlib.Path(p) for p in sys.argv[2:]]
lines = ["// Made by mediator/store/embed.py.", '#include "mediator/store/migrations.h"', "",
         "const struct migration migrations[] = {"]
for wanted, path in enumerate(paths, 1):
    number, _, name = path.stem.partition("-")
    if number != f"{wanted:04}" or not name:
        sys.exit(f"{path.name}: should be {wanted:04}-NAME.sql")
    lines.append(f'\t{{ "{path.name}",')
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
        lines.append(f'\t  "{text}\\n"')
    lines[-1] += " },"
lines += ["};", f"const unsigned n_migrations = {len(paths)};", ""]
pathlib.Path(out).write_text("\n".join(lines), encoding="utf-8")
