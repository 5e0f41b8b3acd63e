# SPDX-License-Identifier: Apache-2.0
"""The client that was written from the protocol's text, with the real mediator and executors."""
import contextlib
import random
import struct

import protocol_client as protocol
import pytest
import stack

PTX = (stack.SOURCE / "tests/e2e/kernels/basic.ptx").read_bytes() + b"\0"


@pytest.fixture
def channel(mediator):
    link = protocol.Link(mediator.socket)
    c = protocol.Channel(link)
    yield c
    c.close()
    link.close()
    mediator.wait_executors(0)


def computes(mediator):
    return mediator.backend != "null"


def test_a_device_is_there(channel):
    assert channel.link.version == 1 and channel.link.tenant > 0
    total, version, name, attributes = channel.device()
    assert total > 0 and version >= 12000 and name and len(attributes) > 100
    assert channel.must(protocol.PING, struct.pack("<Q", 0x1122334455667788)) == struct.pack("<Q", 0x1122334455667788)
    channel.activate()
    free, total = struct.unpack("<QQ", channel.must(protocol.MEM_INFO))
    assert 0 < free <= total


def test_copies_and_a_launch(channel, mediator):
    channel.activate()
    n = 100000
    left, right = (struct.pack(f"<{n}f", *range(first, first + n)) for first in (0, 5))
    a, b, c = (channel.allocate(4 * n) for _ in range(3))
    channel.copy_in(a, left)
    channel.copy_in(b, right)
    module, errors = channel.load(PTX)
    assert not errors
    kernel = channel.function(module, "vector_add")
    if not computes(mediator):
        return
    channel.launch(kernel, (n // 128 + 1, 1, 1), (128, 1, 1), (a, b, c, n))
    assert channel.copy_out(c, 4 * n) == struct.pack(f"<{n}f", *(2 * i + 5 for i in range(n)))
    channel.push(protocol.SET, struct.pack("<5QIIII", 0, a, n, 1, 4 * n, 0x01020304, 4, protocol.DEVICE, 0))
    assert channel.copy_out(a, 8) == b"\4\3\2\1" * 2


def test_the_ring_goes_around(channel, mediator):
    """Records of many lengths, several times the ring's size, each at its place."""
    channel.activate()
    dice, at = random.Random(4), channel.allocate(16384)
    word = channel.allocate(4)
    for i in range(300):
        data = bytes([i % 251]) * dice.randint(1, 16384)
        channel.write(at, data)
        if i % 50 == 49 and computes(mediator):
            assert channel.copy_out(at, len(data)) == data
    channel.write(word, b"done")
    assert channel.tail > 2 * channel.ring_bytes
    if computes(mediator):
        assert channel.copy_out(word, 4) == b"done"


def test_streams_and_their_fences(channel, mediator):
    channel.activate()
    stream, word = channel.name(protocol.STREAM), channel.allocate(4)
    module, _ = channel.load(PTX)
    step = channel.function(module, "step")
    channel.push(protocol.STREAM_CREATE, struct.pack("<QIi", stream, 1, 0))
    channel.write(word, struct.pack("<I", 1), stream)
    for _ in range(3 if computes(mediator) else 0):
        channel.launch(step, (1, 1, 1), (1, 1, 1), (word, 5), stream)
    channel.finish(stream)
    if computes(mediator):
        assert struct.unpack("<I", channel.copy_out(word, 4)) == (((1 * 3 + 5) * 3 + 5) * 3 + 5,)
    channel.push(protocol.STREAM_DESTROY, struct.pack("<Q", stream))
    channel.finish()
    with pytest.raises(protocol.Refused) as refused:
        channel.write(word, b"late", stream)
        channel.finish()
    assert refused.value.code == 400 and refused.value.text == "deferred"


def test_errors_of_calls_are_theirs_alone(channel, mediator):
    channel.activate()
    assert channel.call(protocol.MEM_ALLOC, struct.pack("<Q", 1 << 50))[0] == 2
    assert channel.call(protocol.FUNCTION_GET, struct.pack("<QQ", protocol.handle(protocol.MODULE, 9, 9), channel.name(protocol.FUNCTION)),
                        b"step")[0] == 400
    if computes(mediator):
        module, errors = channel.load(PTX.replace(b"mul.lo", b"mul.no"))
        assert module is None and ".no" in errors
    with pytest.raises(protocol.Refused) as refused:
        channel.copy(channel.device_base, protocol.DEVICE, channel.window_base, protocol.HOST, 4)
        channel.finish()
    assert refused.value.code == 1
    assert channel.load(PTX)[0]


def test_a_fault_is_sticky(channel, mediator):
    if not computes(mediator):
        pytest.skip("null: kernels do nothing wrong")
    channel.activate()
    module, _ = channel.load((stack.SOURCE / "tests/e2e/kernels/faults.ptx").read_bytes() + b"\0")
    channel.launch(channel.function(module, "write_at"), (1, 1, 1), (1, 1, 1), (64, 1))
    with pytest.raises(protocol.Refused) as refused:
        channel.finish()
    assert (refused.value.code, refused.value.text) == (700, "sticky")
    assert channel.call(protocol.MEM_ALLOC, struct.pack("<Q", 4))[0] == 700


@pytest.mark.parametrize("versions", [(2, 9), (0, 0)])
def test_no_common_version(mediator, versions):
    with pytest.raises(protocol.Refused) as refused:
        protocol.Link(mediator.socket, versions)
    assert refused.value.code == 1 and "version" in refused.value.text.lower()


MALFORMED = {
    "unknown opcode": (lambda c: c.push(9999, b""), "opcode"),
    "reply of a call without": (lambda c: c.push(protocol.MEM_FREE, bytes(8), slot=1, cookie=5), "reply"),
    "no slot": (lambda c: c.push(protocol.PING, bytes(8)), "slot"),
    "too short": (lambda c: c.push(protocol.MEM_ALLOC, b"", slot=0, cookie=1), "mem_alloc: length"),
    "reserved": (lambda c: c.push(protocol.FENCE, struct.pack("<QQII", 0, 1, 0, 1)), "fence: reserved0"),
    "fence slot": (lambda c: c.push(protocol.FENCE, struct.pack("<QQII", 0, 1, 1 << 20, 0)), "fence: slot"),
    "tail": (lambda c: c.push(protocol.WRITE, struct.pack("<QQII", 0, 0, 8, 0), b"1234"), "write: tail"),
    "pad": (lambda c: c.push(0, b""), "pad"),
    "tail of the ring": (lambda c: c.publish(b"", 8), "aligned"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_records_end_the_channel(mediator, case):
    break_it, word = MALFORMED[case]
    link = protocol.Link(mediator.socket)
    channel = protocol.Channel(link)
    channel.activate()
    with pytest.raises(protocol.Lost) as lost:
        break_it(channel)
        channel.ring()
        channel.wait(lambda: False)
    assert lost.value.code == 8 and word in lost.value.text, str(lost.value)
    with contextlib.closing(protocol.Link(mediator.socket)) as next_link:
        protocol.Channel(next_link).activate()
    link.close()
