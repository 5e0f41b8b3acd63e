# SPDX-License-Identifier: Apache-2.0
"""The watch: work that hangs, strikes and quarantine, the card's health. Executors and the sensor are fakes; the rules
themselves are tested in simulated time (tests/unit/mediator/test_watch.c)."""
import contextlib
import signal
import time

import pytest

import control
import vgpu
from test_device import SENSOR

EAGER = ("--set", "watch.work=200 ms")
STRICT = ("--set", "strikes.most=3", "--set", "strikes.quarantine=600 s")


def lost(client, timeout=5):
    message = client.receive(timeout)
    assert message.kind == vgpu.CHANNEL_LOST, (message.kind, getattr(message, "text", ""))
    return message


def offend(m, path, line, code):
    """One channel of a tenant that ends by doing what the line says."""
    with vgpu.Client(path) as client:
        channel = client.open()
        channel.do(line)
        message = lost(client)
        assert message.code == code, message.text
        channel.close()
    return message


# ---- work

def test_work_that_hangs_is_ended_though_nobody_waits():
    with vgpu.mediator(*EAGER) as m, m.connect() as operator, m.connect() as client:
        channel = client.open()
        channel.do("hang")
        message = lost(client)
        assert message.code == vgpu.E_WATCHDOG and "watch.work" in message.text
        vgpu.wait_for(lambda: not m.executors())
        assert client.open()  # a hang is one strike, no more
        assert operator.status()[client.greeting.tenant].channels == 1


def test_work_that_goes_on_is_not_ended():
    with vgpu.mediator(*EAGER) as m, m.connect() as client:
        channel = client.open()
        channel.do("creep 20")
        with pytest.raises(TimeoutError):
            client.receive(timeout=1)
        assert m.executors()


def test_without_a_limit_a_program_that_is_alone_may_take_its_time():
    with vgpu.mediator() as m, m.connect() as client:
        client.open().do("hang")
        with pytest.raises(TimeoutError):
            client.receive(timeout=1.5)
        assert m.executors()


def test_other_tenants_do_not_notice():
    with vgpu.mediator(*EAGER) as m, m.connect() as operator:
        places = [operator.tenant(name=b"t%d" % i) for i in range(2)]
        good, bad = (vgpu.Client(p.path) for p in places)
        worker = good.open()
        worker.do("work 200 0")
        hung = bad.open()
        hung.do("hang")
        assert lost(bad).code == vgpu.E_WATCHDOG
        launches = operator.status()[places[0].tenant].launches
        vgpu.wait_for(lambda: operator.status()[places[0].tenant].launches > launches + 100)


# ---- strikes

OFFENCES = {
    "hang": ("hang", vgpu.E_WATCHDOG, "hang"),
    "stream": (f"ended {vgpu.E_BAD_RECORD} a bad record", vgpu.E_BAD_RECORD, "malformed stream"),
    "sandbox": (f"signal {int(signal.SIGSYS)}", vgpu.E_EXECUTOR_DIED, "sandbox violation"),
    "protocol": ("garbage", vgpu.E_EXECUTOR_DIED, "sandbox violation"),
    "crash": (f"signal {int(signal.SIGSEGV)}", vgpu.E_EXECUTOR_DIED, "crash"),
}


@pytest.mark.parametrize("kind", OFFENCES)
def test_strikes_bring_quarantine(kind):
    line, code, cause = OFFENCES[kind]
    with vgpu.mediator(*EAGER, *STRICT) as m, m.connect() as operator:
        bad, good = (operator.tenant(name=name) for name in (b"bad", b"good"))
        with vgpu.Client(good.path) as other:
            other.open().do("work 200 0")
            for _ in range(3):
                offend(m, bad.path, line, code)
            with vgpu.Client(bad.path) as client:  # it may connect, and ask about the device
                answer = client.ask(vgpu.channel_open())
                assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_QUARANTINED)
                assert "quarantine" in answer.text and cause in answer.text and " s more" in answer.text
                assert client.device()
            launches = operator.status()[good.tenant].launches
            vgpu.wait_for(lambda: operator.status()[good.tenant].launches > launches + 50)
            with vgpu.Client(good.path) as second:
                assert second.open()
        assert m.log().count("in quarantine") == 1


def test_channels_of_a_tenant_in_quarantine_end():
    with vgpu.mediator(*STRICT) as m, m.connect() as operator:
        bad = operator.tenant(name=b"bad")
        with vgpu.Client(bad.path) as innocent:
            innocent.open().do("work 200 0")
            for _ in range(3):
                offend(m, bad.path, *OFFENCES["crash"][:2])
            message = lost(innocent)
            assert message.code == vgpu.E_QUARANTINED and "crash" in message.text
            vgpu.wait_for(lambda: not m.executors())


