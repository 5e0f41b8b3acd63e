# SPDX-License-Identifier: Apache-2.0
"""A mediator that is replaced while device memory is short: what is parked stays parked, who waits for room gets it,
who was told to park is not told in vain, and nobody is given room that another one was promised."""
import time

import pytest
from crowd import MIB, Crowd, answered, say
from test_adopt import HOWS
from vgpu import wait_for

def replace_until(crowd, how, condition):
    """No mediator lives as long as what is waited for takes."""
    for _ in range(40):
        crowd.d.replace(how)
        time.sleep(0.1)
        if condition():
            return


@pytest.fixture
def crowd(tmp_path):
    with Crowd(tmp_path, 100) as c:
        yield c


@pytest.mark.parametrize("how", HOWS)
def test_what_is_parked_stays_parked_and_comes_back(crowd, how):
    first, second = crowd.holds(60), crowd.holds(0)
    say(second, f"allocate {60 * MIB} 0")
    wait_for(answered(second))
    assert (first.room().parked, second.room().held) == (60 * MIB, 60 * MIB)
    for _ in range(3):
        crowd.d.replace(how)
        assert crowd.used() == [60, 60]
        assert (first.room().parked, second.room().parked) == (60 * MIB, 0)
    say(first, "back 0")
    wait_for(answered(first))
    assert (first.room().parked, second.room().parked) == (0, 60 * MIB)
    assert crowd.used() == [60, 60] and crowd.here() == 60


@pytest.mark.parametrize("how", HOWS)
def test_one_that_is_being_parked_is_not_asked_in_vain(crowd, how):
    """What it parks counts for who waits, and no other one is asked for the same."""
    goes, stays, waits = crowd.holds(60, "slow"), crowd.holds(0), crowd.holds(0)
    say(waits, f"allocate {60 * MIB} 0")
    wait_for(lambda: goes.room().asked == 1)
    say(stays, f"memory {30 * MIB}")
    crowd.d.replace(how)
    assert waits.room().answered == 0
    say(goes, "go")
    wait_for(answered(waits))
    assert waits.room().refused == 0 and stays.room().asked == 0
    assert (goes.room().parked, waits.room().held) == (60 * MIB, 60 * MIB)
    assert crowd.here() == 90 and crowd.used() == [60, 30, 60]


@pytest.mark.parametrize("how", ["kill", "leave"])
@pytest.mark.parametrize("device", [100, 0], ids=["a lease", "the device's own"])
@pytest.mark.parametrize("kind", ["allocate", "back"])
def test_one_that_parks_in_the_gap_made_room(tmp_path, how, device, kind):
    """Who waits is answered, without another reason than that."""
    with Crowd(tmp_path, device) as crowd:
        waits = crowd.holds(60)
        if kind == "back":
            crowd.park(waits)
        goes = crowd.holds(60, "slow")
        say(waits, "back 0" if kind == "back" else f"allocate {30 * MIB} 0")
        wait_for(lambda: goes.room().asked == 1)
        crowd.d.end(how)
        say(goes, "go")
        wait_for(lambda: goes.room().parked == 60 * MIB)
        assert waits.room().answered == 0
        crowd.d.again()
        wait_for(lambda: waits.room().answered)
        assert waits.room().refused == 0 and goes.room().asked == 1
        assert (waits.room().held, waits.room().parked) == ((60 if kind == "back" else 90) * MIB, 0)


@pytest.mark.parametrize("how", HOWS)
def test_what_one_made_room_for_before_counts_on(tmp_path, how):
    """On a device that itself knows what is free: half of what is wanted came before, half after."""
    with Crowd(tmp_path, 0) as crowd:
        waits = crowd.holds(100)
        crowd.park(waits)
        early, late = crowd.holds(60), crowd.holds(60, "slow")
        say(waits, "back 0")
        wait_for(lambda: late.room().asked == 1 and early.room().parked)
        crowd.d.replace(how)
        say(late, "go")
        wait_for(answered(waits))
        assert (early.room().asked, late.room().asked, waits.room().parked) == (1, 1, 0)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("first", ["waits", "there"])
def test_no_room_is_given_before_all_are_known(crowd, how, first):
    """Whoever is adopted first."""
    if first == "there":
        there = crowd.holds(60, "slow")
        waits = crowd.holds(0)
    else:
        waits = crowd.holds(0)
        there = crowd.holds(60, "slow")
    crowd.wants(waits, f"allocate {60 * MIB} 0")
    for _ in range(3):
        crowd.d.replace(how)
        crowd.operator.status()
        assert waits.room().answered == 0
    say(there, "go")
    wait_for(answered(waits))
    assert waits.room().refused == 0 and crowd.here() == 60


@pytest.mark.parametrize("how", HOWS)
def test_room_that_was_promised_is_nobody_elses(crowd, how):
    promised, other = crowd.holds(0, "slow"), crowd.holds(0)
    say(promised, f"allocate {60 * MIB} 0")
    wait_for(lambda: "has room" in crowd.d.m.log())
    crowd.d.replace(how)
    crowd.wants(other, f"allocate {60 * MIB} 0")
    crowd.d.replace(how)
    crowd.operator.status()
    assert other.room().answered == 0
    say(promised, "go")
    wait_for(answered(promised))
    wait_for(answered(other))
    assert (promised.room().refused, other.room().refused) == (0, 0)
    assert crowd.here() == 60 and crowd.used() == [60, 60]


@pytest.mark.parametrize("how", HOWS)
def test_replacements_do_not_make_a_wait_longer(tmp_path, how):
    """Times are those of the request, not of the mediator that hears of it."""
    with Crowd(tmp_path, 100, "park.wait=1s") as crowd:
        busy, waits = crowd.holds(60), crowd.holds(0)
        say(busy, "work 400 0")
        wait_for(lambda: crowd.operator.status()[crowd.made[0][0]].launches > 10)
        crowd.wants(waits, f"allocate {60 * MIB} 0")
        replace_until(crowd, how, answered(waits))
        assert (waits.room().answered, waits.room().refused) == (1, 1)


@pytest.mark.parametrize("how", HOWS)
def test_replacements_do_not_make_a_residence_longer(tmp_path, how):
    with Crowd(tmp_path, 100, "park.residence=1s") as crowd:
        there, waits = crowd.holds(60), crowd.holds(0)
        crowd.wants(waits, f"allocate {60 * MIB} 0")
        replace_until(crowd, how, answered(waits))
        assert (waits.room().answered, waits.room().refused) == (1, 0)
        assert there.room().parked == 60 * MIB


@pytest.mark.parametrize("how", HOWS)
def test_a_parked_one_that_dies_leaves_nothing(crowd, how):
    goes, other = crowd.holds(60), crowd.holds(0)
    crowd.wants(other, f"allocate {60 * MIB} 0")
    wait_for(answered(other))
    crowd.d.replace(how)
    goes.do("abort")
    wait_for(lambda: crowd.used() == [0, 60])
