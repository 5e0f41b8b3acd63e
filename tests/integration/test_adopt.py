# SPDX-License-Identifier: Apache-2.0
"""A mediator that is restarted, leaves or is killed, and the next one that adopts what it had: clients, executors and
turns notice nothing. And who may not adopt."""
import contextlib
import os
import pathlib
import signal
import socket
import struct
import subprocess
import time

import control
import guest
import pytest
import vgpu
from vgpu import Shared, drop, share, take

KEEPER_MAGIC = 0x4b504756


class Daemon:
    """A mediator that can be replaced; leaves neither it nor a keeper behind."""

    def __init__(self, directory, *args, **kw):
        self.directory, self.args, self.kw = pathlib.Path(directory), args, kw
        self.m = vgpu.Mediator(directory, *args, **kw)

    def again(self):
        self.m = vgpu.Mediator(self.directory, *self.args, **self.kw)
        assert "adopted what the last mediator left" in self.m.log(), self.m.log()

    def settle(self):
        """All that was answered is kept as such: or an answer may come once more."""
        with self.m.connect() as c:
            c.status()

    def kill(self):
        self.settle()
        self.m.process.kill()
        self.m.process.wait()

    def replace(self, how):
        """how: kill (SIGKILL), leave (SIGUSR1), restart (SIGHUP, the same process)."""
        if how == "restart":
            before = self.m.log().count("ready:")
            self.m.process.send_signal(signal.SIGHUP)
            vgpu.wait_for(lambda: self.m.log().count("ready:") > before, 10, "ready again")
            return
        self.end(how)
        self.again()

    def end(self, how):
        """kill or leave, and nobody comes yet."""
        if how == "leave":
            self.settle()
            self.m.process.send_signal(signal.SIGUSR1)
            assert self.m.process.wait(5) == 0
        else:
            self.kill()

    def keepers(self):
        return keepers_in(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.m.process.poll() is None:
            assert self.m.stop() == 0, self.m.log()
            vgpu.wait_for(lambda: not self.keepers(), 2, "the keeper ends with its mediator")
        else:
            for pid in self.keepers():
                os.kill(pid, signal.SIGTERM)


def inodes_of(pid):
    found = set()
    with contextlib.suppress(OSError):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.add(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found


def keepers_in(directory):
    """Pids of the keepers that listen in a directory."""
    path = str(directory / "keeper.sock")
    with open("/proc/net/unix", encoding="ascii") as f:
        inodes = {f"socket:[{line.split()[6]}]" for line in f if line.rstrip().endswith(path)}
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            name = pathlib.Path(f"/proc/{pid}/comm").read_text(encoding="ascii").strip()
        except OSError:
            continue
        if name == "vgpu-keeper" and inodes & inodes_of(pid):
            found.append(int(pid))
    return found


def alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def fds_of(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def daemon(tmp_path):
    with Daemon(tmp_path) as d:
        yield d


HOWS = ["kill", "leave", "restart"]


@pytest.mark.parametrize("how", HOWS)
def test_all_that_there_was_goes_on(daemon, how):
    operator = daemon.m.connect()
    made = operator.tenant(name=b"kept", weight=300, memory=1 << 30)
    c = vgpu.Client(made.path)
    ch = c.open()
    executor, = daemon.m.executors()
    ch.do("memory 4096")
    vgpu.wait_for(lambda: operator.status()[made.tenant].memory_used == 4096)
    for _ in range(3):
        daemon.replace(how)
        row = operator.status()[made.tenant]
        assert (row.name, row.weight, row.memory_quota, row.memory_used, row.channels) == \
            ("kept", 300, 1 << 30, 4096, 1)
        assert alive(executor)
    # The old connections are as good as new ones.
    assert c.open().id > ch.id
    assert vgpu.Client(made.path).greeting.tenant == made.tenant
    assert operator.tenant(name=b"another").tenant > made.tenant
    # Its death is noticed although another mediator started it.
    ch.do("exit 3")
    lost = c.receive()
    assert (lost.kind, lost.code, lost.channel) == (vgpu.CHANNEL_LOST, vgpu.E_EXECUTOR_DIED, ch.id)
    vgpu.wait_for(lambda: operator.status()[made.tenant].memory_used == 0)
    # And the tenant ends with who made it.
    operator.close()
    vgpu.wait_for(lambda: not os.path.exists(made.path))
    assert c.receive().code == vgpu.E_SHUTDOWN
    assert c.receive() is None


@pytest.mark.parametrize("how", HOWS)
def test_ends_in_the_gap(daemon, how):
    """Clients, executors and makers that go while there is no mediator."""
    if how == "restart":
        pytest.skip("there is no gap")
    operator, stays, goes = daemon.m.connect(), daemon.m.connect(), daemon.m.connect()
    made = operator.tenant()
    inside = vgpu.Client(made.path)
    channels = [c.open() for c in (stays, goes, inside)]
    assert len(daemon.m.executors()) == 3
    if how == "kill":
        daemon.kill()
    else:
        daemon.m.process.send_signal(signal.SIGUSR1)
        daemon.m.process.wait(5)
    goes.close()
    operator.close()
    channels[0].do("abort")
    time.sleep(0.1)
    daemon.again()
    lost = stays.receive()
    assert (lost.kind, lost.channel) == (vgpu.CHANNEL_LOST, channels[0].id)
    assert [inside.receive().kind, inside.receive()] == [vgpu.CHANNEL_LOST, None]
    with daemon.m.connect() as again:
        vgpu.wait_for(lambda: again.status()[again.greeting.tenant].channels == 0)
        assert list(again.status()) == [again.greeting.tenant]
    assert not os.path.exists(made.path)


@pytest.mark.parametrize("how", HOWS)
def test_an_open_in_progress_is_answered(tmp_path, how):
    """The executor gets ready when its mediator is another one."""
    with Daemon(tmp_path, start="silent") as d:
        c = d.m.connect()
        c.send(vgpu.channel_open())
        vgpu.wait_for(d.m.executors)
        d.replace(how)
        d.m.stop()
        answer = c.receive(timeout=2)
        assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_SHUTDOWN)


def test_programs_that_start_in_the_gap_wait(daemon):
    daemon.m.connect().open()
    daemon.kill()
    early = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    early.connect(str(daemon.m.socket))
    early.send(vgpu.hello())
    daemon.again()
    early.settimeout(5)
    assert vgpu.Message(early.recv(4096), []).kind == vgpu.HELLO_OK


def test_a_request_that_waits_in_the_socket_is_answered_by_the_next(daemon):
    c, made = daemon.m.connect(), daemon.m.connect()
    ch = c.open()
    daemon.m.process.send_signal(signal.SIGSTOP)
    c.send(vgpu.status())
    made.send(vgpu.tenant_create(name=b"late"))
    ch.do(f"send 0 {share(1, 4096).hex()}")
    time.sleep(0.1)
    daemon.m.process.kill()
    daemon.m.process.wait()
    daemon.again()
    assert c.receive().kind == vgpu.STATUS_ROW
    answer = made.receive()
    assert answer.kind == vgpu.TENANT_OK and os.path.exists(answer.path)


@pytest.mark.parametrize("how", HOWS)
def test_shares_survive(daemon, how):
    operator = daemon.m.connect()
    made = operator.tenant(memory=1 << 30)
    a, b = vgpu.Client(made.path), vgpu.Client(made.path)
    owner, taker = a.open(), b.open()
    assert Shared(owner.exchange(share(1, 4096, b"opaque", n_fds=1), 1)).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(take(1))).code == vgpu.SHARE_OK
    daemon.replace(how)
    answer = Shared(taker.exchange(take(1, cookie=11)))
    assert (answer.code, answer.size, answer.word) == (vgpu.SHARE_OK, 4096, owner.id)
    assert Shared(owner.exchange(share(1, 4096, n_fds=1, cookie=12), 1)).code == vgpu.SHARE_LIMIT
    assert Shared(owner.exchange(drop(1, owner=1))).in_use == 1
    daemon.replace(how)
    # Taken twice, and only living on in its taker.
    assert Shared(taker.exchange(take(1))).code == vgpu.SHARE_UNKNOWN
    assert Shared(taker.exchange(drop(1))).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(drop(1))).code == vgpu.SHARE_OK
    assert Shared(taker.exchange(drop(1))).code == vgpu.SHARE_UNKNOWN


