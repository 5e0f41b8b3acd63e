# SPDX-License-Identifier: Apache-2.0
"""What executors of one tenant share through the mediator: by key, within the tenant, bounded, charged once."""
import pytest
import vgpu
from vgpu import Shared, drop, share, take


@pytest.fixture
def two(mediator):
    """Two executors of one tenant, one of another, and the operator's connection."""
    with mediator.connect() as operator:
        ours, theirs = operator.tenant(memory=1 << 30), operator.tenant(name=b"other")
        with vgpu.Client(ours.path) as a, vgpu.Client(ours.path) as b, vgpu.Client(theirs.path) as c:
            channels = a.open(), b.open(), c.open()
            operator.status()  # what was sent with the answers is closed by now
            yield mediator, operator, ours, channels


def used(operator, tenant):
    return operator.status()[tenant.tenant].memory_used


def test_shared_and_taken(two):
    mediator, _, _, (owner, taker, _) = two
    before = mediator.fds()
    answer = Shared(owner.exchange(share(1, 4096, b"opaque", n_fds=1), 1))
    assert (answer.code, answer.cookie, answer.word) == (vgpu.SHARE_OK, 7, None)
    assert mediator.fds() == before + 1
    for _ in range(3):
        answer = Shared(taker.exchange(take(1)))
        assert (answer.code, answer.cookie, answer.size, answer.word) == (vgpu.SHARE_OK, 8, 4096, owner.id)
        assert answer.data == b"opaque".ljust(64, b"\0")
    assert Shared(owner.exchange(drop(1, owner=1))).in_use == 1
    assert mediator.fds() == before
    assert Shared(taker.exchange(take(1))).code == vgpu.SHARE_UNKNOWN
    for _ in range(3):
        assert Shared(taker.exchange(drop(1))).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(drop(1))).code == vgpu.SHARE_UNKNOWN


def test_without_an_fd(two):
    _, _, _, (owner, taker, _) = two
    assert Shared(owner.exchange(share(2, data=b"\1" * 64))).code == vgpu.SHARE_OK
    answer = Shared(taker.exchange(take(2)))
    assert (answer.data, answer.word, answer.size) == (b"\1" * 64, None, 0)
    assert Shared(taker.exchange(drop(2))).code == vgpu.SHARE_OK
    assert Shared(owner.exchange(drop(2, owner=1))).in_use == 0


def test_another_tenant_gets_nothing(two):
    mediator, _, _, (owner, _, stranger) = two
    assert Shared(owner.exchange(share(3, 4096, n_fds=1), 1)).code == vgpu.SHARE_OK
    for packet in (take(3), drop(3), drop(3, owner=1)):
        answer = Shared(stranger.exchange(packet))
        assert (answer.code, answer.word, answer.size, answer.data) == (vgpu.SHARE_UNKNOWN, None, 0, bytes(64))
    # The same key is free in the other tenant, and stays another thing there.
    assert Shared(stranger.exchange(share(3, 8192, b"mine", n_fds=1), 1)).code == vgpu.SHARE_OK
    assert Shared(owner.exchange(take(3))).word == owner.id
    assert Shared(stranger.exchange(take(3))).word == stranger.id


def test_unknown_keys_and_others_property(two):
    _, _, _, (owner, taker, _) = two
    assert Shared(taker.exchange(take(4))).code == vgpu.SHARE_UNKNOWN
    assert Shared(taker.exchange(drop(4, owner=1))).code == vgpu.SHARE_UNKNOWN
    assert Shared(owner.exchange(share(4))).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(share(4))).code == vgpu.SHARE_LIMIT
    assert Shared(taker.exchange(drop(4, owner=1))).code == vgpu.SHARE_UNKNOWN
    assert Shared(taker.exchange(drop(4))).code == vgpu.SHARE_UNKNOWN
    assert Shared(taker.exchange(take(4))).code == vgpu.SHARE_OK


