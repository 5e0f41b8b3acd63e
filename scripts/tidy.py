#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""usage: tidy.py BUILD FILE...   clang-tidy over the files, and prints what it finds; exit status 1 if that is anything.

A file that was found clean before is not looked at again while nothing that it consists of has changed: its text with all
that it includes, comments too, the compiler's options, the checks and the program. Where that is noted:
$XDG_CACHE_HOME/vgpu-tidy."""
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time

TIDY = "clang-tidy-19"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vgpu-tidy"
KEPT_S = 60 * 86400
WITH_VALUE = ("-o", "-MF", "-MQ", "-MT")
WITHOUT = ("-c", "-MD", "-MMD")


def options(entry):
    """The compiler's (there may be another program before it), without those that say what is made."""
    words, kept = iter(shlex.split(entry["command"])[:-1]), []
    for word in itertools.dropwhile(lambda w: not w.startswith("-"), words):
        if word in WITH_VALUE:
            next(words)
        elif word not in WITHOUT:
            kept.append(word)
    return kept


def key(entry, common):
    words = options(entry)
    read = subprocess.run(["cc", *words, "-E", "-P", "-CC", entry["file"]], cwd=entry["directory"], capture_output=True, check=False)
    if read.returncode:
        return None
    return hashlib.sha256(b"\0".join([common, " ".join(words).encode(), read.stdout])).hexdigest()


def look(build, name, entry, common):
    """What is found in one file."""
    noted = entry and key(entry, common)
    if noted and (CACHE / noted).exists():
        os.utime(CACHE / noted)
        return []
    done = subprocess.run([TIDY, "--quiet", "-p", build, name], capture_output=True, text=True, check=False)
    found = [line for line in done.stdout.splitlines() if "warning:" in line or "error:" in line]
    if done.returncode and not found:
        found = [f"{name}: error: {TIDY} ended with {done.returncode}: {done.stderr.strip()[-300:]}"]
    if noted and not found:
        (CACHE / noted).touch()
    return found


def main():
    build, names = sys.argv[1], sys.argv[2:]
    CACHE.mkdir(parents=True, exist_ok=True)
    for old in CACHE.iterdir():
        if time.time() - old.stat().st_mtime > KEPT_S:
            old.unlink(missing_ok=True)
    with open(pathlib.Path(build) / "compile_commands.json", encoding="utf-8") as f:
        entries = {os.path.realpath(os.path.join(e["directory"], e["file"])): e for e in json.load(f)}
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    common = version + pathlib.Path(".clang-tidy").read_bytes()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda n: look(build, n, entries.get(os.path.realpath(n)), common), names)
        lines = sorted({line for file in found for line in file})
    for line in lines[:40]:
        print(line)
    return 1 if lines else 0


sys.exit(main())