def test_a_memory_storm_is_a_strike_each_second():
    with vgpu.mediator("--set", "strikes.refusals=1000", "--set", "strikes.most=2") as m, m.connect() as client:
        channel = client.open()
        end = time.monotonic() + 10
        message = None
        while not message and time.monotonic() < end:
            channel.do("refuse 1000")
            with contextlib.suppress(TimeoutError):
                message = client.receive(timeout=0.2)
        assert message and (message.kind, message.code) == (vgpu.CHANNEL_LOST, vgpu.E_QUARANTINED)
        assert "memory storm" in message.text


def test_few_refusals_are_none():
    with vgpu.mediator("--set", "strikes.refusals=1000", "--set", "strikes.most=1") as m, m.connect() as client:
        channel = client.open()
        for _ in range(12):
            channel.do("refuse 100")
            with pytest.raises(TimeoutError):
                client.receive(timeout=0.2)
        assert "strike" not in m.log()


@pytest.mark.parametrize("line", [f"signal {int(signal.SIGKILL)}", "exit 3", "ended 6 a bug", "hangup"])
def test_what_the_tenant_cannot_help_is_no_strike(line):
    with vgpu.mediator("--set", "strikes.most=1") as m, m.connect() as client:
        client.open().do(line)
        assert lost(client).code != vgpu.E_QUARANTINED
        assert client.open()
        assert "strike" not in m.log()


def test_a_quarantine_ends_by_itself():
    with vgpu.mediator("--set", "strikes.most=1", "--set", "strikes.quarantine=1 s") as m, m.connect() as client:
        client.open().do("abort")
        assert lost(client).code == vgpu.E_EXECUTOR_DIED
        assert client.ask(vgpu.channel_open()).code == vgpu.E_QUARANTINED
        # Said in the log though nobody asks.
        vgpu.wait_for(lambda: "quarantine is over" in m.log(), 4)
        assert client.open()
        assert client.ask(vgpu.channel_open()).kind == vgpu.CHANNEL_OK


def test_zero_strikes_are_only_counted():
    with vgpu.mediator("--set", "strikes.most=0") as m:
        for _ in range(8):
            offend(m, m.socket, *OFFENCES["crash"][:2])
        with m.connect() as client:
            assert client.open()
        assert m.log().count("strike: crash") == 8


# ---- the card

@contextlib.contextmanager
def with_card(tmp_path, *settings):
    order = tmp_path / "card"
    order.write_text("ok")
    with vgpu.mediator("--set", f"paths.sensor={SENSOR}", "--set", "sensor.patrol=100 ms", "--set", "sensor.interval=100 ms",
                       "--set", "sensor.pause=50 ms", *settings, env={"VGPU_FAKE_SENSOR": f"@{order}"}) as m:
        yield m, order


def health(client):
    client.status()
    return client.health


def test_health_is_looked_at_while_programs_run(tmp_path):
    with with_card(tmp_path, "--set", "sensor.degraded=1 s") as (m, order), m.connect() as client:
        assert health(client) == vgpu.HEALTH_UNKNOWN
        assert client.open()
        vgpu.wait_for(lambda: health(client) == vgpu.HEALTH_HEALTHY, 5)
        order.write_text("xid 31 13 43")
        vgpu.wait_for(lambda: "Xid 43 (a program's fault)" in m.log(), 5)
        assert health(client) == vgpu.HEALTH_HEALTHY
        order.write_text("xid 31 48")
        vgpu.wait_for(lambda: health(client) == vgpu.HEALTH_DEGRADED, 5)
        assert client.ask(vgpu.channel_open()).kind == vgpu.CHANNEL_OK  # work goes on
        vgpu.wait_for(lambda: health(client) == vgpu.HEALTH_HEALTHY, 5)


@pytest.mark.parametrize("how", ["lost", "xid 79"])
def test_a_lost_card_ends_channels_until_it_is_back(tmp_path, how):
    with with_card(tmp_path) as (m, order), m.connect() as client, m.connect() as other:
        client.open().do("work 200 0")
        other.open()
        vgpu.wait_for(lambda: health(client) == vgpu.HEALTH_HEALTHY, 5)
        order.write_text(how)
        for c in (client, other):
            message = lost(c)
            assert message.code == vgpu.E_DEVICE_LOST and "lost" in message.text
        order.write_text("missing")
        if how == "lost":  # the sensor ended with it; the next ones do not come up
            assert health(client) == vgpu.HEALTH_LOST
            answer = client.ask(vgpu.channel_open())
            assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_DEVICE_LOST)
            vgpu.wait_for(lambda: "no card is here" in m.log(), 5)
            assert health(client) == vgpu.HEALTH_LOST
        order.write_text("ok")
        vgpu.wait_for(lambda: health(client) == vgpu.HEALTH_HEALTHY, 10)
        assert client.ask(vgpu.channel_open()).kind == vgpu.CHANNEL_OK
        assert "strike" not in m.log()


