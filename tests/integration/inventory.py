# SPDX-License-Identifier: Apache-2.0
"""What the tests of the inventory share."""
import contextlib
import tempfile

from test_adopt import Daemon

SMALL = ("--set", "profile small.memory=1G", "--set", "profile small.weight=50")
VM1, VM2 = "11111111-2222-4333-8444-555555555555", "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"


@contextlib.contextmanager
def daemon(*args, **kw):
    """A mediator that can be replaced, in a directory that is short enough for the sockets of VMs."""
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, Daemon(directory, *SMALL, *args, **kw) as d:
        yield d


def vms(ctl):
    return {v["vm"]: v for v in ctl.do("vm.list")["vms"]}


def vgpus(ctl):
    return {v["vgpu"]: v for v in ctl.do("vgpu.list")["vgpus"]}


def assigned(ctl, vm=VM1, name="one", profile="small"):
    """A VM with a vGPU of its own, as vgpu.add answers."""
    ctl.do("vm.add", vm=vm, name=name)
    return ctl.do("vgpu.add", vm=vm, profile=profile)


def tenants_of(ctl, vm=VM1):
    return [t for t in ctl.do("tenant.list")["tenants"] if t["vm"] == vm]


def tenant_of(ctl, vm=VM1):
    """The row of the VM's tenant."""
    row, = tenants_of(ctl, vm)
    return row


def everything(ctl):
    """The inventory, without what differs from one mediator to the next."""
    def strip(rows):
        return [{k: v for k, v in r.items() if k not in ("tenant", "socket", "connections", "channels", "state", "libraries")} for r in rows]

    return (strip(ctl.do("profile.list")["profiles"]), strip(ctl.do("vm.list")["vms"]),
            strip(ctl.do("vgpu.list")["vgpus"]))
