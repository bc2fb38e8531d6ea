"""`reckon spend`, `daily`, `weekly`, `monthly`: who spent how much."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from reckon.core.reports import SpendReport, SpendRow

_LATER: Final = ("model", "provider", "app", "session")

By = Annotated[
    list[str] | None,
    typer.Option("--by", metavar="DIMENSION", help="owner, team, key, hour, day, week or month; may be repeated."),
]
Since = Annotated[str | None, typer.Option(metavar="WHEN", help="From this date or instant on.")]
Until = Annotated[str | None, typer.Option(metavar="WHEN", help="Up to this date or instant, which is not in it.")]
Last = Annotated[
    str | None,
    typer.Option(metavar="SPAN", help="7d: today and the six days before. 24h: this hour and the 23 before."),
]
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
    """Who spent how much, ever or in a span."""
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
    from reckon.cli.spend_table import show
    from reckon.config import load
    from reckon.core.reports import whole_span

    dimensions = _dimensions(by)
    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        window = None
        if any(edge is not None for edge in span):
            now = app.clock()
            opening = whole_span(app.keys(), now).start
            window = span_of(*span, zone=settings.timezone, now=now, opening=opening)
        report = app.spend(dimensions, window)
        if as_json:
            print_json(document(report))
        else:
            show(report)


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
        "total_state": report.state.value,
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
