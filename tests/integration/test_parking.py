# SPDX-License-Identifier: Apache-2.0
"""What the mediator does when device memory is short: the rule by itself is tests/unit/mediator/test_park_rule.c."""
import pytest
from crowd import MIB, Crowd, answered, say
from vgpu import wait_for


@pytest.mark.parametrize("device", [100, 0], ids=["a lease", "the device's own"])
@pytest.mark.parametrize("kind", ["allocate", "back"])
def test_who_waits_gets_what_one_that_ends_had(tmp_path, device, kind):
    """It does not end at once, and has nothing that could be parked any more."""
    with Crowd(tmp_path, device, "executor.stop=500ms") as crowd:
        waits = crowd.holds(60)
        if kind == "back":
            crowd.park(waits)
        ends = crowd.holds(60, "deaf", "slow")
        ends.client.close()
        crowd.used(), crowd.used()  # by now the mediator has told it to end
        say(waits, "back 0" if kind == "back" else f"allocate {30 * MIB} 0")
        wait_for(answered(waits, waits.room().answered + 1))
        assert waits.room().refused == 0 and ends.room().asked == 0


def test_an_allocation_that_nobody_has_room_for_is_refused_at_once(tmp_path):
    with Crowd(tmp_path, 100) as crowd:
        waits = crowd.holds(60)
        say(waits, f"allocate {60 * MIB} 0")
        wait_for(answered(waits))
        assert waits.room().refused == 1
