"""Every local day, week and month is told once, at its own instant, whatever the clocks of any zone do."""

from datetime import UTC, date, datetime, time, timedelta
from itertools import cycle, pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.digest_calendar import DigestKind, DigestTime, due, first_instant, latest
from reckon.core.windows import GRAIN, Window
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, day

UTC_ZONE = ZoneInfo("UTC")
VIENNA = ZoneInfo("Europe/Vienna")
LONG_AGO = at("1990-01-01 00:00")
NINE = DigestTime(DigestKind.DAILY, time(9))
MONDAYS = DigestTime(DigestKind.WEEKLY, time(9), day=0)
FIRSTS = DigestTime(DigestKind.MONTHLY, time(9), day=1)


def ask(when, now, *, zone=UTC_ZONE, last=None, opened=LONG_AGO):
    return due(when, zone, last_reported=last, first_opening=opened, now=now)


def told(when, instants, *, zone=UTC_ZONE, last=None, opened=LONG_AGO, said=()):
    """Look at the calendar at each of *instants* and return (instant, digest) for what was said.

    Like the outbox it says nothing twice under one intent; like the store it remembers what was reported last.
    """
    found = []
    said = {*said}
    for now in instants:
        if one := ask(when, now, zone=zone, last=last, opened=opened):
            if one.intent not in said:
                found.append((now, one))
            said.add(one.intent)
            last = one.first
    return found


def every(step, start, end):
    now = start
    while now < end:
        yield now
        now += step


# --- Every change of every zone ------------------------------------------------------------------------------------

TIMES = (time(0), time(0, 30), time(2, 30), time(9), time(23, 45))
PAST = (
    ("Pacific/Apia", "2011-12-30 10:00"),  # no Friday
    ("Pacific/Kwajalein", "1993-08-21 12:00"),  # no Saturday
    ("America/St_Johns", "2010-11-07 02:30"),  # 00:01 went back to 23:01
    ("Australia/Lord_Howe", "2023-10-01 00:00"),
    ("Asia/Beirut", "2023-03-30 00:00"),
)


def changes_until_2035():
    """Return every change from 2024 to 2035 of zones that differ: (zone, the noon before it)."""
    weeks = [datetime(2024, 1, 1, 12, tzinfo=UTC) + week * 7 * DAY for week in range(627)]
    by_changes = {}
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = [noon.astimezone(zone).utcoffset() for noon in weeks]
        changes = []
        for week, (before, after) in zip(weeks, pairwise(offsets), strict=False):
            if before != after:
                days = [(week + n * DAY, (week + n * DAY).astimezone(zone).utcoffset()) for n in range(8)]
                changes += [(noon, old, new) for (noon, old), (_, new) in pairwise(days) if old != new]
        by_changes.setdefault(tuple(changes) or offsets[0], (zone, changes or [(weeks[0], None, None)]))
    return [(zone, noon) for zone, changes in by_changes.values() for noon, _, _ in changes]


def shown_by_the_walls(zone, start, end, at_time):
    """Return (when it is to be told, day) for every day the walls show, read each quarter of an hour."""
    instants = [*every(GRAIN, start, end)]
    walls = [instant.astimezone(zone).replace(tzinfo=None) for instant in instants]
    days = sorted({wall.date() for wall in walls})[1:]
    found = []
    for reported, following in pairwise(days):
        begun = 1 + max(place for place, wall in enumerate(walls) if wall.date() < following)
        wanted = datetime.combine(following, at_time)
        reached = next((place for place, wall in enumerate(walls) if wall >= wanted), None)
        if reached is not None:
            found.append((instants[max(begun, reached)], reported))
    return found


def is_told_right(zone, start, end, at_time, step):
    """Return whether looking every *step* tells each day once, at the first look at or after its instant."""
    expected = shown_by_the_walls(zone, start, end - step + GRAIN, at_time)
    when = DigestTime(DigestKind.DAILY, at_time)
    found = [
        (now, one.scheduled_at, one.first)
        for now, one in told(when, every(step, start, end), zone=zone)
        if one.first >= expected[0][1]
    ]
    return [(instant, reported) for _, instant, reported in found] == expected and all(
        instant <= now < instant + step for now, instant, _ in found
    )


