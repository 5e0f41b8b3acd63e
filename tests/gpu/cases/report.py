# SPDX-License-Identifier: Apache-2.0
"""One JSON line a case: its name, what came out, the seconds it took, or the error, or why it is skipped. One failed
case does not hide the others; when the device's context is lost, the program ends and acceptance.py starts the rest. In a value, "us" is the case's own
measurement, and what begins with "_" is told and not compared."""
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ONLY = sys.argv[1:]


class Skip(Exception):
    """Raised by a case that cannot run here, with the reason."""


def cases(*functions):
    """Runs them one after the other, or those that the program's arguments name. The plan comes first, so that whoever
    reads the lines knows which case a crash hit and which were never reached."""
    chosen = [f for f in functions if not ONLY or f.__name__ in ONLY]
    print(json.dumps({"plan": [f.__name__ for f in chosen]}), flush=True)
    for function in chosen:
        print(json.dumps(one(function)), flush=True)
        if context_lost():
            os._exit(3)  # ending in an orderly way may hang or crash in the framework, natively too


def one(function):
    line = {"case": function.__name__}
    start = time.perf_counter()
    try:
        line["value"] = function()
    except Skip as reason:
        line["skipped"] = str(reason)
    except Exception as error:  # pylint: disable=broad-except
        line["error"] = f"{type(error).__name__}: {error}"[:400]
    line["seconds"] = time.perf_counter() - start
    return line


def context_lost():
    """Whether the device answers nothing but an error any more, in the framework that this program uses."""
    torch, cupy = sys.modules.get("torch"), sys.modules.get("cupy")
    try:
        if torch and torch.cuda.is_initialized():
            torch.cuda.synchronize()
        if cupy:
            cupy.cuda.runtime.deviceSynchronize()
    except Exception as error:  # pylint: disable=broad-except
        sys.stderr.write(f"the context is lost: {error}\n")
        return True
    return False


def through_vgpu():
    return "VGPU_SOCKET" in os.environ


def start(code, *words, env=None):
    """A Python process of the same tenant, for what ends a process or needs a fresh one; the words are its sys.argv[1:].
    Its own folder is on the path, as a program's is."""
    here = str(pathlib.Path(__file__).resolve().parent)
    path = os.pathsep.join(p for p in (here, os.environ.get("PYTHONPATH")) if p)
    return subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, env={**os.environ, "PYTHONPATH": path, **(env or {})})


def finish(child, timeout=90):
    """What it printed last, as JSON, and its exit status; its errors go where this program's go."""
    try:
        out, err = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise TimeoutError(f"a child did not end in {timeout} s; it said: {(out + err)[-200:]}") from None
    sys.stderr.write(err)
    lines = out.strip().splitlines()
    try:
        return json.loads(lines[-1]), child.returncode
    except (IndexError, ValueError):
        raise RuntimeError(f"a child ended with {child.returncode} and said: {(out + err)[-300:]}") from None


def in_child(code, *words, env=None, timeout=90):
    return finish(start(code, *words, env=env), timeout)


def without_numbers(text):
    """The form of a message: numbers differ from run to run."""
    return re.sub(r"0x[0-9a-f]+|\d+(\.\d+)?", "N", text)
