"""`reckon config`: what is in force, and from where."""

from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    config = typer.Typer(help="What is in force, and from where.", no_args_is_help=True, rich_markup_mode=None)
    config.command("show")(show)
    app.add_typer(config, name="config")


def show(
    context: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Only what somebody set, without the defaults.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Every setting, its value and where it came from. Of a secret only where it lies."""
    import os

    from reckon.cli.printing import print_json, table
    from reckon.config import load, origins

    rows = [row for row in origins(load(context.obj, os.environ)) if not origin or row.origin != "default"]
    if as_json:
        print_json({"rows": [{"setting": row.setting, "value": row.value, "origin": row.origin} for row in rows]})
        return
    table(
        ["Setting", "Value", "From"],
        [[row.setting, "" if row.value is None else row.value, row.origin] for row in rows],
        title="Configuration in force",
    )