def test_each_existing_day_is_told_once_at_its_instant_at_every_change_of_every_zone_until_2035():
    changes = [*changes_until_2035(), *((ZoneInfo(name), at(when)) for name, when in PAST)]
    wrong = [
        (zone.key, noon, at_time)
        for (zone, noon), at_time in zip(changes, cycle(TIMES), strict=False)
        if not is_told_right(zone, noon - 30 * HOUR, noon + 52 * HOUR, at_time, 2 * HOUR)
    ]

    assert wrong == []
    assert len(changes) > 700  # or nothing was looked at


@pytest.mark.parametrize(("name", "when"), PAST)
@pytest.mark.parametrize("at_time", TIMES)
def test_each_existing_day_is_told_once_at_the_odd_changes_of_the_past(name, when, at_time):
    assert is_told_right(ZoneInfo(name), at(when) - 60 * HOUR, at(when) + 72 * HOUR, at_time, GRAIN)


@pytest.mark.long
@pytest.mark.parametrize("at_time", TIMES)
def test_each_existing_day_is_told_within_the_hour_whatever_the_time_at_every_change_of_every_zone(at_time):
    wrong = [
        (zone.key, noon)
        for zone, noon in changes_until_2035()
        if not is_told_right(zone, noon - 30 * HOUR, noon + 52 * HOUR, at_time, HOUR)
    ]

    assert wrong == []


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("UTC", "2026-11-20 09:00", "2026-11-20 09:00"),
        ("Europe/Vienna", "2026-03-29 02:30", "2026-03-29 01:00"),  # skipped: when the clocks have jumped to 03:00
        ("Europe/Vienna", "2026-03-29 02:00", "2026-03-29 01:00"),
        ("Europe/Vienna", "2026-10-25 02:30", "2026-10-25 00:30"),  # comes twice: the first
        ("Australia/Lord_Howe", "2026-10-04 02:15", "2026-10-03 15:30"),  # half an hour is skipped
        ("Australia/Lord_Howe", "2026-04-05 01:45", "2026-04-04 14:45"),  # half an hour comes twice
        ("America/Santiago", "2026-09-06 00:00", "2026-09-06 04:00"),  # midnight is skipped
        ("Pacific/Apia", "2011-12-30 09:00", "2011-12-30 10:00"),  # the whole day is
    ],
)
def test_the_instant_of_a_wall_time_is_the_first_that_has_reached_it(zone, wall, instant):
    assert first_instant(datetime.fromisoformat(wall), ZoneInfo(zone)) == at(instant)


@given(
    st.sampled_from(["Europe/Vienna", "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Asia/Kathmandu"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2035, 12, 31)),  # noqa: DTZ001 - a wall clock knows no zone
)
def test_no_instant_before_it_has_reached_a_wall_time(name, wall):
    zone, wall = ZoneInfo(name), wall.replace(microsecond=0)

    instant = first_instant(wall, zone)

    assert instant.astimezone(zone).replace(tzinfo=None) >= wall
    for ago in (SECOND, MINUTE, HOUR, 5 * HOUR):
        assert (instant - ago).astimezone(zone).replace(tzinfo=None) < wall


# --- What is reported ----------------------------------------------------------------------------------------------


def test_a_daily_digest_reports_the_day_before_by_the_zone():
    one = ask(NINE, at("2026-11-20 08:00"), zone=VIENNA)

    assert (one.name, one.first, one.intent) == ("2026-11-19", date(2026, 11, 19), "digest:daily:2026-11-19")
    assert one.reported == day("2026-11-19", "Europe/Vienna")
    assert not one.late


def test_the_day_after_one_that_samoa_skipped_reports_the_day_before_that():
    apia = ZoneInfo("Pacific/Apia")

    days = [one.name for _, one in told(NINE, every(HOUR, at("2011-12-28 00:00"), at("2012-01-01 00:00")), zone=apia)]

    assert days == ["2011-12-26", "2011-12-27", "2011-12-28", "2011-12-29", "2011-12-31"]


def test_the_week_is_told_though_its_weekday_was_skipped():
    apia, fridays = ZoneInfo("Pacific/Apia"), DigestTime(DigestKind.WEEKLY, time(9), day=4)

    instants = every(HOUR, at("2011-12-24 00:00"), at("2012-01-08 00:00"))

    assert [(now, one.name) for now, one in told(fridays, instants, zone=apia)][1:] == [
        (at("2011-12-30 10:00"), "2011-W51"),
        (at("2012-01-05 19:00"), "2011-W52"),
    ]