@pytest.mark.parametrize("how", HOWS)
def test_nothing_piles_up(daemon, how):
    """Many lives under one keeper: neither it nor the mediator keeps what is over."""
    def life():
        with daemon.m.connect() as operator:
            made = operator.tenant()
            with vgpu.Client(made.path) as c:
                ch = c.open()
                Shared(ch.exchange(share(1, 4096, n_fds=1), 1))
                daemon.replace(how)
                ch.do("print still here")
                ch.close()
        with daemon.m.connect() as again:
            vgpu.wait_for(lambda: all(r.channels == 0 for r in again.status().values()) and len(again.status()) == 1)

    life()
    keeper, = daemon.keepers()
    vgpu.wait_for(lambda: not daemon.m.executors())
    time.sleep(0.1)
    before = daemon.m.fds(), fds_of(keeper)
    for _ in range(4):
        life()
    vgpu.wait_for(lambda: (daemon.m.fds(), fds_of(keeper)) == before, what="all given back")
    assert daemon.keepers() == [keeper]


def shares_of(rows, tenants, since):
    used = [rows[t.tenant].gpu_ns - since[t.tenant].gpu_ns for t in tenants]
    return [u / sum(used) for u in used]


@pytest.mark.parametrize("how", HOWS)
def test_shares_go_on(daemon, how):
    operator = daemon.m.connect()
    made = [operator.tenant(name=b"t%d" % w, weight=w) for w in (400, 200, 100)]
    clients = [vgpu.Client(t.path) for t in made]
    for c in clients:
        c.open().do("work 400 0")
    vgpu.wait_for(lambda: all(operator.status()[t.tenant].launches > 50 for t in made), 10, "all at work")
    begin = operator.status()
    for _ in range(8):
        time.sleep(0.25)
        daemon.replace(how)
    now = operator.status()
    for got, wanted in zip(shares_of(now, made, begin), (4 / 7, 2 / 7, 1 / 7)):
        assert abs(got - wanted) < 0.05, shares_of(now, made, begin)
    # Counts only grow, and turns go on with the same executors.
    for t in made:
        assert now[t.tenant].gpu_ns > begin[t.tenant].gpu_ns > 0
        assert now[t.tenant].launches > begin[t.tenant].launches > 0
        assert now[t.tenant].contended_gpu_ns > begin[t.tenant].contended_gpu_ns


