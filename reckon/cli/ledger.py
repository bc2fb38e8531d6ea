"""`reckon keys`, `owners`, `verify`: what is watched, how fresh it is, and whether the books are right."""

import sys
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.app import App
    from reckon.core.records import KeyState

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("keys")(keys)
    app.command("owners")(owners)
    app.command("verify")(verify)


def keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Every key that is or was watched, and when it last answered."""
    from reckon.cli.printing import instant, print_json, table, when
    from reckon.core.money import usd_text

    with _opened(context) as app:
        found = app.keys()
        zone = app.settings.timezone
    if as_json:
        rows = [
            {
                "owner": key.owner,
                "key": key.name,
                "hash": key.hash or None,
                "label": key.label,
                "watched": key.watched,
                "opened_at": instant(key.counters.opened_at) if key.counters else None,
                "last_seen_at": instant(key.counters.last_seen_at) if key.counters else None,
                "counter_usd": usd_text(key.counters.credits.total_nanos) if key.counters else None,
                "failure": key.failure.value if key.failure else None,
                "failing_since": instant(key.failing_since),
            }
            for key in found
        ]
        print_json({"rows": rows})
        return
    table(
        ["Owner", "Key", "Label", "Last seen", "State"],
        [
            [
                key.owner,
                key.name,
                key.label or "",
                when(key.counters.last_seen_at if key.counters else None, zone),
                _condition(key, lambda at: when(at, zone)),
            ]
            for key in found
        ],
        title=f"Keys ({zone.key})",
    )


def _condition(key: "KeyState", shown: Callable[..., str]) -> str:
    if not key.watched:
        return "former"
    if key.failure:
        return f"{key.failure.value} since {shown(key.failing_since)}"
    if key.counters is None:
        return "not asked yet"
    dips = [counter.dip for counter in (key.counters.credits, key.counters.byok) if counter.dip]
    return f"below its mark since {shown(dips[0].since)}" if dips else "fine"


def owners(context: typer.Context, as_json: AsJson = False) -> None:
    """Every owner, with their team, their keys and since when they are watched."""
    from reckon.cli.printing import instant, print_json, table, when

    with _opened(context) as app:
        found, known = app.owners(), app.keys()
        settings = app.settings
    held = Counter(key.owner for key in known if key.watched)
    rows: list[dict[str, Any]] = []
    for owner in found:
        entry = settings.owners.get(owner.name)
        rows.append(
            {
                "owner": owner.name,
                "name": entry.name if entry else None,
                "team": entry.team if entry else None,
                "keys": held[owner.name],
                "watched": entry is not None,
                "watched_since": instant(owner.began_at),
            }
        )
    if as_json:
        print_json({"rows": rows})
        return
    table(
        ["Owner", "Name", "Team", "Keys", "Watched since"],
        [
            [
                owner.name if row["watched"] else f"{owner.name} (former)",
                row["name"] or "",
                row["team"] or "",
                str(row["keys"]),
                when(owner.began_at, settings.timezone),
            ]
            for owner, row in zip(found, rows, strict=True)
        ],
        title=f"Owners ({settings.timezone.key})",
        right=["Keys"],
    )


def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Recompute the ledger from its raw rows; exits with 1 and names each difference if there is one."""
    from reckon.cli.printing import clean, print_json

    with _opened(context) as app:
        verdict = verified(app)
    if as_json:
        print_json(
            {
                "checked": verdict.checked,
                "differences": [
                    {"subject": found.subject, "what": found.what, "expected": found.expected, "found": found.found}
                    for found in verdict.differences
                ],
            }
        )
    else:
        print(f"{verdict.checked:,} snapshots read again, {_count(len(verdict.differences), 'difference')}")
        for found in verdict.differences:
            print(clean(f"{found.subject}: {found.what}: expected {found.expected}, found {found.found}", 2000))
    if verdict.differences:
        raise typer.Exit(1)


def verified(app: "App") -> Any:
    """Return the verdict on *app*'s ledger, with a progress bar for whoever waits at a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as progress:
        bar = progress.add_task("Verifying", total=None)
        return app.verify(lambda done, in_all: progress.update(bar, completed=done, total=in_all))


def _count(number: int, noun: str) -> str:
    return f"no {noun}" if number == 0 else f"{number:,} {noun}{'s' if number > 1 else ''}"


def _opened(context: typer.Context) -> "App":
    import os

    from reckon.app import open_app
    from reckon.config import load

    return open_app(load(context.obj, os.environ))
