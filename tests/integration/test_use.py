# SPDX-License-Identifier: Apache-2.0
"""What a VM's programs use, by library and feature; the protocol that says whose programs it may run."""
import contextlib
import time

import admin
import control
import guest
import pytest
import vgpu
from inventory import SMALL, VM1, assigned, daemon, vms
from test_adopt import HOWS
from test_store import kill, place, query, running  # noqa: F401 (place is a fixture)

UNTOLD, CUDA, VGPU, NVML = range(4)
NAMES = ("untold", "libcuda", "libvgpu", "libnvidia-ml")
STREAMS, GRAPHS = 1 << 0, 1 << 2
PERMISSION = 3


def program(socket, library):
    """A connection of a program of that library."""
    client = vgpu.Client(socket, say_hello=False)
    assert client.ask(vgpu.hello(features=library << 56)).kind == vgpu.HELLO_OK
    return client


@contextlib.contextmanager
def channel(socket, library):
    with program(socket, library) as client:
        yield client.open()


def use(ctl, vm=VM1):
    """The answer, with libraries and features by name."""
    answer = ctl.do("vm.use", vm=vm)
    answer["libraries"] = {row.pop("library"): row for row in answer["libraries"]}
    answer["features"] = {row.pop("feature"): row for row in answer["features"]}
    return answer


def done(c, line):
    c.do(line)
    vgpu.wait_for(c.heard, what=line)


def closed(ctl):
    vgpu.wait_for(lambda: vms(ctl)[VM1]["channels"] == 0, 10, "the channels' end")


def hour():
    return int(time.time()) // 3600 * 3600


def test_counted_by_library_and_feature():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        socket = assigned(ctl)["socket"]
        assert use(ctl) == {"ok": True, "vm": VM1, "personality": "custom", "protocol": "any", "kept": False, "libraries": {},
                            "features": {}}
        began = hour()
        with channel(socket, CUDA) as a, channel(socket, VGPU):
            assert vms(ctl)[VM1]["libraries"] == ["libcuda", "libvgpu"]
            done(a, "meters 7 0 2")
            done(a, f"features {STREAMS | GRAPHS | 1 << 63}")  # and one that nobody knows
            now = use(ctl)
            assert now["libraries"]["libcuda"] == {"open": 1, "channels": 1, "refused": 0, "launches": 7, "gpu_ns": 0, "faults": 2}
            assert now["libraries"]["libvgpu"] == {"open": 1, "channels": 1, "refused": 0, "launches": 0, "gpu_ns": 0, "faults": 0}
            assert set(now["features"]) == {"streams", "graphs"}
            for f in now["features"].values():
                assert began <= f["first_s"] <= f["last_s"] <= hour() and f["first_s"] % 3600 == 0
        closed(ctl)
        with channel(socket, CUDA) as b, channel(socket, UNTOLD):
            done(b, "meters 5 0 0")
            now = use(ctl)["libraries"]
            assert (now["libcuda"]["launches"], now["libcuda"]["channels"], now["libcuda"]["faults"]) == (12, 2, 2)
            assert now["untold"]["channels"] == 1 and "libnvidia-ml" not in now
            # An executor that lies moves nothing back.
            done(b, "meters 0 0 0")
            assert use(ctl)["libraries"]["libcuda"]["launches"] == 12
        closed(ctl)
        assert use(ctl)["libraries"]["libcuda"]["launches"] == 12
        assert set(use(ctl)["features"]) == {"streams", "graphs"}
        assert ctl.ask("vm.use", vm="0" * 8)["error"] == "unknown"


def test_gpu_time_is_the_librarys_that_had_it():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        socket = assigned(ctl)["socket"]
        with channel(socket, VGPU) as a, channel(socket, CUDA):
            a.do("work 1000 0")
            vgpu.wait_for(lambda: use(ctl)["libraries"]["libvgpu"]["gpu_ns"] > 5_000_000, 10)
        closed(ctl)
        now, row = use(ctl)["libraries"], ctl.do("tenant.get", tenant="one")
        assert now["libcuda"]["gpu_ns"] == 0 and now["libvgpu"]["gpu_ns"] == row["gpu_ns"]


