# SPDX-License-Identifier: Apache-2.0
"""Faults in one of 16 tenants: the 15 others' results stay right, and the mediator holds afterwards what it held before.
$VGPU_STORM_FAULTS says how many (default 18; 1000 take minutes), $VGPU_STORM_SEED which ones."""
import os

import pytest
import stack
import storm

FAULTS = int(os.environ.get("VGPU_STORM_FAULTS", "18"))
SEED = int(os.environ.get("VGPU_STORM_SEED", "1"))
GROWTH_KIB = 1024  # of the mediator, whatever the number of faults: the allocator's own, not a leak's


def test_fault_storm(backend):
    if backend not in ("null", "cpu"):
        pytest.skip(f"{backend}: the kinds of faults are made for null and cpu")
    with stack.Mediator(backend, storm.SETTINGS) as mediator:
        env = storm.bad_tenant(mediator, "bad")
        neighbours = storm.Neighbours(mediator, 15)
        # What is made once (buffers, the allocator's arenas) is there after the first of each kind.
        storm.inject(mediator, env, 2 * len(storm.kinds_for(backend)), SEED)
        fds, resident = storm.settled_fds(mediator.pid), storm.resident_kib(mediator.pid)
        done = storm.inject(mediator, env, FAULTS, SEED + 1, lambda _: neighbours.check())
        assert sum(done.values()) == FAULTS
        # Fewer where no executor is started ahead for a while, since some of them were killed.
        assert storm.settled_fds(mediator.pid, fds) <= fds, f"{done}"
        grown = storm.resident_kib(mediator.pid) - resident
        # AddressSanitizer keeps what is freed for a while.
        assert grown <= GROWTH_KIB or "VGPU_SANITIZE" in os.environ, f"{grown} KiB more after {done}"
        rounds = neighbours.finish()
        print(f"{backend}: {done}; neighbours' rounds {min(rounds)} to {max(rounds)}; mediator {fds} fds, {grown:+} KiB")
        assert min(rounds) > 0
        assert mediator.alive()
