# SPDX-License-Identifier: Apache-2.0
"""vgpu-admin without a mediator: help, mistakes, where it looks, what it says when nobody is there, completion, manual."""
import os
import re
import shutil
import socket
import subprocess
import tempfile

import admin
import fake_api
import pytest
import vgpu

MANUAL = vgpu.BUILD / "admin/vgpu-admin.8"
COMPLETION = vgpu.BUILD / "admin/bash/vgpu-admin"


def commands():
    text = admin.run("help").stdout
    return re.findall(r"^  (\w+) ", text.split("Commands:")[1].split("Options,")[0], re.M)


def test_help_of_every_command():
    names = commands()
    assert {"status", "top", "gpu", "pool", "vm", "profile", "slot", "limit", "usage", "session", "quarantine", "events",
            "audit", "drain", "backup", "config"} <= set(names)
    for name in names:
        said = admin.run("help", name)
        assert said.returncode == 0 and f"vgpu-admin {name}" in said.stdout and not said.stderr
        actions = re.findall(rf"^  vgpu-admin {name} (\w[\w-]*)", said.stdout.split("Examples:")[0], re.M)
        for action in [""] + [a for a in actions if name != "help"]:
            again = admin.run(name, *([action] if action else []), "--help")
            assert (again.returncode, again.stdout) == (0, said.stdout), (name, action)
    assert admin.run("--version").stdout.startswith("vgpu-admin ")


@pytest.mark.parametrize("args, said", [
    ((), "usage:"),
    (("stauts",), "do you mean 'status'?"),
    (("help", "slott"), "do you mean 'slot'?"),
    (("blarg",), "'vgpu-admin help' lists them"),
    (("slot", "lisst"), "do you mean 'slot list'?"),
    (("pool", "add", "x"), "do you mean 'pool create'?"),
    (("pool", "frob"), "'vgpu-admin help pool'"),
    (("pool", "set"), "POOL is missing"),
    (("tenant", "set", "blue"), "ITEM=VALUE is missing"),
    (("tenant", "set", "blue", "weihgt=3"), "do you mean 'weight'?"),
    (("tenant", "set", "blue", "memory=4X"), "memory: '4X' is not"),
    (("tenant", "set", "blue", "weight=3", "weight=4"), "said twice"),
    (("slot", "assign", "a", "b", "c"), "'c' is too much"),
    (("slot", "show", ""), "VGPU is empty"),
    (("usage", "--by=week"), "not one of minute|hour|day"),
    (("usage", "--from=tomorrow"), "is not a time"),
    (("audit", "--most=x"), "is not a number"),
    (("status", "--color=red"), "not one of auto|always|never"),
    (("status", "--bogus"), "bogus"),
    (("top",), "--batch"),
    (("top", "--batch", "--interval=0"), "--interval"),
    (("status", "--url=http://localhost:1", "--token-file=/x"), "only https://"),
    (("status", "--url=https://localhost:1"), "--token-file"),
    (("status", "--socket=/" + "x" * 200), "at most 107 bytes"),
])
def test_mistakes(args, said):
    r = admin.run(*args)
    assert r.returncode == admin.USAGE
    assert said in r.stderr and not r.stdout


def test_nobody_there(tmp_path):
    r = admin.run("status", "--socket", tmp_path / "api.sock")
    assert r.returncode == admin.NO_CONNECTION and "systemctl status vgpu-mediator" in r.stderr
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "dead.sock"))
    r = admin.run("status", socket=tmp_path / "dead.sock")
    assert r.returncode == admin.NO_CONNECTION and "nobody listens" in r.stderr
    r = admin.run("events", socket=tmp_path / "dead.sock")
    assert r.returncode == admin.NO_CONNECTION and "nobody listens" in r.stderr
    r = admin.run("top", "--batch", "-n1", socket=tmp_path / "dead.sock")
    assert r.returncode == admin.NO_CONNECTION
    with socket.socket() as unused:  # bound, and nobody listens
        unused.bind(("127.0.0.1", 0))
        token = tmp_path / "token"
        token.write_text("secret\n")
        token.chmod(0o600)
        r = admin.run("status", "--url", f"https://127.0.0.1:{unused.getsockname()[1]}", "--token-file", token)
    assert r.returncode == admin.NO_CONNECTION and "api.listen" in r.stderr


@pytest.mark.parametrize("mode, said", [(0o660, "the group root"), (0, "control.group")])
def test_no_permission_names_the_group(mode, said):
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    with tempfile.TemporaryDirectory(prefix="vgpu-test-") as directory, socket.socket(socket.AF_UNIX) as s:
        os.chmod(directory, 0o755)
        path = f"{directory}/api.sock"
        s.bind(path)
        s.listen()
        os.chmod(path, mode)
        program = directory + "/vgpu-admin"  # where another user can read it
        shutil.copy(admin.ADMIN, program)
        r = subprocess.run([program, "status"], capture_output=True, text=True, env=admin.environment(path), check=False,
                           user=65534, group=65534, extra_groups=[])
    assert r.returncode == admin.NO_CONNECTION
    assert "permission denied" in r.stderr and said in r.stderr


