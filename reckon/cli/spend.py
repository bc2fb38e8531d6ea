"""`reckon spend`, `daily`, `weekly`, `monthly`: who spent how much."""

from collections.abc import Sequence
from typing import Annotated

import typer

By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="DIMENSION",
        help="owner, team, key, model, requested_model, provider, app, session, hour, day, week or month; repeatable.",
    ),
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
    from reckon.cli.spans import as_options, span_of
    from reckon.cli.spend_table import show
    from reckon.config import load
    from reckon.core.reports import whole_span
    from reckon.documents.parameters import dimensions_of
    from reckon.documents.spend import spend_document

    with as_options():
        dimensions = dimensions_of(by)
    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        window = None
        if any(edge is not None for edge in span):
            now = app.clock()
            opening = whole_span(app.keys(), now).start
            window = span_of(*span, zone=settings.timezone, now=now, opening=opening)
        report = app.spend(dimensions, window)
        if as_json:
            print_json(spend_document(report))
        else:
            show(report)
