# SPDX-License-Identifier: Apache-2.0
"""Fake executors that have device memory, on a device that is too small for all of them."""
import vgpu
from test_adopt import Daemon
from vgpu import wait_for

MIB = 1 << 20
SOON = ("park.idle=1ms", "park.residence=1ms", "park.patience=0s", "park.wait=20s")


def settings(*values):
    return [word for value in values for word in ("--set", value)]


class Crowd:
    """Fake executors, each a tenant of its own, on a device of so many MiB (0: as much as the device says)."""

    def __init__(self, directory, device, *more):
        self.d = Daemon(directory, *settings(f"gpu.memory={device}M", *SOON, *more))
        self.operator = self.d.m.connect()
        self.made = []

    def holds(self, mib, *how):
        """An executor that has so much memory and is idle."""
        made = self.operator.tenant(name=b"t%d" % len(self.made))
        channel = vgpu.Client(made.path).open()
        self.made.append((made.tenant, channel))
        for line in how:
            say(channel, line)
        if mib:
            say(channel, f"memory {mib * MIB}")
            wait_for(lambda: channel.room().held == mib * MIB)
        return channel

    def park(self, channel):
        """Somebody wants what it has, and goes again."""
        other = self.holds(0)
        say(other, f"allocate {channel.room().held} 0")
        wait_for(answered(other))
        assert channel.room().parked == channel.room().held
        other.do("exit 0")
        self.made.pop()
        wait_for(lambda: len(self.operator.status()) and self.used())

    def wants(self, channel, what):
        """Says so, and the mediator has heard it."""
        before = self.d.m.log().count("wants room")
        say(channel, what)
        wait_for(lambda: self.d.m.log().count("wants room") > before)

    def used(self):
        rows = self.operator.status()
        return [rows[tenant].memory_used // MIB for tenant, _ in self.made]

    def here(self):
        """What all have on the device together, in MiB."""
        return sum(c.room().held - c.room().parked for _, c in self.made) // MIB

    def __enter__(self):
        self.d.__enter__()
        return self

    def __exit__(self, *error):
        self.d.__exit__(*error)


def say(channel, line):
    """One after the other: a line lies where the one before did."""
    channel.do(line)
    wait_for(channel.heard, what=line)


def answered(channel, times=1):
    return lambda: channel.room().answered == times
