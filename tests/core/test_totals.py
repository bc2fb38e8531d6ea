"""A total says how far it can be trusted: absence is not zero, and a figure that may still move is not settled."""

from dataclasses import replace

import pytest

from reckon.core import totals
from reckon.core.records import Amounts, Counter, Counters, Dip, Gap, KeyState, Meter, Reading, TotalState
from reckon.core.totals import KeyTotal
from tests.builders import DAY, HOUR, MINUTE, at, day, key_hash, total_of

SPAN = day("2026-11-20")
LATER = at("2026-11-23 00:00")


def seen(opened, last, *, name="key", watched=True, dip_since=None, meter=Meter.CREDITS):
    """Return a key first seen at *opened* and last at *last*."""
    sound = Counter(Reading(0, 0, 0, 0), 0, 0, 0)
    dipped = replace(sound, mark_nanos=2, dip=dip_since and Dip(at(dip_since) - MINUTE, at(dip_since), 0, 1, 2))
    return KeyState(
        key_hash(name),
        "ana",
        name,
        watched,
        counters=Counters(
            at(opened),
            at(last),
            1,
            dipped if meter is Meter.CREDITS else sound,
            dipped if meter is Meter.BYOK else sound,
        ),
    )


def unseen(failing_since, *, watched=True):
    return KeyState(key_hash("unseen"), "ana", "unseen", watched, failing_since=failing_since and at(failing_since))


def gap(since, until, midnight=None):
    return Gap(key_hash("key"), 2, at(since), at(until), midnight and at(midnight), 1)


READ_ON = seen("2026-11-18 12:00", "2026-11-22 12:00")


@pytest.mark.parametrize(
    ("keys", "state"),
    [
        ([READ_ON], "settled"),
        # Read exactly at the end of the span: nothing of it is missing.
        ([seen("2026-11-18 12:00", "2026-11-21 00:00")], "settled"),
        ([seen("2026-11-18 12:00", "2026-11-20 23:59:59")], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-20 00:00")], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-19 23:59:59")], "unknown"),
        ([], "unknown"),
        # A key that left the map is asked no more: what is known of it is all there will be.
        ([seen("2026-11-18 12:00", "2026-11-20 12:00", watched=False)], "settled"),
        ([seen("2026-11-18 12:00", "2026-11-19 12:00", watched=False)], "unknown"),
        # One key read on and one that is not.
        ([READ_ON, seen("2026-11-18 12:00", "2026-11-20 12:00", name="dead")], "provisional"),
        ([READ_ON, seen("2026-11-18 12:00", "2026-11-19 12:00", name="dead")], "provisional"),
        ([READ_ON, seen("2026-11-18 12:00", "2026-11-19 12:00", name="former", watched=False)], "settled"),
        # Keys first watched after the span have no part in it.
        ([seen("2026-11-21 00:00", "2026-11-22 12:00")], "unknown"),
        ([READ_ON, seen("2026-11-21 00:00", "2026-11-21 00:00", name="new")], "settled"),
        ([seen("2026-11-20 23:59", "2026-11-22 12:00")], "settled"),
        # A key of which nobody ever heard may have spent anything, since it was first asked.
        ([unseen("2026-11-20 12:00")], "unknown"),
        ([READ_ON, unseen("2026-11-20 12:00")], "provisional"),
        ([READ_ON, unseen("2026-11-21 00:00")], "settled"),
        ([READ_ON, unseen("2026-11-20 12:00", watched=False)], "settled"),
        ([READ_ON, unseen(None)], "settled"),
        # A dip may turn out to be a correction, on the day it began.
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-20 12:00")], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-19 12:00")], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-20 12:00", meter=Meter.BYOK)], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-22 11:00")], "settled"),
        # Seen a minute before the span ended and a minute after: some of what is left may have come before.
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-21 00:00:59")], "provisional"),
        ([seen("2026-11-18 12:00", "2026-11-22 12:00", dip_since="2026-11-21 00:01")], "settled"),
    ],
)
def test_a_total_is_judged_over_all_its_keys(keys, state):
    assert totals.state(keys, (), SPAN, LATER) is TotalState(state)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (gap("2026-11-19 22:00", "2026-11-20 02:00"), "provisional"),
        (gap("2026-11-19 22:00", "2026-11-20 02:00", midnight="2026-11-20 00:00"), "settled"),
        (gap("2026-11-20 22:00", "2026-11-21 02:00"), "provisional"),
        (gap("2026-11-20 22:00", "2026-11-21 02:00", midnight="2026-11-21 00:00"), "settled"),
        # Over the whole span, with only the later of its two edges proven.
        (gap("2026-11-19 22:00", "2026-11-21 02:00", midnight="2026-11-21 00:00"), "provisional"),
        # Inside the span, or ending or beginning on its very edge.
        (gap("2026-11-20 02:00", "2026-11-20 22:00"), "settled"),
        (gap("2026-11-19 22:00", "2026-11-20 00:00"), "settled"),
        (gap("2026-11-21 00:00", "2026-11-21 02:00"), "settled"),
        (gap("2026-11-18 00:00", "2026-11-19 00:00"), "settled"),
    ],
)
def test_a_gap_across_an_edge_leaves_the_total_open_unless_a_counter_proves_the_split(found, state):
    assert totals.state([READ_ON], [found], SPAN, LATER) is TotalState(state)


@pytest.mark.parametrize(("now", "state"), [("2026-11-20 23:59:59", "provisional"), ("2026-11-21 00:00", "settled")])
def test_a_span_that_is_not_over_is_provisional(now, state):
    assert totals.state([READ_ON], (), SPAN, at(now)) is TotalState(state)


@pytest.mark.parametrize(
    ("openings", "since"),
    [
        (["2026-11-20 09:00"], "2026-11-20 09:00"),
        (["2026-11-20 15:00", "2026-11-20 09:00"], "2026-11-20 09:00"),
        (["2026-11-20 15:00", "2026-11-18 12:00"], None),  # some of it was watched from the start
        (["2026-11-20 00:00"], None),
        (["2026-11-21 00:00"], None),
        ([], None),
    ],
)
def test_a_total_watched_only_from_inside_its_span_says_since_when(openings, since):
    keys = [seen(opened, "2026-11-22 12:00", name=str(n)) for n, opened in enumerate(openings)]

    assert totals.watched_from([*keys, unseen("2026-11-20 12:00")], SPAN) == (since and at(since))


def test_the_amounts_of_a_meter_stand_in_its_own_column():
    spent = KeyTotal("ana", key_hash("key"), Meter.CREDITS, 5, -2)
    own = KeyTotal("ana", key_hash("key"), Meter.BYOK, 7, -3)

    assert total_of([spent.amounts, own.amounts, spent.amounts]) == Amounts(10, -4, 7, -3)


def test_a_gap_leaves_open_only_what_lies_strictly_inside_it():
    night = gap("2026-11-20 22:00", "2026-11-21 02:00", midnight="2026-11-21 00:00")

    edges = [at("2026-11-20 22:00") + n * HOUR for n in range(-1, 6)]
    assert [night.leaves_open(edge) for edge in edges] == [False, False, True, False, True, False, False]
    assert not night.leaves_open(at("2026-11-20 00:00") - DAY)
