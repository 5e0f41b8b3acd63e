# SPDX-License-Identifier: Apache-2.0
"""Deaths at random moments of whoever takes part: a program in the guest, its executor, the guest itself (it reboots, or is
reset), QEMU, the stub, the mediator. What is left goes on or ends as it should, the neighbour computes on (but for the
mediator's death), nothing stays behind, and the vgpu is usable again at once.

What died how often, and how it ended, is at the end of pytest's report. --seed repeats a run's moments."""
import collections
import contextlib
import os
import random
import re
import signal
import subprocess
import time

import machine
import pytest
from machine import stack, wait_for

# QEMU 11.1's own bug: seen when the stub goes while the guest writes a register. Its error handling tries to report a
# second error over a first one. Nothing else that ends QEMU is excused; how often this did is counted and told.
QEMU_ABORT = re.compile(r"^qemu-system-x86_64: \S*util/error\.c:\d+: error_setv: Assertion `\*errp == NULL' failed\.$", re.M)


def is_qemus_own_abort(status, said):
    """status: QEMU's, None while it runs; said: what it wrote."""
    return status == -signal.SIGABRT and bool(QEMU_ABORT.search(said))


ASSERTION = "qemu-system-x86_64: ../util/error.c:68: error_setv: Assertion `*errp == NULL' failed."


@pytest.mark.parametrize("status, said, excused", [
    (-signal.SIGABRT, f"warning: something\n{ASSERTION}\n", True),
    (-signal.SIGABRT, ASSERTION.replace("util/error.c", "hw/vfio/region.c"), False),
    (-signal.SIGABRT, ASSERTION.replace("*errp == NULL", "errp"), False),
    (-signal.SIGABRT, f"the guest says: {ASSERTION}", False),
    (-signal.SIGABRT, "", False),
    (-signal.SIGSEGV, ASSERTION, False),
    (1, ASSERTION, False),
    (None, ASSERTION, False),
])
def test_only_that_abort_is_excused(status, said, excused):
    assert is_qemus_own_abort(status, said) == excused


def pytest_generate_tests(metafunc):
    if "turn" in metafunc.fixturenames:
        config = metafunc.config
        count = config.getoption("--deaths") or (200 if config.getoption("--long") else len(DEATHS))
        metafunc.parametrize("turn", range(count))


class Field:
    """A mediator with a machine to die in and a neighbour; what is broken is made anew for the next turn."""

    def __init__(self):
        self.mediator = self.victim = self.neighbour = None

    def ready(self):
        if not self.mediator or not self.mediator.alive():
            self.close()
            # An executor that was killed is a strike against its tenant, and is none of the tenant's doing here.
            self.mediator = stack.Mediator("cpu", ["strikes.most=0", "adopt.wait=500ms"]).__enter__()
        if not self.neighbour:
            self.neighbour = machine.Machine(self.mediator, memory="384M")
        if not self.victim or not (self.victim.guest.alive() and self.victim.stub.alive()):
            if self.victim:
                self.victim.close()
            self.victim = machine.Machine(self.mediator, memory="384M")

    def close(self):
        for part in (self.victim, self.neighbour, self.mediator):
            if part:
                part.close()
        self.mediator = self.victim = self.neighbour = None


@pytest.fixture(scope="module")
def field(device):
    made = Field()
    yield made
    made.close()


