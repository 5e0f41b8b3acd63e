# SPDX-License-Identifier: Apache-2.0
"""vgpu-run with a private mediator and with one that runs, and programs that are ordinary shell scripts (those that
need a GPU are in tests/e2e)."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import pytest
import vgpu

RUN = vgpu.BUILD / "run/vgpu-run"
DEMO = vgpu.BUILD / "run/vgpu-demo"
LIBRARY = vgpu.BUILD / "guest/libcuda/libcuda.so.1"
LIBRARY_PATH = f"{LIBRARY.parent}:{vgpu.BUILD}/guest/libnvml"
HERE = pathlib.Path(__file__).parent

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason=f"{LIBRARY} is not built")

PRIVATE = ("--private", "--backend", "null", "--set", f"paths.executor={vgpu.FAKE}")


def environment(**more):
    env = {k: v for k, v in os.environ.items() if k != "VGPU_SOCKET"}
    return {**env, **more}


def run(*args, **kw):
    return subprocess.run([RUN, *map(str, args)], capture_output=True, text=True, timeout=20, check=False,
                          env=environment(**kw.pop("env", {})), **kw)


def leftovers():
    return set(pathlib.Path("/tmp").glob("vgpu-run-*"))


def python(code):
    """A program that speaks the host link."""
    return (sys.executable, "-B", "-c", f"import sys; sys.path.insert(0, {str(HERE)!r})\nfrom vgpu import *\n{code}")


def test_program_gets_socket_and_library():
    before = leftovers()
    r = run(*PRIVATE, "--", "sh", "-c", 'echo "$VGPU_SOCKET"; echo "$LD_LIBRARY_PATH"; test -S "$VGPU_SOCKET"',
            env={"LD_LIBRARY_PATH": "/before"})
    assert r.returncode == 0, r.stderr
    socket, libraries = r.stdout.splitlines()
    assert re.fullmatch(r"/.*/tenant-\d+\.sock", socket)
    assert libraries == f"{LIBRARY_PATH}:/before"
    assert not os.path.exists(socket) and leftovers() <= before


def test_no_empty_element_in_the_library_path():
    env = environment()
    env.pop("LD_LIBRARY_PATH", None)
    r = subprocess.run([RUN, *PRIVATE, "--", "sh", "-c", 'echo "$LD_LIBRARY_PATH"'], capture_output=True, text=True,
                       env=env, timeout=20, check=True)
    assert r.stdout.strip() == LIBRARY_PATH


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143), ("kill -9 $$", 137)])
def test_exit_status_is_the_programs(script, status):
    assert run(*PRIVATE, "--", "sh", "-c", script).returncode == status


def test_program_that_is_not_there(tmp_path):
    r = run(*PRIVATE, "--", "no-such-program-anywhere")
    assert r.returncode == 127 and "no-such-program-anywhere" in r.stderr
    (tmp_path / "file").write_text("")
    r = run(*PRIVATE, "--", tmp_path / "file")
    assert r.returncode == 126


@pytest.mark.parametrize("args", [(), ("--weight", "0", "--", "true"), ("--weight", "x", "--", "true"),
                                  ("--memory", "5Q", "--", "true"), ("--nonsense",),
                                  (*PRIVATE, "--name", "a b", "--", "true"),
                                  ("--private", "--backend", "opencl", "--", "true"),
                                  ("--socket", "/nonexistent/socket", "--", "true")])
def test_mistakes_are_explained(args):
    r = run(*args)
    assert r.returncode == 125 and r.stderr and not r.stdout


def test_options_behind_the_program_are_the_programs():
    r = run(*PRIVATE, "--", "echo", "--weight", "5")
    assert r.stdout == "--weight 5\n"
    r = run(*PRIVATE, "echo", "--weight", "5")
    assert r.stdout == "--weight 5\n"


def test_weight_memory_and_name_arrive(tmp_path):
    with vgpu.mediator() as m:
        r = run("--socket", m.socket, "--weight", "250", "--memory", "3G", "--name", "job-7", "--",
                *python("c = Client(os.environ['VGPU_SOCKET']); print(c.greeting.weight, c.greeting.memory)"))
        assert r.returncode == 0, r.stderr
        assert r.stdout.split() == ["250", str(3 << 30)]
        assert "'job-7'" in m.log()
        r = run("--socket", m.socket, "--", *python("print(os.environ['VGPU_SOCKET'])"))
        vgpu.wait_for(lambda: not os.path.exists(r.stdout.strip()))


def test_running_mediator_is_found_by_the_environment():
    with vgpu.mediator() as m:
        r = run("--", "sh", "-c", 'echo "$VGPU_SOCKET"', env={"VGPU_SOCKET": str(m.socket)})
        assert r.stdout.startswith(str(m.directory))


def test_backend_of_a_running_mediator_is_its_own():
    with vgpu.mediator() as m:
        r = run("--socket", m.socket, "--backend", "cpu", "--", "true")
        assert r.returncode == 125 and "--private" in r.stderr


def test_dead_socket_in_the_environment_means_private(tmp_path):
    r = run(*PRIVATE[1:], "--", "sh", "-c", 'echo "$VGPU_SOCKET"', env={"VGPU_SOCKET": str(tmp_path / "gone")})
    assert r.returncode == 0 and "/vgpu-run-" in r.stdout


def test_stats_count_what_the_program_did():
    r = run(*PRIVATE, "--stats", "--name", "counted", "--weight", "7", "--",
            *python("c = Client(os.environ['VGPU_SOCKET']); ch = c.open(); ch.do('meters 123 4194304 2'); "
                    "time.sleep(0.2)"))
    assert r.returncode == 0, r.stderr
    for words in ("counted: weight 7", "123 launches", "4.0 MiB copied", "2 faults", "backend fake, Fake GPU"):
        assert words in r.stderr, r.stderr
    assert r.stdout == ""


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to become another user")
def test_without_permission_the_default_tenant_serves():
    with vgpu.mediator() as m:
        os.chmod(m.directory, 0o755)
        r = run("--socket", m.socket, "--weight", "5", "--stats", "--", "sh", "-c", 'echo "$VGPU_SOCKET"',
                user=65534, group=65534)
        assert r.returncode == 0, r.stderr
        assert r.stdout.strip() == str(m.socket)
        assert "default tenant" in r.stderr and "no effect" in r.stderr and "no statistics" in r.stderr


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_go_to_the_program(sig):
    script = (f"trap 'echo got; exit 42' {sig.value}; echo ready; while :; do sleep 0.05; done")
    p = subprocess.Popen([RUN, *PRIVATE, "--", "sh", "-c", script], stdout=subprocess.PIPE, text=True,
                         env=environment())
    assert p.stdout.readline() == "ready\n"
    p.send_signal(sig)
    assert p.communicate(timeout=10)[0] == "got\n"
    assert p.returncode == 42


def test_killed_vgpu_run_takes_its_mediator_along():
    p = subprocess.Popen([RUN, *PRIVATE, "--", "sh", "-c", 'echo "$VGPU_SOCKET"; exec sleep 3'],
                         stdout=subprocess.PIPE, text=True, env=environment())
    directory = os.path.dirname(p.stdout.readline().strip())
    assert os.path.isdir(directory)
    children = [int(c) for c in pathlib.Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()]
    mediator, = [c for c in children if "vgpu-mediator" in pathlib.Path(f"/proc/{c}/cmdline").read_text()]
    p.kill()
    p.wait()

    def gone():
        try:
            return pathlib.Path(f"/proc/{mediator}/stat").read_text().split()[2] == "Z"
        except FileNotFoundError:
            return True
    vgpu.wait_for(gone, 3)
    assert not os.path.exists(directory)
    for c in children:
        if c != mediator:
            os.kill(c, signal.SIGKILL)
    p.stdout.close()


def test_private_mediator_ends_with_the_program():
    r = run(*PRIVATE, "--", "sh", "-c", "echo $PPID; cat /proc/$PPID/task/$PPID/children")
    pids = [int(w) for w in r.stdout.split()]
    assert r.returncode == 0 and len(pids) >= 2
    assert not any(os.path.exists(f"/proc/{p}") for p in pids)


# A "CUDA program" for the demo: keeps its tenant in demand through the fake executor until SIGTERM.
WORKLOAD = """#!{python} -B
import signal, sys
sys.path.insert(0, {here!r})
from vgpu import *
done = []
signal.signal(signal.SIGTERM, lambda *_: done.append(1))
c = Client(os.environ["VGPU_SOCKET"])
ch = c.open()
ch.do("work 200 0")
while not done:
    time.sleep(0.02)
