"""`reckon config`: what is in force, and from where."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.text import Text


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

    from rich.text import Text

    from reckon.cli.printing import Column, print_json, table
    from reckon.config import load, origins

    rows = [row for row in origins(load(context.obj, os.environ)) if not origin or row.origin != "default"]
    if as_json:
        print_json({"rows": [{"setting": row.setting, "value": row.value, "origin": row.origin} for row in rows]})
        return
    files = sorted({row.origin for row in rows if row.origin.startswith("/")})
    table(
        [
            Column("Setting", [row.setting for row in rows], "fixed"),
            Column("Value", [Text("not set", "dim") if row.value is None else row.value for row in rows], "prose"),
            Column("From", [_origin(row.origin, files) for row in rows]),
        ],
        title="Configuration in force",
        notes=[f"The file is {path}." for path in files] or ["There is no configuration file."],
    )


def _origin(origin: str, files: Sequence[str]) -> "Text":
    from rich.text import Text

    return Text("file" if origin in files else origin, "dim" if origin == "default" else "")
