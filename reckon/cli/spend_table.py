"""What a spend report looks like to a person.

A table has only the columns that say something: while all its figures can be trusted alike, one sentence below says how
far, in place of a column that repeats itself. What nobody saw is *unknown* and never $0.00.
"""

from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

from rich.text import Text

from reckon.cli.printing import Cell, Column, Kind, table, when
from reckon.core.attribution import NOT_RESOLVED
from reckon.core.money import dollars
from reckon.core.records import Amounts, TotalState
from reckon.core.reports import OF_CALLS, Dimension, SpendReport, SpendRow
from reckon.core.windows import CalendarUnit, grain_start

_UNKNOWN: Final = "unknown"
_METERS: Final = (("Spend", "spend_nanos"), ("Corrections", "correction_nanos"), ("BYOK", "byok_nanos"))


def show(report: SpendReport, *, subject: str = "Spend") -> None:
    """Print *report* as a table, with a bar for each line of a report that is about time alone."""
    start, end = (when(edge, report.zone) for edge in (report.span.start, report.span.end))
    places = _places(report)
    table(
        [*places, *_generations(report), *_money(report), *_trust(report)],
        title=f"{subject} by {' and '.join(map(_called, report.by))}, {start} to {end} ({report.zone.key})",
        bars=[row.amounts.spend_nanos for row in report.rows] if all(map(_is_calendar, report.by)) else (),
        notes=[*_notes(report)],
    )


def _places(report: SpendReport) -> list[Column]:
    """Return what the lines are about: time first, as they are sorted by it, then as it was asked."""
    by = sorted(report.by, key=lambda dimension: not _is_calendar(dimension))
    if Dimension.KEY in by and Dimension.OWNER not in by:
        by.insert(by.index(Dimension.KEY), Dimension.OWNER)
    namesakes = Counter((row.owner, *row.place.values()) for row in report.rows)
    columns = []
    for place, dimension in enumerate(by):
        cells = [_name(row, dimension, ambiguous=namesakes[row.owner, *row.place.values()] > 1) for row in report.rows]
        kind: Kind = "fixed" if _is_calendar(dimension) else "name"
        heading = _called(dimension).capitalize()
        columns.append(Column(heading, cells, kind, "Total" if place == 0 else ""))
    return columns


def _generations(report: SpendReport) -> Iterator[Column]:
    """Yield how many generations each line is about, in a report that is about generations."""
    if OF_CALLS & {*report.by}:
        number = sum(row.generations or 0 for row in report.rows)
        cells = [f"{row.generations:,}" if row.generations else "" for row in report.rows]
        yield Column("Generations", cells, "figure", f"{number:,}")


def _name(row: SpendRow, dimension: Dimension, *, ambiguous: bool) -> str:
    name = row.place.get(dimension) or (row.owner if dimension is Dimension.OWNER else None)
    if name is None:
        return "(not told)" if dimension in OF_CALLS else f"(no {dimension})"
    if dimension is Dimension.HOUR:
        return name[:16].replace("T", " ") + name[19:]
    if dimension is Dimension.KEY and ambiguous and row.key_hash:
        name = f"{name} {row.key_hash[:8]}"
    return f"{name} (former)" if dimension in row.former else name


def _money(report: SpendReport) -> Iterator[Column]:
    for heading, field in _METERS:
        if heading == "Spend" or getattr(report.total, field):
            cells = [_figure(row.amounts, row.state, field) for row in report.rows]
            yield Column(heading, cells, "figure", _figure(report.total, report.state, field))


def _figure(amounts: Amounts, state: TotalState, field: str) -> str:
    return _UNKNOWN if state is TotalState.UNKNOWN else dollars(getattr(amounts, field))


def _trust(report: SpendReport) -> Iterator[Column]:
    if len(_states(report)) > 1:
        yield Column("State", [_state(row.state) for row in report.rows], "fixed", report.state.value)
    since = [_watched_from(row, report) for row in report.rows]
    if any(since):
        yield Column("Watched from", since, "fixed")


def _state(state: TotalState) -> Cell:
    return Text(state.value, style="dim" if state is TotalState.SETTLED else "")


def _watched_from(row: SpendRow, report: SpendReport) -> str:
    """Return when *row* was first watched, unless that was in the quarter hour in which the report begins."""
    if row.watched_from is None or grain_start(row.watched_from) <= report.span.start:
        return ""
    return when(row.watched_from, report.zone, now=report.span.end)


def _notes(report: SpendReport) -> Iterator[str]:
    states = _states(report)
    if not report.rows and report.state is not TotalState.UNKNOWN:
        yield "Nothing was spent."
    if report.as_of is None:
        yield "No key has answered yet."
    else:
        yield f"As of {when(report.as_of, report.zone)}. {_trust_in(states)}".rstrip()
    if TotalState.UNKNOWN in states:
        yield "Unknown: no key was read then, which does not mean that nothing was spent."
    if any(row.is_residual for row in report.rows):
        yield f"{NOT_RESOLVED}: what the counters tell and no settled generation explains."
    if report.before_watching_nanos:
        yield f"Earlier in this span, before Reckon watched: {dollars(report.before_watching_nanos)} more."


def _trust_in(states: AbstractSet[TotalState]) -> str:
    if states == {TotalState.SETTLED}:
        return "Every figure is settled."
    if states == {TotalState.PROVISIONAL}:
        return "Every figure is provisional: it may still change."
    return "What is provisional may still change." if TotalState.PROVISIONAL in states else ""


def _states(report: SpendReport) -> set[TotalState]:
    return {report.state, *(row.state for row in report.rows)}


def _called(dimension: Dimension) -> str:
    """Return what a person calls it."""
    return "asked model" if dimension is Dimension.REQUESTED_MODEL else dimension.value


def _is_calendar(dimension: Dimension) -> bool:
    return dimension.value in {*CalendarUnit}
