# SPDX-License-Identifier: Apache-2.0
"""That the agent of these tests breaks where CloudStack's does: a discovery or a hook with one fault has the effect that its
sources say. Without this the other tests would prove little."""
import copy
import json

import agent as agents
import pytest
from host import program

GPU = {"pci_address": "3b:00.0", "vendor_id": "10de", "device_id": "2330", "vendor": "NVIDIA Corporation", "device": "GH100 [H100]",
       "numa_node": 0, "pci_root": "0000:3a:01.0", "full_passthrough": {"enabled": 0, "used_by_vm": None},
       "vgpu_instances": [{"mdev_uuid": "one", "profile_name": "small", "max_instances": 4, "video_ram": 16384,
                           "used_by_vm": "i-2-33-VM"}], "vf_instances": []}
NEXT = {**GPU, "pci_address": "af:00.0", "full_passthrough": {"enabled": 1, "used_by_vm": None}, "vgpu_instances": []}
XML = "<domain>\n  <name>é</name>\n</domain>"
MOST = 65536  # bytes of a pipe


def script_of(tmp_path, *gpus, more=""):
    text = json.dumps({"gpus": gpus})
    return program(tmp_path / "discovery.sh", f"cat <<'E'\n{text}\nE\n{more}")


def places(answer):
    return [d["bus_address"] for d in answer["devices"]]


def changed(where, value=...):
    """GPU with another value at a path of keys; without a value: without the key."""
    gpu = copy.deepcopy(GPU)
    o = gpu
    for key in where[:-1]:
        o = o[key]
    if value is ...:
        del o[where[-1]]
    else:
        o[where[-1]] = value
    return gpu


# ---- discovery

def test_a_list_as_the_stock_script_prints_it(agent, tmp_path):
    vf = {"vf_pci_address": "3b:00.4", "vf_profile": "A10-4Q", "max_instances": None, "video_ram": 4096, "used_by_vm": None}
    a = agent.discover(script_of(tmp_path, {**GPU, "vf_instances": [vf]}, NEXT))
    assert (a["error"], a["exit"]) == (None, 0)
    rows = [(d["bus_address"], d["type"], d["profile"], d["parent"], d["vm"], d["video_ram"]) for d in a["devices"]]
    assert rows == [("3b:00.0", "VGPUOnly", "passthrough", None, None, None),
                    ("one", "MDEV", "small", "3b:00.0", "i-2-33-VM", 16384),
                    ("3b:00.4", "PCI", "A10-4Q", "3b:00.0", None, 4096), ("af:00.0", "PCI", "passthrough", None, None, None)]
    assert {d["name"] for d in a["devices"]} == {"NVIDIA Corporation GH100 [H100]"}


@pytest.mark.parametrize("gpu", [
    *(changed([key]) for key in ("pci_address", "vendor_id", "device_id", "vendor", "device", "full_passthrough", "vgpu_instances",
                                 "vf_instances")),
    changed(["full_passthrough", "enabled"]), changed(["full_passthrough", "enabled"], False),
    changed(["full_passthrough", "enabled"], True), changed(["full_passthrough", "enabled"], None),
    changed(["vendor"], None), changed(["vgpu_instances"], {}), changed(["vgpu_instances"], None),
    changed(["vgpu_instances", 0], "x"), changed(["vgpu_instances", 0, "mdev_uuid"]),
    changed(["vgpu_instances", 0, "max_instances"], "four"), changed(["vgpu_instances", 0, "used_by_vm"], {}),
    changed(["vf_instances"], [{"vf_pci_address": "3b:00.4"}]), changed(["vf_instances"], [{"vf_profile": "x"}]), "x", None,
], ids=lambda gpu: json.dumps(gpu)[-60:])
def test_a_fault_cuts_the_list(agent, tmp_path, gpu):
    a = agent.discover(script_of(tmp_path, NEXT, gpu, {**NEXT, "pci_address": "d8:00.0"}))
    assert a["error"] and places(a)[0] == "af:00.0" and "d8:00.0" not in places(a)


