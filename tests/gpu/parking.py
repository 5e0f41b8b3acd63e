#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Parking on a real card (docs/decisions/0021): tenants that together want 2.4 times what the device is said to have
(gpu.memory, so that little of the card is used) take turns, and every byte is checked; then how fast memory goes out
and comes back. Needs a GPU, takes under a minute.

usage: parking.py [GIB] [--set section.key=value ...]   GIB: what the device is said to have (4)"""
import json
import os
import re
import subprocess
import sys
import time

import pathlib

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tests/e2e"))
import stack  # noqa: E402  (found through the line above)

BACKEND = os.environ.get("VGPU_TEST_BACKEND", "cuda")
SETTINGS = ("park.idle=100ms", "park.residence=200ms", "park.patience=200ms", "park.wait=25s", "log.level=debug",
            "executor.warm=0")
# A tenant that holds memory, says how long its first call after a pause takes, again and again, until stdin ends.
HOLDER = r'''
import ctypes, sys, time
cuda = ctypes.CDLL("libcuda.so.1")
def must(result, what):
    if result: raise SystemExit(f"{what}: {result}")
context, at = ctypes.c_void_p(), ctypes.c_uint64()
must(cuda.cuInit(0), "cuInit")
must(cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0), "context")
must(cuda.cuCtxSetCurrent(context), "current")
size = int(sys.argv[1])
must(cuda.cuMemAlloc_v2(ctypes.byref(at), ctypes.c_size_t(size)), "allocate")
must(cuda.cuMemsetD32_v2(at, ctypes.c_uint(int(sys.argv[2])), ctypes.c_size_t(size // 4)), "set")
must(cuda.cuCtxSynchronize(), "synchronise")
print("ready", flush=True)
for line in sys.stdin:
    word = ctypes.c_uint32()
    since = time.monotonic()
    must(cuda.cuMemcpyDtoH_v2(ctypes.byref(word), ctypes.c_uint64(at.value + size - 4), ctypes.c_size_t(4)), "copy")
    print(time.monotonic() - since, word.value == int(sys.argv[2]), flush=True)
'''


def said(mediator):
    with open(mediator.log.name, encoding="utf-8", errors="replace") as f:
        return f.read()


def parkings(text):
    return sum(1 for n in re.findall(r"channel \d+: (\d+) of \d+ bytes parked", text) if int(n))


def overcommit(gib, settings):
    """Four tenants of 60 %: all right?"""
    with stack.Mediator(BACKEND, (f"gpu.memory={int(gib * 1024)}M", *settings)) as mediator:
        started = time.monotonic()
        mib = int(gib * 1024 * 0.6)
        clients = [mediator.client("parked", str(mib), "2", "400") for _ in range(4)]
        wrong = []
        for client in clients:
            status = client.wait(120)
            if status or client.lines[-1] != "right":
                wrong.append((status, client.lines[-3:]))
        text = said(mediator)
        print(f"4 tenants of {mib} MiB on {gib} GiB: {'all right' if not wrong else wrong}, {parkings(text)} times parked, "
              f"{time.monotonic() - started:.1f} s")
        return not wrong and parkings(text) > 0


def speed(gib, settings):
    """Two tenants of 75 %, one after the other: each call needs the other's memory to go out and its own to come in."""
    size = int(gib * 0.75 * 2**30) // 2**21 * 2**21
    with stack.Mediator(BACKEND, (f"gpu.memory={int(gib * 1024)}M", *settings)) as mediator:
        env = stack.clean_environment()
        holders = []
        for value in (111, 222):
            holders.append(subprocess.Popen(
                [stack.VGPU_RUN, "--socket", mediator.socket, "--", sys.executable, "-c", HOLDER, str(size), str(value)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env))
            if holders[-1].stdout.readline().strip() != "ready":
                raise SystemExit(f"a holder does not start: {mediator.said()}")
            time.sleep(0.3)
        times, right = [], True
        for turn in range(6):
            h = holders[turn % 2]
            h.stdin.write("go\n")
            h.stdin.flush()
            answer = h.stdout.readline().split()
            times.append(float(answer[0]))
            right = right and answer[1] == "True"
            time.sleep(0.5)
        for h in holders:
            h.stdin.close()
            h.wait(20)
        moved = re.findall(r"(parked|came back): (\d+) of \d+ bytes in (\d+) us", said(mediator))
    rates = {"parked": [], "came back": []}
    for what, size_of, us in moved:
        if int(us):
            rates[what].append(int(size_of) / int(us) / 1e3)
    print(f"one call that swaps {size / 2**30:.2f} GiB out and in: {min(times):.2f} to {max(times):.2f} s; contents "
          f"{'right' if right else 'WRONG'}")
    for what, values in rates.items():
        if values:
            print(f"{what}: {min(values):.1f} to {max(values):.1f} GB/s")
    print(json.dumps({"swap_s": times, "GB/s": rates, "right": right}))
    return right


def main():
    arguments = sys.argv[1:]
    settings = SETTINGS
    while "--set" in arguments:
        i = arguments.index("--set")
        settings += (arguments[i + 1],)
        del arguments[i:i + 2]
    gib = float(arguments[0]) if arguments else 4
    gib = int(gib) if gib == int(gib) else gib
    good = speed(gib, settings)
    good = overcommit(gib, settings) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