def test_nobody_is_asked_when_the_patrol_is_off(tmp_path):
    with with_card(tmp_path, "--set", "sensor.patrol=0 s") as (m, _), m.connect() as client:
        client.open()
        time.sleep(0.5)
        assert len(m.executors()) == 1  # no sensor beside the executor


# ---- what an operator asks and orders

@pytest.fixture
def both(mediator):
    with mediator.connect() as operator, control.connect(mediator) as ctl:
        yield mediator, operator, ctl


def test_strikes_and_quarantine_are_listed_and_released(both):
    m, operator, ctl = both
    assert ctl.do("strike.list")["tenants"] == [] and ctl.do("quarantine.list")["tenants"] == []
    bad = operator.tenant(name=b"bad")
    ctl.do("tenant.set", tenant="bad", strikes=2, quarantine="500 s")
    offend(m, bad.path, *OFFENCES["crash"][:2])
    offend(m, bad.path, *OFFENCES["stream"][:2])
    row, = ctl.do("strike.list")["tenants"]
    assert (row["name"], row["counting"], row["most"]) == ("bad", 2, 2)
    assert row["counts"]["crash"] == 1 and row["counts"]["malformed stream"] == 1 and row["counts"]["hang"] == 0
    assert [r["cause"] for r in row["recent"]] == ["malformed stream", "crash"]
    row, = ctl.do("quarantine.list")["tenants"]
    assert (row["tenant"], row["cause"]) == (bad.tenant, "malformed stream")
    assert 490e9 < row["left_ns"] <= 500e9
    assert ctl.status()[1][bad.tenant]["quarantine"] is True
    with vgpu.Client(bad.path) as client:
        assert client.ask(vgpu.channel_open()).code == vgpu.E_QUARANTINED
        ctl.do("quarantine.release", tenant="bad")
        assert client.open()
    assert ctl.do("quarantine.list")["tenants"] == [] and ctl.status()[1][bad.tenant]["quarantine"] is False
    assert ctl.refused("quarantine.release", tenant="bad")[0] == "state"
    row, = ctl.do("strike.list")["tenants"]
    assert row["counting"] == 0 and row["counts"]["crash"] == 1


def test_quarantine_by_order(both):
    m, operator, ctl = both
    t = operator.tenant(name=b"t")
    with vgpu.Client(t.path) as client:
        client.open()
        assert ctl.do("quarantine.add", tenant="t")["channels"] == 1
        message = lost(client)
        assert message.code == vgpu.E_QUARANTINED and "until it is released" in message.text
        row, = ctl.do("quarantine.list")["tenants"]
        assert row["left_ns"] is None and row["cause"] == "operator"
        ctl.do("quarantine.add", tenant="t", **{"for": "1 s"})
        vgpu.wait_for(lambda: ctl.do("quarantine.list")["tenants"] == [], 4)
        assert client.open()
    assert ctl.refused("quarantine.add", tenant="t", **{"for": "soon"})[0] == "value"
    assert ctl.refused("quarantine.add", tenant="nobody")[0] == "unknown"


def test_a_tenants_own_limits_change_while_it_runs(both):
    m, operator, ctl = both
    t = operator.tenant(name=b"t")
    with vgpu.Client(t.path) as client, vgpu.Client(t.path) as second:
        channel = client.open()
        channel.do("hang")
        time.sleep(0.3)
        ctl.do("tenant.set", tenant="t", channels=1)
        answer = second.ask(vgpu.channel_open())
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_LIMIT)
        ctl.do("tenant.set", tenant="t", work="200 ms")
        assert lost(client).code == vgpu.E_WATCHDOG


def test_operators_are_told_of_the_card(tmp_path):
    with with_card(tmp_path) as (m, order), m.connect() as client, control.connect(m) as ctl:
        assert client.open()
        vgpu.wait_for(lambda: ctl.do("status")["health"] == "healthy", 5)
        order.write_text("xid 48")
        vgpu.wait_for(lambda: ctl.do("status")["health"] == "degraded", 5)
        assert ctl.do("status")["last_xid"] == 48
