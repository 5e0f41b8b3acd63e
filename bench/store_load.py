#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the data path notices of bookkeeping: 100 virtual machines at work, with a store that is told 1,000 rows of usage a
second and without one, alternating in one run (`bench/store_load.py`).

The machines are VMs of the inventory with a vGPU each; their programs launch a few times a second on the null backend, so
each of them has something to book at each flush. Beside them one program measures as bench.py does. Printed for each row: the
medians of all runs without and with the store and their ratio, and the same of the best run (a wait takes either one
microsecond or a wake-up, whichever way a short run happens to fall); then how many rows a second were booked, and the
longest step of the mediator's loop."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests" / "e2e"), str(ROOT / "tests" / "integration")]
import api  # noqa: E402
import stack  # noqa: E402

DRIVER = stack.BUILD / "bench" / "vgpu-bench-driver"


class Stored(stack.Mediator):
    def own_settings(self):
        return (f"store.path={self.folder}/store.db",)


def start_machines(mediator, count):
    """A program in each of so many VMs with a vGPU; all of them are at work."""
    programs = []
    with api.Api(api.UnixConnection(os.path.join(mediator.folder, "run", "api.sock"))) as a:
        a.do("POST", "/v1/profiles", {"profile": "bench", "memory": "64M"})
        for i in range(count):
            vm = str(uuid.uuid4())
            a.do("POST", "/v1/vms", {"vm": vm, "name": f"vm{i}"})
            vgpu = a.do("POST", "/v1/vgpus", {"profile": "bench"})["vgpu"]
            socket = a.do("PUT", f"/v1/vgpus/{vgpu}/vm", {"vm": vm})["socket"]
            programs.append(stack.Client([stack.PROGRAMS / "worker", "paced", "90"],
                                         {**stack.clean_environment("null"), "VGPU_SOCKET": socket,
                                          "LD_LIBRARY_PATH": str(stack.LIBCUDA.parent)}))
    for program in programs:
        program.wait_line("ready", 120)
    return programs


def metric(mediator, name):
    with api.Api(api.UnixConnection(os.path.join(mediator.folder, "run", "api.sock"))) as a:
        for line in a.ask("GET", "/metrics").raw.decode().splitlines():
            if line.startswith(name):
                return float(line.split()[-1])
    return None


def longest_step(mediator):
    """Seconds: the bound of the histogram's last bucket that has anything."""
    with api.Api(api.UnixConnection(os.path.join(mediator.folder, "run", "api.sock"))) as a:
        text = a.ask("GET", "/metrics").raw.decode()
    buckets = [line for line in text.splitlines() if line.startswith("vgpu_mediator_loop_step_seconds_bucket")]
    counts = [(line.split('le="')[1].split('"')[0], int(line.split()[-1])) for line in buckets]
    return next(bound for bound, count in counts if count == counts[-1][1])


def run(machines, with_store):
    """{row: (unit, value)} of the measuring program, rows booked a second."""
    settings = [f"capacity.vgpus={machines}", "capacity.overcommit=1000", "store.flush=100ms"]
    with (Stored if with_store else stack.Mediator)("null", settings) as m:
        programs = start_machines(m, machines)
        began, before = time.monotonic(), metric(m, "vgpu_store_transactions_total")
        said = subprocess.run([DRIVER, "--quick"], check=True, capture_output=True, text=True,
                              env={**stack.clean_environment("null"), "VGPU_SOCKET": m.socket,
                                   "LD_LIBRARY_PATH": str(stack.LIBCUDA.parent)}).stdout
        seconds, after = time.monotonic() - began, metric(m, "vgpu_store_transactions_total")
        step = longest_step(m)
        for program in programs:
            program.close()
    rows = {row["row"]: (row["unit"], row["value"]) for row in map(json.loads, said.splitlines())}
    return rows, (after - before) * machines / seconds if with_store else 0.0, step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=10, help="of each kind, alternating")
    options = parser.parse_args()
    kinds = {False: [], True: []}
    for _ in range(options.rounds):
        for with_store in kinds:
            kinds[with_store].append(run(options.machines, with_store))
    print(f"{options.machines} machines, {options.rounds} rounds of each kind, null backend\n")
    print(f"{'':<24}{'median':>12}{'':>12}{'':>8}{'best':>12}\n{'row':<24}" + f"{'without':>12}{'with store':>12}{'ratio':>8}" * 2)
    for row, (unit, _) in kinds[False][0][0].items():
        print(f"{row + ', ' + unit:<24}", end="")
        for figure in (statistics.median, max if unit == "GB/s" else min):
            without, with_store = (figure([r[row][1] for r, _, _ in kinds[k] if row in r]) for k in (False, True))
            print(f"{without:>12.4g}{with_store:>12.4g}{with_store / without:>8.2f}", end="")
        print()
    print(f"\nbooked: {statistics.median(rate for _, rate, _ in kinds[True]):.0f} rows/s; "
          f"longest step of the loop, s: without {', '.join(s for *_, s in kinds[False])}; "
          f"with {', '.join(s for *_, s in kinds[True])}")


main()
