# SPDX-License-Identifier: Apache-2.0
"""What a program is told about its GPU agrees with what it sees of it: through the real sensor, with and without a card
behind it."""
import json
import os
import subprocess
import sys

import pytest
import stack
from test_programs import check

FAKE_NVML = stack.BUILD / "tests" / "unit" / "sensor" / "fake-nvml.so"


@pytest.mark.parametrize("options", [[], ["--memory", "300M"]], ids=["whole", "quota"])
def test_agrees_with_libcuda(backend, options):
    if backend == "native":
        pytest.skip("native: nothing of vgpu runs")
    args = ["card"] if backend == "cuda" else []
    check(stack.run_program(backend, "device_agrees", *args, options=options))


@pytest.mark.skipif("VGPU_SANITIZE" in os.environ, reason="both layers run under the sanitizers by themselves")
@pytest.mark.parametrize("sandbox", ["enforce", "off"])
def test_a_card_read_through_the_hosts_nvml(sandbox):
    """The sensor with the cuda backend (over our own libcuda) and a made-up libnvidia-ml.so.1."""
    why = stack.module_missing("cpu", "cuda")
    if why:
        pytest.skip(why)
    if not FAKE_NVML.exists():
        pytest.skip(f"{FAKE_NVML} is not built")
    with stack.Mediator("cpu") as lower:
        env = {"VGPU_HOST_LIBCUDA": str(stack.LIBCUDA), "VGPU_SOCKET": lower.socket,
               "VGPU_HOST_LIBNVML": str(FAKE_NVML), "LD_LIBRARY_PATH": str(stack.LIBCUDA.parent)}
        with stack.Mediator("cuda", [f"executor.sandbox={sandbox}", "gpu.window_offset=2T"], env) as upper:
            d = ask(upper.socket)
            assert d["source"] == 2 and d["backend"] == "cuda" and d["driver"] == "580.159.04", (d, upper.said(), lower.said())
            assert d["draw"] == 350123 and d["pci"] == 0x233010de
            if sandbox == "off":  # the lower libcuda needs more than an executor's sandbox lets through
                command = [stack.VGPU_RUN, "--socket", upper.socket, "--", stack.PROGRAMS / "device_agrees", "card"]
                check(stack.run_command(command, 90, stack.clean_environment("cpu")))


def ask(socket):
    """DEVICE in another interpreter: the messages by hand are the integration tests' own module."""
    code = ("import sys, json; sys.path.insert(0, sys.argv[1]); import vgpu\n"
            "d = vgpu.Client(sys.argv[2]).device()\n"
            "print(json.dumps(dict(source=d.source, backend=d.backend, driver=d.texts[0], draw=d.values.get(35),\n"
            "                      pci=d.values.get(3))))")
    out = subprocess.run([sys.executable, "-c", code, str(stack.SOURCE / "tests" / "integration"), socket], check=True,
                         capture_output=True, text=True, timeout=60 * stack.SLOWER).stdout
    return json.loads(out)
