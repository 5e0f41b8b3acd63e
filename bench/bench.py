#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed, native and through vgpu side by side (`./dev bench`).

Runs vgpu-bench-driver natively where the host has an NVIDIA driver, and through vgpu with every backend that can
run here, in alternating rounds, so that all see the same machine in the same minutes. Prints docs' table with the
goal and the ratio of each row, and writes everything measured as JSON. What did not run is said, with the reason.
"""
import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import subprocess
import sys
import time

from host import Host

# row, what it is, unit, goal as text, test(native, ours) or None where no goal is set.
ROWS = [
    ("get_current", "cuCtxGetCurrent", "<= 0.1 us", lambda n, o: o <= 0.1),
    ("get_attribute", "cuDeviceGetAttribute", "<= 0.1 us", lambda n, o: o <= 0.1),
    ("stream_query", "cuStreamQuery, idle", "<= 0.1 us", lambda n, o: o <= 0.1),
    ("launch", "launch as the caller sees it", "<= 0.7 us", lambda n, o: o <= 0.7),
    ("launch_sustained", "launch, sustained rate", ">= 90 % of native", lambda n, o: n is None or o <= n / 0.9),
    ("launch_sync", "launch + synchronise", "<= 13 us", lambda n, o: o <= 13),
    ("launch_result", "launch + 4 bytes back", "", None),
    ("event_record", "event record", "", None),
    ("event_query", "event query, done", "<= 0.1 us", lambda n, o: o <= 0.1),
    ("alloc_free_4mib", "alloc + free 4 MiB", "", None),
    ("copy_4_h2d", "4 B to the device", "", None),
    ("copy_4_d2h", "4 B from the device", "", None),
    ("copy_1024_h2d", "1 KiB to the device", "", None),
    ("copy_1024_d2h", "1 KiB from the device", "", None),
    ("copy_16384_h2d", "16 KiB to the device", "", None),
    ("copy_16384_d2h", "16 KiB from the device", "", None),
    ("load_image", "load a 200 MiB image (32 with --quick)", "", None),
    ("pinned_h2d", "pinned to the device", ">= 97 % of native", lambda n, o: n is None or o >= 0.97 * n),
    ("pinned_d2h", "pinned from the device", ">= 97 % of native", lambda n, o: n is None or o >= 0.97 * n),
    ("pageable_h2d", "pageable to the device", ">= 3x native", lambda n, o: n is None or o >= 3 * n),
    ("pageable_d2h", "pageable from the device", ">= 3x native", lambda n, o: n is None or o >= 3 * n),
    ("first_use", "first use (init + context)", "<= 50 ms", lambda n, o: o <= 50),
    # Of vgpu-bench-channel; natively there is nothing of the kind.
    ("bell", "bell (vm: one exit)", "", None),
    ("ping_polled", "round trip, both awake", "", None),
    ("ping_slept", "the same, program asleep", "", None),
    ("ping_idle", "the same, both asleep", "", None),
    ("host_bell", "host's time for a bell", "", None),
    ("host_ping_slept", "host's for a wake-up", "", None),
]


def has_nvidia():
    """Whether this host has an NVIDIA driver with a device, asked from a process of its own."""
    code = ("import ctypes,sys\n"
            "try: c=ctypes.CDLL('libcuda.so.1')\n"
            "except OSError: sys.exit(3)\n"
            "n=ctypes.c_int(0)\n"
            "sys.exit(0 if c.cuInit(0)==0 and c.cuDeviceGetCount(ctypes.byref(n))==0 and n.value else 4)\n")
    status = subprocess.run([sys.executable, "-c", code], check=False).returncode
    return {0: None, 3: "this host has no libcuda.so.1"}.get(status, "the NVIDIA driver here finds no GPU")


def find(build, *names):
    for name in names:
        if (build / name).exists():
            return build / name
    return None


def configurations(build, wanted):
    """{name: None (natively) or what runs programs} of what can run here, and [(name, why not)] of the rest."""
    run, skipped = {}, []
    no_native = has_nvidia()
    if "native" in wanted:
        if no_native:
            skipped.append(("native", no_native))
        else:
            run["native"] = None
    vgpu_run = find(build, "run/vgpu-run")
    for backend in ("cuda", "cpu", "null"):
        if backend not in wanted:
            continue
        if not vgpu_run:
            skipped.append((backend, "no run/vgpu-run in the build folder"))
        elif backend == "cuda" and no_native:
            skipped.append((backend, no_native))
        else:
            run[backend] = Host(backend)
    if "vm" in wanted:
        from guest import Guest  # of this folder; the harness of tests/vm with it
        cpu = find(build, "executor/backends/cpu/vgpu-backend-cpu.so")
        guest = Guest("cuda" if not no_native else "cpu" if cpu else "null")
        why = guest.missing()
        if why:
            skipped.append(("vm", why))
        else:
            run["vm"] = guest
    return run, skipped


def one_round(name, runner, program, args):
    """All programs' rows of one configuration."""
    driver = ["--quick"] if args.quick else []
    rows, fault = ran(runner, program, driver + (["--image"] if name == "null" else []), args.timeout)
    if fault or name == "native":
        return rows, fault
    more, fault = ran(runner, program.with_name("vgpu-bench-channel"), ["--quick"] if args.quick else [], args.timeout)
    return {**rows, **more}, fault