@pytest.mark.parametrize("zone", [VIENNA, ZoneInfo("America/Santiago"), ZoneInfo("Asia/Kathmandu")])
@pytest.mark.parametrize("weekday", [0, 3, 6])
def test_each_iso_week_is_told_once_over_a_year_with_53_of_them(zone, weekday):
    when = DigestTime(DigestKind.WEEKLY, time(9), weekday)

    found = told(when, every(6 * HOUR, at("2026-01-01 00:00"), at("2027-01-25 00:00")), zone=zone)

    names = [one.name for _, one in found]
    assert [name for name in names if name.startswith("2026")][:53] == [f"2026-W{week:02}" for week in range(1, 54)]
    assert len({*names}) == len(names)
    assert {now.astimezone(zone).weekday() for now, _ in found[1:]} == {weekday}
    for (_, earlier), (_, later) in pairwise(found):
        assert earlier.reported.end == later.reported.start


@pytest.mark.parametrize("day_of_month", [1, 15, 28])
def test_each_month_is_told_once_on_its_day_leap_years_too(day_of_month):
    when = DigestTime(DigestKind.MONTHLY, time(9), day_of_month)

    found = told(when, every(6 * HOUR, at("2027-12-31 00:00"), at("2029-04-01 00:00")), zone=VIENNA)[1:]

    names = [f"{2027 + n // 12}-{n % 12 + 1:02}" for n in range(11, 26)]
    assert [one.name for _, one in found] == names[: len(found)]
    assert len(found) >= 14
    assert {now.astimezone(VIENNA).day for now, _ in found} == {day_of_month}
    for (_, earlier), (_, later) in pairwise(found):
        assert earlier.reported.end == later.reported.start


def test_who_asks_is_told_the_latest_period_that_is_over():
    now = at("2026-11-20 00:00")

    found = {kind.value: latest(kind, UTC_ZONE, now) for kind in DigestKind}

    assert {kind: one.name for kind, one in found.items()} == {
        "daily": "2026-11-19",
        "weekly": "2026-W46",
        "monthly": "2026-10",
    }
    assert not any(one.late for one in found.values())


# --- Late, or not at all -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "late"), [("2026-11-20 09:00", False), ("2026-11-20 09:15", False), ("2026-11-20 09:15:01", True)]
)
def test_a_digest_is_late_after_a_quarter_of_an_hour(now, late):
    one = ask(NINE, at(now), last=date(2026, 11, 18))

    assert (one.name, one.scheduled_at, one.late) == ("2026-11-19", at("2026-11-20 09:00"), late)


def test_a_moment_before_its_time_nothing_is_due():
    assert ask(NINE, at("2026-11-20 08:59:59"), last=date(2026, 11, 18)) is None


def test_after_an_outage_only_the_latest_is_told():
    last = date(2026, 11, 8)

    ((_, one), (_, following)) = told(NINE, [at("2026-11-20 03:00"), at("2026-11-20 09:00")], last=last)

    assert (one.name, one.late) == ("2026-11-18", True)
    assert (following.name, following.late) == ("2026-11-19", False)


def test_a_ledger_that_has_never_reported_tells_the_latest_day_that_was_watched_and_says_it_is_late():
    one = ask(NINE, at("2026-11-20 14:00"), opened=at("2026-11-19 23:59"))

    assert (one.name, one.late) == ("2026-11-19", True)


@pytest.mark.parametrize(
    ("when", "opened"),
    [(NINE, "2026-11-20 00:00"), (MONDAYS, "2026-11-16 00:00"), (FIRSTS, "2026-11-01 00:00")],
)
def test_what_ended_before_anything_was_watched_is_not_told(when, opened):
    now = at("2026-11-20 14:00")

    assert ask(when, now, opened=at(opened)) is None
    assert ask(when, now, opened=at(opened) - SECOND) is not None
    assert ask(when, now, opened=None) is None


@pytest.mark.parametrize(
    ("last", "since"),
    [
        (date(2026, 11, 18), "2026-11-19 09:00"),
        (date(2026, 11, 10), "2026-11-11 09:00"),
        (None, "2026-11-19 00:00"),
    ],
)
def test_what_ended_since_the_last_digest_went_out_is_news(last, since):
    assert ask(NINE, at("2026-11-20 09:00"), last=last).news_since == at(since)