@pytest.mark.parametrize("how", HOWS)
def test_what_was_ordered_holds_on(daemon, how):
    """Policies and pools of the control socket."""
    operator = daemon.m.connect()
    made = operator.tenant(name=b"blue", weight=300, memory=1 << 30)
    inside = vgpu.Client(made.path).open()
    with control.connect(daemon.m) as ctl:
        ctl.do("pool.add", pool="A", weight=250, gpu_cap=90)
        ctl.do("pool.add", pool="gone")
        ctl.do("pool.set", pool="default", weight=50)
        ctl.do("tenant.set", tenant="blue", pool="A", weight=700, **{"class": "latency"}, gpu_cap=40, launches_per_s=1000)
        ctl.do("pool.remove", pool="gone")
        before = ctl.status()
    inside.do("work 400 0")
    for _ in range(2):
        daemon.replace(how)
    with control.connect(daemon.m) as ctl:
        pools, rows = ctl.status()
        assert sorted(pools) == ["A", "default"]
        for name in ("weight", "gpu_cap", "tenants"):
            assert [pools[p][name] for p in sorted(pools)] == [before[0][p][name] for p in sorted(pools)]
        for name in ("name", "pool", "weight", "class", "gpu_cap", "launches_per_s", "memory"):
            assert rows[made.tenant][name] == before[1][made.tenant][name]
        ctl.do("tenant.set", tenant="blue", pool="default")
        ctl.do("pool.remove", pool="A")
    daemon.replace(how)
    with control.connect(daemon.m) as ctl:
        pools, rows = ctl.status()
        assert list(pools) == ["default"] and rows[made.tenant]["pool"] == "default"


