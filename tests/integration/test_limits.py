# SPDX-License-Identifier: Apache-2.0
"""Limits of the tenant and of the process: refused with the limit's name, and the daemon goes on."""
import os
import resource
import subprocess

import pytest
import vgpu


def test_channels_of_a_tenant():
    with vgpu.mediator("--set", "limits.channels=3") as m, m.connect() as c, m.connect() as d:
        channels = [c.open(), c.open(), d.open()]
        for client in (c, d):
            answer = client.ask(vgpu.channel_open())
            assert answer.code == vgpu.E_LIMIT and "limits.channels" in answer.text
        t = c.tenant()
        with vgpu.Client(t.path) as other:
            other.open()
        channels[0].do("exit 0")
        assert c.receive().kind == vgpu.CHANNEL_LOST
        vgpu.wait_for(lambda: c.status()[c.greeting.tenant].channels == 2)
        d.open()


def few_files():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))


def test_out_of_fds_is_said_and_survived():
    with vgpu.mediator(preexec=few_files) as m:
        clients, refused = [], None
        for _ in range(60):
            c = m.connect(say_hello=False)
            clients.append(c)
            answer = c.ask_or_none(vgpu.hello())
            if answer is None or answer.kind == vgpu.ERROR:
                refused = answer
                break
        assert refused is not None and refused.code == vgpu.E_LIMIT, "the reason was not said"
        while clients:
            clients.pop().close()

        def works():
            with m.connect(say_hello=False) as c:
                answer = c.ask_or_none(vgpu.hello())
                return answer is not None and answer.kind == vgpu.HELLO_OK
        vgpu.wait_for(works)


def test_out_of_fds_while_opening_channels():
    with vgpu.mediator(preexec=few_files) as m:
        with m.connect() as settled:
            settled.status()
            before = m.fds()
            with m.connect() as c:
                for _ in range(20):
                    answer = c.ask(vgpu.channel_open())
                    if answer.kind == vgpu.ERROR:
                        break
                assert (answer.kind, answer.code) == (vgpu.ERROR, vgpu.E_LIMIT)
                assert "RLIMIT_NOFILE" in answer.text
                assert c.status()
            vgpu.wait_for(lambda: not m.executors() and m.fds() == before)
            settled.open()


def test_executor_gets_the_limits_from_before():
    with vgpu.mediator(preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 500))) as m, \
            m.connect() as c:
        c.open()
        pid, = m.executors()
        assert resource.prlimit(m.pid, resource.RLIMIT_NOFILE) == (500, 500)
        assert resource.prlimit(pid, resource.RLIMIT_NOFILE) == (200, 500)


def start(*args):
    return subprocess.run([vgpu.MEDIATOR, "--executor", vgpu.FAKE, *map(str, args)], capture_output=True, text=True,
                          timeout=10, check=False)


@pytest.mark.parametrize("args, words", [
    (("--set", "paths.run_directory=/" + "d" * 90), "at most 80 bytes"),
    (("--socket", "/" + "s" * 120), "at most 107 bytes"),
    (("--socket", "relative"), "absolute path"),
    (("--set", "turn.length=1 ms", "--set", "turn.shortest=2 ms"), "turn.shortest"),
    (("--set", "turn.length"), "section.key=value"),
    (("--set", "nothing.here=1"), "unknown setting 'nothing.here'"),
    (("--set", "turn.length=8"), "with its unit"),
    (("--set", "turn.length=99 s"), "between 100us and 10s"),
    (("--backend", "opencl"), "auto|cuda|cpu|null"),
    (("--config", "/nonexistent/file"), "No such file"),
])
def test_bad_settings_are_explained(tmp_path, args, words):
    r = start("--set", f"paths.run_directory={tmp_path}", "--socket", tmp_path / "s", *args)
    assert r.returncode != 0 and words in r.stderr, r.stderr


@pytest.mark.parametrize("text, line, words", [
    ("[turn]\nlength = 4 ms\nlenght = 4 ms\n", 3, "unknown setting 'turn.lenght'"),
    ("[turn]\n\n# comment\nlength = fast\n", 4, "'fast' is not a time"),
    ("[log]\nlevel = loud\n", 2, "error|warning|info|debug"),
    ("[log]\nlevel = info\nlevel = debug\n", 3, "set twice"),
    ("length = 4 ms\n", 1, "before any [section]"),
    ("[turn\nlength = 4 ms\n", 1, "INI"),
])
def test_bad_files_name_file_and_line(tmp_path, text, line, words):
    path = tmp_path / "mediator.conf"
    path.write_text(text)
    r = start("--config", path)
    assert r.returncode != 0 and f"{path}:{line}:" in r.stderr and words in r.stderr, r.stderr


def test_settings_come_in_order(tmp_path):
    path = tmp_path / "mediator.conf"
    path.write_text("[tenant]\nweight = 7\n; comment\nmemory = 5M\n")
    with vgpu.mediator("--config", path, "--set", "tenant.memory=6M") as m, m.connect() as c:
        assert (c.greeting.weight, c.greeting.memory) == (7, 6 << 20)


def test_help_names_every_setting():
    r = subprocess.run([vgpu.MEDIATOR, "--help-settings"], capture_output=True, text=True, check=True, timeout=10)
    for word in ("[paths]", "socket_mode = 0666", "[turn]", "length = 8ms", "watchdog = 30s", "[limits]"):
        assert word in r.stdout


def test_address_in_use_and_unusable_directories(mediator, tmp_path):
    r = start("--socket", mediator.socket, "--set", f"paths.run_directory={tmp_path}")
    assert r.returncode != 0 and "another mediator answers" in r.stderr
    with mediator.connect() as c:
        assert c.status()
    (tmp_path / "file").write_text("")
    r = start("--socket", tmp_path / "s", "--set", f"paths.run_directory={tmp_path}/file")
    assert r.returncode != 0 and "run directory" in r.stderr
    r = start("--socket", tmp_path / "no/such/s", "--set", f"paths.run_directory={tmp_path}/run")
    assert r.returncode != 0 and os.path.isdir(tmp_path / "run")
