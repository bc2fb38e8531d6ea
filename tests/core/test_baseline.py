"""What is usual: the plain rule in whole numbers, and which days it is made of."""

from datetime import date
from fractions import Fraction
from statistics import mean, pstdev, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.baseline import NO_PAST, Baseline, History, Past, history
from reckon.core.baseline import usual as usual_by
from reckon.core.records import Amounts, OwnerDay, TotalState
from tests.builders import DAY, usd

FIRST = date(2026, 11, 1)
SIGMA = Fraction(3)

amounts = st.one_of(st.just(0), st.integers(0, 10), st.integers(0, 10**10), st.integers(0, 17).map(lambda n: 10**n))
past_days = st.lists(amounts, min_size=1, max_size=40)
sigmas = st.fractions(min_value=0, max_value=10, max_denominator=100)


def days(*totals, state=TotalState.SETTLED):
    """Return one day after the other, a total of None being a day nobody saw."""
    return [
        OwnerDay("ana", FIRST + n * DAY, Amounts(total or 0), TotalState.UNKNOWN if total is None else state)
        for n, total in enumerate(totals)
    ]


def usual(rows, *, before=date(2027, 1, 1), openings=(), byok=True):
    return history(rows, before, openings, byok=byok)


# --- Mean and deviations -------------------------------------------------------------------------------------------


@given(past_days, sigmas)
def test_the_threshold_is_the_last_whole_amount_that_is_not_above_mean_and_deviations(past, sigma):
    baseline = Baseline.of(past)
    threshold = baseline.threshold_nanos(sigma)

    def is_above(spend):
        excess = spend - mean(map(Fraction, past))
        return excess > 0 and excess**2 > sigma**2 * pvariance(map(Fraction, past))

    for spend in (threshold - 1, threshold, threshold + 1):
        assert baseline.is_exceeded_by(spend, sigma) == is_above(spend)
    assert not baseline.is_exceeded_by(threshold, sigma)
    assert baseline.is_exceeded_by(threshold + 1, sigma)


@given(past_days)
def test_the_threshold_is_that_of_the_statistics_module_as_far_as_a_float_can_tell(past):
    assert Baseline.of(past).threshold_nanos(SIGMA) == pytest.approx(mean(past) + 3 * pstdev(past), rel=1e-12, abs=1)


@pytest.mark.parametrize("spend", [usd("1"), usd("0.99"), 0])
def test_nothing_at_or_below_a_flat_history_exceeds_it(spend):
    assert not Baseline.of([usd("1")] * 10).is_exceeded_by(spend, SIGMA)


def test_a_flat_history_is_exceeded_by_a_nano_dollar_and_an_empty_one_by_any_money():
    assert Baseline.of([usd("1")] * 10).is_exceeded_by(usd("1") + 1, SIGMA)
    assert Baseline.of([0] * 10).is_exceeded_by(1, SIGMA)
    assert not Baseline.of([0] * 10).is_exceeded_by(0, SIGMA)


def test_a_perfect_square_is_met_and_not_exceeded():
    baseline = Baseline.of([1, 3])  # mean 2, deviation 1

    assert (baseline.threshold_nanos(SIGMA), baseline.mean_nanos, baseline.excess(5)) == (5, 2, 3)
    assert not baseline.is_exceeded_by(5, SIGMA)
    assert baseline.is_exceeded_by(6, SIGMA)


def test_the_mean_is_rounded_to_a_nano_dollar_and_the_excess_is_not():
    baseline = Baseline.of([0, 0, 2])

    assert (baseline.days, baseline.mean_nanos, baseline.excess(1)) == (3, 1, Fraction(1, 3))
    assert Baseline.of([]).mean_nanos == 0


# --- Which days ----------------------------------------------------------------------------------------------------


def test_history_begins_with_the_first_day_with_spend_and_idle_days_after_it_are_zeros():
    assert usual(days(0, 0, 5, 0, 7, 0)) == [5, 0, 7, 0]


def test_without_any_spend_there_is_no_history():
    assert usual(days(0, 0, 0)) == []


def test_a_day_nobody_saw_is_left_out_and_one_that_may_still_move_is_not():
    assert usual(days(5, None, 7)) == [5, 7]
    assert usual(days(5, 6, 7, state=TotalState.PROVISIONAL)) == [5, 6, 7]


def test_an_opening_day_is_left_out_but_may_be_the_first_with_spend():
    assert usual(days(5, 0, 7), openings={FIRST}) == [0, 7]
    assert usual(days(5, 6, 7), openings={FIRST + DAY}) == [5, 7]


def test_the_day_that_is_judged_and_what_comes_after_are_left_out():
    assert usual(days(5, 6, 7, 8), before=FIRST + 2 * DAY) == [5, 6]


def test_days_may_come_in_any_order():
    assert usual(reversed(days(0, 5, 6))) == [5, 6]


@pytest.mark.parametrize(("byok", "expected"), [(True, [3, 5]), (False, [5])])
def test_money_through_own_upstream_keys_counts_only_where_it_is_asked_for(byok, expected):
    rows = [
        OwnerDay("ana", FIRST, Amounts(byok_nanos=3), TotalState.SETTLED),
        OwnerDay("ana", FIRST + DAY, Amounts(spend_nanos=5), TotalState.SETTLED),
    ]

    assert usual(rows, byok=byok) == expected


def test_a_correction_changes_nothing_about_what_is_usual():
    rows = [OwnerDay("ana", FIRST, Amounts(spend_nanos=5, correction_nanos=-4), TotalState.SETTLED)]

    assert usual(rows) == [5]


# --- Folded --------------------------------------------------------------------------------------------------------

lives = st.lists(st.tuples(st.sampled_from([0, 0, 1, 5, 10**9]), st.sampled_from(TotalState)), max_size=20)


def folded(rows, until, singled_out=(), past=NO_PAST):
    """Return a history in which everything before a day is folded, and these days stand beside it."""
    totals = ((row.day, row.amounts.spent(byok=True)) for row in rows if past.before <= row.day < until)
    beside = [row for row in rows if row.day >= until or row.day in singled_out]
    return History(beside, past.with_days(totals, until))


@given(lives, st.sets(st.integers(0, 20), max_size=3), st.integers(0, 20), st.integers(0, 20), st.integers(0, 5))
def test_where_a_history_is_folded_changes_nothing_about_what_is_usual(life, half_seen, once, again, further):
    rows = [OwnerDay("ana", FIRST + n * DAY, Amounts(spent), state) for n, (spent, state) in enumerate(life)]
    openings = {FIRST + n * DAY for n in half_seen}
    unseen = {row.day for row in rows if row.state is TotalState.UNKNOWN}
    first, second = sorted((once, again))
    past = folded(rows, FIRST + first * DAY).past
    known = folded(rows, FIRST + second * DAY, openings | unseen, past)

    before = FIRST + (second + further) * DAY
    assert usual_by(known, before, openings, byok=True) == Baseline.of(usual(rows, before=before, openings=openings))


def test_nothing_is_folded_before_the_first_day_with_spend():
    assert NO_PAST.with_days([(FIRST, 0), (FIRST + DAY, 0)], FIRST + 2 * DAY) == Past(FIRST + 2 * DAY)
