#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the documents (*.md) point at: files of relative links, headings of their anchors, and every docs/NAME.md or
docs/decisions/NUMBER that a text names. What lies elsewhere (https:) is not fetched."""
import functools
import pathlib
import re
import subprocess
import sys
import urllib.parse


def documents():
    out = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], check=True, capture_output=True, text=True)
    return [pathlib.Path(p) for p in out.stdout.splitlines() if pathlib.Path(p).is_file()]


@functools.cache
def prose(path):
    """The text's lines, empty where they are code."""
    lines, code = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        fence = line.lstrip().startswith("```")
        lines.append("" if code or fence else line)
        code ^= fence
    return lines


@functools.cache
def anchors(path):
    """As GitHub makes them of headings; a second one of the same name has -1 behind it."""
    found = set()
    for line in prose(path):
        if m := re.match(r"#+ +(.*?) *#*$", line):
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", m[1]).lower()
            base = slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
            n = 0
            while slug in found:
                n += 1
                slug = f"{base}-{n}"
            found.add(slug)
    return found


def check_link(path, target):
    """What is wrong with it, or None."""
    if re.match(r"[a-z]+:", target):
        return None
    name, _, anchor = urllib.parse.unquote(target).partition("#")
    file = path.parent / name if name else path
    if not file.exists():
        return f"{target}: there is no such file"
    if anchor and (file.suffix != ".md" or anchor not in anchors(file)):
        return f"{target}: {file} has no such heading"
    return None


def check(path):
    for n, line in enumerate(prose(path), 1):
        for target in re.findall(r"\]\(<?([^)\s>]+)>?(?: +\"[^\"]*\")?\)", re.sub(r"`[^`]*`", "", line)):
            if fault := check_link(path, target):
                yield f"{path}:{n}: {fault}"
        for name in re.findall(r"(?<![\w/.-])docs/(?:decisions/\d{4}\b|[\w/-]+\.md\b)", line):
            if not pathlib.Path(name).exists() and not list(pathlib.Path().glob(name + "-*.md")):
                yield f"{path}:{n}: {name}: there is no such document"


def main():
    faults = [fault for path in documents() for fault in check(path)]
    print("\n".join(faults), end="\n" if faults else "")
    return 1 if faults else 0


sys.exit(main())