def test_an_instance_without_a_profile_is_passed_over(agent, tmp_path):
    for name in ("", None):
        a = agent.discover(script_of(tmp_path, changed(["vgpu_instances", 0, "profile_name"], name), NEXT))
        assert a["error"] is None and places(a) == ["3b:00.0", "af:00.0"]


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"gpus":[', "echo", '{"gpus":{}}'])
def test_what_is_no_list(agent, tmp_path, text):
    a = agent.discover(program(tmp_path / "discovery.sh", f"printf '%s' '{text}'"))
    assert a["error"] and a["devices"] == []


def test_noise_on_stderr_is_part_of_it(agent, tmp_path):
    a = agent.discover(script_of(tmp_path, GPU, more="echo 'xmlstarlet: not found' >&2"))
    assert a["error"] and a["devices"] == []


def test_a_status_alone_changes_nothing(agent, tmp_path):
    a = agent.discover(program(tmp_path / "discovery.sh", "echo no GPU >&2; exit 1"))
    assert a["exit"] == 1 and a["error"] and a["devices"] == []


@pytest.mark.parametrize("size, ends", [(MOST, True), (MOST + 1, False)])
def test_what_does_not_fit_into_the_pipe(agent, tmp_path, size, ends):
    text = json.dumps({"gpus": [GPU]})
    (tmp_path / "list").write_text(text + " " * (size - len(text)))
    a = agent.discover(program(tmp_path / "discovery.sh", f"cat {tmp_path}/list"), seconds=2)
    assert (a["exit"], places(a)) == ((0, ["3b:00.0", "one"]) if ends else (None, []))


def test_one_that_does_not_end(agent, tmp_path):
    a = agent.discover(script_of(tmp_path, GPU, more="exec sleep 100"), seconds=1)
    assert a["exit"] is None and a["devices"] == []


# ---- hooks

def hook(tmp_path, text, name="libvirt-vm-xml-transformer.sh"):
    return program(tmp_path / name, text)


def groovy(tmp_path, body, name="libvirt-vm-xml-transformer"):
    (tmp_path / f"{name}.groovy").write_text(f"class Hook {{\n{body}\n}}\nnew Hook()\n", encoding="utf-8")


def faults(answer):
    return [bool(r["error"]) for r in answer["ran"]]


def test_without_hooks(agent, tmp_path):
    assert agent.transform(tmp_path, XML) == {"xml": XML, "ran": []}


def test_groovy_goes_first(agent, tmp_path):
    groovy(tmp_path, "Object transform(Object logger, String xml) { logger.info('x'); xml.replace('</domain>', '<a/></domain>') }")
    hook(tmp_path, "[ $# = 2 ] && [ $1 = transform ] && printf %s \"$2\" | sed 's/<a/<b/'")
    a = agent.transform(tmp_path, XML)
    assert a["xml"] == XML.replace("</domain>", "<b/></domain>") and faults(a) == [False, False]
    assert [r["hook"] for r in a["ran"]] == ["libvirt-vm-xml-transformer.groovy", "libvirt-vm-xml-transformer.sh"]


@pytest.mark.parametrize("text", ["echo x; exit 1", "kill -9 $$", "cat /nowhere", "exec sleep 100", f"head -c {MOST + 1} /dev/zero"])
def test_a_shells_that_fails_counts_for_nothing(agent, tmp_path, text):
    hook(tmp_path, text)
    a = agent.transform(tmp_path, XML, seconds=1)
    assert a["xml"] == XML and faults(a) == [True]


def test_one_that_cannot_be_run(agent, tmp_path):
    hook(tmp_path, "").chmod(0o644)
    a = agent.transform(tmp_path, XML)
    assert a["xml"] == XML and faults(a) == [True]


def test_an_empty_answer_is_an_answer(agent, tmp_path):
    hook(tmp_path, "exit 0")
    assert agent.transform(tmp_path, XML)["xml"] == ""
    hook(tmp_path, "printf '%s' \"$2\"; echo noise >&2")
    assert "noise" in agent.transform(tmp_path, XML)["xml"]


@pytest.mark.parametrize("body", ["", "String other(a, b) { b }", "String transform(a, b) { null }",
                                  "String transform(a, b) { throw new Exception('x') }", "no groovy {"])
def test_a_groovy_hook_that_fails_counts_for_nothing(agent, tmp_path, body):
    groovy(tmp_path, body)
    hook(tmp_path, "printf '%s<!-- later -->' \"$2\"")
    a = agent.transform(tmp_path, XML)
    assert a["xml"] == XML + "<!-- later -->" and faults(a) == [True, False]


def test_an_xml_longer_than_an_argument_can_be(agent, tmp_path):
    hook(tmp_path, "printf '%.10s' \"$2\"")
    for size, fault in ((131071, False), (131072, True)):
        xml = "<domain>" + (size - len("<domain>")) * "x"
        a = agent.transform(tmp_path, xml)
        assert faults(a) == [fault] and a["xml"] == (xml if fault else xml[:10])


def test_states(agent, tmp_path):
    hook(tmp_path, f"echo \"$@\" >>{tmp_path}/said; exit 1", "libvirt-vm-state-change.sh")
    groovy(tmp_path, f"void onStart(a, b) {{ new File('{tmp_path}/said') << 'groovy ' + b + '\\n' }}", "libvirt-vm-state-change")
    assert faults(agent.on_start(tmp_path, "i-2-3-VM")) == [True, True]  # a void method returns null, which nobody asks for
    agent.on_stop(tmp_path, "i-2-3-VM")
    assert (tmp_path / "said").read_text().splitlines() == ["groovy i-2-3-VM", "onStart i-2-3-VM", "onStop i-2-3-VM"]


def test_requests_that_are_none(agent):
    for line in (b"nonsense\n", b'{"verb":"x"}\n', b'{"verb":"discover"}\n'):
        agent.process.stdin.write(line)
        agent.process.stdin.flush()
        assert "fault" in json.loads(agent.process.stdout.readline())


def test_letters_that_the_locale_does_not_have(agent, tmp_path):  # noqa: ARG001 (skips where there is none)
    """An agent whose locale is C gives a hook another text than it has."""
    hook(tmp_path, "printf '%s' \"$2\"")
    with agents.running(locale="C") as other:
        assert other.transform(tmp_path, "<a>é</a>")["xml"] == "<a>?</a>"
