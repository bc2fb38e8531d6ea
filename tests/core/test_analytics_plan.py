"""What to ask analytics, and whose its rows are: a row is a key's only if it can be nobody else's."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import analytics_plan as plan
from reckon.core.account import AnalyticsAnswer, AnalyticsRow, CountColumn, Dimension, MoneyColumn
from reckon.core.analytics_plan import Names
from reckon.core.deltas import open_key
from reckon.core.records import KeyState
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, MINUTE, at, key_hash, snapshot, usd

NOON = at("2026-11-20 12:00")
MIDNIGHT = at("2026-11-20 00:00")
SPAN = Window(MIDNIGHT, NOON)


def key(name, *, called=None, label=None):
    return KeyState(key_hash(name), "ana", called or name, watched=True, label=label)


def row(name, model="maker/small", *, hour=3, credits_nanos=1, requests=1):
    return AnalyticsRow(
        MIDNIGHT + hour * HOUR,
        {Dimension.KEY: name, Dimension.MODEL: model},
        {MoneyColumn.CREDITS: credits_nanos, MoneyColumn.BYOK: None},
        {CountColumn.REQUESTS: requests},
    )


def names(*keys, entries=(), shown=None, spenders=()):
    return Names(keys, {key_hash(name) for name in entries}, shown or {}, {key_hash(name) for name in spenders})


def whose(rows, known):
    told = plan.told_of_all(rows, SPAN, known)
    return {each.key_hash for each in told.hours}, told.doubtful


# --- Whose a row is ------------------------------------------------------------------------------------------------


def test_a_row_is_known_by_the_name_the_masked_form_or_the_hash_of_its_key():
    laptop = key("laptop", label="sk-or-v1-abc...123")
    for shown in ("laptop", "sk-or-v1-abc...123", laptop.hash):
        assert whose([row(shown)], names(laptop)) == ({laptop.hash}, set())


def test_a_name_that_two_keys_bear_is_neithers():
    one, other = key("one", called="twin"), key("other", called="twin")
    assert whose([row("twin")], names(one, other)) == (set(), {one.hash, other.hash})


def test_the_part_of_the_hash_that_the_ledger_put_behind_a_name_is_not_waited_for():
    one, other = key("one", called=f"twin {key_hash('one')[:8]}"), key("other", called="twin", label="z")
    assert whose([row("twin")], names(one, other)) == (set(), {one.hash, other.hash})
    assert whose([row("twin")], names(one)) == ({one.hash}, set())


def test_a_name_told_of_twice_in_one_hour_and_model_is_two_keys_though_only_one_is_known():
    laptop = key("laptop")
    assert whose([row("laptop"), row("laptop")], names(laptop)) == (set(), {laptop.hash})
    assert whose([row("laptop"), row("laptop", "maker/large")], names(laptop)) == ({laptop.hash}, set())


def test_no_key_and_a_name_that_nobody_bears_are_nobodys():
    assert whose([row(None), row("elsewhere")], names(key("laptop"))) == (set(), set())


def test_a_name_out_of_the_owner_map_tells_nothing_until_analytics_has_told_one():
    ana, ben = key("ana's"), key("ben's", called="swept", label="sk-or-v1-ben...123")
    unknown = names(ana, ben, entries=["ana's"], spenders=["ana's"])
    assert unknown.strangers == {ana.hash}
    assert whose([row("ana's"), row("swept")], unknown) == (set(), {ana.hash, ben.hash})
    # The masked form is nobody else's.
    assert whose([row("sk-or-v1-ben...123")], unknown) == ({ben.hash}, {ana.hash})

    told = names(ana, ben, entries=["ana's"], spenders=["ana's"], shown={ana.hash: "real"})
    assert whose([row("real"), row("swept"), row("ana's")], told) == ({ana.hash, ben.hash}, set())


def test_a_stranger_that_cannot_have_rows_leaves_names_alone():
    ana, ben = key("ana's"), key("ben's", called="swept")
    assert whose([row("swept")], names(ana, ben, entries=["ana's"])) == ({ben.hash}, set())


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y", None]), st.integers(0, 2), st.integers(-9, 9)),
        max_size=12,
    ),
    st.dictionaries(st.sampled_from("abc"), st.sampled_from(["one", "two"]), min_size=3),
)
def test_what_is_told_of_keys_is_theirs_to_the_last_nano_dollar(spent, called):
    """Each key's true rows, under names that may be shared: whoever is believed to be told of is told of rightly."""
    truth = {}
    for name, model, hour, nanos in spent:
        truth[name, model, hour] = truth.get((name, model, hour), 0) + nanos
    rows = [row(called[name], model, hour=hour, credits_nanos=nanos) for (name, model, hour), nanos in truth.items()]
    told = plan.told_of_all(rows, SPAN, names(*(key(name, called=called[name]) for name in "abc")))
    for each in told.hours:
        (name,) = (name for name in "abc" if key_hash(name) == each.key_hash)
        found = {(name, hour.model, (hour.start - MIDNIGHT) // HOUR): hour.credits_nanos for hour in each.rows}
        assert found == {place: nanos for place, nanos in truth.items() if place[0] == name}
    silent = {key_hash(name) for name in "abc" if name not in {place[0] for place in truth}}
    assert {key_hash(name) for name in "abc"} <= {each.key_hash for each in told.hours} | told.doubtful | silent


def test_requests_that_are_not_told_are_unknown_and_not_none():
    told = plan.told_of_one([row("a"), row("a", requests=None), row("a", "maker/large", requests=4)], SPAN, "hash")
    assert {(each.model, each.credits_nanos, each.requests) for each in told.rows} == {
        ("maker/small", 2, None),
        ("maker/large", 1, 4),
    }


# --- What to ask ---------------------------------------------------------------------------------------------------


@given(st.integers(1, 48 * 3600), st.integers(1, 30))
def test_pieces_cover_a_span_newest_first_and_are_cut_on_whole_hours(seconds, hours):
    span = Window(MIDNIGHT, MIDNIGHT + timedelta(seconds=seconds))
    found = plan.pieces(span, hours * HOUR)
    assert (found[-1].start, found[0].end) == (span.start, span.end)
    assert all(later.start == earlier.end for later, earlier in pairwise(found))
    assert all((piece.start - MIDNIGHT) % (hours * HOUR) == timedelta(0) for piece in found)
    assert all(piece.end - piece.start <= hours * HOUR for piece in found)


@given(st.integers(1, 30 * 3600))
def test_halving_ends_at_an_hour(seconds):
    longest = timedelta(seconds=seconds)
    for _ in range(6):
        longest = plan.halved(longest) or HOUR
        assert longest % HOUR == timedelta(0)
    assert longest == HOUR
    assert plan.halved(HOUR) is None


@pytest.mark.parametrize(
    ("when", "reread", "is_due"),
    [
        ("2026-11-20 00:29", None, False),
        ("2026-11-20 00:30", None, True),
        ("2026-11-20 23:59", "2026-11-18", True),
        ("2026-11-20 00:30", "2026-11-19", False),
    ],
)
def test_yesterday_is_due_once_half_an_hour_after_midnight(when, reread, is_due):
    late = plan.late_day(at(when), reread and at(f"{reread} 00:00").date())
    assert late == (Window(MIDNIGHT - DAY, MIDNIGHT) if is_due else None)


def test_the_key_of_which_most_is_not_told_comes_first_and_those_that_stand_still_come_last():
    spent = {"a": 10, "b": 30, "c": 20, "d": 5}
    assert plan.to_ask_singly("abcd", spent, {"b": 25, "d": 5}, {}) == ["c", "a", "b"]
    assert plan.to_ask_singly("abcd", spent, {"b": 25, "d": 9}, {"c": 20, "a": 9}) == ["a", "b", "c"]
    assert plan.to_ask_singly("ab", spent, {}, {}) == ["b", "a"]


def test_what_a_key_spent_yesterday_is_not_todays():
    counters = open_key(snapshot("2026-11-20 23:59", "9", daily="3", byok="5", byok_daily="2")).counters
    seen = KeyState("a", "ana", "a", watched=True, counters=counters)
    assert plan.spent_today(seen, at("2026-11-20 23:59")) == usd(5)
    assert plan.spent_today(seen, at("2026-11-21 00:00")) == 0
    assert plan.spent_today(key("unseen"), NOON) == 0


def test_an_answer_is_of_the_instant_it_was_made_and_never_of_the_future():
    for kept, expected in ((None, NOON), (NOON - MINUTE, NOON - MINUTE), (NOON + MINUTE, NOON)):
        answer = AnalyticsAnswer((), is_truncated=False, cached_at=kept)
        assert plan.account_day(answer, SPAN, NOON) == plan.AccountDay(MIDNIGHT.date(), 0, 0, expected)
