"""Not seeing: the source, or single keys, and for how long."""

from dataclasses import replace
from zoneinfo import ZoneInfo

import pytest

from reckon.core.alerts import Rule
from reckon.core.detectors import staleness
from reckon.core.records import Counter, Counters, FailureReason, KeyState, Reading
from tests.builders import MINUTE, SECOND, at, key_hash

NOON = at("2026-11-20 12:00")
AFTER = 10 * MINUTE
NOTHING = Counter(Reading(0, 0, 0, 0), 0, 0, 0)


def key(name, *, owner="ana", seen=NOON, failing_since=None, watched=True):
    counters = Counters(at("2026-11-01 00:00"), seen, 1, NOTHING, NOTHING) if seen else None
    return KeyState(
        key_hash(name),
        owner,
        name,
        watched,
        counters=counters,
        failure=FailureReason.TIMED_OUT if failing_since else None,
        failing_since=failing_since,
    )


def silent(name, minutes=20, **others):
    """Return a key that was seen at noon and has failed for so long by 12:30."""
    return key(name, failing_since=NOON + (30 - minutes) * MINUTE, **others)


def look(*keys, now=NOON + 30 * MINUTE, after=AFTER, zone="UTC", heard_at=None):
    return staleness.look(keys, after, ZoneInfo(zone), now, heard_at)


def about(*findings):
    """Return of each finding the owner, and the keys in its order."""
    names = {key_hash(name): name for name in "abcd"}
    return [(finding.owner, "".join(names[key_hash] for key_hash in finding.key_hashes)) for finding in findings]


# --- Whose silence -------------------------------------------------------------------------------------------------


def test_while_every_key_answers_nothing_is_stale():
    assert look(key("a"), key("b")) == []
    assert look() == []


def test_when_no_key_answers_it_is_the_source_and_nothing_else():
    (found,) = look(silent("b", owner="ben"), silent("a"))

    assert about(found) == [(None, "ab")]
    assert (found.rule, found.day.isoformat(), found.since) == (Rule.STALENESS, "2026-11-20", NOON)
    assert found.spend_nanos is None


def test_while_others_answer_there_is_one_finding_for_each_owner_with_silent_keys():
    assert about(*look(silent("d"), silent("b"), silent("c", owner="ben"), key("a", owner="ben"))) == [
        ("ana", "bd"),
        ("ben", "c"),
    ]


def test_the_day_is_that_of_the_zone():
    (found,) = look(silent("a"), zone="Pacific/Kiritimati")

    assert found.day.isoformat() == "2026-11-21"


# --- For how long --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "is_stale"), [(599, False), (600, True)])
def test_a_key_is_stale_once_its_silence_has_lasted_so_long(seconds, is_stale):
    late = key("a", failing_since=NOON)

    assert bool(look(late, key("b"), now=NOON + seconds * SECOND)) is is_stale
    assert bool(look(late, now=NOON + seconds * SECOND)) is is_stale


def test_the_source_is_stale_once_the_last_key_has_been_silent_so_long_and_single_keys_are_held_until_then():
    assert look(silent("a", 29), silent("b", 9)) == []
    assert about(*look(silent("a", 29), silent("b", 10))) == [(None, "ab")]


def test_a_key_that_is_silent_for_a_shorter_time_than_the_others_is_left_out():
    assert about(*look(silent("a", 29), silent("b", 9), key("c"))) == [("ana", "a")]


def test_after_a_silence_of_the_source_a_keys_own_is_counted_from_when_the_source_was_heard():
    heard_at = NOON + 21 * MINUTE

    assert look(silent("a", 29), key("b"), heard_at=heard_at) == []
    assert about(*look(silent("a", 29), key("b"), heard_at=heard_at - MINUTE)) == [("ana", "a")]


# --- Since when ----------------------------------------------------------------------------------------------------


def test_a_silence_of_several_keys_is_told_from_when_the_last_of_them_was_seen():
    (found,) = look(silent("a", seen=NOON - 5 * MINUTE), silent("b", seen=NOON - 3 * MINUTE), key("c"))

    assert found.since == NOON - 3 * MINUTE


def test_keys_that_were_never_seen_are_told_from_when_they_began_to_fail():
    (found,) = look(silent("a", 20, seen=None), silent("b", 25, seen=None))

    assert found.since == NOON + 5 * MINUTE


# --- Which keys ----------------------------------------------------------------------------------------------------


def test_a_key_nobody_watches_any_more_is_neither_missed_nor_heard():
    assert look(silent("a", watched=False), key("b")) == []
    assert about(*look(silent("a"), key("b", watched=False))) == [(None, "a")]


def test_a_key_that_no_source_reaches_does_not_keep_the_source_from_being_silent():
    assert about(*look(silent("a"), key("b", seen=None))) == [(None, "a")]
    assert look(key("b", seen=None)) == []


# --- Whether it goes on --------------------------------------------------------------------------------------------


def goes_on(finding, *keys):
    return staleness.goes_on(finding, {key.hash: key for key in keys})


def test_a_silence_of_the_source_goes_on_until_any_key_answers_or_none_is_left():
    (found,) = look(silent("a"), silent("b"))

    assert goes_on(found, silent("a", 1), silent("b"))
    assert not goes_on(found, key("a"), silent("b"))
    assert not goes_on(found, silent("a", watched=False), silent("b", watched=False))


def test_a_silence_of_keys_goes_on_until_none_of_them_is_both_silent_and_that_owners():
    (found,) = look(silent("a"), silent("b"), key("c"))

    assert goes_on(found, key("a"), silent("b", 1), key("c"))
    assert not goes_on(found, key("a"), silent("b", watched=False), key("c"))
    assert not goes_on(found, key("a"), silent("b", owner="ben"), key("c"))
    assert not goes_on(found, key("a"), key("b"), silent("c"))


def test_what_was_found_does_not_depend_on_the_order_of_the_keys():
    keys = [silent("c"), silent("a"), replace(silent("b"), owner="ben"), key("d")]

    assert look(*keys) == look(*reversed(keys))