def test_the_environment_says_where_and_options_come_first(tmp_path):
    with fake_api.serving({("GET", "/v1/status"): fake_api.status()}) as server:
        assert admin.run("status", socket=server.place).returncode == 0
        assert admin.run("status", "--socket", server.place, socket=tmp_path / "none").returncode == 0
        assert admin.run("--socket", server.place, "status", env={"VGPU_ADMIN_URL": "https://none.invalid"}).returncode == 0
        for args in (("--json", "pool", "list"), ("pool", "--json", "list"), ("pool", "list", "--json"),
                     ("pool", "--color", "never", "list"), ("pool", "--json")):
            assert admin.run(*args, "--socket", server.place).returncode == admin.REFUSED  # and not misunderstood
        assert len(server.asked) == 8


# ---- completion

def completions(*words, socket="/nonexistent"):
    """What bash would offer for the last of the words."""
    script = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_vgpu_admin 2>&1
printf '%s\n' "${COMPREPLY[@]}"
"""
    out = subprocess.run(["bash", "-c", script, "bash", COMPLETION, admin.ADMIN, *words], capture_output=True, text=True,
                         env=admin.environment(socket), timeout=20, check=True)
    return [line.rstrip() for line in out.stdout.splitlines() if line]


def test_completion_of_words():
    assert completions("") == commands()
    assert completions("sta") == ["status"]
    assert completions("slot", "") == ["list", "show", "create", "partition", "delete", "assign", "release"]
    assert completions("slot", "re") == ["release"]
    assert "--gpu=" in completions("pool", "create", "x", "--")
    assert "--json" in completions("status", "--js")
    assert "--version" in completions("--ver")
    assert completions("usage", "--by", "=", "h") == ["hour"]
    assert completions("usage", "--by", "") == ["minute", "hour", "day"]
    assert completions("help", "quar") == ["quarantine"]
    assert completions("tenant", "set", "blue", "mem") == ["memory="]
    assert "pool=" in completions("tenant", "set", "blue", "")
    assert "share=" not in completions("tenant", "set", "blue", "")
    assert completions("tenant", "set", "blue", "class", "=", "l") == ["latency"]
    assert completions("limit", "show", "p") == ["pool", "profile"]
    assert completions("slot", "list", "") == []


def test_completion_of_names(tmp_path):
    (tmp_path / "run").touch()
    hostile = ["$(touch run/x)", "`id`", "a b", "-rf", "x;y", "\x1b[2J", "a'b", ""]
    answers = {("GET", "/v1/tenants"): {"tenants": [{"name": n} for n in ["blue", "uid-1000", *hostile]]},
               ("GET", "/v1/pools"): {"pools": [{"pool": "gold"}]},
               ("GET", "/v1/vgpus"): {"vgpus": [{"vgpu": "1111-22"}, {"vgpu": "1111-33"}]},
               ("GET", "/v1/vms"): {"vms": [{"vm": "aaaa"}]},
               ("GET", "/v1/sessions"): {"sessions": [{"session": 17}]}}
    with fake_api.serving(answers) as server:
        assert completions("tenant", "kill", "", socket=server.place) == ["blue", "uid-1000"]
        assert completions("tenant", "kill", "b", socket=server.place) == ["blue"]
        assert completions("limit", "show", "pool", "", socket=server.place) == ["gold"]
        assert completions("slot", "assign", "1111-3", socket=server.place) == ["1111-33"]
        assert completions("slot", "assign", "--yes", "1111-33", "", socket=server.place) == ["aaaa"]
        assert completions("slot", "create", "p", "--vm", "=", "a", socket=server.place) == ["aaaa"]
        assert completions("session", "kill", "", socket=server.place) == ["17"]
        assert completions("--socket", "=", str(server.place), "pool", "show", "") == ["gold"]
        assert completions("--socket", str(server.place), "tenant", "set", "x", "pool", "=", "") == ["gold"]
        assert completions("profile", "show", "", socket=server.place) == []  # refused
    assert completions("tenant", "kill", "") == []  # nobody there, and nothing is said


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="no shellcheck")
def test_completion_is_good_shell():
    subprocess.run(["shellcheck", "-s", "bash", COMPLETION], check=True)


# ---- manual

@pytest.mark.skipif(not MANUAL.exists(), reason="scdoc was not there when it was built")
@pytest.mark.skipif(not shutil.which("man"), reason="no man to look at it with")
def test_manual():
    shown = subprocess.run(["man", "--warnings", "-l", MANUAL], capture_output=True, text=True, check=False,
                           env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "120", "MANPAGER": "cat"})
    assert shown.returncode == 0 and not shown.stderr, shown.stderr
    text = " ".join(re.sub(r"(.\x08|\x1b\[\d*m)", "", shown.stdout).split())
    for name in commands():
        assert f"vgpu-admin {name}" in text, text
    for words in ("EXIT STATUS", "VGPU_ADMIN_TOKEN_FILE", "/run/vgpu/api.sock", "NO_COLOR", "launches_per_s=0 to 1000000000000",
                  "(PUT /v1/vgpus/{vgpu}/vm)", "--token-file=FILE", "[ITEM=VALUE...]"):
        assert words in text


def test_every_route_is_one_of_the_contract():
    routes = subprocess.run([admin.TABLES, "routes"], capture_output=True, text=True, check=True).stdout.splitlines()
    for route in routes:
        assert re.fullmatch(r"(GET|POST|PUT|PATCH|DELETE) /v1/[a-z{}/]+", route)
