"""When digests are due: one for every local day, week and month, once, whatever the clocks do.

A digest is known by the period it reports, never by the instant it goes out. Every period has exactly one instant: the
first at which the clocks of the zone show the configured time, or a later one, of the date on which it is to be told.
So a time that the clocks skip is made up for by the first instant after the jump, a time that comes twice counts once,
and a date that a zone skipped has no digest of its own, because there is nothing to report of it.

What is due follows from the present instant and the period reported last. Nothing waits for a moment that might be
missed: after an outage the latest period is due, marked late, and those before it are not told any more.

Clocks are set back, too, and times and zones are configured anew. As long as the period reported last is over, it has
been told, and there is nothing to do but wait for the next. If it is not even over, nobody can tell whether the clock
is behind now or was ahead then, and believing it could keep digests away for a year. So the latest period that is over
is due; if it had been told before, its intent is taken, and it is not said twice.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core.windows import CalendarUnit, Window, calendar, day_start, day_window, local_date

LATE_AFTER: Final = timedelta(minutes=15)
_SET_BACK_A_LITTLE: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)


class DigestKind(StrEnum):
    """What a digest reports."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"

    @property
    def key(self) -> str:
        """What it is remembered under: `digest:daily`."""
        return f"digest:{self.value}"


_UNITS: Final = {
    DigestKind.DAILY: CalendarUnit.DAY,
    DigestKind.WEEKLY: CalendarUnit.WEEK,
    DigestKind.MONTHLY: CalendarUnit.MONTH,
}


@dataclass(frozen=True, slots=True)
class DigestTime:
    """When digests of one kind go out, by the wall clock, within the day, week or month after the one they report."""

    kind: DigestKind
    at: time
    day: int = 0
    """Weekly: the weekday, Monday being 0. Monthly: the day of the month, at most the 28th. Daily: none."""


@dataclass(frozen=True, slots=True)
class Due:
    """A digest to be told now."""

    kind: DigestKind
    name: str
    """What reports call the period: `2026-11-19`, `2026-W47`, `2026-11`."""
    first: date
    """The first day of the period."""
    reported: Window
    scheduled_at: datetime
    """The instant it was to go out."""
    late: bool
    news_since: datetime
    """What ended after this instant, no digest of this kind has told yet."""

    @property
    def intent(self) -> str:
        """The one reason it is told: `digest:daily:2026-11-19`."""
        return f"{self.kind.key}:{self.first.isoformat()}"


def due(
    when: DigestTime, zone: ZoneInfo, *, last_reported: date | None, first_opening: datetime | None, now: datetime
) -> Due | None:
    """Return the digest that is due at *now*, or None if there is nothing to tell.

    Args:
        when: the kind, and the time it goes out.
        zone: whose clocks and days.
        last_reported: the first day of the period that was reported last; None if none ever was.
        first_opening: since when anything is watched; None if nothing is. What ended before is not reported.
        now: the instant.
    """
    period = _containing(when.kind, local_date(now, zone), zone)
    while (scheduled_at := _told_at(period, when, zone)) > now:
        period = _before(period, zone)
    reported = period.window(zone)
    if first_opening is None or reported.end <= first_opening:
        return None
    news_since = reported.start
    if last_reported is not None:
        last = _containing(when.kind, last_reported, zone)
        if period.first <= last.first and last.window(zone).end <= now + _SET_BACK_A_LITTLE:
            return None
        if last.first < period.first:
            news_since = _told_at(last, when, zone)
    late = now - scheduled_at > LATE_AFTER
    return Due(when.kind, period.name(zone), period.first, reported, scheduled_at, late, news_since)


def latest(kind: DigestKind, zone: ZoneInfo, now: datetime) -> Due:
    """Return the digest of the latest period that is over at *now*, for somebody who asks, whether or not it is due."""
    period = _before(_containing(kind, local_date(now, zone), zone), zone)
    reported = period.window(zone)
    return Due(kind, period.name(zone), period.first, reported, now, late=False, news_since=reported.start)


def last_day(window: Window, zone: ZoneInfo) -> date:
    """Return the last local day of *window*."""
    return local_date(window.end - _SECOND, zone)


def window_before(due: Due, zone: ZoneInfo) -> Window:
    """Return the span of the period before the one that is reported."""
    return _before(_containing(due.kind, due.first, zone), zone).window(zone)


# --- Periods -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Period:
    """A local day, week or month."""

    kind: DigestKind
    first: date
    end: date
    """The first day of the next."""

    def window(self, zone: ZoneInfo) -> Window:
        return Window(day_start(self.first, zone), day_start(self.end, zone))

    def name(self, zone: ZoneInfo) -> str:
        ((name, _),) = calendar(self.window(zone), _UNITS[self.kind], zone)
        return name


def _containing(kind: DigestKind, day: date, zone: ZoneInfo) -> _Period:
    """Return the period that *day* lies in; of a date that the zone skipped, the day before it."""
    if kind is DigestKind.WEEKLY:
        monday = day - day.weekday() * _DAY
        return _Period(kind, monday, monday + 7 * _DAY)
    if kind is DigestKind.MONTHLY:
        first = day.replace(day=1)
        return _Period(kind, first, (first + 31 * _DAY).replace(day=1))
    while not _exists(day, zone):
        day -= _DAY
    tomorrow = day + _DAY
    while not _exists(tomorrow, zone):
        tomorrow += _DAY
    return _Period(kind, day, tomorrow)


def _before(period: _Period, zone: ZoneInfo) -> _Period:
    return _containing(period.kind, period.first - _DAY, zone)


def _exists(day: date, zone: ZoneInfo) -> bool:
    window = day_window(day, zone)
    return window.start < window.end


def _told_at(period: _Period, when: DigestTime, zone: ZoneInfo) -> datetime:
    """Return the instant at which *period* is to be told. It is over by then."""
    days_into_the_next = {DigestKind.DAILY: 0, DigestKind.WEEKLY: when.day, DigestKind.MONTHLY: when.day - 1}
    day = period.end + days_into_the_next[when.kind] * _DAY
    # Where clocks go back over midnight, the wall shows the new date before the day has begun.
    return max(first_instant(datetime.combine(day, when.at), zone), day_start(day, zone))


def first_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant at which the clocks of *zone* have reached *wall*, which is naive, in UTC."""
    before, after = (wall.replace(fold=fold, tzinfo=zone).astimezone(UTC) for fold in (0, 1))
    if before <= after:
        return before
    # The clocks jump over *wall* (`fold` then names the offsets before and after the jump, which lies in between).
    low, high = after, before
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        low, high = (low, middle) if middle.astimezone(zone).replace(tzinfo=None) >= wall else (middle, high)
    return high
