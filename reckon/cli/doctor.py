"""`reckon doctor`: whether everything that Reckon leans on will bear it, and what to do about what will not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reckon.checkup import Check
    from reckon.cli.printing import Cell


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    slack: Annotated[bool, typer.Option("--slack", help="Also send a sample alert to where alerts go.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What is wrong, and what to do about it.

    Looks at the configuration, the ledger, each key, the clock, Slack, and what may leave this machine. Exits with 1 if
    something must be mended; a warning is not counted as that.
    """
    import asyncio
    import os

    from reckon.checkup import CheckState, examine
    from reckon.cli.printing import print_json, progress_bar
    from reckon.config import find, load

    settings = load(context.obj, os.environ)
    file = find(context.obj, os.environ)
    with progress_bar() as progress:
        progress.add_task("Looking", total=None)
        checks = asyncio.run(examine(settings, os.environ, file=file, sample=slack))
    if as_json:
        print_json(
            {
                "checks": [
                    {"subject": check.subject, "state": check.state.value, "text": check.text, "advice": check.advice}
                    for check in checks
                ]
            }
        )
    else:
        _show(checks)
    if any(check.state is CheckState.WRONG for check in checks):
        raise typer.Exit(1)


def _show(checks: "Sequence[Check]") -> None:
    from reckon.cli.printing import Column, table

    table(
        [
            Column("Subject", [check.subject for check in checks]),
            Column("State", [state_cell(check.state.value) for check in checks], "fixed"),
            Column("Finding", [f"{check.text} {check.advice}".strip() for check in checks], "prose"),
        ],
        title="Check-up",
        notes=[*_notes(checks)],
    )


def _notes(checks: "Sequence[Check]") -> Iterator[str]:
    from reckon.checkup import CheckState
    from reckon.cli.printing import counted

    found = Counter(check.state for check in checks)
    wrong = found[CheckState.WRONG]
    to_mend = counted(wrong, "thing") if wrong else "nothing"
    yield f"{to_mend} to mend, {counted(found[CheckState.WARNING], 'warning')}.".capitalize()


def state_cell(state: str) -> "Cell":
    """Return how good something is, as it should catch the eye."""
    from rich.text import Text

    return Text(state, {"ok": "dim", "warning": "yellow", "wrong": "bold red"}[state])