@pytest.mark.parametrize("protocol, allowed", [("any", (UNTOLD, CUDA, VGPU)), ("custom", (VGPU,)), ("cuda", (CUDA,))])
def test_whose_programs_may_run(protocol, allowed):
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        socket = assigned(ctl)["socket"]
        ctl.do("vm.set", vm=VM1, protocol=protocol)
        assert vms(ctl)[VM1]["protocol"] == protocol
        for library in (UNTOLD, CUDA, VGPU):
            with program(socket, library) as client:
                answer = client.ask(vgpu.channel_open())
                if library in allowed:
                    assert answer.kind == vgpu.CHANNEL_OK
                    continue
                assert (answer.kind, answer.code) == (vgpu.ERROR, PERMISSION)
                assert f"protocol {protocol}" in answer.text
                assert ("older version" if library == UNTOLD else f"is of {NAMES[library]}") in answer.text
                assert use(ctl)["libraries"][NAMES[library]]["refused"] == 1
                last = ctl.do("events", kind="channel.refused")["events"][-1]
                assert last["fields"] == {"library": NAMES[library]} and protocol in last["text"]
                assert f"protocol {protocol}" in m.log()
        with program(socket, NVML) as client:  # asking is no use
            assert client.device().processes == []


def test_a_protocol_is_for_programs_that_begin():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        socket = assigned(ctl)["socket"]
        with channel(socket, CUDA) as c:
            ctl.do("vm.set", vm=VM1, protocol="custom")
            done(c, "meters 1 0 0")
            assert use(ctl)["libraries"]["libcuda"]["open"] == 1
            with program(socket, CUDA) as client:
                assert client.ask(vgpu.channel_open()).code == PERMISSION
                ctl.do("vm.set", vm=VM1, protocol="")
                assert client.open()  # the connection is good for another try
        for wrong in ("Cuda", "nvidia", "none"):
            assert ctl.ask("vm.set", vm=VM1, protocol=wrong)["error"] == "value"


def test_a_profile_says_it_and_the_vm_is_on_top():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        ctl.do("profile.add", profile="gpu", protocol="cuda", personality="nvidia", memory="1M")
        slot = ctl.do("vgpu.add", profile="gpu")["vgpu"]
        # As a cloud's agent does it.
        answer = ctl.do("slot.reserve", vgpu=slot, vm=VM1, name="one")
        assert answer["nvidia_socket"] == answer["socket"] + ".nvidia"
        vm = vms(ctl)[VM1]
        assert (vm["personality"], vm["protocol"], vm["by_hand"]) == ("nvidia", "cuda", [])
        with program(m.directory / f"vm-{VM1}.sock", VGPU) as client:
            assert client.ask(vgpu.channel_open()).code == PERMISSION
            ctl.do("profile.set", profile="gpu", protocol="custom")
            assert client.open()
            assert vms(ctl)[VM1]["protocol"] == "custom"
        ctl.do("vm.set", vm=VM1, protocol="any", personality="custom")
        vm = vms(ctl)[VM1]
        assert (vm["personality"], vm["protocol"], vm["by_hand"]) == ("custom", "any", ["personality", "protocol"])
        ctl.do("profile.set", profile="gpu", protocol="cuda")
        assert vms(ctl)[VM1]["protocol"] == "any"
        with channel(m.directory / f"vm-{VM1}.sock", VGPU):
            pass
        ctl.do("vm.set", vm=VM1, protocol="", personality="")
        vm = vms(ctl)[VM1]
        assert (vm["personality"], vm["protocol"], vm["by_hand"]) == ("nvidia", "cuda", [])
        assert ctl.do("profile.get", profile="gpu")["policy"] == {"protocol": "cuda", "personality": "nvidia", "memory": 1 << 20}
        assert ctl.ask("tenant.set", tenant="one", protocol="any")["error"] == "field"


def test_a_stub_learns_what_the_profile_says():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl, guest.stub(m.directory, m.directory / f"vm-{VM1}.sock") as stub:
        ctl.do("profile.add", profile="gpu", memory="1M")
        ctl.do("vm.add", vm=VM1, name="one")
        ctl.do("vgpu.add", vm=VM1, profile="gpu")
        vgpu.wait_for(lambda: "personality is custom" in stub.log(), 20)
        ctl.do("profile.set", profile="gpu", personality="nvidia")
        vgpu.wait_for(lambda: "personality is nvidia" in stub.log(), 10)


def use_some(socket, ctl):
    with channel(socket, CUDA) as c:
        done(c, "meters 11 0 1")
        done(c, f"features {GRAPHS}")
    closed(ctl)


