#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Virtual machines on a machine with a GPU, all that is to be known of them in a few minutes: every job below in a guest (or
guests) of its own, all side by side, each with a limit. Frameworks are this machine's own, seen by the guest through a
read-only share of the root, and compared with a native run made beside it.
usage: VGPU_BUILD=folder guests.py [--backend cuda] [--seconds 180] [--jobs smi,programs,...] [--out FOLDER]. Exit status 1 when
something was wrong; what did not come to its end in time is said and not counted as wrong. Results: FOLDER/guests.json, and
each job's logs. tests/gpu/vm.sh unpacks what this needs on a machine that has nothing."""
import argparse
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
for _suite in ("vm", "e2e", "integration"):
    sys.path.insert(0, str(HERE.parent / _suite))
import machine  # noqa: E402  (found through the lines above)
from machine import stack  # noqa: E402

import acceptance  # noqa: E402

BENCH = machine.SOURCE / "bench" / "bench.py"
# Group and cases, the guest's memory, processors. What a translated guest can do in a minute or two.
FRAMEWORKS = {
    "torch": ("torch:device:products:random:sorting:autocast_training:graph:pinned_and_events:decoded_tokens", "8G", 3),
    "torch-convolution": ("torch:device:convolution_training", "8G", 3),
    "cupy": ("cupy", "8G", 2),
    "nvml": ("nvml:identity:memory:measured", "2G", 1),
    "jax": ("jax:product:fft", "8G", 2),
}
# They compare tens of megabytes byte by byte, which takes a translated guest its time.
LONG_PROGRAMS = {"copies", "fills", "copies_2d_3d", "pinned_memory", "arrays_and_copies"}
# Where there is no GPU: an unmodified program that works on the cpu backend.
REHEARSAL = {"numba": (f"{HERE.parent / 'e2e' / 'numba_programs.py'} vector_add", "3G", 2)}
NO_JITLINK = stack.PROGRAMS / "no_jitlink"  # see tests/e2e/test_numba.py
# What a program of the host's needs of its environment to find its parts.
PASSED_ON = ["CUDA_HOME", "CUDA_PATH", "PYTHONPATH", "VIRTUAL_ENV"]


class Run:
    """What all jobs share: the backend, the end, where results go."""

    def __init__(self, backend, seconds, out, python):
        self.backend, self.out, self.python = backend, out, python
        self.started = time.monotonic()
        self.end = self.started + seconds
        self.open, self.closed, self.lock = [], False, threading.Lock()
        self.results = {}

    def left(self, at_most=1e9):
        return max(0.0, min(at_most, self.end - time.monotonic()))

    def keep(self, thing):
        """To be closed when all is over, in whatever state its job is."""
        with self.lock:
            if not self.closed:
                self.open.append(thing)
                return thing
        thing.close()
        raise TimeoutError("all is over")

    def mediator(self):
        return self.keep(stack.Mediator(self.backend, settings=("log.level=debug",)).__enter__())

    def machine(self, mediator, *options, **guest):
        return self.keep(machine.Machine(mediator, *options, **guest))

    def folder(self, job):
        folder = self.out / job
        folder.mkdir(exist_ok=True)
        return folder

    def told(self, job, **more):
        """A job's results as they grow: what is there at the end counts."""
        with self.lock:
            self.results.setdefault(job, {}).update(more)

    def close(self):
        with self.lock:
            things, self.open, self.closed = self.open, [], True
        for thing in reversed(things):
            try:
                save_logs(thing, self.out / "logs")
                thing.close()
            except Exception:  # pylint: disable=broad-except
                traceback.print_exc()


def save_logs(thing, folder):
    """The logs of a mediator or machine before its own folder goes."""
    folder.mkdir(exist_ok=True)
    name = f"{type(thing).__name__.lower()}-{id(thing) & 0xffffff:06x}"
    if isinstance(thing, stack.Mediator):
        shutil.copy(thing.log.name, folder / f"{name}.txt")
    elif isinstance(thing, machine.Machine):
        shutil.copy(thing.stub.log_path, folder / f"{name}-stub.txt")
        for log in ("console", "log"):
            if os.path.exists(thing.guest.path(log)):
                shutil.copy(thing.guest.path(log), folder / f"{name}-{log}.txt")


