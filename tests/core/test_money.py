"""Money enters once, is rounded once, and leaves exactly as it is held."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.money import (
    HIGHEST_PLAUSIBLE_NANOS,
    ImplausibleMoney,
    dollars,
    nanos_from_usd,
    signed_nanos_from_usd,
    usd_text,
)

plausible_nanos = st.integers(0, HIGHEST_PLAUSIBLE_NANOS)


@given(plausible_nanos)
def test_an_amount_survives_being_written_and_read(nanos):
    assert nanos_from_usd(Decimal(usd_text(nanos))) == nanos


@given(plausible_nanos)
def test_a_negative_amount_survives_where_it_is_sound(nanos):
    assert signed_nanos_from_usd(Decimal(usd_text(-nanos))) == -nanos


@given(st.decimals(0, 1_000_000_000, allow_nan=False, allow_infinity=False))
def test_what_is_finer_than_a_nano_dollar_goes_to_the_nearest_and_from_the_middle_to_the_even(amount):
    # Python rounds a fraction half-even, with no context and no precision.
    assert nanos_from_usd(amount) == round(Fraction(amount) * 10**9)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("0", 0),
        ("-0.0", 0),
        ("0.0000000005", 0),
        ("0.0000000015", 2),
        ("0.0000000025", 2),
        ("0.00000000250000000000000000000000000000000001", 3),
        ("0.30000000000000004", 300_000_000),  # what 0.1 + 0.2 is in most languages
        ("25.5", 25_500_000_000),
        ("1E+3", 1_000_000_000_000),
        ("1E-400", 0),
        ("1000000000", 10**18),
    ],
)
def test_a_number_off_the_wire_is_read_as_it_stands(text, nanos):
    assert nanos_from_usd(Decimal(text)) == nanos


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("NaN", "not a finite number"),
        ("sNaN", "not a finite number"),
        ("Infinity", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("-0.000000001", "negative money"),
        ("-1E-400", "negative money"),
        ("1000000000.000000001", "more than $1,000,000,000"),
        ("1000000000.00000000000000000000000000000001", "more than $1,000,000,000"),
        ("1E+15", "more than $1,000,000,000"),
        ("1E+999999", "more than $1,000,000,000"),
        ("9" * 5000, "more than $1,000,000,000"),
    ],
)
def test_what_no_counter_can_show_is_refused_and_the_refusal_repeats_nothing_of_it(text, reason):
    with pytest.raises(ImplausibleMoney) as refusal:
        nanos_from_usd(Decimal(text))

    assert str(refusal.value) == reason
    assert refusal.value.__cause__ is None


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "-1000000001", "1000000001"])
def test_an_overdrawn_balance_is_bounded_as_any_other(text):
    with pytest.raises(ImplausibleMoney):
        signed_nanos_from_usd(Decimal(text))


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0.000000000"),
        (1, "0.000000001"),
        (1_400_000, "0.001400000"),
        (-200_000_000, "-0.200000000"),
        (10**18, "1000000000.000000000"),
        (-(10**18) - 1, "-1000000000.000000001"),
    ],
)
def test_an_amount_is_written_with_nine_places_always(nanos, text):
    assert usd_text(nanos) == text


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (99, "$0.000000099"),
        (420_000, "$0.00042"),
        (424_999, "$0.00042"),
        (425_000, "$0.00042"),
        (435_000, "$0.00044"),
        (10_000_000, "$0.01"),
        (15_000_000, "$0.02"),
        (25_000_000, "$0.02"),
        (1_234_500_000_000, "$1,234.50"),
        (-200_000_000, "-$0.20"),
        (-420_000, "-$0.00042"),
        (10**18, "$1,000,000,000.00"),
    ],
)
def test_a_person_reads_dollars_and_cents_and_below_a_cent_as_many_places_as_it_takes(nanos, text):
    assert dollars(nanos) == text


@given(st.integers(-HIGHEST_PLAUSIBLE_NANOS, HIGHEST_PLAUSIBLE_NANOS))
def test_what_a_person_reads_is_never_far_from_the_truth_and_never_shows_money_as_none(nanos):
    shown = Fraction(dollars(nanos).replace("$", "").replace(",", "")) * 10**9

    assert abs(shown - nanos) <= max(Fraction(5_000_000) if abs(nanos) >= 10_000_000 else abs(nanos) / Fraction(20), 0)
    assert (shown == 0) == (nanos == 0)
