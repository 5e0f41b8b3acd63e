# SPDX-License-Identifier: Apache-2.0
"""Too much of everything: packets, connections, unread answers."""
import socket
import time

import vgpu


def test_packet_flood_is_closed_with_the_limit_named(mediator):
    with mediator.connect() as c:
        # A second's worth of packets is allowed at once. Refused ones are cheap and answered: read while sending.
        answer, sent = None, 0
        while sent < 5000 and not (answer and "VGPU_MAX_LINK_PACKETS_PER_S" in answer.text):
            c.send(vgpu.tenant_create(weight=1, name=b"a"))
            sent += 1
            answer = c.receive()
            assert answer is not None
            if answer.kind != vgpu.ERROR:
                answer = None
        assert answer and answer.code == vgpu.E_LIMIT and sent > 1000
        assert c.receive() is None
    with mediator.connect() as other:
        assert other.status()


def test_status_flood_without_reading(mediator):
    with mediator.connect() as c:
        try:
            c.sock.settimeout(5)
            for _ in range(5000):
                c.send(vgpu.status())
        except (BrokenPipeError, ConnectionResetError, socket.timeout):
            pass
        vgpu.wait_for(lambda: "closed: " in mediator.log(), 5, "the flooder is closed")
    with mediator.connect() as other:
        assert other.status()


def test_rate_not_reached_is_never_punished(mediator):
    with mediator.connect() as c:
        end = time.monotonic() + 1.5
        n = 0
        while time.monotonic() < end:
            assert c.status()
            n += 1
            time.sleep(0.003)
        assert n > 100


def test_connections_of_one_tenant_are_limited():
    with vgpu.mediator("--set", "limits.connections=5") as m:
        held = [m.connect() for _ in range(5)]
        c = m.connect(say_hello=False)
        answer = c.receive()
        assert answer.code == vgpu.E_LIMIT and "limits.connections" in answer.text
        assert c.receive() is None
        held.pop().close()

        def room():
            with m.connect(say_hello=False) as again:
                return again.ask(vgpu.hello()).kind == vgpu.HELLO_OK
        vgpu.wait_for(room)
        for h in held:
            h.close()


def test_connection_flood_leaves_others_alone(mediator):
    with mediator.connect() as settled:
        before = mediator.fds()
        for _ in range(20):
            flood = []
            for _ in range(100):
                s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                s.setblocking(False)
                try:
                    s.connect(str(mediator.socket))
                except BlockingIOError:
                    pass
                flood.append(s)
            for s in flood:
                s.close()
        assert settled.status()
        vgpu.wait_for(lambda: mediator.fds() == before, 5, "every connection closed")


def test_executor_output_flood_is_limited_and_cut():
    with vgpu.mediator("--set", "log.output_lines=5") as m, m.connect() as c:
        ch = c.open()
        ch.do("flood")
        time.sleep(1.2)
        assert c.status()  # the loop has time for others
        c.close()
        vgpu.wait_for(lambda: not m.executors(), 2)
        log = m.log()
        assert 1 <= log.count("nobody wants to read") <= 25
        assert "lines of output left out" in log
