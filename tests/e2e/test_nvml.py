# SPDX-License-Identifier: Apache-2.0
"""libnvidia-ml.so.1 through NVIDIA's own Python binding: what it says of the device and its tenant, and what it keeps
to itself. The binding is in the Python environment that `./dev setup` makes from requirements.txt (or
VGPU_NVML_PYTHON names another interpreter that has it)."""
import json
import os
import re
import select
import subprocess
import time

import pytest
import stack

pytestmark = pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="the interpreter is not built with the sanitizers")

PYTHON = os.environ.get("VGPU_NVML_PYTHON", str(stack.SOURCE / ".venv" / "bin" / "python3"))
REPORT = stack.SOURCE / "tests" / "e2e" / "nvml_report.py"
INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, GPU_IS_LOST = 2, 3, 4, 9, 15
MIB = 1 << 20


@pytest.fixture(scope="module", autouse=True)
def binding():
    if not os.path.exists(PYTHON):
        pytest.skip(f"no {PYTHON}: ./dev setup makes it")
    if subprocess.run([PYTHON, "-c", "import pynvml"], check=False, capture_output=True).returncode:
        pytest.skip(f"{PYTHON} has no pynvml (nvidia-ml-py)")


class Reporter:
    """A process that holds NVML open, in a tenant's environment; each report is asked for by a line."""

    def __init__(self, environment):
        self.child = subprocess.Popen([PYTHON, "-B", REPORT, "again"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      env=environment)
        self.first = self._read()

    def _read(self):
        ready, _, _ = select.select([self.child.stdout], [], [], 30 * stack.SLOWER)
        assert ready, "no report"
        return json.loads(self.child.stdout.readline())

    def report(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return self._read()

    def wait_for(self, what, holds):
        """The first report of which it holds; NVML may tell what it knew a moment ago."""
        until = time.monotonic() + 20 * stack.SLOWER
        while True:
            report = self.report()
            if holds(report):
                return report
            assert time.monotonic() < until, f"{what}: {report}"
            time.sleep(0.05)

    def close(self):
        self.child.stdin.close()
        status = self.child.wait(20 * stack.SLOWER)
        self.child.stdout.close()
        return status


@pytest.fixture
def reporters():
    made = []

    def make(environment):
        made.append(Reporter(environment))
        return made[-1]

    yield make
    for reporter in made:
        if reporter.child.poll() is None:
            reporter.child.kill()
        reporter.child.wait()


def pids(report):
    return {row["pid"]: row["usedGpuMemory"] for row in report["ComputeRunningProcesses"]}


def run_report(backend, options=()):
    command = [PYTHON, "-B", REPORT]
    if backend != "native":
        command = [stack.VGPU_RUN, "--private", "--backend", backend, *options, "--", *command]
    result = stack.run_command(command, 60, stack.clean_environment(backend))
    assert result.status == 0, result.told()
    return json.loads(result.out.strip().splitlines()[-1])


def test_every_answer_is_one(backend):
    """No call of the binding fails otherwise than NVML may: with a value, or with a code that says why not."""
    report = run_report(backend)
    assert report["SystemGetNVMLVersion"].endswith(report["SystemGetDriverVersion"])
    assert report["Name"] and re.fullmatch(r"GPU(-[0-9a-f]+){5}", report["UUID"])
    assert report["PciInfo"]["busId"].endswith(report["PciInfo"]["busIdLegacy"])
    memory = report["MemoryInfo"]
    assert memory["used"] + memory["free"] == memory["total"] == report["MemoryInfo_v2"]["total"]
    if backend == "native":
        return
    assert re.fullmatch(r"580\.[0-9.]+", report["SystemGetDriverVersion"])
    assert report["DeviceGetCount"] == 1 and report["MaxMigDeviceCount"] == 0 and report["TopologyCommonAncestor"] == 0
    assert [row["nvmlReturn"] for row in report["FieldValues"]][2:] == [NOT_SUPPORTED, INVALID_ARGUMENT]
    for name in ("PersistenceMode", "ComputeMode", "PowerManagementLimit", "EccMode", "MigMode"):
        assert report["Set" + name] == {"error": NO_PERMISSION}, name
    if backend in ("cpu", "null"):
        # there is no card: nothing is made up for it
        for name in ("PowerUsage", "Temperature", "ClockInfo", "FanSpeed", "VbiosVersion", "EccMode", "TotalEnergyConsumption"):
            assert report[name] == {"error": NOT_SUPPORTED}, name


def test_what_is_missing_is_logged_once(backend):
    if backend == "native":
        pytest.skip("native: the driver's")
    code = ("import pynvml as n\nn.nvmlInit()\n"
            "for _ in range(3):\n"
            "    try: n.nvmlDeviceGetDefaultEccMode(n.nvmlDeviceGetHandleByIndex(0))\n"
            "    except n.NVMLError_NotSupported: print('refused')\n")
    command = [stack.VGPU_RUN, "--private", "--backend", backend, "--", PYTHON, "-B", "-c", code]
    result = stack.run_command(command, 60, stack.clean_environment(backend, {"VGPU_LOG": "debug"}))
    assert result.out.split() == ["refused"] * 3, result.told()
    lines = [line.partition("]: ")[2] for line in result.err.splitlines() if line.startswith("libnvidia-ml[")]
    assert lines == ["nvmlDeviceGetDefaultEccMode is not supported yet"], result.told()


def test_cuda_visible_devices_is_not_for_nvml(backend):
    if backend == "native":
        pytest.skip("native: the driver's")
    command = [stack.VGPU_RUN, "--private", "--backend", backend, "--", PYTHON, "-B", REPORT]
    result = stack.run_command(command, 60, stack.clean_environment(backend, {"CUDA_VISIBLE_DEVICES": "none"}))
    assert json.loads(result.out)["DeviceGetCount"] == 1, result.told()


def test_the_quota_is_the_memory(backend):
    if backend == "native":
        pytest.skip("native: no quota")
    report = run_report(backend, ["--memory", "256M"])
    assert report["MemoryInfo"] == {"total": 256 * MIB, "free": 256 * MIB, "used": 0}


def test_a_card(reporters):
    """A made-up card behind the cuda backend (over our own libcuda): its readings come through."""
    card = stack.BUILD / "tests" / "unit" / "sensor" / "fake-nvml.so"
    why = stack.module_missing("cpu", "cuda") if card.exists() else f"{card} is not built"
    if why:
        pytest.skip(why)
    with stack.Mediator("cpu") as lower:
        env = {"VGPU_HOST_LIBCUDA": str(stack.LIBCUDA), "VGPU_SOCKET": lower.socket, "VGPU_HOST_LIBNVML": str(card),
               "LD_LIBRARY_PATH": str(stack.LIBCUDA.parent)}
        with stack.Mediator("cuda", ["executor.sandbox=off", "gpu.window_offset=2T"], env) as upper:
            reporter = reporters(upper.tenant())
            report = reporter.wait_for("a reading", lambda r: r["PowerUsage"] == 350123)
            assert reporter.close() == 0
    assert report["SystemGetDriverVersion"] == "580.159.04" and report["SystemGetNVMLVersion"] == "13.580.159.04"
    assert report["PciInfo"]["pciDeviceId"] == 0x233010de
    assert report["MigMode"] == [0, 0]
    for name in ("Temperature", "ClockInfo", "MaxClockInfo", "EnforcedPowerLimit", "PerformanceState", "NumGpuCores"):
        assert isinstance(report[name], int), (name, report[name])
    # what all tenants together do
    assert report["PcieThroughput"] == {"error": NOT_SUPPORTED}
    assert report["UtilizationRates"] == {"gpu": 0, "memory": 0} and report["BAR1MemoryInfo"]["bar1Used"] == 0


def test_tenants_see_their_own_programs(backend, mediator, reporters):
    one, two = mediator.tenant("--memory", "512M"), mediator.tenant("--memory", "512M")
    holder = mediator.inside(one, "worker", "hold", "200")
    holder.wait_line("ready")
    of_one, of_two = reporters(one), reporters(two)
    seen = of_one.wait_for("the program that holds memory", lambda r: pids(r).get(holder.pid, 0) >= 200 * MIB)
    assert set(pids(seen)) == {holder.pid}
    seen = of_one.wait_for("its memory", lambda r: r["MemoryInfo"]["used"] >= 200 * MIB)
    assert seen["MemoryInfo"]["free"] <= 312 * MIB
    other = of_two.report()
    assert pids(other) == {} and other["MemoryInfo_v2"]["used"] == 0, other
    # asking makes nobody a program that uses the device
    assert seen["pid"] not in pids(of_one.report())
    holder.kill()
    of_one.wait_for("nobody", lambda r: pids(r) == {} and r["MemoryInfo"]["used"] == 0)
    assert of_one.close() == 0 and of_two.close() == 0


def test_load_is_the_tenants_own(backend, mediator, reporters):
    if backend == "null":
        pytest.skip("null: kernels take no time")
    busy, idle = mediator.tenant(), mediator.tenant()
    worker = mediator.inside(busy, "worker", "loop")
    worker.wait_line("ready")
    of_busy, of_idle = reporters(busy), reporters(idle)
    report = of_busy.wait_for("load", lambda r: r["UtilizationRates"]["gpu"] > 0)
    assert report["UtilizationRates"]["gpu"] <= 100
    of_busy.wait_for("the program's load", lambda r: isinstance(r["ProcessUtilization"], list) and
                     [row["pid"] for row in r["ProcessUtilization"] if row["smUtil"]] == [worker.pid])
    assert of_idle.report()["UtilizationRates"] == {"gpu": 0, "memory": 0}
    worker.kill()
    of_busy.wait_for("rest", lambda r: r["UtilizationRates"]["gpu"] == 0)


def test_no_mediator(backend):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    env = stack.clean_environment(backend, {"VGPU_SOCKET": "/nonexistent/vgpu.sock", "LD_LIBRARY_PATH": str(stack.LIBNVML.parent)})
    result = stack.run_command([PYTHON, "-B", REPORT], 30, env)
    assert json.loads(result.out) == {"init": DRIVER_NOT_LOADED}, result.told()


def test_the_mediator_dies(backend, reporters):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    with stack.Mediator(backend) as mediator:
        reporter = reporters(mediator.tenant())
        assert reporter.first["Name"]
        mediator.child.kill()
        mediator.child.wait()
        lost = reporter.wait_for("the loss", lambda r: r["Name"] == {"error": GPU_IS_LOST})
        assert lost["MemoryInfo"] == lost["UUID"] == lost["PciInfo"] == {"error": GPU_IS_LOST}
        assert reporter.close() == 0
