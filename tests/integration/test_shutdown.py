# SPDX-License-Identifier: Apache-2.0
"""The end of the daemon, asked for and not; and its start through socket activation."""
import os
import signal
import socket
import subprocess

import pytest
import vgpu


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("start", ["ok", "deaf"])
def test_clients_are_told_and_executors_end(sig, start, tmp_path):
    m = vgpu.Mediator(tmp_path, start=start)
    operator, c = m.connect(), m.connect()
    t = operator.tenant()
    d = vgpu.Client(t.path)
    channels = [c.open(), d.open()]
    channels[1].do("work 200 0")
    executors = m.executors()
    m.process.send_signal(sig)
    for client, ch in zip((c, d), channels):
        lost = client.receive(timeout=2)
        assert (lost.kind, lost.code, lost.channel) == (vgpu.CHANNEL_LOST, vgpu.E_SHUTDOWN, ch.id)
        assert client.receive(timeout=2) is None
    assert m.process.wait(10) == 0
    assert not any(os.path.exists(f"/proc/{p}") for p in executors)
    assert not m.socket.exists() and not os.path.exists(t.path)


def test_open_in_progress_is_answered(tmp_path):
    m = vgpu.Mediator(tmp_path, start="silent")
    c = m.connect()
    c.send(vgpu.channel_open())
    vgpu.wait_for(m.executors)
    m.process.send_signal(signal.SIGTERM)
    answer = c.receive(timeout=2)
    assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_SHUTDOWN)
    assert m.process.wait(3) == 0


def test_executors_die_with_a_mediator_that_is_killed(tmp_path):
    m = vgpu.Mediator(tmp_path, "--set", "adopt.wait=0s", start="deaf")
    c = m.connect()
    c.open()
    executor, = m.executors()
    m.process.kill()
    m.process.wait()
    assert c.receive(timeout=2) is None
    vgpu.wait_for(lambda: not os.path.exists(f"/proc/{executor}")
                  or open(f"/proc/{executor}/stat", encoding="ascii").read().split()[2] == "Z", 1)
    # The next one takes the place over.
    again = vgpu.Mediator(tmp_path)
    with again.connect() as d:
        d.open()
    assert again.stop() == 0


def test_socket_activation(tmp_path):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path = tmp_path / "activated.sock"
    listening.bind(str(path))
    listening.listen(5)
    early = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    early.connect(str(path))  # before the daemon runs
    notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notify.bind(str(tmp_path / "notify"))
    notify.settimeout(5)
    r, w = os.pipe()
    script = 'exec 3<&"$1"; export LISTEN_PID=$$ LISTEN_FDS=1; shift; exec "$@"'
    with open(tmp_path / "log", "wb") as log:
        p = subprocess.Popen(
            ["/bin/bash", "-c", script, "sh", str(listening.fileno()), vgpu.MEDIATOR, "--executor", vgpu.FAKE,
             "--backend", "null", "--set", f"paths.run_directory={tmp_path}"],
            pass_fds=[listening.fileno()], stderr=log, env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")})
    os.close(r)
    os.close(w)
    assert b"READY=1" in notify.recv(100)
    early.send(vgpu.hello())
    early.settimeout(5)
    assert vgpu.Message(early.recv(4096), []).kind == vgpu.HELLO_OK
    with vgpu.Client(path) as c:
        c.open()
    p.send_signal(signal.SIGTERM)
    assert p.wait(3) == 0
    assert b"STOPPING=1" in notify.recv(100)
    assert path.exists()  # whoever made it keeps it


def test_wrong_kind_of_activated_socket(tmp_path):
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    stream.bind(str(tmp_path / "stream"))
    stream.listen(1)
    r = subprocess.run(
        ["/bin/bash", "-c", 'exec 3<&"$1"; export LISTEN_PID=$$ LISTEN_FDS=1; shift; exec "$@"', "sh",
         str(stream.fileno()), vgpu.MEDIATOR, "--executor", vgpu.FAKE, "--set", f"paths.run_directory={tmp_path}"],
        pass_fds=[stream.fileno()], capture_output=True, text=True, timeout=5, check=False)
    assert r.returncode != 0 and "SOCK_SEQPACKET" in r.stderr
