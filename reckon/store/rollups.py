"""Rollups: the settled generations of each local day and month, added up by owner and model.

They are written in the transaction of the rows that they count, so they are never a row behind, and they can be made
again from the rows at any time. That is done when the zone of the calendar changes; the ledger remembers whose days it
keeps. Day and month are known by their first instant.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import chain, pairwise
from operator import itemgetter
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Column, Connection, Table, func, select

from reckon.core.verify import Difference
from reckon.core.windows import Window, dates, day_start, day_window, local_date
from reckon.store.call_sums import AMOUNTS, CORRECTIONS, DAYS, MONTHS, RAW, Amounts, Source, Span, plus, summed
from reckon.store.names import Name, numbers, owner_numbers
from reckon.store.rows import instant, seconds
from reckon.store.tables import GENERATION, GENERATION_MONTH, GENERATION_TOTAL, META, OWNER_MODEL
from reckon.store.writing import upsert_rows

Part = tuple[int, int, str, str, Amounts]
"""When, in epoch seconds; the owner's number; the model that served and the one asked for, '' for unknown; how much."""

_Owner = TypeVar("_Owner", int, str)
_ZONE: Final = "rollup_zone"
_BY: Final = ("owner", "model", "requested_model")
_Place = tuple[int, _Owner, str, str]
"""The first instant of a day or a month, an owner by number or by name, both models."""
_Sums = dict[_Place[_Owner], Amounts]


def add(connection: Connection, parts: Iterable[Part], zone: ZoneInfo) -> None:
    """Add *parts* to the days and months of *zone* that they lie in."""
    days: _Sums[int] = {}
    starts: dict[int, int] = {}
    for at, owner_id, model, requested_model, amounts in parts:
        quarter = at // 900  # every local day begins with one
        if quarter not in starts:
            starts[quarter] = seconds(day_start(local_date(instant(at), zone), zone))
        _fold(days, (starts[quarter], owner_id, model, requested_model), amounts)
    ids = numbers(connection, OWNER_MODEL, {place[1:] for place in days})
    _write(connection, GENERATION_TOTAL, days, ids)
    _write(connection, GENERATION_MONTH, _months(days, zone), ids)


def keep_in(connection: Connection, zone: ZoneInfo) -> None:
    """Make every rollup anew from the raw rows, unless they are those of *zone* already."""
    if kept_in(connection) == zone.key:
        return
    for table in (GENERATION_TOTAL, GENERATION_MONTH):
        connection.execute(table.delete())
    if reach := _reach(connection, GENERATION.c.created_at):
        for month in _month_windows(*reach, zone):
            for day in _day_windows(month, zone):
                sums = _sums(connection, RAW, day)
                owners = owner_numbers(connection, {owner for _, owner, *_ in sums})
                parts = (
                    (at, owners[owner], model, requested_model, amounts)
                    for (at, owner, model, requested_model), amounts in sums.items()
                )
                add(connection, parts, zone)
    upsert_rows(connection, META, [{"name": _ZONE, "value": zone.key}], key=("name",))


def kept_in(connection: Connection) -> str | None:
    """Return the name of the zone whose days the rollups are of; None before the first was written."""
    zone: str | None = connection.scalar(select(META.c.value).where(META.c.name == _ZONE))
    return zone


def cut(span: Window, zone: ZoneInfo) -> Iterator[tuple[Source, Window]]:
    """Cut *span* into whole months, whole days and what is left at its edges, each with what to add up for it."""
    first, last = _day_from(span.start, zone), local_date(span.end, zone)
    if first > last:
        yield RAW, span
        return
    first_month, last_month = _month_from(first), last.replace(day=1)
    days = (first, first_month, last_month, last) if first_month < last_month else (first, last)
    inner = [day_start(day, zone) for day in days]
    edges = pairwise([span.start, *inner, span.end])
    sources = (RAW, DAYS, MONTHS, DAYS, RAW) if len(inner) == 4 else (RAW, DAYS, RAW)
    for source, (start, end) in zip(sources, edges, strict=True):
        if start < end:
            yield source, Window(start, end)


def differences(connection: Connection) -> list[Difference]:
    """Return every way in which the rollups differ from the raw rows, a month in memory at a time."""
    key = kept_in(connection)
    if key is None:
        return []
    zone = ZoneInfo(key)
    reach = _reach(connection, GENERATION.c.created_at, GENERATION_TOTAL.c.start, GENERATION_MONTH.c.start)
    months = _month_windows(*reach, zone) if reach else ()
    return [found for month in months for found in _differences(connection, month, zone)]