@pytest.mark.parametrize("how", HOWS)
def test_a_quarantine_is_no_shorter(tmp_path, how):
    with Daemon(tmp_path, "--set", "strikes.most=1", "--set", "strikes.quarantine=600 s") as d:
        c = d.m.connect()
        c.open().do("abort")
        assert c.receive().kind == vgpu.CHANNEL_LOST
        vgpu.wait_for(lambda: "in quarantine" in d.m.log())
        d.replace(how)
        with d.m.connect() as again:
            answer = again.ask(vgpu.channel_open())
            assert answer.kind == vgpu.ERROR and "quarantine" in answer.text, vars(answer)


def test_a_debt_is_not_forgotten(daemon):
    """Who used the GPU for long while another one waited does not begin anew with the next mediator."""
    operator = daemon.m.connect()
    made = [operator.tenant(name=n) for n in (b"greedy", b"modest")]
    greedy, modest = (vgpu.Client(t.path).open() for t in made)
    modest.do("work 400 0")
    time.sleep(0.05)
    greedy.do("overrun 800000")
    time.sleep(0.85)
    greedy.do("work 400 0")
    daemon.replace("kill")
    begin = operator.status()
    time.sleep(0.1)
    now = operator.status()
    used = [now[t.tenant].gpu_ns - begin[t.tenant].gpu_ns for t in made]
    assert used[1] > 2 * used[0], used


# ---- virtual machines

@pytest.mark.parametrize("how", HOWS)
def test_a_guest_notices_nothing(tmp_path, how):
    with Daemon(tmp_path, executor=guest.EXECUTOR) as d, guest.stub(tmp_path, d.m.socket) as s:
        g = guest.Guest(s.socket)
        g.ready()
        channels = [g.channel(i) for i in (5, 40)]
        for turn in range(3):
            for c in channels:
                c.ping(turn)
            d.replace(how)
            for c in channels:
                c.ping(turn)
        with d.m.connect() as operator:
            assert sum(r.channels for r in operator.status().values()) == 2
        assert g.reg("status") & guest.READY
        again = g.channel(6)
        again.ping()
        # CLOSE is answered when the executor is gone, whoever started that.
        assert all(c.close() == guest.OK for c in (*channels, again))
        with d.m.connect() as operator:
            assert sum(r.channels for r in operator.status().values()) == 0
        g.close()


def test_a_guests_channel_that_ends_in_the_gap(tmp_path):
    with Daemon(tmp_path, executor=guest.EXECUTOR) as d, guest.stub(tmp_path, d.m.socket) as s:
        g = guest.Guest(s.socket)
        g.ready()
        stays, goes, dies = (g.channel(i) for i in (1, 2, 3))
        with d.m.connect() as operator:
            operator.status()
        last = max(d.m.executors())
        d.kill()
        os.kill(last, signal.SIGKILL)
        g.submit(1, guest.CLOSE, struct.pack("<II", 2, 0))
        time.sleep(0.1)
        assert not g.has_reply(1)  # nobody says yet that the memory is free
        d.again()
        assert g.reply(1)[0] == guest.OK
        vgpu.wait_for(lambda: g.bell(3) & 2, what="the end is told")
        assert dies.close() == guest.OK
        stays.ping()
        assert stays.close() == guest.OK
        assert goes.number == 2
        g.close()


# ---- nobody comes

