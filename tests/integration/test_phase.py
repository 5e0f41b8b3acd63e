# SPDX-License-Identifier: Apache-2.0
"""Which message is legal when."""
import pytest
import vgpu

EARLY = {"channel": vgpu.channel_open(), "tenant": vgpu.tenant_create(), "status": vgpu.status()}


@pytest.mark.parametrize("name", EARLY)
def test_nothing_goes_before_hello(mediator, name):
    with mediator.connect(say_hello=False) as c:
        answer = c.ask(EARLY[name])
        assert answer.code == vgpu.E_PROTOCOL and "HELLO" in answer.text
        assert c.receive() is None
    assert not mediator.executors()


def test_hello_once_only(mediator):
    with mediator.connect() as c:
        assert c.ask(vgpu.hello()).code == vgpu.E_PROTOCOL
        assert c.receive() is None


def test_requests_may_follow_each_other_without_waiting(mediator):
    with mediator.connect(say_hello=False) as c:
        c.send(vgpu.hello(cookie=10))
        c.send(vgpu.channel_open(cookie=11))
        c.send(vgpu.status(cookie=12))
        kinds = {}
        while len(kinds) < 3 or vgpu.STATUS_END not in kinds:
            answer = c.receive()
            kinds[answer.kind] = answer.cookie
        assert kinds[vgpu.HELLO_OK] == 10 and kinds[vgpu.STATUS_END] == 12
        while vgpu.CHANNEL_OK not in kinds:
            answer = c.receive()
            kinds[answer.kind] = answer.cookie
        assert kinds[vgpu.CHANNEL_OK] == 11


def test_two_channels_on_one_connection(mediator):
    with mediator.connect() as c:
        a, b = c.open(), c.open()
        assert a.id != b.id
        assert len(mediator.executors()) == 2
        a.do("exit 0")
        lost = c.receive()
        assert (lost.kind, lost.channel) == (vgpu.CHANNEL_LOST, a.id)
        assert c.status()[c.greeting.tenant].channels in (1, 2)
        vgpu.wait_for(lambda: len(mediator.executors()) == 1)