def in_guest(m, command, seconds, **environment):
    """A command in a guest, for so many seconds (the harness counts in its own slower ones)."""
    return m.guest.run(command, max(1.0, seconds) / machine.SLOWER, **environment)


def job_smi(run, job):
    m = run.machine(run.mediator(), memory="512M")
    in_guest(m, "v=$(nvidia-smi --version | grep DRIVER | grep -o [0-9.]*$); rmmod vgpu; insmod /lib/modules/vgpu.ko nvidia_version=$v", run.left(20))
    for name, command in {"summary": "nvidia-smi", "list": "nvidia-smi -L", "query": "nvidia-smi -q",
                          "csv": "nvidia-smi --query-gpu=name,driver_version,memory.total,uuid,temperature.gpu --format=csv",
                          "driver": "cat /proc/driver/nvidia/version", "nodes": "ls -l /dev/vgpu* /dev/nvidia* /proc/driver/nvidia*",
                          "pci": "cat /sys/bus/pci/devices/0000:01:00.0/uevent", "first program": "init_and_devices"}.items():
        result = in_guest(m, command, run.left(30), VGPU_TEST_BACKEND=run.backend, VGPU_LOG="debug")
        run.told(job, **{name: {"status": result.status, "out": result.out[-6000:], "err": result.err[-2000:]}})
    wrong = [n for n in ("summary", "list", "query", "csv", "first program") if run.results[job][n]["status"] != 0]
    return f"wrong: {', '.join(wrong)}" if wrong else "right"


def programs():
    import test_programs as process_mode  # of tests/e2e: needs pytest
    return [*process_mode.PROGRAMS, *(f"fault {kind}" for kind in process_mode.FAULTS), "prints"]


def work_off(run, job, todo, done):
    """One guest of the job `programs`: a program after another until none is left, or no time."""
    m = run.machine(run.mediator(), memory="1G")
    while run.left() > 12:
        try:
            program = todo.get_nowait()
        except queue.Empty:
            return
        try:
            result = in_guest(m, program, run.left() - 8, VGPU_TEST_BACKEND=run.backend)
            done[program] = {"status": result.status, "seconds": round(result.seconds, 1)}
            if result.status not in (0, 77):
                done[program]["told"] = result.told()[-1500:] + m.stub.said()[-800:]
        except (AssertionError, TimeoutError, OSError) as error:
            done[program] = {"status": "guest lost", "told": str(error)[-2000:]}
            if run.left() < 20:
                return
            m = run.machine(run.mediator(), memory="1G")


