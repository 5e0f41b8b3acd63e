# SPDX-License-Identifier: Apache-2.0
"""What programs ask of NVML, through its C functions and through PyTorch. Measured values are told, not compared."""
import ctypes
import re
import sys

try:
    NVML = ctypes.CDLL("libnvidia-ml.so.1")
except OSError as missing:
    print(missing)
    sys.exit(77)
from report import Skip, cases, through_vgpu


class Memory(ctypes.Structure):
    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def loaded(name):
    with open("/proc/self/maps", encoding="utf-8") as maps:
        found = re.search(r"(/\S*" + re.escape(name) + r"\S*)", maps.read())
    return found.group(1) if found else ""


def need_ours():
    """Through vgpu the host's library would answer for the host's GPU and say nothing of vgpu."""
    if not through_vgpu():
        return
    with open(loaded("libnvidia-ml"), "rb") as library:
        if b"VGPU_SOCKET" not in library.read():
            raise Skip("there is no libnvidia-ml of vgpu: the host's was found")


def device():
    need_ours()
    if NVML.nvmlInit_v2():
        raise RuntimeError("nvmlInit_v2 fails")
    handle = ctypes.c_void_p()
    if NVML.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle)):
        raise RuntimeError("no device 0")
    return handle


def text(call, *first):
    buffer = ctypes.create_string_buffer(96)
    return [call(*first, buffer, 96), buffer.value.decode()]


def number(call, handle, *more):
    value = ctypes.c_uint()
    return [call(handle, *more, ctypes.byref(value)), value.value]


def identity():
    handle = device()
    count = ctypes.c_uint()
    uuid = text(NVML.nvmlDeviceGetUUID, handle)
    return [NVML.nvmlDeviceGetCount_v2(ctypes.byref(count)), count.value >= 1, text(NVML.nvmlDeviceGetName, handle),
            uuid[0], uuid[1][:4], text(NVML.nvmlSystemGetDriverVersion)]


def cuda_total():
    """The memory that a program can have: NVML's total of a card has what driver and firmware reserve as well."""
    cuda, total = ctypes.CDLL("libcuda.so.1"), ctypes.c_size_t()
    if cuda.cuInit(0) or cuda.cuDeviceTotalMem_v2(ctypes.byref(total), 0):
        raise RuntimeError("CUDA tells no memory")
    return total.value


def memory():
    handle, m = device(), Memory()
    return {"status": NVML.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(m)), "sum": m.free <= m.total and m.used <= m.total,
            "total": abs(m.total - cuda_total()) < m.total / 100, "_total": m.total, "_free": m.free}


def measured():
    handle = device()
    temperature, power = number(NVML.nvmlDeviceGetTemperature, handle, 0), number(NVML.nvmlDeviceGetPowerUsage, handle)
    return {"status": [temperature[0], power[0]], "warm": 5 < temperature[1] < 110, "_power_mw": power[1]}


def pytorch():
    import torch
    need_ours()
    try:
        import pynvml  # noqa: F401  (what PyTorch asks)
    except ImportError as error:
        raise Skip("PyTorch asks through pynvml, which is not installed") from error
    torch.ones(1, device="cuda")
    return {"utilization": 0 <= torch.cuda.utilization() <= 100, "memory": 0 <= torch.cuda.memory_usage() <= 100,
            "temperature": 5 < torch.cuda.temperature() < 110, "power": torch.cuda.power_draw() > 1000,
            "clock": torch.cuda.clock_rate() > 0, "_processes": torch.cuda.list_gpu_processes()}


def pytorch_counts_without_cuda():
    """The way that does not start CUDA: PyTorch's own binding of NVML."""
    import torch
    need_ours()
    return [torch.cuda._device_count_nvml(), torch.cuda._raw_device_count_nvml()]


def same_device():
    """CUDA and NVML tell of the same device."""
    import torch
    handle, m = device(), Memory()
    NVML.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(m))
    p = torch.cuda.get_device_properties(0)
    return [text(NVML.nvmlDeviceGetUUID, handle)[1] == f"GPU-{p.uuid}", text(NVML.nvmlDeviceGetName, handle)[1] == p.name,
            abs(m.total - p.total_memory) < 1 << 30]


cases(identity, memory, measured, pytorch, pytorch_counts_without_cuda, same_device)
