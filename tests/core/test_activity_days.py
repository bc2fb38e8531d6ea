"""Days before anybody watched: which of them make a history, and which are asked for again."""

from datetime import date
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.account import ActivityRow
from reckon.core.activity_days import (
    DaySpan,
    DaysTold,
    PastOfKey,
    days_before,
    days_to_take,
    filled,
    finished_days,
    holes,
    joined,
    last_morning,
    next_morning,
    summed_by_day,
    taken,
)
from reckon.core.records import Amounts
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, SECOND, at

FIRST = date(2026, 11, 1)
NOTHING = Amounts()


def nth(n):
    return FIRST + n * DAY


def span(since, until):
    return DaySpan(nth(since), nth(until))


def key(*read, created=None, money=None, has_ever_spent=True, idle=None, read_at=None):
    return PastOfKey(
        "hash",
        "ana",
        tuple(read),
        read_at,
        created_on=None if created is None else nth(created),
        first_money_on=None if money is None else nth(money),
        has_ever_spent=has_ever_spent,
        idle=idle,
    )


def row(n, nanos=1, byok=0):
    return ActivityRow(nth(n), "maker/small", "Maker", nanos, byok)


spans = st.tuples(st.integers(0, 40), st.integers(0, 40)).map(lambda edges: span(*sorted(edges)))
keys = st.builds(
    lambda read, created, money, has_ever_spent: key(
        *joined(read), created=created, money=money, has_ever_spent=has_ever_spent
    ),
    st.lists(spans, max_size=3),
    st.none() | st.integers(-5, 45),
    st.none() | st.integers(0, 39),
    st.booleans(),
)


# --- Spans -----------------------------------------------------------------------------------------------------------


@given(st.lists(spans), spans)
def test_joined_spans_and_holes_are_the_same_days_as_sets_of_days(some, wanted):
    days = {day for one in some for day in one}
    whole = joined(some)

    assert [day for one in whole for day in one] == sorted(days)
    assert all(before.until < after.since for before, after in pairwise(whole))
    assert [day for hole in holes(some, wanted) for day in hole] == [day for day in wanted if day not in days]


# --- What an owner's days came to ------------------------------------------------------------------------------------


@given(st.lists(keys, max_size=4), st.integers(0, 42), st.dictionaries(st.integers(0, 41), st.integers(1, 9)))
def test_a_day_belongs_if_a_key_existed_and_of_none_that_may_have_it_is_unknown(some, first_day, money):
    spent = {nth(n): Amounts(spend_nanos=nanos) for n, nanos in money.items()}

    found = days_before(nth(first_day), some, spent)

    def belongs(day):
        existed = any(one.existed_from is not None and one.existed_from <= day for one in some)
        may_be_missing = [one for one in some if one.has_ever_spent and (one.created_on or day) <= day]
        ever_read = [read for one in some for read in one.read]
        return (
            existed
            and any(read.since <= day for read in ever_read)
            and all(any(day in read for read in one.read) for one in may_be_missing)
        )

    assert found == {day: spent.get(day, NOTHING) for day in span(-5, first_day) if belongs(day)}


def test_days_before_a_key_was_made_are_no_days_and_idle_ones_after_it_are_zeros():
    found = days_before(nth(5), [key(span(0, 5), created=2)], {nth(3): Amounts(7)})

    assert found == {nth(2): NOTHING, nth(3): Amounts(7), nth(4): NOTHING}


def test_where_nobody_tells_when_a_key_was_made_its_days_begin_with_its_money():
    assert list(days_before(nth(5), [key(span(0, 5), money=3)], {})) == [nth(3), nth(4)]
    assert days_before(nth(5), [key(span(0, 5))], {}) == {}


def test_one_key_that_could_not_be_read_leaves_its_owner_without_the_days_it_may_have_spent_on():
    read, unread = key(span(0, 5), created=0), key(created=3)

    assert list(days_before(nth(5), [read, unread], {})) == [nth(0), nth(1), nth(2)]
    assert days_before(nth(5), [read, key()], {}) == {}
    assert len(days_before(nth(5), [read, key(has_ever_spent=False)], {})) == 5


# --- What is asked for again -----------------------------------------------------------------------------------------


def test_all_that_is_on_offer_is_taken_at_first_and_the_last_three_days_from_then_on():
    assert days_to_take([], span(0, 30)) == span(0, 30)
    assert days_to_take([span(0, 30)], span(1, 31)) == span(28, 31)
    assert days_to_take([span(0, 30)], span(0, 30)) == span(27, 30)


