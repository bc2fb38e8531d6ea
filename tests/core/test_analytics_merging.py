"""Each hour of each key is explained by analytics or by generations, whichever explains more, and never by both."""

from collections import defaultdict
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import analytics_merging as merging
from reckon.core.analytics_plan import ModelHour
from reckon.core.deltas import observe, open_key
from reckon.core.generations import CallPlace, CallTotal
from reckon.core.records import UNOWNED, KeyState
from reckon.core.reports import Dimension
from reckon.core.tokens import UNKNOWN
from reckon.core.windows import Window
from tests.builders import HOUR, MINUTE, at, snapshot

NOON = at("2026-11-20 12:00")
HOLDERS = {"a": "ana", "b": "ben", "c": UNOWNED}
MODELS = st.sampled_from(["maker/small", "maker/large", None])
NANOS = st.integers(0, 5)
HOURS = st.integers(0, 2).map(lambda n: NOON + n * HOUR)


def model_hour(start, key, model="maker/small", credits_nanos=1, byok_nanos=0, *, requests=1):
    return ModelHour(start, key, model, credits_nanos, byok_nanos, requests, HOLDERS[key])


def total(owner, key, model="maker/small", credits_nanos=1, byok_nanos=0):
    return CallTotal(CallPlace(owner, key, model), 1, credits_nanos, byok_nanos, UNKNOWN)


TOLD = st.lists(
    st.builds(
        model_hour, HOURS, st.sampled_from([*HOLDERS]), MODELS, NANOS, NANOS, requests=st.sampled_from([None, 1, 7])
    ),
    max_size=8,
)
OF_KEYS = st.builds(
    lambda key, *rest: total(HOLDERS[key], key, *rest), st.sampled_from([*HOLDERS]), MODELS, NANOS, NANOS
)
OF_NO_KEY = st.builds(total, st.sampled_from(["ana", "ben", UNOWNED]), st.none(), MODELS, NANOS, NANOS)
CALLS = st.lists(st.tuples(HOURS, OF_KEYS | OF_NO_KEY), max_size=8)


def by_hour_and_key(told):
    found = defaultdict(list)
    for each in told:
        found[each.start, each.key_hash].append(each)
    return found


def money(parts):
    return sum(part.credits_nanos + part.byok_nanos for part in parts)


def of_key(parts, key):
    return [part for part in parts if part.place.key_hash == key]


@given(CALLS, TOLD)
def test_an_hour_of_a_key_is_explained_by_one_of_both_and_by_no_less_than_either(calls, told):
    for start in {NOON, NOON + HOUR, NOON + 2 * HOUR}:
        theirs = {place: rows for place, rows in by_hour_and_key(told).items() if place[0] == start}
        ran = [each for begun, each in calls if begun == start]
        merged = merging.merged([(start, each) for each in ran], theirs)
        for key in HOLDERS:
            from_analytics = money(theirs.get((start, key), ()))
            from_calls = money(of_key(ran, key))
            assert money(of_key(merged.calls, key)) == max(from_analytics, from_calls)
            is_told = (start, key) in theirs and from_analytics >= from_calls
            assert merged.explains(start, key) == is_told
            number = sum(each.generations for each in of_key(merged.calls, key))
            expected = theirs[start, key] if is_told else of_key(ran, key)
            assert number == sum((each.requests or 0) if is_told else each.generations for each in expected)


@given(CALLS, TOLD)
def test_generations_of_no_known_key_are_left_out_where_analytics_may_have_told_of_them(calls, told):
    theirs = by_hour_and_key(told)
    merged = merging.merged(calls, theirs)
    kept = [each for each in merged.calls if each.place.key_hash is None]
    expected = []
    for start, each in calls:
        told_then = [key for begun, key in merged.by_analytics if begun == start]
        owner = each.place.owner
        may_be_among = bool(told_then) if owner == UNOWNED else owner in [HOLDERS[key] for key in told_then]
        if each.place.key_hash is None and not may_be_among:
            expected.append(each)
    assert sorted(map(repr, kept)) == sorted(map(repr, expected))


