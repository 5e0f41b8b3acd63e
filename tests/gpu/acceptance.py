#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Unmodified frameworks on a machine with a GPU, natively and through vgpu in one run, case by case: are the results
equal, and how do the times compare. usage: VGPU_BUILD=folder acceptance.py [--groups torch,llama,jax,cupy]
[--backend cuda] [--out FOLDER] [--timeout S] [--markdown]. Exit status 1 when a case fails or differs that runs natively."""
import argparse
import json
import math
import os
import pathlib
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = ["torch", "llama", "jax", "cupy"]


def run(group, prefix, out, timeout):
    """The cases' lines by name; what a program says beside them goes to a file."""
    command = [*prefix, sys.executable, str(HERE / "cases" / f"{group}_cases.py")]
    start = time.perf_counter()
    with open(out, "w", encoding="utf-8") as log:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
                                 env={**os.environ, "VGPU_LOG": "debug"})
        try:
            text, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            text, _ = child.communicate()
            text += json.dumps({"case": "(all in time)", "error": f"killed after {timeout} s"})
    if child.returncode == 77:
        return None
    lines = {}
    for line in text.splitlines():
        try:
            found = json.loads(line)
            lines[found["case"]] = found
        except (ValueError, KeyError, TypeError):
            pass
    lines["(whole process)"] = {"case": "(whole process)", "value": child.returncode, "seconds": time.perf_counter() - start}
    return lines


def equal(a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a if k != "us")
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6)
    return a == b


def cost(line):
    """What a case measured itself, in microseconds, or the seconds it took as a whole."""
    value = line.get("value")
    return (value["us"], "us") if isinstance(value, dict) and "us" in value else (line.get("seconds"), "s")


def compare(group, native, ours):
    rows = []
    for name, line in native.items():
        other = ours.get(name, {"error": "not reached"})
        a, unit = cost(line)
        b, _ = cost(other)
        if "error" in line:
            verdict = "native fails: " + line["error"][:60]
        elif "error" in other:
            verdict = "FAILS: " + other["error"][:200]
        else:
            verdict = "equal" if equal(line["value"], other["value"]) else \
                f"DIFFERS: {str(line['value'])[:80]} / {str(other['value'])[:80]}"
        rows.append((group, name, a, b, unit, verdict))
    return rows


def number(value):
    return "-" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def print_rows(rows, markdown):
    if markdown:
        print("| case | native | vgpu | vgpu / native | results |\n|---|---|---|---|---|")
    for group, name, a, b, unit, verdict in rows:
        ratio = f"{b / a:.2f}" if a and b else "-"
        cells = [f"{group} {name}", f"{number(a)} {unit}", f"{number(b)} {unit}", ratio, verdict]
        print("| " + " | ".join(cells) + " |" if markdown else
              f"{cells[0]:32} {cells[1]:>12} {cells[2]:>12} {cells[3]:>6}  {cells[4]}")


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
    out, rows, bad = pathlib.Path(options.out), [], 0
    for group in options.groups.split(","):
        native = run(group, [], out / f"{group}-native.log", options.timeout)
        if native is None:
            print(f"skipped {group}: not installed here")
            continue
        found = compare(group, native, run(group, ours, out / f"{group}-vgpu.log", options.timeout) or {})
        bad += sum(r[5].startswith(("FAILS", "DIFFERS")) for r in found)
        print_rows(found, options.markdown)
        rows += found
    with open(out / "acceptance.json", "w", encoding="utf-8") as f:
        json.dump(rows, f, indent=1)
    print(f"{len(rows)} cases, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
