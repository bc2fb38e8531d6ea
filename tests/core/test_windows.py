"""Days follow one another without hole or overlap in every zone, and money is divided over windows losing nothing."""

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.windows import (
    GRAIN,
    CalendarUnit,
    Window,
    apportion,
    calendar,
    dates,
    day_start,
    day_window,
    grain_start,
    local_date,
    on_grain,
    utc_midnight,
    whole_second,
)
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, usd

instants = st.datetimes(datetime(2024, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - Hypothesis adds the zone
    lambda moment: moment.replace(microsecond=0)
)
edges = instants.map(grain_start)

# Each does something that the others do not: half and quarter hours, half-hour summer time, midnights that come twice,
# midnights that do not come, summer time twice a year, and none at all.
SOME_ZONES = (
    *("UTC", "Asia/Kathmandu", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo", "Asia/Beirut"),
    *("America/Santiago", "Africa/Casablanca", "Antarctica/Troll", "Pacific/Chatham", "America/St_Johns"),
    *("America/New_York", "Europe/Berlin", "Pacific/Apia", "Pacific/Kiritimati", "Etc/GMT+12"),
)
zones = st.sampled_from(SOME_ZONES).map(ZoneInfo)


# --- Windows -------------------------------------------------------------------------------------------------------


def test_a_window_holds_its_start_and_not_its_end():
    noon = Window(at("2026-11-20 12:00"), at("2026-11-20 12:15"))

    assert noon.start in noon
    assert noon.end - SECOND in noon
    assert noon.end not in noon
    assert noon.start - SECOND not in noon


@given(st.tuples(instants, instants), st.tuples(instants, instants), instants)
def test_an_overlap_is_what_lies_in_both(one, other, moment):
    first, second = Window(*sorted(one)), Window(*sorted(other))

    common = first.overlap(second)

    assert common == second.overlap(first)
    assert common is None or common.start < common.end
    for probe in (moment, *one, *other):
        assert (common is not None and probe in common) == (probe in first and probe in second)


@given(instants)
def test_every_instant_lies_in_one_quarter_hour(moment):
    start = grain_start(moment)

    assert start <= moment < start + GRAIN
    assert start.minute in (0, 15, 30, 45)
    assert on_grain(start)
    assert on_grain(moment) == (moment == start)


@pytest.mark.parametrize(
    ("text", "rounded"),
    [
        ("2026-11-20T12:00:00+00:00", "2026-11-20T12:00:00+00:00"),
        ("2026-11-20T12:00:00.000001+00:00", "2026-11-20T12:00:01+00:00"),
        ("2026-12-31T23:59:59.999999+00:00", "2027-01-01T00:00:00+00:00"),
        ("2026-11-20T12:00:00.5+05:45", "2026-11-20T06:15:01+00:00"),
    ],
)
def test_an_instant_is_rounded_up_so_that_it_never_claims_to_be_older(text, rounded):
    assert whole_second(datetime.fromisoformat(text)).isoformat() == rounded


@pytest.mark.parametrize(
    ("moment", "midnight"),
    [
        ("2026-11-20 00:00:00", "2026-11-20 00:00"),
        ("2026-11-20 23:59:59", "2026-11-20 00:00"),
        ("2026-11-21 00:00:01", "2026-11-21 00:00"),
    ],
)
def test_the_last_midnight_may_be_now(moment, midnight):
    assert utc_midnight(at(moment)) == at(midnight)


# --- Apportioning --------------------------------------------------------------------------------------------------


def fair_shares(nanos, start, end):
    """Divide by largest remainder, earliest first, in exact fractions; a stretch of no length lies at its end."""
    if start == end:
        return {grain_start(end): nanos}
    cuts = [start, *(edge for edge in quarter_hours(start, end) if start < edge < end), end]
    exact = [
        (grain_start(a), Fraction(nanos) * ((b - a) // SECOND) / ((end - start) // SECOND)) for a, b in pairwise(cuts)
    ]
    shares = {window: int(share) for window, share in exact}
    left_over = nanos - sum(shares.values())
    for window, _ in sorted(exact, key=lambda pair: (-(pair[1] % 1), pair[0]))[:left_over]:
        shares[window] += 1
    return shares


def quarter_hours(start, end):
    edge = grain_start(start)
    while edge < end:
        yield edge
        edge += GRAIN


@given(st.integers(1, usd("2")) | st.integers(1, 60), instants, st.integers(0, 3 * 86_400))
def test_an_amount_is_divided_by_time_and_loses_nothing(nanos, start, seconds):
    end = start + seconds * SECOND

    shares = apportion(nanos, start, end)

    assert sum(share for _, share in shares) == nanos
    assert shares == [(window, share) for window, share in sorted(fair_shares(nanos, start, end).items()) if share]


@pytest.mark.parametrize(
    ("nanos", "start", "end", "shares"),
    [
        (7, "12:00:00", "12:00:00", {"12:00": 7}),
        (7, "12:14:59", "12:15:00", {"12:00": 7}),
        (7, "12:15:00", "12:15:00", {"12:15": 7}),
        (4, "12:07:30", "12:37:30", {"12:00": 1, "12:15": 2, "12:30": 1}),
        (3, "12:00:00", "12:30:00", {"12:00": 2, "12:15": 1}),
        (1, "12:00:00", "13:00:00", {"12:00": 1}),
        (10, "12:14:59", "12:15:09", {"12:00": 1, "12:15": 9}),
        (2, "12:10:00", "12:45:00", {"12:15": 1, "12:30": 1}),
    ],
)
def test_what_division_leaves_over_goes_to_the_largest_remainder_and_then_to_the_earliest(nanos, start, end, shares):
    found = apportion(nanos, at(f"2026-11-20 {start}"), at(f"2026-11-20 {end}"))

    assert found == [(at(f"2026-11-20 {window}"), share) for window, share in shares.items()]


def test_a_gap_of_a_year_is_divided_into_every_one_of_its_quarter_hours():
    start = at("2026-01-01 00:00")

    shares = apportion(usd("365"), start, start + 365 * DAY)

    assert len(shares) == 365 * 96
    assert {share for _, share in shares} <= {usd("1") // 96, usd("1") // 96 + 1}
    assert sum(share for _, share in shares) == usd("365")


# --- Days ----------------------------------------------------------------------------------------------------------

FIRST, LAST = date(2024, 1, 1), date(2035, 12, 31)
_NOONS = [datetime.combine(day, datetime.min.time(), UTC) + 12 * HOUR for day in dates(FIRST - DAY, LAST + 2 * DAY)]


def days_of_change(zone):
    """Return the UTC days, noon to noon, in which the zone's distance to UTC changes."""
    offsets = [noon.astimezone(zone).utcoffset() for noon in _NOONS]
    return [noon for noon, (before, after) in zip(_NOONS, pairwise(offsets), strict=False) if before != after]


class Walls:
    """What the clocks of a zone show, looked at every quarter of an hour around a change."""

    def __init__(self, zone, noon):
        self.instants = [noon - 30 * HOUR + n * GRAIN for n in range(4 * 84)]
        self.dates = [instant.astimezone(zone).date() for instant in self.instants]
        self.days = list(dates(self.dates[0] + DAY, self.dates[-1]))

    def place_after_which_no_date_is_earlier_than(self, day):
        return 1 + max(place for place, shown in enumerate(self.dates) if shown < day)


def test_a_day_begins_on_a_quarter_hour_after_the_last_earlier_date_at_every_change_of_every_zone_until_2035(
    some_of,
):
    changes = 0
    wrong = []
    names = some_of(sorted(available_timezones()), 150)
    for name in names:
        zone = ZoneInfo(name)
        for noon in days_of_change(zone):
            changes += 1
            walls = Walls(zone, noon)
            for day in walls.days:
                start = walls.place_after_which_no_date_is_earlier_than(day)
                if day_start(day, zone) != walls.instants[start]:
                    wrong.append((name, day))
                # Where clocks go back over midnight, the wall shows the new date up to an hour too soon.
                if any(local_date(moment, zone) >= day for moment in walls.instants[max(0, start - 5) : start]):
                    wrong.append((name, day))
                if any(local_date(moment, zone) != day for moment in walls.instants[start : start + 5]):
                    wrong.append((name, day))

    assert wrong == []
    assert changes > 3 * len(names)  # or nothing was looked at


@given(zones, st.dates(date(1970, 1, 2), date(2100, 1, 1)))
def test_days_follow_one_another_without_hole_or_overlap(zone, day):
    today, tomorrow = day_window(day, zone), day_window(day + DAY, zone)

    assert today.end == tomorrow.start
    assert timedelta(0) <= today.end - today.start <= 26 * HOUR
    if today.start < today.end:
        assert local_date(today.start, zone) == day
        assert local_date(today.end - SECOND, zone) == day


@pytest.mark.parametrize(
    ("zone", "day", "start", "hours"),
    [
        ("UTC", "2026-11-20", "2026-11-20 00:00", 24),
        ("Europe/Berlin", "2026-03-29", "2026-03-28 23:00", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24 22:00", 25),
        ("Asia/Kathmandu", "2026-11-20", "2026-11-19 18:15", 24),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04 13:00", 24.5),
        ("Australia/Lord_Howe", "2026-10-04", "2026-10-03 13:30", 23.5),
        # 00:00 is skipped: the day begins with the jump, at 01:00 by the clock.
        ("America/Santiago", "2026-09-06", "2026-09-06 04:00", 23),
        ("Africa/Cairo", "2026-04-24", "2026-04-23 22:00", 23),
        ("Asia/Beirut", "2026-03-29", "2026-03-28 22:00", 23),
        # 01:00 goes back to 00:00: it is that day at both midnights, which begins at the first.
        ("America/Havana", "2026-11-01", "2026-11-01 04:00", 25),
        # 24:00 goes back to 23:00: the day before gets the hour.
        ("Africa/Cairo", "2026-10-29", "2026-10-28 21:00", 25),
        ("America/Santiago", "2026-04-04", "2026-04-04 03:00", 25),
        # 00:01 went back to 23:01: for a minute the wall showed a day that had not begun.
        ("America/St_Johns", "2010-11-06", "2010-11-06 02:30", 25),
        # Samoa skipped a Friday to change sides of the date line.
        ("Pacific/Apia", "2011-12-29", "2011-12-29 10:00", 24),
        ("Pacific/Apia", "2011-12-30", "2011-12-30 10:00", 0),
        ("Pacific/Apia", "2011-12-31", "2011-12-30 10:00", 24),
    ],
)
def test_a_day_is_as_long_as_its_zone_makes_it(zone, day, start, hours):
    window = day_window(date.fromisoformat(day), ZoneInfo(zone))

    assert window.start == at(start)
    assert window.end - window.start == timedelta(hours=hours)


def test_no_instant_belongs_to_the_day_that_samoa_skipped():
    apia = ZoneInfo("Pacific/Apia")
    jump = at("2011-12-30 10:00")

    assert local_date(jump - SECOND, apia) == date(2011, 12, 29)
    assert local_date(jump, apia) == date(2011, 12, 31)


# --- Calendars -----------------------------------------------------------------------------------------------------


@given(zones, edges, st.integers(1, 96 * 40), st.sampled_from(CalendarUnit))
def test_a_span_is_cut_into_hours_days_weeks_and_months_that_partition_it(zone, start, quarters, unit):
    span = Window(start, start + quarters * GRAIN)

    pieces = calendar(span, unit, zone)

    names, windows = zip(*pieces, strict=True)
    assert len(set(names)) == len(names)
    assert (windows[0].start, windows[-1].end) == (span.start, span.end)
    assert all(before.end == after.start for before, after in pairwise(windows))
    assert all(window.start < window.end and on_grain(window.start) for window in windows)


@pytest.mark.parametrize("name", SOME_ZONES)
def test_hours_follow_one_another_without_hole_or_overlap_when_clocks_change(name):
    # Chatham goes back from 03:45 to 02:45, in the middle of an hour by its own clock.
    zone = ZoneInfo(name)
    for noon in days_of_change(zone):
        pieces = calendar(Window(noon, noon + DAY), CalendarUnit.HOUR, zone)

        assert (pieces[0][1].start, pieces[-1][1].end) == (noon, noon + DAY)
        assert all(before.end == after.start for (_, before), (_, after) in pairwise(pieces)), noon
        for hour, window in pieces:
            assert datetime.fromisoformat(hour) <= window.start < datetime.fromisoformat(hour) + HOUR


NAMES_OF_A_DAY = {CalendarUnit.DAY: "%Y-%m-%d", CalendarUnit.WEEK: "%G-W%V", CalendarUnit.MONTH: "%Y-%m"}


@given(zones, edges, st.integers(1, 96 * 40), st.sampled_from(list(NAMES_OF_A_DAY)))
def test_every_instant_of_a_span_lies_in_the_piece_named_after_its_local_day(zone, start, quarters, unit):
    span = Window(start, start + quarters * GRAIN)

    pieces = calendar(span, unit, zone)

    for name, window in pieces:
        for moment in (window.start, window.start + (window.end - window.start) / 2, window.end - SECOND):
            assert local_date(moment, zone).strftime(NAMES_OF_A_DAY[unit]) == name


@pytest.mark.parametrize(
    ("unit", "zone", "start", "end", "names"),
    [
        ("day", "UTC", "2026-11-19 12:00", "2026-11-21 00:00", ["2026-11-19", "2026-11-20"]),
        ("day", "Asia/Tokyo", "2026-11-19 12:00", "2026-11-20 00:00", ["2026-11-19", "2026-11-20"]),
        ("week", "UTC", "2026-12-27 00:00", "2027-01-05 00:00", ["2026-W52", "2026-W53", "2027-W01"]),
        ("month", "UTC", "2028-02-29 00:00", "2028-03-01 00:15", ["2028-02", "2028-03"]),
        ("day", "Pacific/Apia", "2011-12-29 10:00", "2011-12-31 10:00", ["2011-12-29", "2011-12-31"]),
        (
            "hour",
            "Europe/Berlin",
            "2026-10-24 23:45",
            "2026-10-25 02:00",
            ["2026-10-25T01:00:00+02:00", "2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"],
        ),
        (
            "hour",
            "Asia/Kathmandu",
            "2026-11-20 00:00",
            "2026-11-20 01:00",
            ["2026-11-20T05:00:00+05:45", "2026-11-20T06:00:00+05:45"],
        ),
    ],
)
def test_a_piece_is_named_as_the_reports_name_it(unit, zone, start, end, names):
    pieces = calendar(Window(at(start), at(end)), CalendarUnit(unit), ZoneInfo(zone))

    assert [name for name, _ in pieces] == names


def test_an_hour_of_a_zone_with_an_odd_offset_begins_when_its_own_clock_says_so():
    pieces = calendar(
        Window(at("2026-11-20 00:00"), at("2026-11-20 02:00")), CalendarUnit.HOUR, ZoneInfo("Asia/Kathmandu")
    )

    assert [window.start for _, window in pieces] == [
        at("2026-11-20 00:00"),
        at("2026-11-20 00:15"),
        at("2026-11-20 01:15"),
    ]


@given(st.dates(FIRST, LAST), st.integers(-2, 40))
def test_dates_are_those_from_the_first_up_to_but_without_the_end(first, count):
    assert list(dates(first, first + count * DAY)) == [first + n * DAY for n in range(max(0, count))]


def test_a_minute_is_not_on_the_grain():
    assert not on_grain(at("2026-11-20 12:00") + MINUTE)
