"""What `--last`, `--since` and `--until` mean, at a given instant in a given zone."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from reckon.cli.spans import span_of
from reckon.core.windows import Window, on_grain
from tests.builders import at

OPENING = at("2025-10-01 08:03:20")
NOW = at("2025-11-20 22:41:07")


def span(since=None, until=None, last=None, *, zone="UTC", now=NOW):
    return span_of(since, until, last, zone=ZoneInfo(zone), now=now, opening=OPENING)


@pytest.mark.parametrize(
    ("last", "zone", "start"),
    [
        ("1d", "UTC", "2025-11-20 00:00"),
        ("2d", "UTC", "2025-11-19 00:00"),
        ("7d", "UTC", "2025-11-14 00:00"),
        ("1d", "Asia/Kolkata", "2025-11-20 18:30"),  # there it is the 21st already
        ("2d", "America/New_York", "2025-11-19 05:00"),
        ("20d", "America/New_York", "2025-11-01 04:00"),  # with a night of 25 hours in between
        ("1h", "UTC", "2025-11-20 22:00"),
        ("24h", "UTC", "2025-11-19 23:00"),
        ("1h", "Asia/Kolkata", "2025-11-20 22:30"),
    ],
)
def test_last_counts_the_days_or_hours_of_the_zone_with_the_present_one(last, zone, start):
    assert span(last=last, zone=zone) == Window(at(start), NOW)


@pytest.mark.parametrize(
    ("text", "zone", "instant"),
    [
        ("2025-11-20", "UTC", "2025-11-20 00:00"),
        ("2025-11-20", "Europe/Vienna", "2025-11-19 23:00"),
        ("2025-11-20T12:15:00Z", "Europe/Vienna", "2025-11-20 12:15"),
        ("2025-11-20T12:15", "Europe/Vienna", "2025-11-20 11:15"),
        ("2025-11-20 12:15+05:45", "UTC", "2025-11-20 06:30"),
        ("2025-09-07", "America/Santiago", "2025-09-07 04:00"),  # a date whose midnight does not exist
    ],
)
def test_an_edge_is_a_date_or_an_instant(text, zone, instant):
    assert span(since=text, zone=zone) == Window(at(instant), NOW)
    assert span(since="2025-01-01T00:00Z", until=text, zone=zone).end == at(instant)


def test_what_is_left_out_is_the_first_opening_and_now():
    assert span(since="2025-11-01") == Window(at("2025-11-01"), NOW)
    assert span(until="2025-11-01") == Window(OPENING, at("2025-11-01"))


def test_an_end_may_lie_in_the_future():
    assert span(since="2025-11-20", until="2025-11-21") == Window(at("2025-11-20"), at("2025-11-21"))


@pytest.mark.parametrize(
    ("options", "option", "words"),
    [
        ({"last": "7"}, "--last", "7d or 24h"),
        ({"last": "0d"}, "--last", "7d or 24h"),
        ({"last": "-1d"}, "--last", "7d or 24h"),
        ({"last": "1.5d"}, "--last", "7d or 24h"),
        ({"last": "1w"}, "--last", "7d or 24h"),
        ({"last": "999999d"}, "--last", "7d or 24h"),
        ({"last": ""}, "--last", "7d or 24h"),
        ({"last": "٣d"}, "--last", "7d or 24h"),
        ({"last": "2d", "since": "2025-11-01"}, "--last", "stands alone"),
        ({"last": "2d", "until": "2025-11-01"}, "--last", "stands alone"),
        ({"since": ""}, "--since", "accepts a date"),
        ({"until": ""}, "--until", "accepts a date"),
        ({"last": "2d", "since": ""}, "--last", "stands alone"),
        ({"since": "yesterday"}, "--since", "2026-11-20T12:15:00Z"),
        ({"since": "2025-02-30"}, "--since", "accepts a date"),
        ({"since": "0001-01-01", "zone": "Asia/Tokyo"}, "--since", "accepts a date"),
        ({"since": "10000-01-01"}, "--since", "accepts a date"),
        ({"since": "2025-11-20T12:16Z"}, "--since", "quarter of an hour"),
        ({"until": "2025-11-20T12:15:01Z"}, "--until", "quarter of an hour"),
        ({"since": "2025-11-20T12:15:00.5Z"}, "--since", "quarter of an hour"),
        ({"since": "2025-11-02", "until": "2025-11-01"}, "--since/--until", "ends before it begins"),
        ({"since": "2025-11-02", "until": "2025-11-02"}, "--since/--until", "ends before it begins"),
        ({"since": "2026-01-01"}, "--since/--until", "begins after now"),
        ({"until": "2025-09-01"}, "--since/--until", "before Reckon began to watch"),
    ],
)
def test_what_is_no_span_is_refused_with_what_would_be(options, option, words):
    with pytest.raises(typer.BadParameter) as refusal:
        span(**options)
    assert refusal.value.param_hint == option
    assert words in refusal.value.message


@given(
    st.integers(1, 60),
    st.sampled_from("dh"),
    st.integers(0, 400 * 86400),
    st.sampled_from(["UTC", "Asia/Kathmandu", "America/Caracas", "Europe/Lisbon"]),
)
def test_every_last_begins_on_a_quarter_hour_and_ends_now(count, unit, seconds, zone):
    now = NOW + timedelta(seconds=seconds)
    found = span(last=f"{count}{unit}", zone=zone, now=now)
    assert on_grain(found.start)
    assert found.end == now
    length = timedelta(hours=24 * count if unit == "d" else count)
    assert length - timedelta(hours=26 if unit == "d" else 2) < found.end - found.start <= length + timedelta(hours=2)
