"""What a command prints: a table when a person looks, JSON when a program does.

Money in JSON is an exact decimal string of dollars, an instant is RFC 3339 in UTC, and every document says which schema
it follows. In a table a name from outside is stripped of what could steer a terminal.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

SCHEMA_VERSION: Final = 1

_UNPRINTABLE: Final = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document to standard output."""
    print(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2, ensure_ascii=False))


def instant(at: datetime | None) -> str | None:
    """Return *at* as RFC 3339 in UTC, to the second; None stays None."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None


def when(at: datetime | None, zone: ZoneInfo) -> str:
    """Return *at* for a person, by the clock of *zone*: `20 Nov 2026 14:05`."""
    return f"{at.astimezone(zone):%-d %b %Y %H:%M}" if at else "never"


def clean(text: str, width: int = 80) -> str:
    """Return *text* fit for a terminal: control and invisible characters shown as `?`, long names cut short."""
    shown = "".join("?" if unicodedata.category(character) in _UNPRINTABLE else character for character in text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def table(
    columns: Sequence[str],
    lines: Iterable[Sequence[str]],
    *,
    title: str,
    right: Sequence[str] = (),
    footer: Sequence[str] | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Print a table to standard output.

    Args:
        columns: the headings.
        lines: the cells, a line at a time.
        title: what the table shows, above it.
        right: the columns of figures, which are set to the right.
        footer: a last line, such as the total.
        notes: sentences below the table.
    """
    console = Console(highlight=False)
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, show_footer=footer is not None, padding=(0, 1))
    for place, column in enumerate(columns):
        shown.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in right,
            footer=footer[place] if footer else "",
            overflow="ellipsis",
        )
    for line in lines:
        shown.add_row(*(Text(clean(cell)) for cell in line))
    console.print(Text(title, style="bold"))
    console.print(shown)
    for note in notes:
        console.print(Text(note))
