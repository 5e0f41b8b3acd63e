# SPDX-License-Identifier: Apache-2.0
"""STATUS: rows in order, the end, and many rows for a slow reader."""
import time

import vgpu


def test_rows_and_end(mediator):
    with mediator.connect() as c:
        made = [c.tenant(name=b"n%d" % i, weight=i + 1, memory=i).tenant for i in range(5)]
        answer = c.ask(vgpu.status(cookie=123))
        seen = []
        while answer.kind == vgpu.STATUS_ROW:
            assert answer.cookie == 123
            seen.append((answer.tenant, answer.name, answer.weight, answer.memory_quota))
            answer = c.receive()
        assert answer.kind == vgpu.STATUS_END and answer.cookie == 123 and answer.rows == len(seen) == 6
        assert [s[0] for s in seen] == sorted(s[0] for s in seen)
        assert seen[1:] == [(t, f"n{i}", i + 1, i) for i, t in enumerate(made)]
        assert abs(answer.now_ns - time.monotonic_ns()) < 1e9
        assert answer.backend == "null"


def test_backend_and_device_are_the_executors_words(mediator):
    with mediator.connect() as c:
        c.open()
        answer = c.ask(vgpu.status())
        while answer.kind == vgpu.STATUS_ROW:
            assert answer.channels == 1
            answer = c.receive()
        assert (answer.backend, answer.device) == ("fake", "Fake GPU")


def test_more_rows_than_a_socket_holds(mediator):
    with mediator.connect() as c, mediator.connect() as reader:
        for i in range(600):
            c.tenant(name=b"t%d" % i)
        reader.send(vgpu.status())
        time.sleep(0.2)  # the rows that fit are there, the rest waits for the reader
        # Others are served meanwhile, and a second question has to wait.
        assert c.open()
        reader.send(vgpu.status(cookie=9))
        rows, refused, answer = 0, 0, reader.receive()
        while answer.kind != vgpu.STATUS_END:
            rows += answer.kind == vgpu.STATUS_ROW
            refused += answer.kind == vgpu.ERROR and answer.code == vgpu.E_LIMIT and answer.cookie == 9
            answer = reader.receive()
        assert rows == answer.rows == 601
        if not refused:  # or it came when the first was done
            assert reader.receive().kind in (vgpu.STATUS_ROW, vgpu.ERROR)


def test_meters_of_a_live_executor(mediator):
    with mediator.connect() as c:
        ch = c.open()
        ch.do("meters 5 6 7")
        vgpu.wait_for(lambda: c.status()[c.greeting.tenant].launches == 5)
        row = c.status()[c.greeting.tenant]
        assert (row.copy_bytes, row.faults) == (6, 7)
        ch.do("meters 1 1 1")  # counters only grow, whatever an executor writes
        time.sleep(0.05)
        row = c.status()[c.greeting.tenant]
        assert (row.launches, row.copy_bytes, row.faults) == (5, 6, 7)
