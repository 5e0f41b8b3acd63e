#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the house rules (HACKING.md) say and no compiler does: layers, headers, lengths, banned calls."""
import pathlib
import re
import subprocess
import sys

BANNED = {"strcpy", "strcat", "sprintf", "vsprintf", "atoi", "atol", "atof", "strtok", "gets", "alloca", "system"}
FILE_LINES, FUNCTION_LINES = 1000, 100
TABLES = {".def"}
SOURCE_DIRS = ("common/", "protocol/", "guest/", "mediator/", "run/", "executor/", "demo/", "bench/", "tests/",
               "sensor/", "stub/", "admin/")


def tracked():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], check=True, capture_output=True, text=True)
    return [pathlib.Path(p) for p in out.stdout.splitlines() if pathlib.Path(p).is_file()]


def read_layers():
    layers = {}
    for line in pathlib.Path("layers.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            folder, allowed = line.split(":")
            layers[folder] = allowed.split()
    return layers


def layer_of(path, layers):
    best = ""
    for folder in layers:
        if str(path).startswith(folder + "/") and len(folder) > len(best):
            best = folder
    return best


def check_includes(path, text, layers, faults):
    mine = layer_of(path, layers)
    if not mine:
        return
    for n, line in enumerate(text.splitlines(), 1):
        m = re.match(r'#include "([^"]+)"', line)
        if not m:
            continue
        target = m.group(1)
        if "/" not in target:
            if mine == "guest/kmod":  # as the kernel does it; DKMS has these files elsewhere
                continue
            faults.append(f"{path}:{n}: include \"{target}\" is not written from the root")
            continue
        theirs = layer_of(target, layers)
        allowed = any(target.startswith(a + "/") for a in layers[mine]) or theirs == mine \
            or target.startswith(mine + "/")
        # A folder's own parent headers are its interface only where the table says so.
        if mine == "executor" and target.startswith("executor/"):
            allowed = True
        if not allowed:
            faults.append(f"{path}:{n}: {mine} may not include {target} (layers.txt)")


def strip_comments(text):
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', text)
    text = re.sub(r"//[^\n]*", "", text)
    return re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)


def check_c(path, text, layers, faults):
    check_includes(path, text, layers, faults)
    for n, line in enumerate(strip_comments(text).splitlines(), 1):
        for word in re.findall(r"\b(\w+)\s*\(", line):
            if word in BANNED:
                faults.append(f"{path}:{n}: {word}() is not used here")
    lines = text.count("\n")
    if path.suffix not in TABLES and lines > FILE_LINES:
        faults.append(f"{path}: {lines} lines, more than {FILE_LINES}")
    if path.suffix == ".c":
        start = None
        for n, line in enumerate(text.splitlines(), 1):
            if line == "{":
                start = n
            elif line == "}" and start:
                if n - start > FUNCTION_LINES:
                    faults.append(f"{path}:{start}: function of {n - start} lines, more than {FUNCTION_LINES}")
                start = None


def main():
    layers, faults = read_layers(), []
    for path in tracked():
        s = str(path)
        code = path.suffix in (".c", ".h", ".py", ".sh", ".cu") or path.name in ("meson.build", "dev", "run")
        if not code or not (s.startswith(SOURCE_DIRS) or s.startswith(("scripts/", ".ci/")) or "/" not in s):
            continue
        text = path.read_text(encoding="utf-8")
        if "SPDX-License-Identifier:" not in "\n".join(text.splitlines()[:3]):
            faults.append(f"{path}: no SPDX line in the first three lines")
        if path.suffix in (".c", ".h"):
            check_c(path, text, layers, faults)
        for n, line in enumerate(text.splitlines(), 1):
            if line != line.rstrip():
                faults.append(f"{path}:{n}: space at the end of the line")
    print("\n".join(faults[:60]))
    if len(faults) > 60:
        print(f"... and {len(faults) - 60} more")
    return 1 if faults else 0


sys.exit(main())