def ran(runner, program, words, seconds):
    if not runner:
        return told(lambda: subprocess.run([program, *words], capture_output=True, text=True, timeout=seconds, check=False), seconds)
    return told(lambda: runner.run([program.name, *words], seconds), seconds)


def told(run, seconds):
    """The rows that a run of the program printed, and what went wrong or None."""
    try:
        done = run()
    except subprocess.TimeoutExpired:
        return {}, f"no end within {seconds} s"
    rows = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            entry = json.loads(line)
            rows[entry["row"]] = entry
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return rows, f"ended with status {done.returncode}: {last}"
    return rows, None


def measure(run, program, args):
    samples = {name: {} for name in run}
    failed = {}
    for _ in range(args.rounds):
        for name, runner in run.items():
            if name in failed:
                continue
            rows, fault = one_round(name, runner, program, args)
            for row, entry in rows.items():
                samples[name].setdefault(row, []).append(entry)
            if fault:
                failed[name] = fault
    if "vm" in run and "vm" not in failed:
        for row, entry in run["vm"].host_rows(args.timeout).items():
            samples["vm"][row] = [entry]
    return samples, failed


def text(value, unit):
    if value is None:
        return "-"
    return f"{value:.3g} {unit}" if value < 100 else f"{value:.0f} {unit}"


def table(samples):
    """Lines of the table and the same as data. The ratio is ours to native: time, or for GB/s, speed."""
    ours = [n for n in ("cuda", "cpu", "null", "vm") if samples.get(n)]
    columns = (["native"] if samples.get("native") else []) + ours
    lines = [f"{'what':30}" + "".join(f"{c:>14}" for c in columns) + f"{'ratio':>8}  goal (cuda backend, H100)"]
    data = []
    for row, what, goal, met in ROWS:
        value, unit = {}, ""
        for name in columns:
            entries = samples[name].get(row)
            if entries and not (name == "null" and entries[0]["unit"] == "GB/s"):  # null moves no bytes
                value[name] = statistics.median(e["value"] for e in entries)
                unit = entries[0]["unit"]
        native, cuda = value.get("native"), value.get("cuda")
        ratio = cuda / native if native and cuda is not None else None
        verdict = ""
        if met and cuda is not None:
            verdict = " met" if met(native, cuda) else " MISSED"
        lines.append(f"{what:30}" + "".join(f"{text(value.get(c), unit):>14}" for c in columns)
                     + (f"{ratio:8.2f}" if ratio is not None else f"{'-':>8}") + f"  {goal}{verdict}")
        data.append({"row": row, "what": what, "unit": unit, "values": value, "ratio": ratio, "goal": goal,
                     "met": met(native, cuda) if met and cuda is not None else None})
    return lines, data


def main():
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one round")
    parser.add_argument("--rounds", type=int, help="alternating rounds (5; quick: 1)")
    parser.add_argument("--only", action="append", choices=["native", "cuda", "cpu", "null", "vm"],
                        help="only these (may be given more than once)")
    parser.add_argument("--vm", action="store_true", help="in a virtual machine as well")
    parser.add_argument("--json", type=pathlib.Path, help="where all figures go (default: bench.json in the build folder)")
    parser.add_argument("--timeout", type=int, default=300, help="seconds for one program")
    args = parser.parse_args()
    args.rounds = args.rounds or (1 if args.quick else 5)
    build = pathlib.Path(os.environ.get("VGPU_BUILD", "build")).resolve()
    program = find(build, "bench/vgpu-bench-driver")
    if not program:
        print(f"no bench/vgpu-bench-driver in {build}: ./dev build makes it", file=sys.stderr)
        return 2
    run, skipped = configurations(build, (args.only or ["native", "cuda", "cpu", "null"]) + (["vm"] if args.vm else []))
    started = time.time()
    try:
        samples, failed = measure(run, program, args)
    finally:
        for runner in filter(None, run.values()):
            runner.close()
    lines, data = table(samples)
    print("\n".join(lines))
    # Where the cpu backend cannot start (no LLVM on this host), nothing was measured and nothing is wrong.
    if "cpu" in failed and not samples["cpu"]:
        skipped.append(("cpu", failed.pop("cpu")))
    if "vm" in run:
        print(run["vm"].told())
    for name, why in skipped:
        print(f"not run: {name}: {why}")
    for name, why in failed.items():
        print(f"failed: {name}: {why}")
    gpu = None
    if "native" in run and shutil.which("nvidia-smi"):
        asked = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                               capture_output=True, text=True, check=False)
        gpu = asked.stdout.strip() or None
    result = {"when": int(started), "seconds": round(time.time() - started, 1), "quick": args.quick,
              "rounds": args.rounds, "machine": platform.machine(), "processors": os.cpu_count(), "gpu": gpu, "vm": run["vm"].emulated if "vm" in run else None,
              "table": data, "samples": samples, "not_run": dict(skipped), "failed": failed}
    path = args.json or build / "bench.json"
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")
    print(f"all figures: {path}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
