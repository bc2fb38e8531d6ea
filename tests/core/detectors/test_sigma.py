"""The plain rule, with its two guards."""

from dataclasses import replace
from datetime import date
from fractions import Fraction
from statistics import mean, pvariance

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.alerts import Finding, Rule
from reckon.core.baseline import Baseline
from reckon.core.detectors import DETECTORS, AnomalyPolicy, DayView, sigma
from tests.builders import usd

TODAY = date(2026, 11, 20)
TO_THE_LETTER = AnomalyPolicy(min_nanos=0)


def look(spend_nanos, history, policy=TO_THE_LETTER):
    return sigma.look(DayView("ana", TODAY, spend_nanos, Baseline.of(history)), policy)


def test_what_is_unusual_is_told_with_the_numbers_that_make_it_so():
    history = [usd("1"), usd("3")] * 4

    assert look(usd("5") + 1, history) == Finding(
        Rule.SIGMA,
        "ana",
        TODAY,
        spend_nanos=usd("5") + 1,
        threshold_nanos=usd("5"),
        usual_nanos=usd("2"),
        history_days=8,
    )
    assert look(usd("5"), history) is None


@given(
    st.lists(st.one_of(st.just(0), st.integers(0, 10**12)), max_size=30),
    st.one_of(st.integers(0, 10), st.integers(0, 10**13)),
)
def test_without_a_floor_it_is_the_plain_rule_to_the_letter(history, spend):
    exact = [Fraction(total) for total in history]
    unusual = len(exact) >= 7 and spend > mean(exact) and (spend - mean(exact)) ** 2 > 9 * pvariance(exact)

    assert (look(spend, history) is not None) == unusual


@pytest.mark.parametrize(("days", "is_unusual"), [(0, False), (6, False), (7, True)])
def test_nothing_is_unusual_before_seven_days(days, is_unusual):
    assert (look(usd("500"), [usd("1")] * days) is not None) == is_unusual


def test_how_many_days_and_deviations_are_settings():
    history = [usd("1"), usd("3")] * 2  # mean 2, deviation 1

    assert look(usd("3.6"), history) is None
    assert look(usd("3.6"), history, AnomalyPolicy(min_history=4, min_nanos=0)) is None
    assert look(usd("3.6"), history, AnomalyPolicy(Fraction(3, 2), min_history=4, min_nanos=0))
    assert look(usd("3.5"), history, AnomalyPolicy(Fraction(3, 2), min_history=4, min_nanos=0)) is None


@pytest.mark.parametrize(("spend", "is_unusual"), [(usd("2"), False), (usd("2") + 1, True)])
def test_the_excess_over_the_mean_has_to_be_above_the_floor(spend, is_unusual):
    assert (look(spend, [usd("1")] * 9, AnomalyPolicy()) is not None) == is_unusual
    assert look(spend, [usd("1")] * 9, TO_THE_LETTER)


def test_the_floor_alone_makes_nothing_unusual():
    assert look(usd("20"), [usd("1"), usd("30")] * 5, replace(TO_THE_LETTER, min_nanos=usd("1"))) is None


def test_it_is_one_of_the_detectors_that_look_at_every_day():
    assert sigma.look in DETECTORS