def _differences(connection: Connection, month: Window, zone: ZoneInfo) -> Iterator[Difference]:
    days = [*_day_windows(month, zone)]
    expected = [_sums(connection, RAW, day) for day in days]
    by_day = dict(chain.from_iterable(sums.items() for sums in expected))
    for day, sums in zip(days, expected, strict=True):
        yield from _compared(f"on {local_date(day.start, zone)}", sums, _sums(connection, DAYS, day))
    month_sums = _months(by_day, zone)
    yield from _compared(f"in {local_date(month.start, zone):%Y-%m}", month_sums, _sums(connection, MONTHS, month))


def _compared(when: str, expected: _Sums[str], found: _Sums[str]) -> Iterator[Difference]:
    nothing = (None,) * len(AMOUNTS)
    for place in sorted({*expected, *found}):
        _, owner, model, requested_model = place
        what = f"calls of {model or 'an unknown model'}, asked for as {requested_model or 'unknown'}, {when}"
        amounts = zip(AMOUNTS, expected.get(place, nothing), found.get(place, nothing), strict=True)
        for name, should_be, stands in amounts:
            if should_be != stands:
                yield Difference(owner, f"{what}: {name}", str(should_be), str(stands))


# --- Days and months -----------------------------------------------------------------------------------------------


def _day_from(at: datetime, zone: ZoneInfo) -> date:
    """Return the first local day that begins at *at* or later."""
    day = local_date(at, zone)
    return day if day_start(day, zone) == at else day + timedelta(days=1)


def _month_from(day: date) -> date:
    """Return the first of a month that is *day* or later."""
    return day if day.day == 1 else (day.replace(day=1) + timedelta(days=31)).replace(day=1)


def _month_windows(first_at: int, last_at: int, zone: ZoneInfo) -> Iterator[Window]:
    """Yield the local months that two instants and everything between them lie in, earliest first."""
    month = local_date(instant(first_at), zone).replace(day=1)
    while (start := day_start(month, zone)) <= instant(last_at):
        month = _month_from(month + timedelta(days=1))
        yield Window(start, day_start(month, zone))


def _day_windows(span: Window, zone: ZoneInfo) -> Iterator[Window]:
    for day in dates(local_date(span.start, zone), local_date(span.end, zone)):
        yield day_window(day, zone)


def _months(days: _Sums[_Owner], zone: ZoneInfo) -> _Sums[_Owner]:
    found: _Sums[_Owner] = {}
    starts = {start: _month_start(start, zone) for start in {place[0] for place in days}}
    for (start, owner, model, requested_model), amounts in days.items():
        _fold(found, (starts[start], owner, model, requested_model), amounts)
    return found


def _month_start(day_start_seconds: int, zone: ZoneInfo) -> int:
    return seconds(day_start(local_date(instant(day_start_seconds), zone).replace(day=1), zone))


def _fold(sums: _Sums[_Owner], place: _Place[_Owner], amounts: Amounts) -> None:
    held = sums.get(place)
    sums[place] = amounts if held is None else plus(held, amounts)


# --- Rows ----------------------------------------------------------------------------------------------------------


def _write(connection: Connection, table: Table, sums: _Sums[int], ids: Mapping[Name, int]) -> None:
    rows = [
        {"start": place[0], "owner_model_id": ids[place[1:]], **dict(zip(AMOUNTS, amounts, strict=True))}
        for place, amounts in sums.items()
    ]
    key = tuple(table.primary_key.columns.keys())
    rows.sort(key=itemgetter(*key))
    upsert_rows(connection, table, rows, key=key, add=AMOUNTS)


def _sums(connection: Connection, source: Source, span: Window) -> _Sums[str]:
    """Return what lies in *span*, dated at its start; of the raw rows with the corrections of their costs."""
    found: _Sums[str] = {}
    edges = [Span(0, seconds(span.start), seconds(span.end))]
    for some in (RAW, CORRECTIONS) if source is RAW else (source,):
        for _, names, amounts in summed(connection, some, _BY, edges):
            owner, model, requested_model = (name or "" for name in names)
            _fold(found, (edges[0].lower, owner, model, requested_model), amounts)
    return found


def _reach(connection: Connection, *columns: Column[int]) -> tuple[int, int] | None:
    """Return the lowest and the highest value in some columns."""
    ends = [connection.scalar(select(end(column))) for column in columns for end in (func.min, func.max)]
    found = [end for end in ends if end is not None]
    return (min(found), max(found)) if found else None
