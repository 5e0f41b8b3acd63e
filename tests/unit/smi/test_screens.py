#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nvidia-smi's screens, compared to the letter with expected/NAME.txt (times replaced by words).
usage: test_screens.py NVIDIA_SMI FAKE_LIBRARY [--write]. Speaks TAP."""
import os
import pathlib
import re
import subprocess
import sys

EXPECTED = pathlib.Path(__file__).resolve().parent / "expected"
ALL = ("index,name,uuid,pci.bus_id,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,power.limit,fan.speed,"
       "pstate,clocks.sm,ecc.mode.current,mig.mode.current,compute_cap,serial,driver_version,clocks_throttle_reasons.active,"
       "clocks_event_reasons.sw_power_cap,display_mode,gom.current")
# name: (arguments, VGPU_FAKE_NVML, exit status)
SCREENS = {
    "summary": ([], "", 0),
    "summary_idle": ([], "idle", 0),
    "list": (["-L"], "", 0),
    "details": (["-q"], "", 0),
    "details_parts": (["-q", "-d", "MEMORY,PIDS"], "", 0),
    "details_wrong_part": (["-q", "--display=WEATHER"], "", 2),
    "csv": ([f"--query-gpu={ALL}", "--format=csv"], "", 0),
    "csv_bare": (["--query-gpu=memory.total, power.draw", "--format=csv,noheader,nounits", "-i", "0"], "", 0),
    "csv_wrong_field": (["--query-gpu=name,weather", "--format=csv"], "", 2),
    "csv_wrong_format": (["--query-gpu=name", "--format=xml"], "", 2),
    "apps": (["--query-compute-apps=pid,process_name,used_memory,gpu_uuid", "--format=csv"], "", 0),
    "apps_idle": (["--query-compute-apps=pid,name", "--format=csv"], "idle", 0),
    "by_uuid": (["-i", "GPU-702f6684-ac23-71c0-ed03-054a54426bb6", "--query-gpu=index", "--format=csv,noheader"], "", 0),
    "by_bus": (["--id=00000000:00:06.0", "--query-gpu=index", "--format=csv,noheader"], "", 0),
    "no_such_gpu": (["-i", "5"], "", 6),
    "list_one": (["-i", "0", "-L"], "", 2),
    "dmon": (["dmon", "-c", "1"], "", 0),
    "pmon": (["pmon", "-c", "1"], "", 0),
    "pmon_idle": (["pmon", "-c", "1"], "idle", 0),
    "version": (["--version"], "", 0),
    "unknown_option": (["--bogus"], "", 255),
    "missing_value": (["-q", "-d"], "", 2),
    "bad_loop": (["-l", "soon"], "", 2),
    "no_driver": ([], "off", 9),
}


def run(program, library, arguments, mode):
    env = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(library), VGPU_FAKE_NVML=mode, TZ="UTC", LC_ALL="C")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, env=env, timeout=60, check=False)
    text = re.sub(r"^\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4} ", "(time) ", done.stdout, flags=re.M)
    text = re.sub(r": \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}$", ": (time)", text, flags=re.M)
    return text + done.stderr, done.returncode


def main():
    program, library = sys.argv[1:3]
    write = "--write" in sys.argv
    print(f"1..{len(SCREENS)}")
    for number, (name, (arguments, mode, status)) in enumerate(SCREENS.items(), 1):
        text, code = run(program, library, arguments, mode)
        path = EXPECTED / f"{name}.txt"
        if write:
            path.write_text(text, encoding="utf-8")
        good = code == status and text == path.read_text(encoding="utf-8")
        print(f"{'ok' if good else 'not ok'} {number} - {name}")
        if not good:
            print(f"# exit status {code}, {status} was expected; it printed:")
            print("".join(f"# {line}\n" for line in text.splitlines()))


main()
