"""Spans as people write them: `--last 7d`, `--since 2026-11-01`, `--until 2026-11-20T12:15Z`."""

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import typer

from reckon.core.windows import Window, day_start, local_date, on_grain

_LAST = re.compile(r"([1-9]\d{0,4})([dh])")


def span_of(
    since: str | None, until: str | None, last: str | None, *, zone: ZoneInfo, now: datetime, opening: datetime
) -> Window:
    """Return the half-open span that the options name.

    `--last 2d` is today and yesterday in *zone*; a date is its first instant there. An edge that is left out is the
    first *opening*, or *now*.

    Raises:
        typer.BadParameter: an option is malformed, is not on a quarter of an hour, or the span is empty.
    """
    if last is not None:
        if since is not None or until is not None:
            raise typer.BadParameter("stands alone, without --since and --until", param_hint="--last")
        return Window(_last(last, zone, now), now)
    start = _edge(since, "--since", zone) if since is not None else opening
    end = _edge(until, "--until", zone) if until is not None else now
    if start >= end:
        raise typer.BadParameter(_why_empty(since, until), param_hint="--since/--until")
    return Window(start, end)


def _why_empty(since: str | None, until: str | None) -> str:
    if since is None:
        return "the span ends before Reckon began to watch; with --since as well it may lie anywhere"
    return "the span begins after now" if until is None else "the span ends before it begins"


def _last(text: str, zone: ZoneInfo, now: datetime) -> datetime:
    found = _LAST.fullmatch(text)
    if not found:
        raise typer.BadParameter("accepts a number of days or hours, such as 7d or 24h", param_hint="--last")
    count = int(found[1])
    if found[2] == "d":
        return day_start(local_date(now, zone) - timedelta(days=count - 1), zone)
    hour = now.astimezone(zone).replace(minute=0, second=0, microsecond=0)
    return hour.astimezone(UTC) - timedelta(hours=count - 1)


def _edge(text: str, option: str, zone: ZoneInfo) -> datetime:
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            return day_start(date.fromisoformat(text), zone)
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        accepted = "accepts a date (2026-11-20) or an instant (2026-11-20T12:15:00Z)"
        raise typer.BadParameter(accepted, param_hint=option) from None
    at = (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    if not on_grain(at):
        raise typer.BadParameter("accepts instants on a quarter of an hour", param_hint=option)
    return at
