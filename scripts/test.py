#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test that can run here and says what was skipped and why. The last line is
`N passed, N failed, N skipped`; the exit status is 1 when something failed or nothing ran."""
import argparse
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import xml.etree.ElementTree as ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
PYTEST_SUITES = {"integration": "tests/integration", "e2e": "tests/e2e", "cloudstack": "tests/cloudstack", "vm": "tests/vm",
                 "packages": "tests/packages"}
ONLY_ASKED = ("packages",)  # root, the network, minutes, and what ./dev package made
SIDE_BY_SIDE = ("integration", "e2e")


class Tally:
    def __init__(self):
        self.passed, self.failed, self.skipped = 0, [], []
        self.known = []  # faults of others' programs that a test met, and could go on

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.known += other.known

    def line(self):
        return f"{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped"


def run_unit(build, words, tally):
    """Meson's tests: cmocka programs speak TAP, so single test cases are counted."""
    log = build / "meson-logs" / "testlog.json"
    command = ["meson", "test", "-C", str(build), "--no-rebuild", "--print-errorlogs", "--quiet"]
    if "VGPU_SANITIZE" in os.environ:
        command += ["--timeout-multiplier", "4"]
    if words:
        listed = subprocess.run(["meson", "test", "-C", str(build), "--list"], capture_output=True, text=True,
                                check=False).stdout.split("\n")
        names = [n.split(" / ")[-1].strip() for n in listed if words in n]
        if not names:
            return
        command += names
    log.unlink(missing_ok=True)
    subprocess.run(command, cwd=ROOT, check=False)
    if not log.exists():
        return
    for text in log.read_text(encoding="utf-8").splitlines():
        count_unit(json.loads(text), tally)


def count_unit(entry, tally):
    name, result, out = entry["name"], entry["result"], entry.get("stdout") or ""
    cases = [line for line in out.splitlines() if line.startswith(("ok ", "not ok "))]
    good = [c for c in cases if c.startswith("ok ") and "# SKIP" not in c.upper()]
    bad = [c for c in cases if c.startswith("not ok ")]
    for c in cases:
        if c.startswith("ok ") and "# SKIP" in c.upper():
            tally.skipped.append((name, c))
    if result in ("OK", "EXPECTEDFAIL"):
        tally.passed += len(good) or (0 if cases else 1)
    elif result == "SKIP":
        tally.skipped.append((name, (out.strip().splitlines() or ["no reason given"])[-1]))
    else:
        tally.passed += len(good)
        tally.failed += [f"{name}: {c}" for c in bad] or [f"{name}: {result}"]


def run_pytest(suite, build, words, tally, more=(), out=None):
    """One of pytest's suites, its output to the file if there is one; an interpreter that ends early counts as a failure
    of the suite."""
    env = dict(os.environ, VGPU_BUILD=str(build), VGPU_SOURCE=str(ROOT))
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", PYTEST_SUITES[suite],
                   f"--junitxml={report}", *more] + (["-k", words] if words else [])
        code = subprocess.run(command, cwd=ROOT, env=env, stdout=out, stderr=out, check=False).returncode
        if code == 5:
            return
        if not report.exists():
            tally.failed.append(f"{suite}: pytest ended with {code}")
            return
        cases = list(ElementTree.parse(report).iter("testcase"))
    failures = 0
    for case in cases:
        name = f"{suite}: {case.get('classname')}.{case.get('name')}"
        skip = case.find("skipped")
        if skip is not None:
            tally.skipped.append((name, skip.get("message") or "no reason given"))
        elif case.find("failure") is not None or case.find("error") is not None:
            tally.failed.append(name)
            failures += 1
        else:
            tally.passed += 1
        tally.known += [(name, p.get("value")) for p in case.iter("property") if p.get("name") == "known fault"]
    if code not in (0, 1) or (code == 1 and not failures):
        tally.failed.append(f"{suite}: pytest ended with {code}")


def run_side_by_side(suites, build, words, tally):
    """They wait more than they compute: together they take little longer than the longest of them. What each prints comes
    in one piece."""
    os.environ.setdefault("VGPU_TEST_SLOWER", "2")
    tallies = [Tally() for _ in suites]
    with contextlib.ExitStack() as stack:
        outs = [stack.enter_context(tempfile.TemporaryFile("w+", errors="replace")) for _ in suites]
        threads = [threading.Thread(target=run_pytest, args=(suite, build, words, t, (), out))
                   for suite, t, out in zip(suites, tallies, outs)]
        for thread in threads:
            thread.start()
        for suite, thread, t, out in zip(suites, threads, tallies, outs):
            thread.join()
            out.seek(0)
            print(f"== {suite}\n{out.read()}", flush=True)
            tally.add(t)


def main():
    # A run in the background inherits an ignored SIGINT, and so would the programs under test, which cannot undo it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--sanitize", action="store_true")
    parser.add_argument("--only", choices=["unit", *PYTEST_SUITES], action="append")
    parser.add_argument("-k", dest="words", default="")
    parser.add_argument("--vm-long", action="store_true", help="the long set of tests in virtual machines")
    parser.add_argument("--vm-deaths", type=int, help="how many random deaths around virtual machines (6, long: 200)")
    args = parser.parse_args()
    more = {"vm": (["--long"] if args.vm_long else []) + ([f"--deaths={args.vm_deaths}"] if args.vm_deaths else [])}
    build, tally = pathlib.Path(args.build).resolve(), Tally()
    if args.sanitize:
        # A leak check at exit would count what the kernel frees with the process on purpose; one error ends a run.
        os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=0:abort_on_error=1:detect_stack_use_after_return=0")
        os.environ.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
        os.environ["VGPU_SANITIZE"] = "1"
    suites = args.only or ["unit", *(s for s in PYTEST_SUITES if s not in ONLY_ASKED)]
    if "unit" in suites:
        run_unit(build, args.words, tally)
    together = [suite for suite in SIDE_BY_SIDE if suite in suites]
    if len(together) > 1:
        run_side_by_side(together, build, args.words, tally)
    for suite in PYTEST_SUITES:
        if suite in suites and (suite not in together or len(together) == 1):
            run_pytest(suite, build, args.words, tally, more.get(suite, ()))
    for name, why in tally.skipped:
        print(f"skipped: {name}: {' '.join(why.split())[:160]}")
    for name, what in tally.known:
        print(f"known fault of others: {name}: {what}")
    for name in tally.failed:
        print(f"FAILED: {name}")
    print(tally.line())
    return 1 if tally.failed or not tally.passed else 0


sys.exit(main())
