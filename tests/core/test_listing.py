"""Which generations are listed: of keys that spent what nothing explains, and so many an hour."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from reckon.core import listing
from reckon.core.account import AnalyticsRow, Dimension, MoneyColumn
from reckon.core.deltas import open_key
from reckon.core.generations import CallPlace, CallTotal, GenerationState, UnsettledTotal
from reckon.core.listing import MOST_IDS_AN_HOUR, MOST_LISTINGS, Allowance
from reckon.core.records import KeyState, Meter
from reckon.core.tokens import UNKNOWN
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, snapshot

NOON = at("2026-11-20 12:00")


def row(id_, model="maker/small", start=NOON):
    return AnalyticsRow(start, {Dimension.GENERATION: id_, Dimension.MODEL: model}, {MoneyColumn.TOTAL: 1}, {})


def test_what_settled_and_what_is_known_of_pending_ones_is_explained():
    spent = [KeyTotal("ana", "a", meter, 10, -3) for meter in Meter] + [KeyTotal("ana", "b", Meter.CREDITS, 5, 0)]
    settled = [CallTotal(CallPlace(key_hash="a"), 1, 4, 2, UNKNOWN), CallTotal(CallPlace(), 1, 9, 9, UNKNOWN)]
    waiting = [UnsettledTotal("ana", "b", GenerationState.PENDING, 2, 5, 1)]
    assert listing.residuals(spent, settled, waiting) == {"a": 14}


def test_the_key_with_most_unexplained_is_listed_first_and_not_all_at_once():
    residual = {f"key {n:02}": n for n in range(1, 20)}
    found = listing.to_list(residual, residual, {}, NOON)
    assert found == [f"key {n:02}" for n in range(19, 19 - MOST_LISTINGS, -1)]


def test_a_key_that_has_spent_no_more_is_listed_again_only_after_an_hour():
    spent, listed = {"a": 9, "b": 9, "c": 9}, {"a": (9, NOON), "b": (8, NOON)}
    assert listing.to_list(spent, spent, listed, NOON + 59 * MINUTE) == ["b", "c"]
    assert listing.to_list(spent, spent, listed, NOON + HOUR) == ["a", "b", "c"]


def test_an_id_is_handed_in_once_with_whoever_holds_the_key_and_no_cost():
    key = KeyState("a", "ana", "laptop", watched=True)
    (one, other) = listing.handed([row("gen-1"), row(None), row("gen-2"), row("gen-1", start=NOON + HOUR)], key)
    assert (one.id, other.id, one.owner, one.key_hash) == ("gen-1", "gen-2", "ana", "a")
    assert (one.facts.created_at, one.facts.model, one.facts.credits_nanos) == (NOON, "maker/small", None)


def test_a_span_begins_where_the_key_was_first_seen_and_not_before():
    key = KeyState("a", "ana", "a", watched=True, counters=open_key(snapshot(NOON)).counters)
    assert listing.span_to_list(key, NOON + HOUR) == Window(NOON, NOON + HOUR)
    assert listing.span_to_list(key, NOON + 3 * DAY) == Window(NOON + 2 * DAY, NOON + 3 * DAY)
    assert listing.span_to_list(key, NOON) is None
    assert listing.span_to_list(KeyState("b", "ana", "b", watched=True), NOON) is None


@given(st.lists(st.tuples(st.integers(0, 1800), st.integers(0, 3000)), max_size=20))
def test_no_hour_holds_more_than_the_allowance(asked):
    allowance, now, taken = Allowance(), NOON, []
    for seconds, wanted in asked:
        now += timedelta(seconds=seconds)
        number = min(wanted, allowance.left(now))
        allowance.take(number, now)
        taken.append((now, number))
        assert allowance.left(now) >= 0
    for start, _ in taken:
        assert sum(number for at_, number in taken if start <= at_ < start + HOUR) <= MOST_IDS_AN_HOUR
    assert allowance.left(now + HOUR) == MOST_IDS_AN_HOUR


def test_a_clock_that_is_set_back_does_not_stop_listing_for_long():
    allowance = Allowance()
    allowance.take(MOST_IDS_AN_HOUR, NOON)
    assert allowance.left(NOON + HOUR - SECOND) == 0
    assert allowance.left(NOON - DAY) == MOST_IDS_AN_HOUR
