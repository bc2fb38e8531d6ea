"""Windows: half-open spans of time, and the calendars that name them.

We believe that every zone in use lies a whole number of quarter hours from UTC, so totals kept per quarter hour of UTC
add up to any local hour, day, week or month of any zone, and changing the zone moves no money. (A test walks every
transition of every zone from 2024 to 2035.)

A local day begins at the first instant after which its zone shows no earlier date. That is midnight almost everywhere;
where clocks jump over midnight the day begins with the jump, and where they fall back across it, after the second
midnight. So days follow one another without hole or overlap, 23, 24 or 25 hours long, and a date that a zone skipped
is an empty window.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

GRAIN: Final = timedelta(minutes=15)
_GRAIN_SECONDS: Final = 900
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """The half-open span `[start, end)`. Empty when both are equal."""

    start: datetime
    end: datetime

    def __contains__(self, at: datetime) -> bool:
        return self.start <= at < self.end

    def overlap(self, other: "Window") -> "Window | None":
        """Return the span both have in common, or None where there is none."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Window(start, end) if start < end else None


class CalendarUnit(StrEnum):
    """The spans a report may be cut into, by the clock of a zone."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


def grain_start(at: datetime) -> datetime:
    """Return the start of the quarter-hour window that *at* lies in."""
    seconds = (at - _EPOCH) // _SECOND
    return _EPOCH + timedelta(seconds=seconds - seconds % _GRAIN_SECONDS)


def on_grain(at: datetime) -> bool:
    """Return whether *at* is the edge of a quarter-hour window."""
    return grain_start(at) == at


def whole_second(at: datetime) -> datetime:
    """Return *at* in UTC, rounded up to a whole second."""
    utc = at.astimezone(UTC)
    return utc if utc.microsecond == 0 else utc.replace(microsecond=0) + _SECOND


def utc_midnight(at: datetime) -> datetime:
    """Return the last 00:00 UTC at or before *at*."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def apportion(nanos: int, start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Divide *nanos* over the quarter-hour windows of `[start, end)` by the time each has of it.

    Returns the windows that get something, as (start, nanos), earliest first; they always sum to *nanos*. What integer
    division leaves over goes to the largest remainders, earliest window first. A stretch of no length lies wholly in
    the window of its end.
    """
    first = grain_start(start)
    if end <= first + GRAIN:
        return [(grain_start(end) if start >= end else first, nanos)]
    whole = (end - start) // _SECOND
    edges = [start, *_edges_inside(first, end), end]
    seconds = [(after - before) // _SECOND for before, after in pairwise(edges)]
    shares = [nanos * part // whole for part in seconds]
    by_remainder = sorted(range(len(shares)), key=lambda i: (-(nanos * seconds[i] % whole), i))
    for i in by_remainder[: nanos - sum(shares)]:
        shares[i] += 1
    return [(first + i * GRAIN, share) for i, share in enumerate(shares) if share]


def _edges_inside(first: datetime, end: datetime) -> Iterator[datetime]:
    edge = first + GRAIN
    while edge < end:
        yield edge
        edge += GRAIN


def local_date(at: datetime, zone: ZoneInfo) -> date:
    """Return the local day that *at* belongs to, by `day_window`."""
    day = at.astimezone(zone).date()
    # Before a fall back across midnight the wall shows the new date for a while, although the day has not begun.
    return day if at >= day_start(day, zone) else day - timedelta(days=1)


def day_window(day: date, zone: ZoneInfo) -> Window:
    """Return the span of the local *day*; empty for a date that the zone skipped."""
    return Window(day_start(day, zone), day_start(day + timedelta(days=1), zone))


@lru_cache(maxsize=4096)  # asked for every owner at every poll, mostly about the same few days
def day_start(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant after which *zone* shows no date before *day*, in UTC."""
    midnight = datetime.combine(day, time())
    early, late = (midnight.replace(fold=fold, tzinfo=zone).astimezone(UTC) for fold in (0, 1))
    if early == late:
        return early
    if early < late:
        # Midnight comes twice. The day begins at the second only if the clock went back to the day before between.
        return late if (late - _SECOND).astimezone(zone).date() < day else early
    # The clock jumped over midnight (`fold` then names the offsets before and after): the day begins with the jump,
    # which lies between the two readings.
    low, high = late, early
    while high - low > _SECOND:
        middle = low + (high - low) // 2 // _SECOND * _SECOND
        low, high = (low, middle) if middle.astimezone(zone).date() >= day else (middle, high)
    return high


def dates(first: date, end: date) -> Iterator[date]:
    """Yield every date from *first* up to but without *end*."""
    while first < end:
        yield first
        first += timedelta(days=1)


def calendar(span: Window, unit: CalendarUnit, zone: ZoneInfo) -> list[tuple[str, Window]]:
    """Cut *span* into local hours, days, weeks or months: (name, window), earliest first, the outer ones clipped.

    Names are those of the reports: `2026-11-20T14:00:00+01:00`, `2026-11-20`, `2026-W47`, `2026-11`.
    """
    pieces = _hours(span, zone) if unit is CalendarUnit.HOUR else _days(span, unit, zone)
    named: dict[str, Window] = {}
    for name, piece in pieces:
        whole = Window(named[name].start, piece.end) if name in named else piece
        named[name] = whole
    return list(named.items())


def _hours(span: Window, zone: ZoneInfo) -> Iterator[tuple[str, Window]]:
    start = grain_start(span.start)
    while start < span.end:
        local = start.astimezone(zone)
        # With the offset of now: where a clock goes back within an hour, the hour's own beginning had another.
        hour = local.replace(minute=0, second=0, microsecond=0, tzinfo=timezone(local.utcoffset() or timedelta(0)))
        if piece := Window(start, start + GRAIN).overlap(span):
            yield hour.isoformat(), piece
        start += GRAIN


_DAY_NAMES: Final = {CalendarUnit.DAY: "%Y-%m-%d", CalendarUnit.WEEK: "%G-W%V", CalendarUnit.MONTH: "%Y-%m"}


def _days(span: Window, unit: CalendarUnit, zone: ZoneInfo) -> Iterator[tuple[str, Window]]:
    day = local_date(span.start, zone)
    while (window := day_window(day, zone)).start < span.end:
        if piece := window.overlap(span):
            yield day.strftime(_DAY_NAMES[unit]), piece
        day += timedelta(days=1)
