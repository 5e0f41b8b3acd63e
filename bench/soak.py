#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tenants that come and go, with faults among them, for as long as is asked (`bench/soak.py --minutes 20`).

Random tenants with random weights and quotas run checked work for a while; every few seconds one of them does something
wrong (tests/e2e/storm.py). It ends with status 1 when a result was wrong, when a neighbour of a fault noticed anything,
or when the mediator or the stub has more open files or memory at the end than after the first fifth of the time, beyond
--growth. A day's events in 20 minutes: each tenant lives for seconds where real ones live for minutes.
"""
import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
import stack  # noqa: E402
import storm  # noqa: E402

STUB = stack.BUILD / "stub" / "vgpu-stub"


class Watched:
    """What a process holds, over time."""

    def __init__(self, name, pid):
        self.name, self.pid, self.samples = name, pid, []

    def sample(self):
        self.samples.append((storm.open_fds(self.pid), storm.resident_kib(self.pid)))

    def early(self):
        return self.samples[max(0, len(self.samples) // 5 - 1)]


class Soak:
    def __init__(self, mediator, options):
        self.mediator, self.options = mediator, options
        self.rng = random.Random(options.seed)
        self.tenants, self.faults = [], {}
        self.came = self.rounds = self.number = 0

    def come(self):
        self.number += 1
        options = ["--name", f"t{self.number}", "--weight", str(self.rng.choice([10, 50, 100, 200, 1000])),
                   "--memory", self.rng.choice(["16M", "64M", "256M", "1G"])]
        client = self.mediator.client("worker", "paced", str(self.rng.choice([0, 2, 10, 50])), options=options)
        self.tenants.append((client, time.monotonic() + self.rng.uniform(2, 30)))
        self.came += 1

    def go(self, client):
        """Ends one in order, or as a process that is killed."""
        client.wait_line("ready", 120)
        if self.rng.random() < 0.3:
            client.kill()
            client.wait(60)
        else:
            for pid in storm.children(client.pid):
                os.kill(pid, signal.SIGTERM)
            assert client.wait(60) == 0, client.lines
            self.rounds += int(client.wait_line("right").split()[1])
        storm.forget(self.mediator, client)

    def step(self):
        now = time.monotonic()
        for entry in [t for t in self.tenants if t[1] <= now]:
            self.tenants.remove(entry)
            self.go(entry[0])
        while len(self.tenants) < self.options.tenants:
            self.come()
        for client, _ in self.tenants:
            assert client.child.poll() is None, f"a tenant ended that did nothing wrong: {client.lines}"

    def fault(self):
        kind = self.rng.choice(storm.kinds_for(self.mediator.backend))
        holder = len(self.mediator.clients)
        env = storm.bad_tenant(self.mediator, f"bad{self.number}")
        storm.forget(self.mediator, kind(self.mediator, env, self.rng))
        storm.forget(self.mediator, self.mediator.clients[holder])
        self.faults[kind.__name__] = self.faults.get(kind.__name__, 0) + 1

    def empty(self):
        for client, _ in self.tenants:
            self.go(client)
        self.tenants = []
        self.mediator.wait_executors(self.spare, 30)


def start_stub(mediator):
    """A stub beside them: it keeps its connection to the mediator. None where it is not built."""
    if not STUB.exists():
        return None
    command = [STUB, "--socket", f"{mediator.folder}/vm.sock", "--tenant-socket", mediator.socket]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=mediator.log, stderr=mediator.log)
    time.sleep(0.5)
    if child.poll() is not None:
        print(f"the stub does not start (status {child.returncode}); only the mediator is watched")
        return None
    return child


def judge(watched, growth_kib):
    """Lines on what grew too much."""
    found = []
    for w in watched:
        (fds, kib), (fds_now, kib_now) = w.early(), w.samples[-1]
        print(f"{w.name}: {fds} fds and {kib} KiB after a fifth of the time, {fds_now} and {kib_now} at the end")
        if fds_now > fds:
            found.append(f"{w.name} has {fds_now - fds} more files open")
        if kib_now - kib > growth_kib:
            found.append(f"{w.name} has grown by {kib_now - kib} KiB")
    return found


def run(options):
    settings = [*storm.SETTINGS, *options.set]
    with stack.Mediator(options.backend, settings) as mediator:
        stub = start_stub(mediator)
        watched = [Watched("mediator", mediator.pid)] + ([Watched("stub", stub.pid)] if stub else [])
        soak = Soak(mediator, options)
        storm.settled_fds(mediator.pid)
        soak.spare = len(mediator.executors())
        try:
            end = time.monotonic() + options.minutes * 60
            period = max(5.0, options.minutes * 60 / 20)
            while time.monotonic() < end:
                quiet = min(end, time.monotonic() + period)
                while time.monotonic() < quiet:
                    soak.step()
                    if soak.rng.random() < 0.3:
                        soak.fault()
                    time.sleep(0.2)
                # All gone: then what is held is what was not given back.
                soak.empty()
                storm.settled_fds(mediator.pid)
                for w in watched:
                    w.sample()
                fds, kib = watched[0].samples[-1]
                print(f"{soak.came} tenants, {sum(soak.faults.values())} faults, {soak.rounds} checked rounds: mediator "
                      f"{fds} fds, {kib} KiB", flush=True)
            assert mediator.alive() and (not stub or stub.poll() is None), mediator.said()
        finally:
            if stub and stub.poll() is None:
                stub.terminate()
                stub.wait(10)
        print("faults:", soak.faults)
        return judge(watched, options.growth)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--backend", default="cpu", choices=["cpu", "null"])
    parser.add_argument("--tenants", type=int, default=8, help="at one time")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--growth", type=int, default=1024, metavar="KIB", help="memory that may be more at the end")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="settings of the mediator")
    options = parser.parse_args()
    why = stack.missing() or stack.backend_missing(options.backend)
    if why:
        print(why)
        return 77
    print(f"seed {options.seed}, {options.minutes} minutes, backend {options.backend}", flush=True)
    found = run(options)
    for line in found:
        print("GROWN:", line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