class Turn:
    """Two programs in the victim's guest and one beside it; what there was before they began."""

    def __init__(self, field, rng):
        self.rng, self.field = rng, field
        self.mediator, self.victim, self.neighbour = field.mediator, field.victim, field.neighbour
        self.beside = self.neighbour.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
        self.beside.wait_line("ready", 60)
        self.known = self.mediator.executors()
        self.fds = machine.fds_of(self.mediator.pid), machine.fds_of(self.victim.stub.pid)
        self.programs = [self.victim.guest.start("worker loop", VGPU_TEST_BACKEND="cpu") for _ in range(2)]
        time.sleep(rng.uniform(0, 3))

    def victims_executors(self):
        return [pid for pid in self.mediator.executors() if pid not in self.known]

    def wait_no_executor(self):
        wait_for(lambda: not self.victims_executors(), 10, lambda: f"no executor left: {self.mediator.said()}")

    def programs_have_failed(self):
        for program in self.programs:
            assert program.wait(60).status not in (0, "timeout"), program.result().told()

    def victim_is_as_before(self):
        """Once nothing runs in it any more."""
        self.wait_no_executor()
        self.victim.works()
        stub = self.victim.stub.pid
        wait_for(lambda: machine.fds_of(stub) <= self.fds[1], 10, lambda: f"the stub has {machine.fds_of(stub)} fds, had {self.fds[1]}")

    def end_programs(self):
        for program in self.programs:
            program.kill()
        for program in self.programs:
            program.wait(60)

    def neighbour_is_undisturbed(self):
        assert self.beside.status is None, self.beside.result().told()
        self.neighbour.works()
        self.beside.kill()
        self.beside.wait()
        self.mediator.wait_executors(0, 10)
        pid = self.mediator.pid
        wait_for(lambda: machine.fds_of(pid) <= self.fds[0], 10, lambda: f"the mediator has {machine.fds_of(pid)} fds, had {self.fds[0]}")


def program_dies(turn):
    turn.rng.choice(turn.programs).kill()
    turn.end_programs()
    turn.victim_is_as_before()


def executor_dies(turn):
    mine = turn.victims_executors()
    if mine:  # else it was before the programs had any
        os.kill(turn.rng.choice(mine), signal.SIGKILL)
    turn.end_programs()
    turn.victim_is_as_before()


def guest_reboots(turn):
    guest, count = turn.victim.guest, turn.victim.guest.boots
    if turn.rng.random() < 0.5:
        guest.start("reboot -f")
    else:
        guest.qmp("system_reset")
    guest.wait_boot(count + 1)
    turn.victim_is_as_before()


def qemu_dies(turn):
    turn.victim.guest.kill()
    turn.wait_no_executor()
    assert turn.victim.stub.alive(), turn.victim.said()


def stub_dies(turn):
    """The guest goes on without its vgpu. True: QEMU did not, in the one way that is known."""
    turn.victim.stub.kill()
    turn.wait_no_executor()
    try:
        turn.programs_have_failed()
        assert turn.victim.guest.check("echo alive") == "alive\n"
    except AssertionError:
        guest = turn.victim.guest
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may be ending just now
            guest.child.wait(5)
        if not is_qemus_own_abort(guest.child.poll(), guest.qemu_said()):
            raise
        return True
    return False


def mediator_dies(turn):
    mine = turn.victims_executors()
    turn.mediator.child.kill()
    turn.mediator.child.wait()
    wait_for(lambda: not any(os.path.exists(f"/proc/{pid}/fd/0") for pid in mine + turn.known), 10, "the executors' end")
    turn.programs_have_failed()
    assert turn.beside.wait(60).status not in (0, "timeout"), turn.beside.result().told()
    assert turn.victim.guest.alive() and turn.victim.stub.alive(), turn.victim.said()


DEATHS = {"program": program_dies, "executor": executor_dies, "reboot": guest_reboots, "qemu": qemu_dies, "stub": stub_dies,
          "mediator": mediator_dies}


@pytest.fixture(scope="module")
def tally(request):
    """{who: Counter of results}; conftest.py prints it."""
    return request.config.stash.setdefault(machine.TALLY, collections.defaultdict(collections.Counter))


def test_death(field, tally, turn, pytestconfig, record_property):
    who = list(DEATHS)[turn % len(DEATHS)]
    field.ready()
    result = "failed"
    try:
        run = Turn(field, random.Random(f"{pytestconfig.getoption('--seed')} {turn}"))
        qemu_aborted = DEATHS[who](run)
        if who != "mediator":
            run.neighbour_is_undisturbed()
        result = "QEMU aborted" if qemu_aborted else "passed"
    except BaseException:
        field.close()  # whatever it is in: the next turn begins anew
        raise
    finally:
        tally[who][result] += 1
    if qemu_aborted:
        # All that is ours was as it should be. scripts/test.py prints this.
        record_property("known fault", f"QEMU aborted by itself when its vfio-user server went ({tally[who][result]} of "
                                       f"{sum(tally[who].values())} such deaths)")
