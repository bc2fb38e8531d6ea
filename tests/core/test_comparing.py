"""What others tell of a day beside the counters: each difference has names, and the names add up to it."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import comparing_credits, comparing_days
from reckon.core.comparing import Counted, Teller, Told, utc_day
from reckon.core.comparing_credits import BalanceSeen, used
from reckon.core.reasons import TOLERANCE_NANOS, Difference, Reason
from reckon.core.records import Counter, Counters, Gap, KeyState, Meter, Reading
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, key_hash, usd

SPAN = utc_day(date(2026, 11, 20))
LONG_AFTER = SPAN.end + 3 * DAY
MORNING = SPAN.end + 6 * HOUR


def seen(name="key", opened="2026-11-01 00:00", last="2026-12-01 00:00", *, before="0", watched=True):
    """Return a key first seen at *opened*, when it had spent so much *before* on that day, and last at *last*."""
    opening = Reading(usd(before), usd(before), 0, 0)
    nothing = Counter(Reading(0, 0, 0, 0), 0, 0, 0)
    counters = Counters(at(opened), at(last), 1, replace(nothing, opening=opening), nothing)
    return KeyState(key_hash(name), "ana", name, watched=watched, counters=counters)


def spent(amount, name="key", *, corrected="0", byok="0"):
    return [
        KeyTotal("ana", key_hash(name), Meter.CREDITS, usd(amount), usd(corrected)),
        KeyTotal("ana", key_hash(name), Meter.BYOK, usd(byok), 0),
    ]


def gap(amount, name="key", since=SPAN.end - HOUR):
    return Gap(key_hash(name), 2, since, since + 2 * HOUR, None, usd(amount))


WATCHED = seen()


def counted(*totals, keys=(WATCHED,), gaps=(), unswept=()):
    return Counted(SPAN, keys, [total for some in totals for total in some], gaps, unswept=unswept)


def told(amount, read_at=LONG_AFTER, teller=Teller.ACTIVITY, **by_key):
    return Told(teller, usd(amount), read_at, {key_hash(name): usd(part) for name, part in by_key.items()})


def reasons(said, ledger, lately=()):
    found = comparing_days.compare(said, ledger, lately)
    assert sum(nanos for _, nanos in found.explained) == found.difference_nanos
    return dict(found.explained)


# --- Days of the account -------------------------------------------------------------------------------------------


def test_two_numbers_that_agree_need_no_reason():
    assert reasons(told(3, key=3), counted(spent(3))) == {}


@pytest.mark.parametrize(
    ("said", "ledger", "found"),
    [
        (told(5, key=3), counted(spent(3)), {Reason.CHATROOM: usd(2)}),
        (told(5, key=3), counted(spent(3), unswept=["builds"]), {Reason.UNSWEPT_WORKSPACE: usd(2)}),
        # The counters of that very key have missed something.
        (told(5, key=5), counted(spent(3)), {Reason.UNEXPLAINED: usd(2)}),
        (told(9, key=5), counted(spent(3)), {Reason.CHATROOM: usd(4), Reason.UNEXPLAINED: usd(2)}),
        # An old reading of one key is not held against it, and not taken for the chatroom either.
        (told(3, key=1), counted(spent(3)), {}),
        (told(3), counted(spent(3)), {}),
        (told(2, key=2), counted(spent(3)), {Reason.UNEXPLAINED: -usd(1)}),
        (told(3, key=3), counted(spent(3, corrected="-1")), {Reason.CORRECTED: usd(1)}),
        (told(3), counted(spent(3, corrected="-1")), {Reason.CORRECTED: usd(1)}),
        (
            told(5, key=5),
            counted(spent(3), keys=[seen(opened="2026-11-20 12:00", before="2")]),
            {Reason.BEFORE_FIRST_POLL: usd(2)},
        ),
        (
            told(5),
            counted(spent(3), keys=[seen(opened="2026-11-20 12:00", before="1.5")]),
            {Reason.BEFORE_FIRST_POLL: usd("1.5"), Reason.CHATROOM: usd("0.5")},
        ),
        (
            told(2, key=2),
            counted(keys=[seen(opened="2026-11-22 12:00", before="2")]),
            {Reason.BEFORE_FIRST_POLL: usd(2)},
        ),
        (
            told(5, key=5),
            counted(spent(3), keys=[seen(last="2026-11-20 12:00", watched=False)]),
            {Reason.DELETED_KEY: usd(2)},
        ),
        (told(5, key=5), counted(spent(3), keys=[seen(last="2026-11-20 12:00")]), {Reason.SINCE_LAST_POLL: usd(2)}),
        (told(4, key=4), counted(spent(3), gaps=[gap(2)]), {Reason.GAP: usd(1)}),
        (told(2, key=2), counted(spent(3), gaps=[gap(2)]), {Reason.GAP: -usd(1)}),
        (told(2), counted(spent(3), gaps=[gap(2)]), {Reason.GAP: -usd(1)}),
        # A gap within the day moves nothing over its edge.
        (told(4, key=4), counted(spent(3), gaps=[gap(2, since=SPAN.start)]), {Reason.UNEXPLAINED: usd(1)}),
        (told(23, key=3), counted(spent(3, byok="20")), {Reason.BYOK: usd(20)}),
        (told(22, key=3), counted(spent(3, byok="20")), {Reason.CHATROOM: usd(19)}),
    ],
)
def test_a_difference_is_told_apart_by_reason(said, ledger, found):
    assert reasons(said, ledger) == found


@pytest.mark.parametrize(
    ("teller", "read_at", "late_from"),
    [
        (Teller.ACTIVITY, MORNING - SECOND, None),
        (Teller.ACTIVITY, MORNING, SPAN.start),
        (Teller.ACTIVITY, MORNING + 2 * DAY, SPAN.end),
        (Teller.ANALYTICS, SPAN.start + 12 * HOUR + 7 * MINUTE, SPAN.start + 11 * HOUR),
        (Teller.ANALYTICS, SPAN.start + MINUTE, SPAN.start),
        (Teller.ANALYTICS, SPAN.end + 30 * MINUTE, SPAN.end - 30 * MINUTE),
        (Teller.ANALYTICS, SPAN.end + DAY, SPAN.end),
    ],
)
def test_who_tells_late_is_not_held_to_what_may_be_missing(teller, read_at, late_from):
    assert comparing_days.late_from(told(1, read_at, teller), SPAN) == late_from


def test_what_was_spent_since_analytics_may_know_is_not_told_yet_and_no_more_than_that():
    said, ledger = told(1, teller=Teller.ANALYTICS), counted(spent(3))
    assert reasons(said, ledger, spent(2)) == {Reason.NOT_TOLD_YET: -usd(2)}
    assert reasons(said, ledger, spent(1)) == {Reason.NOT_TOLD_YET: -usd(1), Reason.UNEXPLAINED: -usd(1)}


# --- Credits -------------------------------------------------------------------------------------------------------


def sight(when, usage):
    return BalanceSeen(when, usd(1000), usd(usage))


START, END = SPAN.start, SPAN.end


@pytest.mark.parametrize(
    ("sights", "found"),
    [
        ([sight(START, 10), sight(END, 15)], (usd(5), END, 0)),
        ([sight(START - MINUTE, 10), sight(START + 3 * MINUTE, 14), sight(END, 15)], (usd(4), END, usd(4))),
        ([sight(START - HOUR, 10), sight(START + HOUR, 10), sight(END, 15)], (usd(5), END, 0)),
        ([sight(START - HOUR - SECOND, 10), sight(START + HOUR, 10), sight(END, 15)], None),
        ([sight(START, 10), sight(END - MINUTE, 15)], None),
        ([], None),
    ],
)
def test_what_stood_at_an_edge_is_read_between_the_sights_on_both_sides(sights, found):
    grown = used(sights, SPAN, LONG_AFTER)
    assert (grown and (grown.nanos, grown.until, grown.uncertain_nanos)) == found


def test_a_running_day_ends_with_the_last_sight_if_that_is_fresh():
    sights, last = [sight(START, 10), sight(START + 3 * HOUR, 12)], START + 3 * HOUR
    assert used(sights, SPAN, last + HOUR).until == last
    assert used(sights, SPAN, last + HOUR + SECOND) is None


def credit_reasons(grown, ledger, *of_the_account, lately=(), uncertain="0", until=END):
    found = comparing_credits.Used(usd(grown), until, usd(uncertain))
    compared = comparing_credits.compare(found, ledger, of_the_account, lately)
    assert sum(nanos for _, nanos in compared.explained) == compared.difference_nanos
    return dict(compared.explained)


def test_credits_hold_what_the_account_tells_and_fees():
    ledger = counted(spent(3, byok="100"))
    of_the_account = comparing_days.compare(told(5, key=3), ledger, ())
    assert credit_reasons(10, ledger, of_the_account) == {Reason.CHATROOM: usd(2), Reason.FEES: usd(5)}
    assert credit_reasons(11, ledger, of_the_account)[Reason.UNEXPLAINED] == usd(1)


def test_credits_alone_cannot_tell_the_chatroom_from_anything_else_that_is_no_keys():
    assert credit_reasons(5, counted(spent(3))) == {Reason.CHATROOM: usd(2)}
    assert credit_reasons(5, counted(spent(3), unswept=["builds"])) == {Reason.UNSWEPT_WORKSPACE: usd(2)}


def test_credits_that_lack_what_the_counters_show_have_a_reason_only_around_the_edges():
    assert credit_reasons(2, counted(spent(3)), uncertain="0.6") == {
        Reason.GAP: -usd("0.6"),
        Reason.UNEXPLAINED: -usd("0.4"),
    }
    assert credit_reasons(2, counted(spent(3)), lately=spent(1), until=END - HOUR) == {Reason.NOT_TOLD_YET: -usd(1)}


def test_what_activity_has_not_told_yet_credits_have():
    ledger = counted(spent(3))
    young = comparing_days.compare(told(1, MORNING), ledger, spent(3))
    assert dict(young.explained) == {Reason.NOT_TOLD_YET: -usd(2)}
    assert credit_reasons(3, ledger, young) == {}


# --- Whatever was found --------------------------------------------------------------------------------------------

NANOS = st.integers(0, 10**10)
LEDGERS = st.builds(
    lambda spend, correction, byok, gap_nanos, opened, last, watched, before, unswept: Counted(
        SPAN,
        [
            replace(
                seen(watched=watched),
                counters=replace(
                    seen().counters,
                    opened_at=START + min(opened, last) * HOUR,
                    last_seen_at=START + max(opened, last) * HOUR,
                    credits=replace(seen().counters.credits, opening=Reading(before, before, 0, 0)),
                ),
            )
        ],
        [
            KeyTotal("ana", key_hash("key"), Meter.CREDITS, spend, -correction),
            KeyTotal("ana", key_hash("key"), Meter.BYOK, byok, 0),
        ],
        [replace(gap(1), nanos=gap_nanos)],
        unswept=["builds"] * unswept,
    ),
    spend=NANOS,
    correction=NANOS,
    byok=NANOS,
    gap_nanos=NANOS,
    opened=st.integers(-48, 48),
    last=st.integers(-48, 72),
    watched=st.booleans(),
    before=NANOS,
    unswept=st.integers(0, 1),
)


@given(LEDGERS, st.tuples(NANOS, st.none() | NANOS), NANOS, st.tuples(NANOS, NANOS))
def test_reasons_always_add_up_to_the_difference(ledger, of_the_account, late, of_credits):
    (account, of_key), (grown, uncertain) = of_the_account, of_credits
    said = Told(Teller.ACTIVITY, account, LONG_AFTER, {} if of_key is None else {key_hash("key"): of_key})
    lately = [KeyTotal("ana", key_hash("key"), Meter.CREDITS, late, 0)]
    first = comparing_days.compare(said, ledger, lately)
    second = comparing_credits.compare(comparing_credits.Used(grown, END, uncertain), ledger, [first], lately)
    for found in (first, second):
        assert sum(nanos for _, nanos in found.explained) == found.told_nanos - found.counters_nanos
        assert len(dict(found.explained)) == len(found.explained)
        assert 0 not in dict(found.explained).values()


@given(st.integers(-(10**12), 10**12), NANOS, NANOS)
def test_a_reason_takes_no_more_than_it_can_answer_for(nanos, above, below):
    difference = Difference(nanos)
    difference.take(Reason.GAP, above=above, below=below)
    assert -below <= difference.named[Reason.GAP] <= above
    assert difference.named[Reason.GAP] + difference.left == nanos
    assert usd("0.01") == TOLERANCE_NANOS


def test_a_utc_day_is_one_day_long():
    assert utc_day(date(2026, 3, 29)) == Window(at("2026-03-29 00:00"), at("2026-03-30 00:00"))