@pytest.mark.parametrize("how", HOWS)
def test_goes_on_with_the_next_mediator(how):
    with daemon() as d:
        with control.connect(d.m) as ctl:
            socket = assigned(ctl)["socket"]
            use_some(socket, ctl)
            ctl.do("vm.set", vm=VM1, protocol="cuda")
            client = program(socket, CUDA)
            c = client.open()
            done(c, "meters 3 0 0")
            use(ctl)
        d.replace(how)
        with control.connect(d.m) as ctl:
            now = use(ctl)
            assert now["protocol"] == "cuda" and set(now["features"]) == {"graphs"}
            assert now["libraries"] == {"libcuda": {"open": 1, "channels": 2, "refused": 0, "launches": 14, "gpu_ns": 0, "faults": 1}}
            done(c, "meters 4 0 0")
            with program(socket, VGPU) as other:
                assert other.ask(vgpu.channel_open()).code == PERMISSION
            client.close()
            closed(ctl)
            now = use(ctl)["libraries"]
            assert now["libcuda"]["launches"] == 15 and now["libvgpu"]["refused"] == 1


@pytest.mark.parametrize("how", ["end", "kill"])
def test_the_store_has_it_from_the_beginning(place, how):  # noqa: F811
    quick = (*SMALL, "--set", "store.flush=100ms")
    with running(place, *quick) as m, control.connect(m) as ctl:
        use_some(assigned(ctl)["socket"], ctl)
        ctl.do("vm.set", vm=VM1, protocol="cuda")
        before = use(ctl)
        assert before["kept"] and before["libraries"]["libcuda"]["launches"] == 11
        vgpu.wait_for(lambda: query(place, "SELECT launches FROM use_library") == [(11,)], 10)
        if how == "kill":
            kill(m)
    assert query(place, "SELECT library, channels, launches, faults FROM use_library") == [("libcuda", 1, 11, 1)]
    assert query(place, "SELECT feature FROM use_feature") == [("graphs",)]
    with running(place, *quick) as m, control.connect(m) as ctl:
        assert use(ctl) == before
        use_some(m.directory / f"vm-{VM1}.sock", ctl)
        now = use(ctl)
        assert now["libraries"]["libcuda"]["launches"] == 22 and now["libraries"]["libcuda"]["channels"] == 2
        vgpu.wait_for(lambda: query(place, "SELECT launches FROM use_library") == [(22,)], 10)
        assert use(ctl) == now  # nothing twice
        # Forgotten with the rest.
        slot = vms(ctl)[VM1]["vgpu"]
        ctl.do("vgpu.release", vgpu=slot)
        vgpu.wait_for(lambda: vms(ctl)[VM1]["tenant"] is None, 10)
        assert use(ctl)["libraries"] == now["libraries"]
        ctl.do("tenant.forget", name=f"vm-{VM1}")
        assert (use(ctl)["libraries"], use(ctl)["features"]) == ({}, {})
        assert query(place, "SELECT count(*) FROM use_library") == query(place, "SELECT count(*) FROM use_feature") == [(0,)]


def test_for_people_and_metrics():
    with vgpu.mediator(*SMALL) as m, control.connect(m) as ctl:
        api = m.directory / "api.sock"
        use_some(assigned(ctl)["socket"], ctl)

        def said(*command):
            r = admin.run("vm", *command, socket=api)
            assert r.returncode == 0, r.stderr
            return r.stdout

        said("set", VM1, "--protocol=custom")
        with program(m.directory / f"vm-{VM1}.sock", CUDA) as client:
            assert client.ask(vgpu.channel_open()).code == PERMISSION
        lines = [line.split() for line in said("use", VM1).splitlines()]
        assert ["Protocol", "custom"] in lines
        assert ["libcuda", "0", "1", "1", "11"] == next(line for line in lines if line[:1] == ["libcuda"])[:5]
        assert any(line[:1] == ["graphs"] for line in lines)
        assert "custom" in said("list") and '["protocol"]' in said("show", VM1)
        text = ctl.do("metrics")["text"]
        assert 'vgpu_tenant_library_launches_total{tenant="one",id="1",library="libcuda"} 11' in text
        assert 'vgpu_tenant_library_refused_total{tenant="one",id="1",library="libcuda"} 1' in text
        assert f'vgpu_tenant_feature_last_use_timestamp_seconds{{tenant="one",id="1",feature="graphs"}} {hour()}' in text
        assert 'feature="streams"' not in text
