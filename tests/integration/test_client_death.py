# SPDX-License-Identifier: Apache-2.0
"""Clients that are killed at each step: within a second no executor, no fd and no mapping of theirs is left."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest
import vgpu

STEPS = {
    "connected": "c = Client(sys.argv[1], say_hello=False)",
    "said hello": "c = Client(sys.argv[1])",
    "asked for a channel": "c = Client(sys.argv[1]); c.send(channel_open())",
    "has a channel": "c = Client(sys.argv[1]); ch = c.open()",
    "works": "c = Client(sys.argv[1]); ch = c.open(); ch.do('work 500 0'); time.sleep(0.1)",
    "keeps its turn": "c = Client(sys.argv[1]); ch = c.open(); ch.do('keep'); time.sleep(0.1)",
    "made a tenant": "c = Client(sys.argv[1]); t = c.tenant(); d = Client(t.path); d.open()",
    "does not read": "c = Client(sys.argv[1]); [c.send(status()) for _ in range(50)]",
    "sends half": "c = Client(sys.argv[1]); c.send(channel_open()[:20])",
}


def client(code, path, tail="print('there', flush=True)\nsignal.pause()"):
    here = pathlib.Path(__file__).parent
    p = subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(here)!r})\nfrom vgpu import *\n{code}\n{tail}",
         str(path)], stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"there\n"
    return p


@pytest.mark.parametrize("start", ["ok", "silent", "deaf"])
@pytest.mark.parametrize("step", STEPS)
def test_kill_9(step, start):
    if start == "silent" and "open()" in STEPS[step]:
        pytest.skip("an executor that never gets ready gives no channel")
    with vgpu.mediator(start=start) as m, m.connect() as settled:
        settled.status()
        before, maps = m.fds(), m.maps()
        p = client(STEPS[step], m.socket)
        p.kill()
        p.wait()
        vgpu.wait_for(lambda: not m.executors() and m.fds() == before and m.maps() == maps, 10, "all given back")
        assert settled.status()[settled.greeting.tenant].channels == 0
        p.stdout.close()


def test_forked_child_with_the_socket_does_not_keep_the_session(mediator):
    with mediator.connect() as settled:
        settled.status()
        before = mediator.fds()
        p = client("c = Client(sys.argv[1]); ch = c.open()\nchild = os.fork()\nif child == 0: signal.pause()",
                   mediator.socket, "print('there', flush=True)\nprint(child, flush=True)\nsignal.pause()")
        child = int(p.stdout.readline())
        p.kill()
        p.wait()
        try:
            vgpu.wait_for(lambda: not mediator.executors() and mediator.fds() == before, 1, "session ended")
            assert os.path.exists(f"/proc/{child}")
        finally:
            os.kill(child, signal.SIGKILL)
            p.stdout.close()


def test_clean_close_ends_the_executor_without_a_kill(mediator):
    with mediator.connect() as c:
        c.open()
    vgpu.wait_for(lambda: not mediator.executors(), 0.28, "executor ended by itself")
    assert "killing it" not in mediator.log()