@given(
    st.integers(0, 40).map(lambda n: NOON + n * 15 * MINUTE),
    st.integers(0, 40).map(lambda n: n * 15 * MINUTE),
    st.lists(st.integers(-1, 12), max_size=6),
    st.integers(0, 80).map(lambda n: NOON + n * 10 * MINUTE),
)
def test_a_piece_is_cut_without_a_gap_or_an_overlap_and_no_hour_holds_what_lies_outside(start, length, told, now):
    piece = Window(start, start + length)
    starts = [NOON + n * HOUR for n in told]
    cut = merging.cut(piece, starts, now)
    parts = sorted([*cut.hours, *cut.others])
    assert sum((part.end - part.start for part in parts), timedelta(0)) == length
    assert all(one.end == other.start for one, other in pairwise(parts))
    assert all(piece.start <= part.start < part.end <= piece.end for part in parts)
    for hour in cut.hours:
        assert hour.start in starts
        assert hour.end == hour.start + HOUR or piece.end > now
    whole = {start for start in starts if piece.start <= start and start + HOUR <= piece.end}
    assert whole <= {hour.start for hour in cut.hours}


# --- Which hours the counters count as well ------------------------------------------------------------------------


def seen(first, last, total="5", *, began=None):
    """Return the key `a` as it stands after two sights of it."""
    opened = open_key(snapshot(first, total), began and at(began)).counters
    return KeyState("a", "ana", "a", watched=True, counters=observe(opened, snapshot(last, total)).counters)


def counted_hours(key):
    told = [model_hour(NOON + n * HOUR, "a") for n in range(-2, 4)]
    return [(start - NOON) // HOUR for start, _ in merging.counted(told, [key])]


def test_hours_that_no_counter_counted_are_not_explained():
    assert counted_hours(seen("2026-11-20 11:30", "2026-11-20 13:30")) == [0, 1]
    assert counted_hours(seen("2026-11-20 12:00", "2026-11-20 14:00")) == [0, 1]
    assert counted_hours(KeyState("a", "ana", "a", watched=True)) == []
    assert counted_hours(KeyState("b", "ana", "b", watched=True)) == []


def test_a_key_that_began_at_nothing_is_explained_from_its_beginning():
    assert counted_hours(seen("2026-11-20 11:30", "2026-11-20 12:30", total="0")) == [-2, -1, 0]
    assert counted_hours(seen("2026-11-20 11:30", "2026-11-20 12:30", began="2026-11-20 11:20")) == [-2, -1, 0]


@pytest.mark.parametrize(
    ("by", "can"),
    [
        (["model"], True),
        (["owner", "model", "day"], True),
        (["owner"], False),
        (["model", "requested_model"], False),
        (["provider"], False),
        (["model", "session"], False),
    ],
)
def test_only_a_report_by_models_and_nothing_else_of_the_kind_is_explained_by_analytics(by, can):
    assert merging.can_explain([Dimension(each) for each in by]) == can


def test_where_both_explain_the_same_analytics_does():
    told = {(NOON, "a"): [model_hour(NOON, "a", "maker/told", 3, 1, requests=4)]}
    merged = merging.merged([(NOON, total("ana", "a", "maker/ran", 4))], told)
    assert [(each.place.model, each.credits_nanos, each.byok_nanos, each.generations) for each in merged.calls] == [
        ("maker/told", 3, 1, 4)
    ]


def test_an_hour_of_which_only_part_lies_in_the_piece_is_left_to_generations():
    half_past = Window(NOON + HOUR / 2, NOON + 3 * HOUR / 2)
    assert merging.cut(half_past, [NOON, NOON + HOUR], NOON + 9 * HOUR).hours == []
    running = merging.cut(half_past, [NOON, NOON + HOUR], NOON + HOUR + MINUTE)
    assert running.hours == [Window(NOON + HOUR, NOON + 3 * HOUR / 2)]
