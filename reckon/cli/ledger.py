"""`reckon keys`, `owners`, `verify`: what is watched, how fresh it is, and whether the books are right."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime
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
    """Every key, and when it last answered."""
    from reckon.cli.printing import Column, print_json, table, when
    from reckon.documents.keys import keys_document

    with _opened(context) as app:
        found = app.keys()
        zone, now = app.settings.timezone, app.clock()
    if as_json:
        print_json(keys_document(found))
        return

    def shown(at: datetime | None) -> str:
        return when(at, zone, now=now) if at else "never"

    found.sort(key=lambda key: (key.owner, key.name))
    table(
        [
            Column("Owner", [key.owner for key in found]),
            Column("Key", [key.name for key in found]),
            Column("Label", [key.label or "" for key in found]),
            Column("Last seen", [shown(key.counters.last_seen_at if key.counters else None) for key in found], "fixed"),
            Column("State", [_condition(key, shown) for key in found], "prose"),
        ],
        title=f"Keys ({zone.key})",
        notes=[] if found else ["The owner map holds no key yet."],
    )


def _condition(key: "KeyState", shown: Callable[[datetime | None], str]) -> str:
    if not key.watched:
        return "former"
    if key.failure:
        return f"{key.failure.value.replace('_', ' ')} since {shown(key.failing_since)}"
    if key.counters is None:
        return "not asked yet"
    dips = [counter.dip for counter in (key.counters.credits, key.counters.byok) if counter.dip]
    return f"below its mark since {shown(dips[0].since)}" if dips else "fine"


def owners(context: typer.Context, as_json: AsJson = False) -> None:
    """Every owner, with team, keys and since when."""
    from reckon.cli.printing import Column, print_json, table, when
    from reckon.core.records import UNOWNED
    from reckon.documents import instant

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
    former = {row["owner"] for row in rows if not row["watched"]} - {UNOWNED}
    table(
        [
            Column("Owner", [f"{owner.name} (former)" if owner.name in former else owner.name for owner in found]),
            Column("Name", [row["name"] or "" for row in rows]),
            Column("Team", [row["team"] or "" for row in rows]),
            Column("Keys", [str(row["keys"]) for row in rows], "figure"),
            Column(
                "Watched since",
                [when(owner.began_at, settings.timezone) if owner.began_at else "not yet" for owner in found],
                "fixed",
            ),
        ],
        title=f"Owners ({settings.timezone.key})",
        notes=[] if found else ["The owner map names nobody yet."],
    )


def verify(context: typer.Context, as_json: AsJson = False) -> None:
    """Recompute the ledger from its raw rows.

    Exits with 1 and names each difference if there is one.
    """
    from reckon.cli.printing import clean, counted, print_json

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
        print(f"{counted(verdict.checked, 'snapshot')} read again, {counted(len(verdict.differences), 'difference')}")
        for found in verdict.differences:
            print(clean(f"{found.subject}: {found.what}: expected {found.expected}, found {found.found}", 2000))
    if verdict.differences:
        raise typer.Exit(1)


def verified(app: "App") -> Any:
    """Return the verdict on *app*'s ledger, with a progress bar for whoever waits at a terminal."""
    from reckon.cli.printing import progress_bar

    with progress_bar() as progress:
        bar = progress.add_task("Verifying", total=None)
        return app.verify(lambda done, in_all: progress.update(bar, completed=done, total=in_all))


def _opened(context: typer.Context) -> "App":
    import os

    from reckon.app import open_app
    from reckon.config import load

    return open_app(load(context.obj, os.environ))