def test_without_a_successor_all_ends(tmp_path):
    with Daemon(tmp_path, "--set", "adopt.wait=300ms", "--set", "executor.stop=100ms") as d:
        quiet = d.m.connect()
        quiet.open()
        deaf = d.m.connect()
        deaf.open().do("deaf")
        time.sleep(0.1)
        executors = d.m.executors()
        d.kill()
        assert all(alive(p) for p in executors)
        assert quiet.receive(timeout=3) is None
        assert deaf.receive(timeout=3) is None
        vgpu.wait_for(lambda: not any(alive(p) for p in executors), 3, "no orphans")
        vgpu.wait_for(lambda: not d.keepers() and not (tmp_path / "keeper.sock").exists(), 3, "no keeper")
        # Nobody answers there, and the next one begins with nothing.
        with pytest.raises(ConnectionRefusedError):
            d.m.connect()
        d.m = vgpu.Mediator(tmp_path)
        assert "adopted" not in d.m.log()


def test_a_stopped_mediator_leaves_no_keeper(daemon):
    daemon.m.connect().open()
    assert daemon.keepers()
    assert daemon.m.stop() == 0
    vgpu.wait_for(lambda: not daemon.keepers() and not (daemon.directory / "keeper.sock").exists())


def test_a_keeper_that_dies_is_replaced(daemon):
    operator = daemon.m.connect()
    made = operator.tenant()
    c = vgpu.Client(made.path)
    owner = c.open()
    assert Shared(owner.exchange(share(1, 4096, n_fds=1), 1)).code == vgpu.SHARE_OK
    first, = daemon.keepers()
    os.kill(first, signal.SIGKILL)
    vgpu.wait_for(lambda: [p for p in daemon.keepers() if p != first], 5, "another keeper")
    daemon.replace("kill")
    assert operator.status()[made.tenant].channels == 1
    assert Shared(owner.exchange(take(1))).word == owner.id
    assert c.open().id > owner.id


def test_both_die_and_nothing_is_left(daemon):
    c = daemon.m.connect()
    c.open()
    executor, = daemon.m.executors()
    for pid in (*daemon.keepers(), daemon.m.pid):
        os.kill(pid, signal.SIGKILL)
    daemon.m.process.wait()
    assert c.receive(timeout=2) is None
    vgpu.wait_for(lambda: not alive(executor))
    daemon.m = vgpu.Mediator(daemon.directory)
    daemon.m.connect().open()


# ---- hostile adoption

def keeper_packet(kind, body=b"", n_fds=0, magic=KEEPER_MAGIC):
    return struct.pack("<IHHII", magic, kind, n_fds, 16 + len(body), 1) + body


def keeper_hello():
    return keeper_packet(0x0101, struct.pack("<QQ", 10**10, 10**8))


def ask_keeper(path, packet, timeout=2):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(timeout)
    s.connect(str(path))
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        s.send(packet)
    try:
        return s, s.recv(4096)
    except ConnectionResetError:
        return s, b""


