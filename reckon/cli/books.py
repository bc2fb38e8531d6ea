"""`reckon books`: one day's numbers side by side, and what lies between them by name."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reckon.core.reconcile import Books


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("books")(books)


def books(
    context: typer.Context,
    day: Annotated[
        datetime | None, typer.Option(metavar="DATE", formats=["%Y-%m-%d"], help="Which local day; today if left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Whether one day's books balance, and why its numbers differ.

    Exits with 0 when they balance, and with 1 when they do not.
    """
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json
    from reckon.config import load
    from reckon.documents.books import books_document

    settings = load(context.obj, os.environ)
    with open_app(settings) as app:
        found = app.books(day.date() if day else None)
    if as_json:
        print_json(books_document(found))
    else:
        show(found, zone_key=settings.timezone.key)
    if not found.is_balanced:
        raise typer.Exit(1)


def show(found: "Books", *, zone_key: str) -> None:
    """Print the books of one day."""
    from reckon.cli.printing import Column, counted, table
    from reckon.core.account_messages import WORDS
    from reckon.core.money import dollars

    lines = [
        ("Counters", found.counters_nanos),
        (f"Settled: {counted(found.settled, 'generation')}", -found.settled_nanos),
        *((f"  {WORDS[reason]}", -nanos) for reason, nanos in found.explained),
    ]
    for other in found.compared:
        where = "" if other.span == found.window else " (UTC day)"
        lines += [
            (f"{other.teller.value.capitalize()}{where}", other.told_nanos),
            (f"  counters{where}", -other.counters_nanos),
            *((f"  {WORDS[reason]}", -nanos) for reason, nanos in other.explained),
        ]
    verdict = "The books balance." if found.is_balanced else f"{dollars(found.open_nanos)} has no reason."
    unknown = f" {counted(found.pending, 'generation')} wait for their cost." if found.pending else ""
    table(
        [Column("", [name for name, _ in lines]), Column("USD", [dollars(nanos) for _, nanos in lines], "figure")],
        title=f"Books of {found.day:%a %-d %b %Y} ({zone_key})",
        notes=[verdict + unknown],
    )
