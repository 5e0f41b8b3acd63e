#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nvml_report.py [WORD...]: what NVIDIA's own Python binding of NVML (nvidia-ml-py) gets from libnvidia-ml.so.1, as one
line of JSON. A call that NVML refuses is {"error": code}. With the word "again" it goes on: for each line on stdin it
prints a new report."""
import json
import os
import sys

import pynvml as nvml

SYSTEM = ["nvmlSystemGetDriverVersion", "nvmlSystemGetNVMLVersion", "nvmlSystemGetCudaDriverVersion_v2", "nvmlDeviceGetCount",
          "nvmlUnitGetCount", "nvmlSystemGetConfComputeState", "nvmlSystemGetConfComputeCapabilities"]
DEVICE = ["Name", "Brand", "Serial", "UUID", "MinorNumber", "Index", "BoardId", "BoardPartNumber", "MultiGpuBoard", "PciInfo",
          "Architecture", "CudaComputeCapability", "NumGpuCores", "MemoryBusWidth", "VbiosVersion", "GspFirmwareVersion", "InforomImageVersion",
          "MemoryInfo", "BAR1MemoryInfo", "UtilizationRates", "EncoderUtilization", "DecoderUtilization",
          "EncoderStats", "FBCStats", "ComputeRunningProcesses", "GraphicsRunningProcesses", "MPSComputeRunningProcesses",
          "PowerUsage", "PowerManagementLimit", "PowerManagementDefaultLimit", "PowerManagementLimitConstraints",
          "PowerManagementMode", "EnforcedPowerLimit", "TotalEnergyConsumption", "PowerState", "PerformanceState",
          "CurrentClocksThrottleReasons", "SupportedClocksThrottleReasons", "FanSpeed", "NumFans", "EccMode", "MigMode",
          "MaxMigDeviceCount", "ComputeMode", "PersistenceMode", "DisplayMode", "DisplayActive", "AccountingMode",
          "AccountingPids", "VirtualizationMode", "GridLicensableFeatures", "BridgeChipInfo", "CurrPcieLinkGeneration",
          "CurrPcieLinkWidth", "MaxPcieLinkGeneration", "MaxPcieLinkWidth", "PcieReplayCounter", "RemappedRows",
          "SupportedEventTypes", "GpuOperationMode", "DriverModel", "AutoBoostedClocksEnabled", "Attributes", "RetiredPagesPendingStatus"]
WITH_NUMBER = [("Temperature", 0), ("TemperatureThreshold", 0), ("TemperatureV", 0), ("ClockInfo", 1), ("MaxClockInfo", 2),
               ("ApplicationsClock", 2), ("FanSpeed_v2", 0), ("NvLinkState", 0), ("NvLinkVersion", 0), ("APIRestriction", 0),
               ("PcieThroughput", 0), ("ProcessUtilization", 0), ("FieldValues", [82, 83, 91, 9999])]
DENIED = [("PersistenceMode", 1), ("ComputeMode", 3), ("PowerManagementLimit", 1000), ("EccMode", 1), ("MigMode", 1)]


def plain(value):
    """Structures and lists of structures as JSON's own kinds."""
    if isinstance(value, (list, tuple)) or hasattr(value, "_length_"):
        return [plain(v) for v in value]
    if hasattr(value, "_fields_"):
        return {name: plain(getattr(value, name)) for name, *_ in value._fields_}
    if hasattr(value, "__dict__"):
        return {k: plain(v) for k, v in vars(value).items()}
    return value if isinstance(value, (int, str, float, type(None))) else str(value)


def ask(name, *args):
    try:
        return plain(getattr(nvml, name)(*args))
    except nvml.NVMLError as refused:
        return {"error": refused.value}


def report():
    device = nvml.nvmlDeviceGetHandleByIndex(0)
    answers = {name.replace("nvml", ""): ask(name) for name in SYSTEM}
    answers |= {name: ask("nvmlDeviceGet" + name, device) for name in DEVICE}
    answers |= {name: ask("nvmlDeviceGet" + name, device, number) for name, number in WITH_NUMBER}
    answers |= {"Set" + name: ask("nvmlDeviceSet" + name, device, number) for name, number in DENIED}
    answers["MemoryInfo_v2"] = ask("nvmlDeviceGetMemoryInfo", device, nvml.nvmlMemory_v2)
    answers["P2PStatus"] = ask("nvmlDeviceGetP2PStatus", device, device, nvml._nvmlGpuP2PCapsIndex_t(0))
    answers["TopologyCommonAncestor"] = ask("nvmlDeviceGetTopologyCommonAncestor", device, device)
    fabric = nvml.c_nvmlGpuFabricInfoV_t()
    fabric.version = nvml.nvmlGpuFabricInfo_v2
    answers["GpuFabricInfoV"] = ask("nvmlDeviceGetGpuFabricInfoV", device, nvml.byref(fabric))
    answers["FabricState"] = fabric.state
    answers["pid"] = os.getpid()
    return answers


def main():
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as refused:
        print(json.dumps({"init": refused.value}), flush=True)
        return
    print(json.dumps(report()), flush=True)
    if "again" in sys.argv:
        for _ in sys.stdin:
            print(json.dumps(report()), flush=True)
    nvml.nvmlShutdown()


main()