def test_a_second_mediator_is_refused_while_one_lives(daemon):
    operator = daemon.m.connect()
    _, answer = ask_keeper(daemon.directory / "keeper.sock", keeper_hello())
    assert struct.unpack_from("<IH", answer) == (KEEPER_MAGIC, 0x0204)
    r = subprocess.run([vgpu.MEDIATOR, "--socket", daemon.directory / "other.sock", "--executor", vgpu.FAKE,
                        "--backend", "null", "--set", f"paths.run_directory={daemon.directory}"],
                       stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert r.returncode != 0 and "another mediator" in r.stderr
    operator.status()


def test_the_keeper_is_nobody_elses(daemon):
    path = daemon.directory / "keeper.sock"
    assert path.stat().st_mode & 0o777 == 0o600
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    for p in (daemon.directory, *daemon.directory.parents):
        if p.stat().st_uid == os.geteuid() and p != pathlib.Path("/"):
            p.chmod(p.stat().st_mode | 0o011)
    code = f"import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect({str(path)!r})"
    r = subprocess.run(["/usr/bin/python3", "-c", code], user=65534, group=65534, capture_output=True, text=True,
                       check=False)
    assert "PermissionError" in r.stderr
    # Whoever opens the file for all by mistake gives nothing away: the keeper looks who asks, too.
    path.chmod(0o666)
    daemon.kill()
    code = f"""import socket, struct
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(2)
s.connect({str(path)!r})
try:
    s.send(bytes.fromhex({keeper_hello().hex()!r}))
    print(len(s.recv(4096)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""
    r = subprocess.run(["/usr/bin/python3", "-c", code], user=65534, group=65534, capture_output=True, text=True,
                       check=False)
    assert r.stdout.strip() == "0", r.stdout + r.stderr
    daemon.again()


@pytest.mark.parametrize("packet", [
    b"x", keeper_packet(0x0101), keeper_packet(0x0102, b"\0" * 23), keeper_packet(0x0101, b"\0" * 16, magic=1),
    keeper_packet(0x0102, struct.pack("<QIIII", 1, 4, 0xff, 0, 0)),
    keeper_packet(0x0102, struct.pack("<QIIII", 1, 4, 0, 99, 0)),
    keeper_packet(0x0103, struct.pack("<QIIII", 12345, 4, 0, 0xffffffff, 0)),
    keeper_packet(0x0102, struct.pack("<QIIII", 1, 4, 0, 0xffffffff, 4000)),
], ids=["short", "hello", "put", "magic", "places", "pidfd", "update", "bytes"])
def test_garbage_is_hung_up_on(daemon, packet):
    """Between two mediators: the next one finds everything as it was."""
    c = daemon.m.connect()
    c.open()
    daemon.kill()
    _, answer = ask_keeper(daemon.directory / "keeper.sock", packet)
    assert answer == b""
    daemon.again()
    assert c.status()[c.greeting.tenant].channels == 1


def stranger_puts(path, *packets):
    """A mediator's user that is no mediator says HELLO, reads all, and puts records of its own."""
    s, answer = ask_keeper(path, keeper_hello())
    assert struct.unpack_from("<IH", answer)[1] == 0x0201
    while struct.unpack_from("<IH", s.recv(4096))[1] != 0x0203:
        pass
    for p in packets:
        s.send(p)
    s.close()


def record(kind, number, blob, places=0, pidfd=0xffffffff):
    return keeper_packet(0x0102, struct.pack("<QIIII", number, kind, places, pidfd, len(blob)) + blob)


def test_another_version_is_refused_cleanly(daemon):
    c = daemon.m.connect()
    c.open()
    executor, = daemon.m.executors()
    path = daemon.directory / "keeper.sock"
    daemon.kill()
    stranger_puts(path, keeper_packet(0x0103, struct.pack("<QIIII", 0, 1, 0, 0xffffffff, 8) + struct.pack("<II", 999, 1)))
    daemon.m = vgpu.Mediator(daemon.directory)
    assert "nothing is adopted" in daemon.m.log() and "another version" in daemon.m.log()
    assert c.receive(timeout=2) is None
    vgpu.wait_for(lambda: not alive(executor))
    daemon.m.connect().open()


@pytest.mark.parametrize("bad", [record(2, 7, b"\0" * 424), record(99, 7, b"\0" * 10), record(4, 7, b"\xff" * 400),
                                 record(5, 1, b"\xff" * 200), record(3, 1, b"")],
                         ids=["tenant", "kind", "channel", "share", "session"])
def test_records_that_make_no_sense(daemon, bad):
    c = daemon.m.connect()
    c.open()
    daemon.kill()
    stranger_puts(daemon.directory / "keeper.sock", bad)
    daemon.m = vgpu.Mediator(daemon.directory)
    assert "nothing is adopted" in daemon.m.log()
    assert c.receive(timeout=2) is None
    daemon.m.connect().open()


