# SPDX-License-Identifier: Apache-2.0
"""Channels that open and close again and again: what guest and host hold in the end is what they held after the first few.
The guest's memory is read from its kernel, the host's from /proc of its processes."""
import re

import machine
import pytest
from machine import stack, wait_for

TIMES = 60  # of a channel's 2.5 MiB and 8 MiB of arena, and 1 MiB pinned: 690 MiB, were they all kept
# What may be missing for reasons of their own: caches that a kernel fills slowly, an allocator's slack.
GUEST_SLACK, HOST_SLACK = 8 << 20, 1 << 20


@pytest.fixture(scope="module")
def m(device):
    with stack.Mediator("null") as mediator, machine.Machine(mediator, memory="384M") as running:
        running.guest.check("vm-reopen 5 && vm-reopen 5 killed")  # what is allocated once
        yield running


def guest_holds(guest):
    """Bytes that nobody can have, and what the kernel has of its own; pages pinned."""
    # Free pages that wait in lists of one processor are free; the buffers of files are not held.
    text = guest.check("sync; echo 3 >/proc/sys/vm/drop_caches; echo 1 >/proc/sys/vm/stat_refresh; cat /proc/meminfo; grep nr_foll_pin /proc/vmstat")
    kib = {k: int(v) << 10 for k, v in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    pins = {k: int(v) for k, v in re.findall(r"^nr_foll_pin_(\w+) (\d+)", text, re.M)}
    return {"used": kib["MemTotal"] - kib["MemFree"], "unreclaimable slab": kib["SUnreclaim"], "vmalloc": kib["VmallocUsed"],
            "pinned": (pins["acquired"] - pins["released"]) * 4096}


def host_holds(m):
    held = {}
    for name, pid in (("stub", m.stub.pid), ("mediator", m.mediator.pid)):
        held[f"{name}'s fds"], held[f"{name}'s memory"] = machine.fds_of(pid), machine.memory_of(pid)
    return held


def grown(before, after, slack):
    """What grew by more than it may: {name: by how much}."""
    return {name: after[name] - before[name] for name in before
            if after[name] - before[name] > (0 if name.endswith("fds") or name == "pinned" else slack)}


@pytest.mark.parametrize("how", ["", "killed"], ids=["closed", "killed"])
def test_reopening(m, how):
    guest, host = guest_holds(m.guest), host_holds(m)
    m.guest.check(f"vm-reopen {TIMES} {how}", timeout=180)
    m.mediator.wait_executors(0, 10)
    wait_for(lambda: not grown(host, host_holds(m), HOST_SLACK), 5, lambda: f"the host holds more: {host}, now {host_holds(m)}")
    wait_for(lambda: not grown(guest, guest_holds(m.guest), GUEST_SLACK), 5, lambda: f"the guest holds more: {guest}, now {guest_holds(m.guest)}")
    print("\nbefore", guest, host, "\nafter ", guest_holds(m.guest), host_holds(m))


def test_the_number_of_a_closed_channel_is_free_at_once(m):
    """More programs one after the other than the device has channels; nobody closes anything."""
    m.guest.check("vm-reopen 70 killed", timeout=180)
