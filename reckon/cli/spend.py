"""`reckon spend`, `daily`, `weekly`, `monthly`: who spent how much."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from reckon.app import App
    from reckon.core.reports import SpendReport, SpendRow

_LATER: Final = ("model", "provider", "app", "session")

By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="DIMENSION", help="owner, team, key, hour, day, week or month; may be repeated."),
]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="From this date or instant on.")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Up to this date or instant, which is not in it.")]
Last = Annotated[str | None, typer.Option(metavar="SPAN", help="7d: today and the six days before it; 24h: hours.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("spend")(spend)
    app.command("daily")(daily)
    app.command("weekly")(weekly)
    app.command("monthly")(monthly)


def spend(
    context: typer.Context,
    by: By = None,
    since: Since = None,
    until: Until = None,
    last: Last = None,
    as_json: AsJson = False,
) -> None:
    """Who spent how much: all that was counted, or a span of it."""
    _report(context, by or ["owner"], (since, until, last), as_json=as_json)


def daily(
    context: typer.Context, since: Since = None, until: Until = None, last: Last = None, as_json: AsJson = False
) -> None:
    """Spend by owner and day."""
    _report(context, ["owner", "day"], (since, until, last), as_json=as_json)


def weekly(
    context: typer.Context, since: Since = None, until: Until = None, last: Last = None, as_json: AsJson = False
) -> None:
    """Spend by owner and week."""
    _report(context, ["owner", "week"], (since, until, last), as_json=as_json)


def monthly(
    context: typer.Context, since: Since = None, until: Until = None, last: Last = None, as_json: AsJson = False
) -> None:
    """Spend by owner and month."""
    _report(context, ["owner", "month"], (since, until, last), as_json=as_json)


def _report(
    context: typer.Context, by: Sequence[str], span: tuple[str | None, str | None, str | None], *, as_json: bool
) -> None:
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json
    from reckon.cli.spans import span_of
    from reckon.config import load
    from reckon.core.reports import whole_span

    dimensions = _dimensions(by)
    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        since, until, last = span
        now = app.clock()
        opening = whole_span(app.keys(), now).start
        window = span_of(since, until, last, zone=settings.timezone, now=now, opening=opening)
        report = app.spend(dimensions, window if any(span) else None)
        if as_json:
            print_json(document(report))
        else:
            show(app, report)


def _dimensions(names: Sequence[str]) -> list[Any]:
    from reckon.core.reports import Dimension
    from reckon.core.windows import CalendarUnit

    found: list[Dimension] = []
    for name in dict.fromkeys(names):
        if name in _LATER:
            raise typer.BadParameter(f"{name} is not built yet: counters do not tell it", param_hint="--by")
        if name not in {*Dimension}:
            accepted = ", ".join(Dimension)
            raise typer.BadParameter(f"{name!r} is none of {accepted}", param_hint="--by")
        found.append(Dimension(name))
    if sum(dimension.value in {*CalendarUnit} for dimension in found) > 1:
        raise typer.BadParameter("accepts one of hour, day, week and month", param_hint="--by")
    return found


# --- What a report looks like --------------------------------------------------------------------------------------


def document(report: "SpendReport") -> dict[str, Any]:
    """Return the report as `reckon spend --json` prints it."""
    from reckon.cli.printing import instant
    from reckon.core.money import usd_text

    return {
        "timezone": report.zone.key,
        "since": instant(report.span.start),
        "until": instant(report.span.end),
        "as_of": instant(report.as_of),
        "total_usd": usd_text(report.total.spend_nanos),
        "total_correction_usd": usd_text(report.total.correction_nanos),
        "total_byok_usd": usd_text(report.total.byok_nanos),
        "total_byok_correction_usd": usd_text(report.total.byok_correction_nanos),
        "before_watching_usd": usd_text(report.before_watching_nanos),
        "rows": [_row(row) for row in report.rows],
    }


def _row(row: "SpendRow") -> dict[str, Any]:
    from reckon.cli.printing import instant
    from reckon.core.money import usd_text

    about_key = {"owner": row.owner, "hash": row.key_hash} if "key" in row.place else {}
    return {
        **{dimension.value: name for dimension, name in row.place.items()},
        **about_key,
        "spend_usd": usd_text(row.amounts.spend_nanos),
        "correction_usd": usd_text(row.amounts.correction_nanos),
        "byok_usd": usd_text(row.amounts.byok_nanos),
        "byok_correction_usd": usd_text(row.amounts.byok_correction_nanos),
        "generations": None,
        "state": row.state.value,
        "watched_from": instant(row.watched_from),
    }


def show(app: "App", report: "SpendReport") -> None:
    """Print the report for a person, with only the columns that say something."""
    from reckon.cli.printing import table, when
    from reckon.core.money import dollars
    from reckon.core.reports import Dimension

    zone, total = report.zone, report.total
    by = list(report.by)
    if Dimension.KEY in by and Dimension.OWNER not in by:
        by.insert(by.index(Dimension.KEY), Dimension.OWNER)
    figures = [("Spend", "spend_nanos", True), ("Corrections", "correction_nanos", total.correction_nanos != 0)]
    figures += [("BYOK", "byok_nanos", total.byok_nanos != 0)]
    shown = [(name, field) for name, field, wanted in figures if wanted]
    names = [name for name, _ in shown]

    def cells(row: "SpendRow") -> list[str]:
        place = {**row.place, Dimension.OWNER: row.place.get(Dimension.OWNER) or row.owner}
        unknown = row.state == "unknown"
        money = ["unknown" if unknown else dollars(getattr(row.amounts, field)) for _, field in shown]
        return [*(_name(app, dimension, place[dimension]) for dimension in by), *money, _trust(app, row)]

    notes = []
    if report.before_watching_nanos:
        notes.append(f"+ {dollars(report.before_watching_nanos)} earlier in this span, before Reckon watched")
    table(
        [dimension.value.capitalize() for dimension in by] + names + ["State"],
        [cells(row) for row in report.rows],
        title=f"Spend from {when(report.span.start, zone)} to {when(report.span.end, zone)} ({zone.key})",
        right=names,
        footer=["Total", *[""] * (len(by) - 1), *(dollars(getattr(total, field)) for _, field in shown), ""],
        notes=[*notes, f"As of {when(report.as_of, zone)}"],
    )


def _name(app: "App", dimension: str, name: str | None) -> str:
    if dimension == "owner" and name and name not in app.settings.owners and name != "(unowned)":
        return f"{name} (former)"
    return name or f"(no {dimension})"


def _trust(app: "App", row: "SpendRow") -> str:
    from reckon.cli.printing import when

    if row.watched_from is None:
        return row.state.value
    return f"{row.state.value}, watched from {when(row.watched_from, app.settings.timezone)}"