@pytest.mark.parametrize("packet, fds", [
    (share(5) + b"\0", 0),
    (share(5)[:-1], 0),
    (share(5, 1 << 41), 0),
    (share(5, n_fds=1), 0),  # announced and not sent
    (share(5), 1),  # sent and not announced
    (share(5, n_fds=2), 2),
    (vgpu.header(vgpu.TAKE, 32, n_fds=1) + vgpu.key_of(5), 1),
    (vgpu.header(vgpu.DROP, 40, n_fds=1) + vgpu.key_of(5) + bytes(8), 1),
    (drop(5, owner=2), 0),
    (drop(5, reserved=1), 0),
    (vgpu.header(vgpu.SHARED, 96) + bytes(80), 0),
])
def test_malformed_ends_the_executor(two, packet, fds):
    mediator, _, _, (owner, taker, _) = two
    assert Shared(taker.exchange(share(6, n_fds=1), 1)).code == vgpu.SHARE_OK
    before = mediator.fds()
    owner.do(f"send {fds} {packet.hex()}")
    lost = owner.client.receive(timeout=2)
    assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_EXECUTOR_DIED) and "protocol" in lost.text
    vgpu.wait_for(lambda: mediator.fds() < before)
    assert Shared(taker.exchange(take(6))).word == taker.id


@pytest.mark.parametrize("packet", [share(7), take(7), drop(7)])
def test_a_client_may_not(mediator, packet):
    with mediator.connect() as c:
        assert c.ask(packet).code == vgpu.E_PROTOCOL
        assert c.receive() is None


def test_not_before_ready():
    with vgpu.mediator(start="share") as m, m.connect() as c:
        answer = c.ask(vgpu.channel_open())
        assert answer.kind == vgpu.ERROR and "broke the protocol" in answer.text


def test_charge_stays_until_the_last_taker_has_gone(two):
    _, operator, tenant, (owner, taker, _) = two
    owner.do("memory 1000000")
    taker.do("memory 500")
    vgpu.wait_for(lambda: used(operator, tenant) == 1000500)
    assert Shared(owner.exchange(share(8, 1000000, n_fds=1), 1)).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(take(8))).code == vgpu.SHARE_OK
    owner.do("abort")
    assert owner.client.receive(timeout=2).kind == vgpu.CHANNEL_LOST
    vgpu.wait_for(lambda: operator.status()[tenant.tenant].channels == 1)
    assert used(operator, tenant) == 1000500
    assert Shared(taker.exchange(take(8))).code == vgpu.SHARE_UNKNOWN
    assert Shared(taker.exchange(drop(8))).code == vgpu.SHARE_OK
    assert used(operator, tenant) == 500


def test_taker_that_dies_gives_back(two):
    mediator, operator, tenant, (owner, taker, _) = two
    owner.do("memory 1000000")
    vgpu.wait_for(lambda: used(operator, tenant) == 1000000)
    assert Shared(owner.exchange(share(9, 400000, n_fds=1), 1)).code == vgpu.SHARE_OK
    for _ in range(2):
        assert Shared(taker.exchange(take(9))).code == vgpu.SHARE_OK
    before = mediator.fds()
    assert Shared(owner.exchange(drop(9, owner=1))).in_use == 1
    assert used(operator, tenant) == 1000000  # the taker's now; the owner has not let go of its own count yet
    taker.do("exit 0")
    assert taker.client.receive(timeout=2).kind == vgpu.CHANNEL_LOST
    vgpu.wait_for(lambda: used(operator, tenant) == 600000)
    vgpu.wait_for(lambda: mediator.fds() < before)


def test_flood_of_shares_is_bounded(two):
    mediator, _, _, (owner, taker, stranger) = two
    before = mediator.fds()
    codes = [Shared(owner.exchange(share(n, n_fds=1), 1)).code for n in range(100, 100 + 514)]
    assert codes == [vgpu.SHARE_OK] * 512 + [vgpu.SHARE_LIMIT] * 2
    assert mediator.fds() == before + 512
    assert Shared(taker.exchange(share(5000))).code == vgpu.SHARE_OK  # one without fd
    assert Shared(stranger.exchange(share(100, n_fds=1), 1)).code == vgpu.SHARE_OK  # another tenant
    assert Shared(owner.exchange(drop(100, owner=1))).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(share(100, n_fds=1), 1)).code == vgpu.SHARE_OK
    owner.do("exit 0")
    assert owner.client.receive(timeout=2).kind == vgpu.CHANNEL_LOST
    vgpu.wait_for(lambda: mediator.fds() <= before + 2)
    assert Shared(taker.exchange(take(101))).code == vgpu.SHARE_UNKNOWN


def test_one_that_does_not_read_its_answers_is_ended(two):
    _, _, _, (owner, taker, _) = two
    owner.do("asks")
    lost = owner.client.receive(timeout=10)
    assert (lost.kind, lost.code) == (vgpu.CHANNEL_LOST, vgpu.E_EXECUTOR_DIED)
    assert Shared(taker.exchange(take(1))).code == vgpu.SHARE_UNKNOWN
