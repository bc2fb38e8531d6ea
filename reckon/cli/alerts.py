"""`reckon alerts`: what fires, and what has fired."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from reckon.app import App
    from reckon.cli.printing import Cell
    from reckon.core.alerts import Alert, Transition

_USUAL_SPAN: Final = "30d"


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("alerts")(alerts)


def alerts(
    context: typer.Context,
    last: Annotated[
        str | None,
        typer.Option(
            metavar="SPAN", help="How far back to go for alerts that have ended (30d; with --json, for ever)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every alert that fires, and those that have ended."""
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json
    from reckon.cli.spans import span_of
    from reckon.config import load
    from reckon.documents.alerts import alerts_document, shown_alerts

    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        now = app.clock()
        span = last or (None if as_json else _USUAL_SPAN)
        since = span_of(None, None, span, zone=settings.timezone, now=now, opening=now).start if span else None
        shown = shown_alerts(app.alerts(), since)
        last_changes = app.last_transitions(shown.alerts)
        if as_json:
            print_json(alerts_document(shown, last_changes))
        else:
            _show(app, shown.alerts, last_changes, since=since or now, earlier=shown.ended_earlier)


def _show(
    app: "App",
    shown: "Sequence[Alert]",
    last_changes: "Mapping[str, Transition]",
    *,
    since: datetime,
    earlier: int,
) -> None:
    from reckon.cli.printing import Column, table, when

    zone, now = app.settings.timezone, app.clock()
    findings = [alert.finding for alert in shown]
    table(
        [
            Column("Id", [str(alert.id) for alert in shown], "figure"),
            Column("Owner", [finding.owner or "(all)" for finding in findings]),
            Column("Rule", [finding.rule.value for finding in findings], "fixed"),
            Column("Opened", [when(alert.opened_at, zone, now=now) for alert in shown], "fixed"),
            Column("Ended", [_ended(alert, now, app) for alert in shown], "fixed"),
            Column("Spend", [_dollars(finding.spend_nanos) for finding in findings], "figure"),
            Column("Threshold", [_dollars(finding.threshold_nanos) for finding in findings], "figure"),
        ],
        title=f"Alerts ({zone.key})",
        notes=[*_notes(shown, last_changes, earlier, when(since, zone, now=now))],
    )


def _ended(alert: "Alert", now: datetime, app: "App") -> "Cell":
    from rich.text import Text

    from reckon.cli.printing import when

    return when(alert.resolved_at, app.settings.timezone, now=now) if alert.resolved_at else Text("firing", "bold red")


def _dollars(nanos: int | None) -> str:
    from reckon.core.money import dollars

    return "" if nanos is None else dollars(nanos)


def _notes(
    shown: "Sequence[Alert]", last_changes: "Mapping[str, Transition]", earlier: int, since: str
) -> Iterator[str]:
    """Yield why each alert fires, and what is not shown."""
    from reckon.cli.printing import clean, counted

    for alert in shown:
        last_change = last_changes.get(alert.fingerprint)
        if alert.resolved_at is None and last_change:
            yield clean(f"{alert.id}: {last_change.reason}.", 300)
    if not shown:
        yield f"Nothing fires, and nothing has since {since}." if earlier else "Nothing fires, and nothing ever has."
    if earlier:
        yield f"{counted(earlier, 'alert')} ended before {since}; --last 365d goes further back."
