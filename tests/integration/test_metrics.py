# SPDX-License-Identifier: Apache-2.0
"""Metrics of a running mediator: the numbers move as they should, outlive it, and no executor can spoil the text."""
import os
import shutil
import subprocess
import time

import api
import control
import guest
import inventory
import metrics
import pytest
import vgpu
from test_adopt import Daemon
from test_device import with_sensor


def tenant(operator, name, **kw):
    return operator.tenant(name=name, **kw).tenant


def connect(m, number):
    return vgpu.Client(m.directory / f"tenant-{number}.sock")


def test_prometheus_reads_it(mediator):
    """The parser is Prometheus' own."""
    parser = pytest.importorskip("prometheus_client.parser", reason="python3-prometheus-client is not installed")
    with mediator.connect() as operator, connect(mediator, tenant(operator, b"blue:1")) as c:
        c.open().do("work 200 0")
        vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_tenant_launches_total", tenant="blue:1") > 10)
        families = {f.name: f for f in parser.text_string_to_metric_families(metrics.read(mediator).text)}
        assert families["vgpu_tenant_launches"].type == "counter"
        assert families["vgpu_mediator_loop_step_seconds"].type == "histogram"
        assert all(f.documentation.endswith(".") for f in families.values())


def test_prometheus_has_nothing_to_blame(mediator):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed (package prometheus)")
    with mediator.connect() as operator:
        tenant(operator, b"blue")
        text = metrics.read(mediator).text
    r = subprocess.run(["promtool", "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert (r.returncode, r.stdout, r.stderr) == (0, "", "")


def test_the_card_is_read_for_those_who_scrape():
    """Nobody else asks for it here; the first text makes the sensor read, a later one has what it read."""
    with with_sensor("ok") as m:
        vgpu.wait_for(lambda: metrics.read(m).get("vgpu_gpu_temperature_celsius") is not None, 5)
        r = metrics.read(m)
        gpu = "GPU-30313233-3435-3637-3839-616263646566"
        assert r.get("vgpu_gpu_info", gpu=gpu, name="Fake card?") == 1
        assert r.get("vgpu_gpu_memory_total_bytes", gpu=gpu) == 80 << 30
        assert 40 <= r.get("vgpu_gpu_temperature_celsius", gpu=gpu) < 1000
        assert r.get("vgpu_gpu_health", state="healthy") == 1 and r.get("vgpu_gpu_health") == 1
        assert r.get("vgpu_gpu_reading_age_seconds") < 5


def test_a_lost_card_has_no_readings():
    with with_sensor("lost") as m:
        vgpu.wait_for(lambda: metrics.read(m).get("vgpu_gpu_health", state="lost") == 1, 5)
        r = metrics.read(m)
        assert r.get("vgpu_gpu_temperature_celsius") is None and r.get("vgpu_gpu_losses_total") == 1


def test_a_machine_is_named_by_its_uuid():
    """Its counters go on when the mediator is replaced, as those of any tenant."""
    with inventory.daemon() as d, d.m.connect() as operator, control.connect(d.m) as c:
        tenant(operator, b"blue")
        c.do("vgpu.add", profile="small")
        slot = inventory.assigned(c)
        with vgpu.Client(slot["socket"]) as client:
            client.open().do("meters 7 4096 0")
            vgpu.wait_for(lambda: metrics.read(d.m).get("vgpu_tenant_launches_total", tenant="one") == 7)
            d.replace("restart")
            r = metrics.read(d.m)
            assert r.get("vgpu_tenant_vm_info") == r.get("vgpu_tenant_vm_info", tenant="one", vm=inventory.VM1) == 1
            assert r.get("vgpu_tenant_launches_total", id=slot["tenant"]) == 7
            assert r.get("vgpu_tenant_memory_quota_bytes", tenant="one") == 1 << 30
            assert r.get("vgpu_mediator_vms") == 1
            assert r.get("vgpu_mediator_vgpus", state="assigned") == r.get("vgpu_mediator_vgpus", state="free") == 1


def test_tenants_numbers_move(mediator):
    with mediator.connect() as operator:
        blue, red = tenant(operator, b"blue", weight=300, memory=1 << 30), tenant(operator, b"red", weight=100)
        with connect(mediator, blue) as b, connect(mediator, red) as r:
            b.open().do("work 200 0")
            r.open().do("work 200 0")
            time.sleep(0.3)
            before = metrics.read(mediator)
            time.sleep(1.5)
            after = metrics.read(mediator)
            metrics.never_fell(before, after)

            def grew(name, **labels):
                return after.get(name, **labels) - before.get(name, **labels)

            share = grew("vgpu_tenant_contended_gpu_seconds_total", tenant="blue") / \
                grew("vgpu_pool_contended_gpu_seconds_total", pool="default")
            assert abs(share - 0.75) < 0.05
            assert grew("vgpu_tenant_turns_total", tenant="red") > 5
            assert grew("vgpu_mediator_handovers_total") > 10
            assert grew("vgpu_tenant_launches_total", tenant="blue") > 100
            assert after.get("vgpu_tenant_share_target_ratio", tenant="blue") == 0.75
            assert abs(after.get("vgpu_tenant_share_achieved_ratio", tenant="blue") - 0.75) < 0.1
            assert after.get("vgpu_tenant_memory_quota_bytes", tenant="blue") == 1 << 30
            assert after.get("vgpu_tenant_memory_quota_bytes", tenant="red") is None
            assert after.get("vgpu_tenant_channels", tenant="red") == after.get("vgpu_tenant_sessions", tenant="red") == 1
            assert after.get("vgpu_tenant_weight", id=blue) == 300
            assert grew("vgpu_mediator_loop_step_seconds_count") > 10
            assert grew("vgpu_mediator_messages_total", **{"from": "operator"}) == 1


def test_held_time_is_told_by_cause(mediator):
    with mediator.connect() as operator, connect(mediator, tenant(operator, b"blue")) as b:
        b.open().do("meters 7 4096 2")
        vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_tenant_faults_total", tenant="blue") == 2)
        m = metrics.read(mediator)
        assert m.get("vgpu_tenant_copied_bytes_total", tenant="blue") == 4096
        for cause in ("turn", "launches_per_s", "copy_per_s", "queue_depth"):
            assert m.get("vgpu_tenant_held_seconds_total", tenant="blue", cause=cause) == 0


def bucket(m, name, le, **labels):
    return m.get(f"{name}_bucket", le=le, **labels)


def test_histograms_are_summed_over_executors(mediator):
    """Of those that run and those that have ended, each counted once."""
    launch, wait = "vgpu_tenant_launch_delay_seconds", "vgpu_tenant_wait_seconds"
    with mediator.connect() as operator:
        blue = tenant(operator, b"blue")
        with connect(mediator, blue) as a:
            a.open().do("delays 3000 5 1000000")
            vgpu.wait_for(lambda: metrics.read(mediator).get(f"{launch}_count", tenant="blue") == 5)
            with connect(mediator, blue) as b:
                b.open().do("delays 500 2 70000000000")
                vgpu.wait_for(lambda: metrics.read(mediator).get(f"{launch}_count", tenant="blue") == 7)
            vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_tenant_channels", tenant="blue") == 1)
            m = metrics.read(mediator)
            assert bucket(m, launch, "0.000001024", tenant="blue") == 2
            assert bucket(m, launch, "0.000002048", tenant="blue") == 2
            assert bucket(m, launch, "0.000004096", tenant="blue") == 7
            assert m.get(f"{launch}_sum", tenant="blue") == pytest.approx(16e-6)
            assert bucket(m, wait, "17.179869184", tenant="blue") == 1
            assert m.get(f"{wait}_count", tenant="blue") == 2
            assert m.get(f"{wait}_sum", tenant="blue") == pytest.approx(70.001)
        with connect(mediator, blue) as c:  # in the same place of the books
            c.open()
            assert metrics.read(mediator).get(f"{launch}_count", tenant="blue") == 7


def test_executors_count_what_programs_do():
    """A real executor and a CUDA program: each launch stood in the ring for some time, and it waited for its work."""
    program = vgpu.BUILD / "bench/vgpu-bench-driver"
    if not program.exists() or not guest.EXECUTOR.exists():
        pytest.skip("vgpu-bench-driver or vgpu-executor is not built")
    with vgpu.mediator("--backend", "null", executor=guest.EXECUTOR) as m:
        subprocess.run([program, "--quick"], check=True, stdout=subprocess.DEVNULL, timeout=60, env={
            **os.environ, "VGPU_SOCKET": str(m.socket), "LD_LIBRARY_PATH": str(vgpu.BUILD / "guest/libcuda")})
        vgpu.wait_for(lambda: metrics.read(m).get("vgpu_mediator_channels") == 0)
        r = metrics.read(m)
        launches = r.get("vgpu_tenant_launches_total")
        assert launches > 1000 and r.get("vgpu_tenant_launch_delay_seconds_count") == launches
        assert r.get("vgpu_tenant_wait_seconds_count") > 100
        assert r.get("vgpu_tenant_copied_bytes_total") > 1 << 20
        assert r.get("vgpu_tenant_gpu_seconds_total") > 0
        assert r.get("vgpu_tenant_executors_ended_total", cause="closed") == r.get("vgpu_tenant_executors_ended_total")


@pytest.mark.parametrize("order,cause", (("abort", "died"), ("ended 8 bad", "malformed"), ("exit 0", "died")))
def test_ends_of_executors_are_counted_by_cause(mediator, order, cause):
    with mediator.connect() as operator, connect(mediator, tenant(operator, b"blue")) as b:
        b.open().do(order)
        vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_tenant_channels", tenant="blue") == 0)
        m = metrics.read(mediator)
        assert m.get("vgpu_tenant_executors_ended_total", tenant="blue", cause=cause) == 1
        assert m.get("vgpu_tenant_executors_ended_total", tenant="blue") == 1
        strikes = m.get("vgpu_tenant_strikes_total", tenant="blue")
        assert strikes == (0 if order == "exit 0" else 1)
    vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_mediator_channels") == 0)


def test_closed_ones_are_not_lost(mediator):
    with mediator.connect() as operator:
        number = tenant(operator, b"blue")
        with connect(mediator, number) as b:
            b.open()
        vgpu.wait_for(lambda: metrics.read(mediator).get(
            "vgpu_tenant_executors_ended_total", tenant="blue", cause="closed") == 1)
        assert metrics.read(mediator).get("vgpu_tenant_executors_ended_total", tenant="blue") == 1


def test_refusals_are_counted_by_reason(mediator):
    with control.connect(mediator) as c:
        c.refused("tenant.set", tenant="nobody", weight=1)
        c.refused("tenant.fly")
        c.raw(b"{\n")
    with mediator.connect() as client:
        client.ask_or_none(vgpu.header(0x7777, 16))
    with api.connect(mediator) as a:
        assert a.ask("GET", "/v1/gone").status == 404
        assert a.ask("PATCH", "/v1/tenants/nobody", {"weight": 1}).status == 404
    m = metrics.read(mediator)
    assert m.get("vgpu_mediator_refused_total", reason="unknown") == 2
    assert m.get("vgpu_mediator_refused_total", reason="operation") == 2
    assert m.get("vgpu_mediator_refused_total", reason="json") == 1
    assert m.get("vgpu_mediator_refused_total", reason="protocol") == 1


def test_quarantine_shows(mediator):
    with mediator.connect() as operator, control.connect(mediator) as c:
        tenant(operator, b"blue")
        assert metrics.read(mediator).get("vgpu_tenant_quarantined", tenant="blue") == 0
        c.do("quarantine.add", tenant="blue")
        assert metrics.read(mediator).get("vgpu_tenant_quarantined", tenant="blue") == 1


@pytest.mark.parametrize("how", ("restart", "kill"))
def test_counters_outlive_the_mediator(tmp_path, how):
    with Daemon(tmp_path) as d:
        with d.m.connect() as operator:
            blue = tenant(operator, b"blue")
            with connect(d.m, blue) as b, connect(d.m, blue) as other:
                ended = other.open()
                ended.do("delays 3000 5 1000")
                vgpu.wait_for(lambda: metrics.read(d.m).get("vgpu_tenant_launch_delay_seconds_count") == 5)
                ended.do("abort")
                first = b.open()
                first.do("delays 4000 4 1000")
                vgpu.wait_for(lambda: metrics.read(d.m).get("vgpu_tenant_launch_delay_seconds_count") == 9)
                first.do("work 200 0")
                vgpu.wait_for(lambda: metrics.read(d.m).get("vgpu_tenant_executors_ended_total", cause="died") == 1)
                before = metrics.read(d.m)
                assert before.get("vgpu_mediator_adopted") == 0
                d.replace(how)
                after = metrics.read(d.m)
                metrics.never_fell(before, after)
                assert after.get("vgpu_mediator_adopted") == 1
                assert after.get("vgpu_tenant_launch_delay_seconds_count") == 9
                assert after.get("vgpu_tenant_executors_ended_total", cause="died") == 1
                assert after.get("vgpu_tenant_strikes_total", cause="crash") == 1
                launches = after.get("vgpu_tenant_launches_total", tenant="blue")
                vgpu.wait_for(lambda: metrics.read(d.m).get("vgpu_tenant_launches_total", tenant="blue") > launches)


def test_a_liar_spoils_only_its_own_numbers(mediator):
    """All there is in its pages is the executor's to write, and writes again and again."""
    with mediator.connect() as operator:
        liar, honest = tenant(operator, b"liar"), tenant(operator, b"honest")
        with connect(mediator, liar) as c, connect(mediator, honest) as h:
            h.open().do("work 500 0")
            for _ in range(3):
                c.open().do("lie")
            before = metrics.read(mediator)
            for _ in range(20):
                after = metrics.read(mediator)
                metrics.never_fell(before, after)
                before = after
            c.open().do(f"meters {2 ** 64 - 1} {2 ** 64 - 1} {2 ** 64 - 1}")
            time.sleep(0.1)
            after = metrics.read(mediator)
            metrics.never_fell(before, after)
        vgpu.wait_for(lambda: metrics.read(mediator).get("vgpu_tenant_channels", tenant="liar") == 0)
        last = metrics.read(mediator)
        metrics.never_fell(after, last)
        assert last.get("vgpu_tenant_launches_total", tenant="honest") < 1e6


def test_tenants_beyond_the_limit_are_counted_as_left_out(mediator):
    """VGPU_MAX_METRIC_TENANTS; those with samples keep them."""
    with mediator.connect() as operator:
        for i in range(260):
            tenant(operator, b"t%d" % i)
        m = metrics.read(mediator)
        assert len([n for n, _ in m.samples if n == "vgpu_tenant_weight"]) == 256
        assert m.get("vgpu_mediator_tenants") == 261
        assert m.get("vgpu_mediator_tenants_left_out") == 5
        assert m.get("vgpu_tenant_weight", tenant="t0") == 100
        assert m.get("vgpu_tenant_weight", tenant="t259") is None
