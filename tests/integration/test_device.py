# SPDX-License-Identifier: Apache-2.0
"""DEVICE: what a tenant is told about the card and about its own programs, and what a bad sensor, a greedy or a hostile
client can not do."""
import contextlib
import os
import pathlib
import signal
import struct
import tempfile
import time

import pytest
import vgpu

SENSOR = pathlib.Path(__file__).parent / "fake_sensor.py"
TEMPERATURE, TEMPERATURE_MOST, DRAW, POWER_MOST, UTILISATION, CARD_FREE = 27, 31, 35, 40, 68, 72
MEMORY_TOTAL, MEMORY_FREE, MEMORY_USED, BUSY, GPU_NS, COPY_BYTES, LAUNCHES, WEIGHT = range(77, 85)
UNKNOWN, IDENTITY, CARD, LOST = range(4)
ALL = 1  # LINK_DEVICE_CARD
PROCESS_BUSY, PROCESS_PID, PROCESS_STARTED = 1, 2, 4
GIB = 1 << 30


@contextlib.contextmanager
def with_sensor(how="ok", *settings, **kw):
    fast = ("sensor.interval=100ms", "sensor.pause=50ms", "sensor.start=5s", "sensor.answer=5s")
    words = [w for s in (f"paths.sensor={SENSOR}", *fast, *settings) for w in ("--set", s)]
    with vgpu.mediator(*words, env={"VGPU_FAKE_SENSOR": how}, **kw) as m:
        yield m


def sensors(m):
    return [p for p in m.executors() if b"fake_sensor" in pathlib.Path(f"/proc/{p}/cmdline").read_bytes()]


