# SPDX-License-Identifier: Apache-2.0
"""The mediator is restarted and killed while programs compute in a guest: they notice nothing."""
import random
import time

import machine
from machine import stack
from mortal import Mortal

HOWS = ["kill", "restart", "leave"]


def test_a_guests_programs_go_on(device):
    with Mortal("cpu") as mediator:
        mediator.ready(1)
        with machine.Machine(mediator, memory="384M") as m:
            steady = [m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu") for _ in range(2)]
            for program in steady:
                program.wait_line("ready", 60)
            executors = set(mediator.executors())
            assert len(executors) == 2
            for turn in range(9):
                early = m.guest.start("worker turns 20", VGPU_TEST_BACKEND="cpu")
                time.sleep(random.uniform(0, 1))
                mediator.replace(HOWS[turn % len(HOWS)])
                result = early.wait(90)
                assert result.status == 0, (result.told(), mediator.said())
            for program in steady:
                assert program.status is None, program.result().told()
            assert executors <= set(mediator.executors())
            m.works()
            for program in steady:
                program.kill()
                program.wait()
        mediator.wait_executors(0, 10)


def test_without_a_next_one_programs_get_errors(device):
    with Mortal("cpu", ["adopt.wait=500ms"]) as mediator:
        mediator.ready(1)
        with machine.Machine(mediator, memory="384M") as m:
            program = m.guest.start("worker loop", VGPU_TEST_BACKEND="cpu")
            program.wait_line("ready", 60)
            mediator.child.kill()
            mediator.child.wait()
            assert program.wait(60).status not in (0, "timeout"), program.result().told()
            assert m.guest.alive() and m.stub.alive(), m.said()