def job_programs(run, job, guests=3):
    todo, done = queue.Queue(), {}
    for program in sorted(programs(), key=lambda p: p not in LONG_PROGRAMS):
        todo.put(program)
    count = todo.qsize()
    threads = [threading.Thread(target=work_off, args=(run, job, todo, done), daemon=True) for _ in range(guests)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(max(0, run.left() - 3))
    done = dict(done)
    run.told(job, programs=done)
    good = [p for p, r in done.items() if r["status"] == 0]
    skipped = [p for p, r in done.items() if r["status"] == 77]
    late = [p for p, r in done.items() if r["status"] == "timeout"]
    bad = sorted(set(done) - set(good) - set(skipped) - set(late))
    text = f"{len(good)} of {count} pass, {len(skipped)} skipped, {count - len(done)} not reached" + (f", no end of {', '.join(late)}" if late else "")
    return f"wrong: {text}; wrong are {', '.join(bad)}" if bad else ("right: " if len(good) + len(skipped) == count else "unfinished: ") + text


def job_weights(run, job, seconds=8):
    """Three guests of one mediator, weights 4, 2 and 1. Long kernels: a translated guest must keep up with the GPU."""
    import test_tenants as tenants  # of tests/vm
    mediator = run.mediator()
    machines, threads = {}, []

    def start(name, weight):
        machines[name] = run.machine(mediator, "--weight", str(weight), memory="512M", cpus=2)
    for name, weight in tenants.WEIGHTS.items():
        threads.append(threading.Thread(target=start, args=(name, weight), daemon=True))
        threads[-1].start()
    for t in threads:
        t.join(run.left(60))
    assert len(machines) == 3, "not all guests started"
    workers = {name: m.guest.start("vgpu-demo-workload --unchecked --milliseconds 20") for name, m in machines.items()}
    machine.wait_for(lambda: [r.launches > 20 for r in tenants.rows(mediator).values()].count(True) == 3, run.left(60) / machine.SLOWER, mediator.said)
    before = tenants.rows(mediator)
    try:
        shares = tenants.shares(mediator, seconds, run.left(60))
        run.told(job, shares=shares)
        verdict = "right" if all(abs(s - w / 7) < 0.05 for w, s in shares.items()) else "wrong"
        text = f"{verdict}: " + ", ".join(f"weight {w}: {s:.3f} (fair {w / 7:.3f})" for w, s in shares.items())
    except AssertionError as error:
        text = f"unfinished: {error}"
    after = tenants.rows(mediator)
    run.told(job, rows={w: {"gpu_ns": after[w].contended_gpu_ns - before[w].contended_gpu_ns, "contended_ns": after[w].contended_ns - before[w].contended_ns,
                            "launches": after[w].launches - before[w].launches} for w in after if w in before})
    for name, m in machines.items():
        in_guest(m, "kill -TERM $(pidof vgpu-demo-workload)", run.left(10))
        result = workers[name].wait(run.left(20) / machine.SLOWER)
        run.told(job, **{f"said by {name}": result.out[-300:] + result.err[-500:]})
    return text


def job_bench(run, job):
    """Its figures are of a machine that does much else at the same time."""
    command = [sys.executable, str(BENCH), "--quick", "--json", str(run.folder(job) / "bench.json"), "--timeout", str(int(run.left(100)))]
    for name in (["native", "cuda"] if run.backend == "cuda" else [run.backend]) + ["vm"]:
        command += ["--only", name]
    with open(run.folder(job) / "bench.txt", "wb") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
        try:
            status = child.wait(run.left())
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGINT)
            try:
                child.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
            return "unfinished"
    return "right" if status == 0 else f"wrong: status {status}"


def shared_guest(run, memory, cpus):
    return run.machine(run.mediator(), memory=memory, cpus=cpus, share="/")


def host_environment(*libraries):
    env = {name: os.environ[name] for name in PASSED_ON if os.environ.get(name)}
    env.update(VGPU_LOG="debug", PYTHONDONTWRITEBYTECODE="1", PYTHONUNBUFFERED="1", OMP_NUM_THREADS="1", TQDM_DISABLE="1")
    libraries = [*map(str, libraries), *os.environ.get("LD_LIBRARY_PATH", "").split(":")]
    env["AS_HOST_LIBRARIES"] = ":".join(filter(None, libraries))
    return env


def executor_in(m, python):
    """As acceptance.here(), in a guest."""
    def execute(words, log, seconds):
        result = in_guest(m, " ".join(["as-host", python, *words]), seconds, AS_HOST_FOLDER=str(HERE / "cases"), **host_environment())
        log.write(result.err)
        log.flush()
        return result.out, f"killed after {seconds:.0f} s" if result.status == "timeout" else result.status
    return execute


def compare(run, job, group, native, lines):
    found = acceptance.compare(group, native, lines)
    run.told(job, rows=found)
    acceptance.print_rows(found, False)
    wrong = [f"{r[1]} {r[5]}" for r in found if r[5].startswith(("FAILS", "DIFFERS"))]
    late = [w for w in wrong if "killed after" in w or "not reached" in w]
    equal = sum(r[5] == "equal" for r in found)
    if len(wrong) > len(late):
        return f"wrong: {equal} equal; " + "; ".join(w for w in wrong if w not in late)
    return f"{'unfinished' if late else 'right'}: {equal} of {len(found)} equal" + (f"; {'; '.join(late)}" if late else "")