def wait_for(condition, seconds=5.0):
    """As vgpu.wait_for, for conditions that ask: a question has a limit in rate."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.03)


# ---- what is told ----

def test_the_card_and_nothing_of_what_others_do():
    with with_sensor() as m, m.connect() as c:
        d = c.device()
        assert (d.source, d.backend, d.name, d.total_memory) == (CARD, "cuda", "Fake card?", 80 * GIB)
        assert (d.uuid, d.driver_version, d.attribute_count) == (b"0123456789abcdef", 13000, 146)
        assert d.attributes == tuple(range(160))
        assert d.texts == ["580.159.04", "96.00", "", "", "", ""]
        assert d.values[TEMPERATURE] >= 40 and d.values[POWER_MOST] == 700000
        assert UTILISATION not in d.values and CARD_FREE not in d.values
        assert d.age_ns < 1e9 and d.processes == []
        # No program of this tenant uses the GPU: that much is known at once.
        assert (d.values[BUSY], d.values[MEMORY_USED], d.values[WEIGHT]) == (0, 0, 100)


def test_readings_are_renewed_while_somebody_asks():
    with with_sensor() as m, m.connect() as c:
        first = c.device().values[TEMPERATURE]
        wait_for(lambda: c.device().values[TEMPERATURE] > first + 3, 5)


def test_operators_may_see_the_whole_card():
    with with_sensor() as m, m.connect() as c:
        d = c.device(ALL)
        assert d.values[UTILISATION] == 93 and d.values[CARD_FREE] == 5 * GIB
        with vgpu.Client(c.tenant().path) as program:
            assert program.ask(vgpu.device(ALL)).code == vgpu.E_PERMISSION
            assert UTILISATION not in program.device().values


def test_memory_is_the_quota_or_the_card():
    with with_sensor() as m, m.connect() as c:
        with vgpu.Client(c.tenant(memory=2 * GIB).path) as small, vgpu.Client(c.tenant(name=b"u").path) as free:
            small.open().do(f"memory {GIB}")
            wait_for(lambda: small.device().values[MEMORY_USED] == GIB)
            v = small.device().values
            assert (v[MEMORY_TOTAL], v[MEMORY_FREE]) == (2 * GIB, GIB)
            assert small.device().total_memory == 2 * GIB
            v = free.device().values
            # As cuMemGetInfo: what the card has left, whoever took the rest.
            assert (v[MEMORY_TOTAL], v[MEMORY_FREE], v[MEMORY_USED]) == (80 * GIB, 5 * GIB, 0)


def test_rows_are_of_the_own_tenant():
    with with_sensor() as m, m.connect() as c:
        with vgpu.Client(c.tenant().path) as one, vgpu.Client(c.tenant(name=b"u").path) as other:
            before = time.time_ns() // 1000
            mine = [one.open(), one.open()]
            other.open()
            mine[0].do("memory 4096")
            mine[1].do("meters 5 6 7")
            wait_for(lambda: one.device().values[LAUNCHES] == 5)
            rows = {p.channel: p for p in one.device().processes}
            assert set(rows) == {ch.id for ch in mine}
            row = rows[mine[0].id]
            assert row.memory == 4096 and before <= row.started_us <= time.time_ns() // 1000
            assert row.valid & PROCESS_PID and row.pid == os.getpid()
            assert row.name.rstrip(b"\0").decode() == pathlib.Path("/proc/self/comm").read_text().strip()
            assert rows[mine[1].id].launches == 5
            d = other.device()
            assert len(d.processes) == 1 and d.values[LAUNCHES] == 0 and d.values[MEMORY_USED] == 0


def test_rows_of_many_programs():
    with with_sensor() as m, m.connect() as c:
        channels = {c.open().id for _ in range(60)}
        assert {p.channel for p in c.device().processes} == channels


def test_a_program_that_ended_is_no_row():
    with with_sensor() as m, m.connect() as c:
        with m.connect() as other:
            other.open()
            assert len(c.device().processes) == 1
        wait_for(lambda: not c.device().processes)


def test_busy_is_the_own_tenants():
    with with_sensor() as m, m.connect() as c:
        with vgpu.Client(c.tenant().path) as worker, vgpu.Client(c.tenant(name=b"u").path) as idler:
            worker.open().do("work 2000 0")
            idler.open()
            wait_for(lambda: worker.device().values[BUSY] > 5000, 10)
            d = worker.device()
            assert d.values[BUSY] <= 10000 and d.values[GPU_NS] > 0
            assert d.processes[0].valid & PROCESS_BUSY and d.processes[0].busy > 0 and d.processes[0].gpu_ns > 0
            d = idler.device()
            assert d.values[BUSY] == 0 and d.values[GPU_NS] == 0


def test_the_first_question_knows_the_use_already():
    with with_sensor() as m, m.connect() as c:
        c.open().do("work 2000 0")
        assert c.device().values[BUSY] >= 0


# ---- who asks, how much ----

def test_unknown_flags_end_the_connection():
    with with_sensor() as m, m.connect() as c:
        assert c.ask(vgpu.device(flags=2)).code == vgpu.E_PROTOCOL
        assert c.receive() is None
        assert not sensors(m)


def test_nobody_asks_no_sensor():
    with with_sensor() as m, m.connect() as c:
        c.open()
        c.status()
        assert not sensors(m)
        c.device()
        assert len(sensors(m)) == 1


def test_flood_is_refused_and_others_are_served():
    with with_sensor() as m, m.connect() as c, m.connect() as other:
        c.device()
        refused = answered = 0
        for i in range(300):
            answer = c.ask(vgpu.device(cookie=i))
            assert answer.cookie == i
            if answer.kind == vgpu.ERROR:
                assert answer.code == vgpu.E_LIMIT and "VGPU_MAX_DEVICE_ASKS_PER_S" in answer.text
                refused += 1
            else:
                assert c.receive().kind == vgpu.DEVICE_ROWS
                answered += 1
        assert refused and answered >= 99
        assert other.device().source == CARD


def test_one_question_at_a_time():
    with with_sensor("silent", "sensor.start=1s") as m, m.connect() as c, m.connect() as other:
        c.send(vgpu.device(cookie=1))
        answer = c.ask(vgpu.device(cookie=2))
        assert (answer.kind, answer.code, answer.cookie) == (vgpu.ERROR, vgpu.E_LIMIT, 2)
        assert other.open()  # nobody waits for the sensor but who asked
        other.send(vgpu.device())
        other.close()  # nor is anybody answered who is gone
        answer = c.receive()
        assert (answer.kind, answer.cookie, answer.source) == (vgpu.DEVICE_STATE, 1, UNKNOWN)


def test_many_answers_for_a_client_that_does_not_read():
    with with_sensor() as m, m.connect() as c, m.connect() as other:
        c.device()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for _ in range(2000):
                c.send(vgpu.device())
        assert other.device().source == CARD


# ---- sensors that are none ----

@pytest.mark.parametrize("how", ["silent", "garbage", "exit"])
def test_a_sensor_that_does_not_start_tells_nothing(how):
    with with_sensor(how, "sensor.start=300ms") as m, m.connect() as c:
        d = c.device()
        assert (d.source, d.name, d.total_memory) == (UNKNOWN, "", 0)
        assert TEMPERATURE not in d.values and MEMORY_TOTAL not in d.values and d.values[WEIGHT] == 100
        assert c.open()
        assert "sensor" in m.log()


@pytest.mark.parametrize("how", ["mute", "crash", "hangup"])
def test_a_sensor_that_fails_later_leaves_the_identity(how):
    with with_sensor(how, "sensor.answer=300ms") as m, m.connect() as c:
        d = c.device()
        assert (d.source, d.name) == (IDENTITY, "Fake card?")
        assert TEMPERATURE not in d.values and MEMORY_FREE not in d.values and d.values[MEMORY_TOTAL] == 80 * GIB


def test_a_sensor_that_talks_unasked_is_replaced():
    with with_sensor("twice") as m, m.connect() as c:
        assert c.device().source == CARD
        wait_for(lambda: "it broke the protocol" in m.log())
        wait_for(lambda: c.device() and m.log().count("fds ") > 1)


def test_a_program_that_cannot_be_started():
    with with_sensor("ok", "paths.sensor=/nonexistent/sensor") as m, m.connect() as c:
        assert c.device().source == UNKNOWN
        assert "cannot start the program" in m.log()


def test_starts_are_spaced_out():
    with with_sensor("exit", "sensor.pause=200ms") as m, m.connect() as c:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            c.device()
            time.sleep(0.02)
        # Starts at 0, 0.2, 0.6 and 1.4 s at the earliest.
        assert 2 <= m.log().count("exited with status 3: ") <= 4


def test_identity_only_needs_no_process():
    with with_sensor("identity") as m, m.connect() as c:
        d = c.device()
        assert (d.source, d.name, d.values.get(TEMPERATURE)) == (IDENTITY, "Fake card?", None)
        vgpu.wait_for(lambda: not sensors(m))
        for _ in range(5):
            assert c.device().source == IDENTITY
        assert not sensors(m) and m.log().count("fds ") == 1


def test_a_lost_card():
    with with_sensor("lost") as m, m.connect() as c:
        d = c.device()
        assert (d.source, d.name) == (LOST, "Fake card?")
        assert TEMPERATURE not in d.values


def test_numbers_that_cannot_be_are_dropped():
    with with_sensor("wild") as m, m.connect() as c:
        d = c.device(ALL)
        assert d.source == CARD and TEMPERATURE not in d.values and 127 not in d.values
        assert d.values[MEMORY_USED] == 0 and d.values[BUSY] == 0 and d.values[DRAW] == 350000


def test_a_killed_sensors_readings_grow_old_and_come_back():
    with with_sensor("ok", "sensor.pause=5s") as m, m.connect() as c:
        assert TEMPERATURE in c.device().values
        os.kill(sensors(m)[0], signal.SIGKILL)
        wait_for(lambda: TEMPERATURE not in c.device().values, 10)
        d = c.device()
        assert d.source == CARD and d.age_ns > 3e9
        assert d.values[POWER_MOST] == 700000  # the card is still the same
        wait_for(lambda: TEMPERATURE in c.device().values, 20)
        assert c.device().age_ns < 3e9


def test_a_hung_sensor_is_replaced():
    with with_sensor("ok", "sensor.answer=200ms") as m, m.connect() as c:
        c.device()
        first = sensors(m)[0]
        os.kill(first, signal.SIGSTOP)
        wait_for(lambda: c.device() and sensors(m) not in ([], [first]), 10)
        assert c.device().source == CARD


def test_it_inherits_the_link_and_nothing_else():
    with with_sensor() as m, m.connect() as c:
        c.open()
        c.device()
        vgpu.wait_for(lambda: "fds " in m.log())
        assert "fds 0 1 2 3\n" in m.log()


def test_it_ends_with_the_mediator():
    with with_sensor() as m, m.connect() as c:
        c.device()
        pid = sensors(m)[0]
    vgpu.wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_a_mediator_that_is_killed_takes_it_along():
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        m = vgpu.Mediator(directory, "--set", f"paths.sensor={SENSOR}")
        with m.connect() as c:
            c.device()
        pid = sensors(m)[0]
        m.process.kill()
        m.process.wait()
        vgpu.wait_for(lambda: not os.path.exists(f"/proc/{pid}"))


def test_random_device_packets_do_no_harm():
    with with_sensor() as m, m.connect() as other:
        for flags in (1, 1 << 1, 1 << 31, 1 << 32, 1 << 63, (1 << 64) - 1):
            for packet in (vgpu.device(flags), vgpu.device(flags)[:-1], vgpu.device(flags) + b"\0",
                           vgpu.header(vgpu.DEVICE, 16), vgpu.header(0x0207, 24) + struct.pack("<Q", flags),
                           vgpu.header(0x0601, 968) + bytes(952), vgpu.header(0x0602, 1432) + bytes(1416)):
                with m.connect() as c:
                    answer = c.ask(packet)
                    assert (answer.kind == vgpu.DEVICE_STATE) == (packet == vgpu.device(1))
        assert other.device().source == CARD
