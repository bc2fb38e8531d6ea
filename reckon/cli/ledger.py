"""`reckon owners`, `verify`: whose keys are watched, and whether the books are right."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from reckon.app import App

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("owners")(owners)
    app.command("verify")(verify)


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
