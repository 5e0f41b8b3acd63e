#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified frameworks on a machine with a GPU, natively and through vgpu in one run, case by case: are the results
equal, and how do the times compare. A group is a program cases/GROUP_cases.py, run in a process of its own; GROUP:CASE
(more with further colons) runs only those cases of it.
usage: VGPU_BUILD=folder acceptance.py [--groups torch,llama:eager,...] [--backend cuda] [--out FOLDER] [--timeout S]
[--markdown]. Exit status 1 when a case fails or differs that runs natively."""
import argparse
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

import versions

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = ["torch", "torch_models", "torch_runtime", "torch_memory", "torch_processes", "torch_ipc",
          "torch_ipc_expandable", "torch_faults", "torch_ops", "triton", "llama", "jax", "cupy", "cupy_faults", "nvml"]
CONTEXT_LOST = 3  # a program's status, see cases/report.py


def here(prefix):
    """What runs a program's words on this machine, for so many seconds at most: what it printed and how it ended."""
    def execute(words, log, seconds):
        child = subprocess.Popen([*prefix, sys.executable, *words], stdout=subprocess.PIPE, stderr=log, text=True,
                                 start_new_session=True, env={**os.environ, "VGPU_LOG": "debug"})
        try:
            return child.communicate(timeout=seconds)[0], child.returncode
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            return child.communicate()[0], f"killed after {seconds:.0f} s"
    return execute


def lines_of(text):
    """A program's lines of JSON objects; frameworks print others."""
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            pass
    return [line for line in found if isinstance(line, dict)]


def run(group, execute, out, timeout):
    """The cases' lines by name, None when the framework is not here; what a program says beside them goes to a file. A
    case that ends the program is an error of that case, and the rest is run in a new one."""
    group, *names = group.split(":")
    program, start, lines, ends = HERE / "cases" / f"{group}_cases.py", time.perf_counter(), {}, []
    with open(out, "w", encoding="utf-8") as log:
        while True:
            text, end = execute([str(program), *names], log, max(10, timeout - (time.perf_counter() - start)))
            found = lines_of(text)
            if end == 77:
                return None
            ends.append(end)
            plan = [name for line in found for name in line.get("plan", [])]
            done = {line["case"]: line for line in found if "case" in line}
            lines.update(done)
            names = [name for name in plan if name not in lines]
            if not plan:
                lines["(start)"] = {"case": "(start)", "error": f"the program ended before its first case: {end}"}
            elif names and (end != CONTEXT_LOST or not done):
                lines[names[0]] = {"case": names[0], "error": f"the program ended: {end}"}
                names.pop(0)
            if not names or time.perf_counter() - start > timeout:
                break
    lines["(whole process)"] = {"case": "(whole process)", "value": ends, "seconds": time.perf_counter() - start}
    return lines


def told(name):
    """Not compared: what a case measured, and what it only tells."""
    return name == "us" or name.startswith("_")


def difference(a, b, where=""):
    """Where two values differ first, and how; None when they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [k for k in sorted(a.keys() | b.keys()) if not told(k)]
        pairs = [(f"{where}.{k}" if where else k, a.get(k), b.get(k)) for k in names]
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        pairs = [(f"{where}[{i}]", *both) for i, both in enumerate(zip(a, b))]
    else:
        numbers = isinstance(a, float) and isinstance(b, float)
        same = a == b or numbers and (math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) or math.isnan(a) and math.isnan(b))
        return None if same else f"{where + ': ' if where else ''}{str(a)[:150]} / {str(b)[:150]}"
    return next((found for found in (difference(x, y, place) for place, x, y in pairs) if found), None)


def cost(line):
    """What a case measured itself, in microseconds, or the seconds it took as a whole."""
    value = line.get("value")
    return (value["us"], "us") if isinstance(value, dict) and "us" in value else (line.get("seconds"), "s")


def verdict(line, other):
    """The same case natively and through vgpu."""
    if "error" in line:
        both = "both fail: " if "error" in other else "native fails: "
        return both + line["error"][:120]
    if "skipped" in line:
        return "skipped: " + line["skipped"]
    if "error" in other:
        return "FAILS: " + other["error"][:200]
    if "skipped" in other:
        return "skipped through vgpu: " + other["skipped"]
    how = difference(line["value"], other["value"])
    return "DIFFERS: " + how if how else "equal"


def compare(group, native, ours):
    rows = []
    for name, line in native.items():
        other = ours.get(name, {"error": "not reached"})
        rows.append((group.partition(":")[0], name, cost(line)[0], cost(other)[0], cost(line)[1], verdict(line, other)))
    return rows


def number(value):
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def print_rows(rows, markdown):
    for group, name, a, b, unit, result in rows:
        ratio = f"{b / a:.2f}" if a and b else "-"
        cells = [f"{group} {name}", f"{number(a)} {unit}", f"{number(b)} {unit}", ratio, result]
        print("| " + " | ".join(cells) + " |" if markdown else
              f"{cells[0]:36} {cells[1]:>12} {cells[2]:>12} {cells[3]:>6}  {cells[4]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", default=",".join(GROUPS))
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--out", default=".")
    parser.add_argument("--timeout", type=int, default=240)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    build = pathlib.Path(os.environ.get("VGPU_BUILD", HERE.parent.parent / "build"))
    ours = [str(build / "run" / "vgpu-run"), "--private", "--backend", options.backend, "--"]
    versions.main()
    out, rows, bad = pathlib.Path(options.out), [], 0
    out.mkdir(parents=True, exist_ok=True)
    if options.markdown:
        print("\n| case | native | vgpu | vgpu / native | results |\n|---|---|---|---|---|")
    for group in options.groups.split(","):
        log = group.partition(":")[0]
        native = run(group, here([]), out / f"{log}-native.log", options.timeout)
        if native is None:
            print(f"skipped {group}: not installed here")
            continue
        found = compare(group, native, run(group, here(ours), out / f"{log}-vgpu.log", options.timeout) or {})
        bad += sum(r[5].startswith(("FAILS", "DIFFERS")) for r in found)
        print_rows(found, options.markdown)
        rows += found
    with open(out / "acceptance.json", "w", encoding="utf-8") as f:
        json.dump(rows, f, indent=1)
    skipped = sum(r[5].startswith("skipped") for r in rows)
    natively = sum(r[5].startswith(("native fails", "both fail")) for r in rows)
    print(f"{len(rows)} cases, {bad} wrong, {skipped} skipped, {natively} fail natively")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
