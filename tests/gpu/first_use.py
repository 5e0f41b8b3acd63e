#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""First use of the GPU by a program (cuInit, primary context; then the first module and kernel): natively, through an
executor that is started for it, and through one that was started ahead (docs/decisions/0020). Needs a GPU, takes about
20 seconds. Prints a table, in milliseconds, and one JSON line."""
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/e2e"))
import stack  # noqa: E402  (found through the line above)

PROGRAM = r'''
import ctypes, json, time
cuda = ctypes.CDLL("libcuda.so.1")
def must(result, what):
    if result: raise SystemExit(f"{what}: {result}")
PTX = b".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry empty()\n{\n\tret;\n}\n\0"
context, module, function = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
times = [time.monotonic()]
def step(result, what):
    must(result, what)
    times.append(time.monotonic())
step(cuda.cuInit(0), "cuInit")
must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), "context")
must(cuda.cuCtxSetCurrent(context), "current")
step(cuda.cuCtxSynchronize(), "synchronise")
must(cuda.cuModuleLoadData(ctypes.byref(module), PTX), "module")
must(cuda.cuModuleGetFunction(ctypes.byref(function), module, b"empty"), "function")
must(cuda.cuLaunchKernel(function, 1, 1, 1, 1, 1, 1, 0, None, None, None), "launch")
step(cuda.cuCtxSynchronize(), "synchronise")
print(json.dumps([1e3 * (b - a) for a, b in zip(times, times[1:])]))
'''
ROUNDS = 5


def one(prefix=(), env=None):
    done = subprocess.run([*map(str, prefix), sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60,
                          check=False, env=env)
    if done.returncode:
        raise SystemExit(f"{prefix}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def waiting(mediator, count):
    until = time.monotonic() + 30
    while True:
        with open(mediator.log.name, encoding="utf-8", errors="replace") as f:
            if f.read().count("waits for a tenant") >= count:
                return
        if time.monotonic() > until:
            raise SystemExit(f"no executor is started ahead: {mediator.said()}")
        time.sleep(0.01)


def ours(warm):
    rounds = []
    settings = (f"executor.warm={warm}", "log.level=debug", *sys.argv[1:])
    with stack.Mediator(os.environ.get("VGPU_TEST_BACKEND", "cuda"), settings) as mediator:
        for i in range(ROUNDS):
            if warm:
                waiting(mediator, warm + i)
            rounds.append(one([stack.VGPU_RUN, "--socket", mediator.socket, "--"], stack.clean_environment()))
    return rounds


def main():
    rows = {"ours, started for it": ours(0), "ours, started ahead": ours(2)}
    if not stack.backend_missing("native"):
        rows = {"native": [one() for _ in range(ROUNDS)], **rows}
    table = {name: [statistics.median(step) for step in zip(*rounds)] for name, rounds in rows.items()}
    print(f"{'ms, median of ' + str(ROUNDS):26}{'cuInit':>10}{'context':>10}{'together':>10}{'first module + kernel':>24}")
    for name, (init, context, kernel) in table.items():
        print(f"{name:26}{init:10.1f}{context:10.1f}{init + context:10.1f}{kernel:24.1f}")
    first = table["ours, started ahead"]
    print(f"first use from an executor started ahead: {first[0] + first[1]:.1f} ms, goal 50 ms:",
          "met" if first[0] + first[1] <= 50 else "MISSED")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
