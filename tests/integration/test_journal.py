# SPDX-License-Identifier: Apache-2.0
"""What goes to the journal says in fields whom it is about; elsewhere lines are text. The journal here is a library that
stands before libsystemd's."""
import contextlib
import os
import tempfile

import control
import inventory
import pytest
import vgpu

JOURNAL = vgpu.BUILD / "tests/unit/mediator/fake-journal.so"


@contextlib.contextmanager
def journalled(stream=None, *settings):
    """A mediator whose stderr is said to be the journal; and what went there."""
    if not JOURNAL.exists():
        pytest.skip(f"{JOURNAL} is not built")
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory:
        log = os.path.join(directory, "log")
        with open(log, "wb") as f:
            st = os.fstat(f.fileno())
        journal = os.path.join(directory, "journal")
        m = vgpu.Mediator(directory, *settings, env={
            "LD_PRELOAD": str(JOURNAL), "VGPU_FAKE_JOURNAL": journal,
            "JOURNAL_STREAM": stream or f"{st.st_dev}:{st.st_ino}",
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
        try:
            yield m, lambda: entries(journal)
            assert m.stop() == 0, m.log()
        finally:
            if m.process.poll() is None:
                m.process.kill()
                m.process.wait()


def entries(path):
    if not os.path.exists(path):
        return []
    with open(path, encoding="ascii") as f:
        return [dict(line.split("=", 1) for line in e.split("\n")) for e in f.read().split("\n\n") if e]


def about(found, text):
    return [e for e in found if text in e["MESSAGE"]]


def test_lines_carry_whom_they_are_about():
    with journalled() as (m, journal), m.connect() as operator:
        number = operator.tenant(name=b"blue").tenant
        made, = about(journal(), "'blue': weight")
        assert made["VGPU_TENANT"] == "blue" and made["VGPU_TENANT_ID"] == str(number)
        assert made["PRIORITY"] == "6" and made["SYSLOG_IDENTIFIER"] == "vgpu-mediator"
        with vgpu.Client(m.directory / f"tenant-{number}.sock") as c:
            channel = c.open()
            executor, = m.executors()
            channel.do("print hello there")
            vgpu.wait_for(lambda: about(journal(), "says: hello there"))
            said = about(journal(), "says: hello there")[0]
            channel.do("abort")
            vgpu.wait_for(lambda: about(journal(), "strike: crash"))
            died = about(journal(), "killed by SIGABRT")[0]
            strike, = about(journal(), "strike: crash")
            for e in (said, died, strike):
                assert e["VGPU_TENANT"] == "blue" and e["VGPU_CHANNEL"] == str(channel.id)
                assert e["VGPU_EXECUTOR"] == str(executor) and int(e["VGPU_SESSION"]) > 0
                assert "VGPU_VM" not in e
            assert died["PRIORITY"] == "4"
        with vgpu.Client(m.directory / f"tenant-{number}.sock") as c:
            c.ask_or_none(vgpu.header(0x7777, 16))
        vgpu.wait_for(lambda: about(journal(), "closed: "))
        closed = about(journal(), "closed: ")[0]
        assert closed["VGPU_TENANT"] == "blue" and "VGPU_CHANNEL" not in closed
        assert int(closed["VGPU_SESSION"]) > int(said["VGPU_SESSION"])
        ready, = about(journal(), "ready: backend")
        assert not [f for f in ready if f.startswith("VGPU_")]
        assert "vgpu-mediator: " not in m.log()


def test_a_machine_is_named_by_its_uuid():
    with journalled(None, *inventory.SMALL) as (m, journal), control.connect(m) as c:
        path = inventory.assigned(c)["socket"]
        with vgpu.Client(path) as client:
            client.open().do("print from a machine")
            vgpu.wait_for(lambda: about(journal(), "from a machine"))
        said = about(journal(), "says: from a machine")[0]
        assert (said["VGPU_TENANT"], said["VGPU_VM"]) == ("one", inventory.VM1)


def test_another_ones_journal_is_not_ours():
    """$JOURNAL_STREAM is inherited by programs whose stderr is a file."""
    with journalled("1:2") as (m, journal):
        assert "vgpu-mediator: info: ready:" in m.log()
        assert journal() == []
