"""What a report may be asked for, as people write it: dimensions, zones, and spans.

`last` is `7d` or `24h`; `since` and `until` are `2026-11-01` or `2026-11-20T12:15Z`.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reckon.core.reports import Dimension
from reckon.core.windows import CalendarUnit, Window, day_start, local_date, on_grain


class Unaccepted(ValueError):
    """What was asked for cannot be answered. Names the parameters at fault, and what they accept."""

    def __init__(self, why: str, *parameters: str) -> None:
        super().__init__(f"{' and '.join(parameters)}: {why}")
        self.why = why
        self.parameters = parameters


def dimensions_of(names: Iterable[str]) -> list[Dimension]:
    """Return the dimensions that *names* name, each once.

    Raises:
        Unaccepted: one is none, or several are about time.
    """
    found: list[Dimension] = []
    for name in dict.fromkeys(names):
        if name not in {*Dimension}:
            raise Unaccepted(f"accepts {', '.join(Dimension)}", "by")
        found.append(Dimension(name))
    if sum(dimension.value in {*CalendarUnit} for dimension in found) > 1:
        raise Unaccepted("accepts one of hour, day, week and month", "by")
    return found


def zone_of(name: str) -> ZoneInfo:
    """Return the zone of that IANA name.

    Raises:
        Unaccepted: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # unknown; not a name at all; a directory of zones
        raise Unaccepted("accepts an IANA zone, such as Europe/Paris", "timezone") from None


def day_of(text: str) -> date:
    """Return the date that *text* names.

    Raises:
        Unaccepted: it names none, or one that no calendar here reaches around.
    """
    try:
        found = date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        found = None
    if found is None or not _FIRST_DAY <= found <= _LAST_DAY:
        raise Unaccepted(f"accepts a date from {_FIRST_DAY} to {_LAST_DAY}, such as 2026-11-20", "day")
    return found


def limit_of(text: str | None, most: int) -> int:
    """Return how many rows are wanted: *most*, unless fewer are asked for.

    Raises:
        Unaccepted: it is no such number.
    """
    if text is None:
        return most
    if not re.fullmatch(r"[1-9]\d{0,8}", text, re.ASCII) or int(text) > most:
        raise Unaccepted(f"accepts a number from 1 to {most:,}", "limit")
    return int(text)


def span_of(
    since: str | None, until: str | None, last: str | None, *, zone: ZoneInfo, now: datetime, opening: datetime
) -> Window:
    """Return the half-open span that the parameters name.

    `last=2d` is today and yesterday in *zone*; a date is its first instant there. An edge that is left out is the first
    *opening*, or *now*.

    Raises:
        Unaccepted: a parameter is malformed, is not on a quarter of an hour, or the span is empty.
    """
    if last is not None:
        if since is not None or until is not None:
            raise Unaccepted("stands alone, without since and until", "last")
        return Window(_last(last, zone, now), now)
    start = _edge(since, "since", zone) if since is not None else opening
    end = _edge(until, "until", zone) if until is not None else now
    if start >= end:
        raise Unaccepted(_why_empty(since, until), "since", "until")
    return Window(start, end)


def _why_empty(since: str | None, until: str | None) -> str:
    if since is None:
        return "the span ends before Reckon began to watch; with since as well it may lie anywhere"
    return "the span begins after now" if until is None else "the span ends before it begins"


def _last(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    found = _LAST.fullmatch(text)
    if not found:
        raise Unaccepted("accepts a number of days or hours, such as 7d or 24h", "last")
    count = int(found[1])
    if found[2] == "d":
        return day_start(local_date(now, zone) - timedelta(days=count - 1), zone)
    hour = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    return hour.astimezone(UTC) - timedelta(hours=count - 1)


def _edge(text: str, parameter: str, zone: ZoneInfo) -> datetime:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return day_start(date.fromisoformat(text), zone)
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unaccepted("accepts a date (2026-11-20) or an instant (2026-11-20T12:15:00Z)", parameter) from None
    if not on_grain(at):
        raise Unaccepted("accepts instants on a quarter of an hour", parameter)
    return at


_FIRST_DAY: Final = date(2000, 1, 1)
_LAST_DAY: Final = date(2999, 12, 31)
_LAST: Final = re.compile(r"([1-9]\d{0,4})([dh])")