# --- Clocks that step ----------------------------------------------------------------------------------------------

STEPS = [SECOND, 61 * SECOND, 10 * MINUTE, HOUR, DAY, 400 * DAY]


@pytest.mark.parametrize("step", [*STEPS, *(-step for step in STEPS)])
@pytest.mark.parametrize("stays", [2 * MINUTE, 5 * HOUR])
def test_a_clock_that_steps_away_and_back_neither_repeats_nor_misses_a_day(step, stays):
    opened, start, end = at("2026-11-16 12:00"), at("2026-11-17 08:00"), at("2026-11-22 12:00")
    for steps_at in every(2 * HOUR, at("2026-11-19 07:00"), at("2026-11-20 10:00")):
        instants = (now + step if steps_at <= now < steps_at + stays else now for now in every(30 * MINUTE, start, end))
        found = [one.name for _, one in told(NINE, instants, opened=opened)]

        assert sorted(name for name in found if name < "2027") == [f"2026-11-{n}" for n in range(16, 22)], steps_at
        assert len({*found}) == len(found)


@pytest.mark.parametrize("back", [SECOND, MINUTE, HOUR])
def test_a_clock_set_back_a_little_right_after_a_digest_waits_for_its_time_again(back):
    told_at = at("2026-11-20 00:00:00")
    midnight = DigestTime(DigestKind.DAILY, time(0))
    (_, one), *_ = told(midnight, [told_at])

    assert all(ask(midnight, now, last=one.first) is None for now in every(MINUTE, told_at - back, told_at + DAY))


def test_digests_stay_away_for_no_longer_than_an_hour_because_a_clock_was_ahead():
    ahead = at("2026-11-21 01:30")
    midnight = DigestTime(DigestKind.DAILY, time(0))
    ((_, told_ahead),) = told(midnight, [ahead])

    assert told_ahead.name == "2026-11-20"
    assert ask(midnight, at("2026-11-20 23:00"), last=told_ahead.first) is None
    assert ask(midnight, at("2026-11-20 22:59"), last=told_ahead.first).name == "2026-11-19"


@pytest.mark.parametrize("when", [NINE, MONDAYS, FIRSTS])
def test_a_clock_that_once_was_a_year_ahead_does_not_silence_digests(when):
    ahead, now = at("2027-12-28 10:00"), at("2026-11-20 10:00")
    ((_, told_ahead),) = told(when, [ahead])

    ((_, one),) = told(when, [now, now + MINUTE], last=told_ahead.first)

    assert one == ask(when, now)


def test_a_year_behind_the_latest_period_is_due_under_the_intent_it_always_had():
    # Nobody can tell a clock that is behind from one that was ahead; whoever told it then has taken the intent.
    last = date(2027, 11, 19)

    one = ask(NINE, at("2026-11-20 10:00"), last=last)

    assert one.intent == "digest:daily:2026-11-19"
    assert ask(NINE, at("2026-11-20 10:00"), last=last, opened=at("2026-11-20 00:00")) is None


@pytest.mark.parametrize("earlier", [timedelta(0), HOUR, -HOUR])
def test_a_digest_whose_time_was_changed_after_it_was_told_is_not_told_again(earlier):
    changed = DigestTime(DigestKind.DAILY, (datetime(2026, 1, 1, 9) - earlier).time())  # noqa: DTZ001 - a wall clock

    assert ask(changed, at("2026-11-20 23:00"), last=date(2026, 11, 19)) is None


def test_a_change_of_zone_tells_no_date_twice():
    tokyo, los_angeles = ZoneInfo("Asia/Tokyo"), ZoneInfo("America/Los_Angeles")
    first = told(NINE, every(GRAIN, at("2026-11-18 00:00"), at("2026-11-20 03:00")), zone=tokyo)
    last = first[-1][1].first

    said = [one.intent for _, one in first]

    instants = every(GRAIN, at("2026-11-20 03:00"), at("2026-11-23 00:00"))
    then = told(NINE, instants, zone=los_angeles, last=last, said=said)

    assert [one.name for _, one in [*first, *then]] == [f"2026-11-{n}" for n in range(17, 22)]


def test_a_period_is_a_span_of_whole_local_days():
    one = ask(MONDAYS, at("2026-03-30 09:00"), zone=VIENNA)

    assert one.reported == Window(at("2026-03-22 23:00"), at("2026-03-29 22:00"))
