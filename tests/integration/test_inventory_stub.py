# SPDX-License-Identifier: Apache-2.0
"""A VM's stub at the socket of its vGPU: there before it, while it is assigned, and when it is taken away."""
import control
import guest
import vgpu
from inventory import SMALL, VM1, assigned, tenant_of


def test_a_stub_that_waits_for_its_vgpu():
    with vgpu.mediator(*SMALL, executor=guest.EXECUTOR) as m, control.connect(m) as ctl, \
            guest.stub(m.directory, m.directory / f"vm-{VM1}.sock") as stub:
        g = guest.Guest(stub.socket)  # the VM starts before it has a vGPU
        slot = assigned(ctl)
        g.ready(20)
        channel = guest.GuestChannel(g, 0)
        assert channel.open() == guest.OK
        row, = ctl.do("session.list", tenant="one")["sessions"][:1]
        assert row["kind"] == "vm" and tenant_of(ctl)["channels"]
        ctl.do("drain.start")
        assert guest.GuestChannel(g, 1).open(slot=1) == 11  # VGPU_RESULT_DRAINING
        ctl.do("drain.stop")
        assert ctl.do("vgpu.release", vgpu=slot["vgpu"])["channels"] == 1
        vgpu.wait_for(lambda: not g.reg("status") & guest.READY, 10)
        ctl.do("vgpu.assign", vgpu=slot["vgpu"], vm=VM1)
        g.ready(20)
        assert guest.GuestChannel(g, 2).open(slot=2) == guest.OK