print("checked 1000 results, {wrong} wrong")
sys.exit({wrong} != 0)
"""


def demo(tmp_path, wrong=0, text=None, seconds=2):
    program = tmp_path / "workload"
    program.write_text(text or WORKLOAD.format(python=sys.executable, here=str(HERE), wrong=wrong))
    program.chmod(0o755)
    return subprocess.run([DEMO, "--backend", "cpu", "--set", f"paths.executor={vgpu.FAKE}", "--seconds", str(seconds),
                           "--program", program], capture_output=True, text=True, timeout=60, env=environment(),
                          check=False)


def test_demo_judges_shares_and_results(tmp_path):
    r = demo(tmp_path, seconds=3)
    assert r.returncode == 0, r.stdout + r.stderr
    last = r.stdout.strip().splitlines()[-1]
    assert last.startswith("OK: 3000 results checked, 0 wrong; shares within ")
    for words in ("tenant", "weight", "GPU time", "target", "achieved", "launches/s", "memory", "faults", "57.1%"):
        assert words in r.stdout
    assert "\x1b" not in r.stdout  # no terminal
    assert r.stdout.count("launches/s") >= 2


def test_demo_fails_on_a_wrong_result(tmp_path):
    r = demo(tmp_path, wrong=3)
    assert r.returncode == 1 and "FAILED" in r.stdout and "3 of 1000 results wrong" in r.stdout


def test_demo_fails_when_a_program_ends_early(tmp_path):
    r = demo(tmp_path, text="#!/bin/sh\nexit 7\n")
    assert r.returncode == 1 and "ended before its time, with status 7" in r.stdout


def test_demo_can_be_interrupted(tmp_path):
    program = tmp_path / "workload"
    program.write_text(WORKLOAD.format(python=sys.executable, here=str(HERE), wrong=0))
    program.chmod(0o755)
    p = subprocess.Popen([DEMO, "--backend", "cpu", "--set", f"paths.executor={vgpu.FAKE}", "--seconds", "60",
                          "--program", program], stdout=subprocess.PIPE, text=True, env=environment())
    time.sleep(2.5)
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=15)
    assert out.strip().splitlines()[-1].startswith(("OK", "FAILED: shares not judged"))