def test_after_some_days_of_absence_everything_since_is_taken_and_what_had_not_had_its_mornings():
    assert days_to_take([span(0, 30)], span(10, 40)) == span(28, 40)
    assert days_to_take([span(0, 30)], span(45, 75)) == span(45, 75)
    assert days_to_take([span(20, 30)], span(10, 40)) == span(10, 40)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=8))
def test_whenever_a_key_is_read_no_day_on_offer_stays_unread_and_each_is_read_until_it_is_three_days_old(pauses):
    past, today, last_read = key(), 40, {}
    for pause in pauses:
        today += pause
        told = DaysTold(span(today - 30, today))
        found = taken(past, told)
        last_read |= dict.fromkeys(found.told.days, today)
        past = key(*found.read)

    assert holes(past.read, span(today - 30, today)) == []
    days = [n for n in range(today - 30, today) if nth(n) in last_read]
    assert all(last_read[nth(n)] >= min(n + 3, today) for n in days)


def test_of_an_answer_only_the_days_that_are_taken_are_written():
    found = taken(key(span(0, 30)), DaysTold(span(1, 31), (row(5), row(29), row(30))))

    assert [one.date for one in found.told.rows] == [nth(29), nth(30)]
    assert found.read == (span(0, 31),)


def test_what_only_fills_in_touches_no_day_that_was_read():
    past = key(span(3, 5), span(8, 30))

    found = filled(past, DaysTold(past.missing_of(span(0, 20)), tuple(row(n) for n in range(8))))

    assert [(one.told.days, [each.date for each in one.told.rows]) for one in found] == [
        (span(0, 3), [nth(0), nth(1), nth(2)]),
        (span(5, 8), [nth(5), nth(6), nth(7)]),
    ]
    assert {one.read for one in found} == {(span(0, 30),)}


def test_nothing_is_missing_from_before_a_key_was_made():
    assert key(span(10, 30), created=4).missing_of(span(0, 20)) == span(4, 10)
    assert key(span(10, 30), created=10).missing_of(span(0, 20)) is None
    assert key(span(10, 30)).missing_of(span(0, 5)) == span(0, 5)


@pytest.mark.parametrize(
    ("last_used", "seen", "is_idle"),
    [
        ("2026-11-01 23:59", "2026-11-04 00:00", True),
        ("2026-11-02 00:00", "2026-11-04 00:00", True),
        ("2026-11-02 00:01", "2026-11-04 00:00", False),
        ("2026-11-01 23:59", "2026-11-03 23:59", False),
    ],
)
def test_a_key_is_known_to_be_idle_if_it_was_seen_unused_from_before_the_days_until_after_them(
    last_used, seen, is_idle
):
    assert key(idle=Window(at(last_used), at(seen))).is_idle_on(span(1, 3)) is is_idle
    assert not key().is_idle_on(span(1, 3))


# --- Mornings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", ["2026-11-20 06:00", "2026-11-20 23:59", "2026-11-21 05:59"])
def test_a_morning_lasts_from_six_to_six_in_utc(now):
    assert (last_morning(at(now)), next_morning(at(now))) == (at("2026-11-20 06:00"), at("2026-11-21 06:00"))


def test_the_days_that_are_over_end_with_yesterday_in_utc():
    assert finished_days(at("2026-11-20 00:00")) == DaySpan(date(2026, 10, 21), date(2026, 11, 20))


def test_a_key_is_due_once_every_morning_and_when_the_clock_was_set_back():
    morning = at("2026-11-20 06:00")
    read = PastOfKey("hash", "ana", (DaySpan(date(2026, 10, 21), date(2026, 11, 20)),), morning + HOUR)

    assert not read.is_due(morning, morning + 2 * HOUR)
    assert read.is_due(morning + DAY, morning + DAY)
    assert read.is_due(morning, morning + HOUR - SECOND)
    assert PastOfKey("hash", "ana").is_due(morning, morning)


def test_a_key_whose_older_days_alone_were_read_is_due():
    morning = at("2026-11-20 06:00")

    assert PastOfKey("hash", "ana", (DaySpan(FIRST, date(2026, 11, 5)),), morning + HOUR).is_due(morning, morning + DAY)


# --- The account -----------------------------------------------------------------------------------------------------


def test_the_account_s_days_are_the_sums_of_their_rows_and_a_day_without_a_row_is_nothing():
    told = DaysTold(span(0, 3), (row(0, 5, 1), row(0, 6), row(2, 7), row(9, 8)))

    assert summed_by_day(told) == {
        nth(0): Amounts(spend_nanos=11, byok_nanos=1),
        nth(1): NOTHING,
        nth(2): Amounts(spend_nanos=7),
    }