def job_framework(run, job):
    group, memory, cpus = FRAMEWORKS[job]
    native = {}

    def natively():
        native["lines"] = acceptance.run(group, acceptance.here([]), run.folder(job) / "native.txt", run.left())
    beside = threading.Thread(target=natively, daemon=True)
    beside.start()
    m = shared_guest(run, memory, cpus)
    run.told(job, up=round(time.monotonic() - run.started, 1))
    lines = acceptance.run(group, executor_in(m, run.python), run.folder(job) / "guest.txt", run.left() - 6)
    run.told(job, lines=lines, complaints=in_guest(m, "dmesg | grep -E 'BUG|WARNING|Oops|Call Trace'", 5).out)
    beside.join(run.left())
    if "lines" not in native:
        return "unfinished: the native run"
    if native["lines"] is None or lines is None:
        return "skipped: not installed here"
    return compare(run, job, group, native["lines"], lines)


def job_rehearsal(run, job):
    program, memory, cpus = REHEARSAL[job]
    m = shared_guest(run, memory, cpus)
    run.told(job, up=round(time.monotonic() - run.started, 1))
    result = in_guest(m, f"as-host {run.python} {program}", run.left() - 6, VGPU_TEST_BACKEND=run.backend, **host_environment(NO_JITLINK))
    run.told(job, status=result.status, seconds=result.seconds, out=result.out[-3000:], err=result.err[-3000:])
    return "right" if result.status == 0 else "unfinished" if result.status == "timeout" else f"wrong: status {result.status}"


# In the order in which they are started.
JOBS = {"bench": job_bench, "smi": job_smi, **dict.fromkeys(FRAMEWORKS, job_framework), **dict.fromkeys(REHEARSAL, job_rehearsal),
        "programs": job_programs, "weights": job_weights}


def default_jobs(backend):
    left_out = REHEARSAL if backend == "cuda" else FRAMEWORKS
    return [name for name in JOBS if name not in left_out]


def one(run, name, function):
    try:
        verdict = function(run, name)
    except Exception:  # pylint: disable=broad-except
        verdict = "wrong: " + traceback.format_exc()[-3000:]
    run.told(name, verdict=verdict, seconds=round(time.monotonic() - run.started, 1))
    print(f"{time.monotonic() - run.started:6.1f} s  {name}: {verdict}", flush=True)


def prepare():
    """Why no guest with a vgpu can be started here, or None."""
    why = machine.missing() or machine.missing_device() or stack.missing()
    if not why:
        subprocess.run([machine.SCRIPTS / "make-initramfs", "--build", machine.stack.BUILD, "--output", machine.INITRD], check=True, stdout=subprocess.DEVNULL)
    return why


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="cuda")
    parser.add_argument("--seconds", type=float, default=180, help="until everything is ended")
    parser.add_argument("--jobs", help="only these")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."))
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the frameworks, as this machine sees it")
    options = parser.parse_args()
    out = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    run = Run(options.backend, options.seconds, out, options.python)
    why = prepare() or (stack.backend_missing(options.backend) if options.backend != "null" else None)
    if why:
        print(f"skipped: {why}")
        return 77
    which = subprocess.run([machine.SCRIPTS / "run-guest", "--which"], capture_output=True, text=True, check=False).stdout.strip()
    print(f"guests of {which}; {os.cpu_count()} processors; backend {options.backend}", flush=True)
    chosen = options.jobs.split(",") if options.jobs else default_jobs(options.backend)
    threads = [threading.Thread(target=one, args=(run, name, JOBS[name]), daemon=True) for name in chosen]
    for t in threads:
        t.start()
    for t in threads:
        t.join(run.left())
    for name in chosen:
        if "verdict" not in run.results.get(name, {}):
            run.told(name, verdict="unfinished")
            print(f"{time.monotonic() - run.started:6.1f} s  {name}: unfinished", flush=True)
    run.close()
    with run.lock:
        results = {"backend": options.backend, "guests": which, "processors": os.cpu_count(), "jobs": run.results}
        (out / "guests.json").write_text(json.dumps(results, indent=1, default=str), encoding="utf-8")
    wrong = [name for name in chosen if run.results[name]["verdict"].startswith("wrong")]
    print(f"{len(chosen)} jobs, {len(wrong)} wrong, {time.monotonic() - run.started:.0f} s")
    sys.stdout.flush()
    os._exit(1 if wrong else 0)  # threads of jobs that did not end may still wait for something


if __name__ == "__main__":
    sys.exit(main())
