"""What a command prints: a table when a person looks, JSON when a program does.

What a document holds is the affair of `reckon.documents`. Whatever a name from outside holds, nothing of it steers a
terminal or a table.

A table fits the terminal: names give way first, figures and dates never. Away from a terminal (a pipe, a file) it is as
wide as it needs to be, so that nothing is cut from what another program reads; `COLUMNS` sets the width in both cases.
"""

import json
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

from rich.box import SIMPLE, Box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from reckon.documents import versioned

_UNPRINTABLE: Final = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_AS_WIDE_AS_IT_NEEDS: Final = 100_000
_BETWEEN_COLUMNS: Final = 2
_NARROWEST: Final = 8
_LONGEST_NAME: Final = 100
_LONGEST_PROSE: Final = 1000
_WIDEST_BAR: Final = 24
_NARROWEST_BAR: Final = 8
_ASCII: Final = Box(str(SIMPLE).replace("─", "-"), ascii=True)
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def print_json(document: Mapping[str, Any]) -> None:
    """Print one JSON document to standard output, with what could steer a terminal escaped."""
    text = json.dumps(versioned(document), indent=2, ensure_ascii=False)
    if not text.isascii():
        text = "".join(json.dumps(sign)[1:-1] if _unprintable(sign) and sign != "\n" else sign for sign in text)
    print(text)


def when(at: datetime, zone: ZoneInfo, *, now: datetime | None = None) -> str:
    """Return *at* for a person, by the clock of *zone*: `20 Nov 2026 14:05`; the year of *now* goes without saying."""
    local = at.astimezone(zone)
    this_year = now is not None and local.year == now.astimezone(zone).year
    return f"{local:%-d %b %H:%M}" if this_year else f"{local:%-d %b %Y %H:%M}"


def clean(text: str, width: int = 80) -> str:
    """Return *text* fit for a terminal: control and invisible characters shown as `?`, long names cut short."""
    shown = "".join("?" if _unprintable(character) else character for character in text[: width + 1])
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def counted(number: int, noun: str) -> str:
    """Return how many there are, in words that agree: `no difference`, `1 key`, `1,204 snapshots`."""
    return f"no {noun}" if number == 0 else f"{number:,} {noun}{'s' if number > 1 else ''}"


def progress_bar() -> Progress:
    """Return a progress bar for whoever waits at a terminal; elsewhere it shows nothing."""
    console = Console(file=sys.stderr)
    return Progress(console=console, transient=True, disable=not console.is_terminal)


# --- Tables ----------------------------------------------------------------------------------------------------------

Kind = Literal["name", "figure", "fixed", "prose"]
"""How a column uses its room.

A *name* is cut when the terminal is narrow. A *figure* stands to the right and is never cut, nor is what is *fixed*.
*Prose* goes on in the next line.
"""


Cell = str | Text


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, with its cells."""

    heading: str
    cells: Sequence[Cell]
    kind: Kind = "name"
    footer: str = ""


def table(columns: Sequence[Column], *, title: str, bars: Sequence[int] = (), notes: Sequence[str] = ()) -> None:
    """Print a table to standard output; without a line in it, its title and notes alone.

    Args:
        columns: all of the same length.
        title: what the table shows, above it.
        bars: an amount for each line, drawn as a bar in a last column if the terminal has room for it.
        notes: sentences below the table.
    """
    console = _console()
    drawn = [_column(column) for column in columns]
    room = console.width - _laid_out([column.width for column in drawn]) - _BETWEEN_COLUMNS
    if bars and room >= _NARROWEST_BAR and not console.options.ascii_only:
        drawn.append(_bars(bars, min(room, _WIDEST_BAR)))
    with console.capture() as captured:
        console.print(Text(title, style="bold"))
        if any(column.cells for column in drawn):
            room = console.width
            widths = _fitted(drawn, room)
            # A terminal too narrow wraps whole lines, which does less harm than a broken figure.
            console.width = max(room, _laid_out(widths))
            console.print("", _grid(drawn, widths, ascii_only=console.options.ascii_only), sep="\n")
            console.width = room
        if notes:
            console.print("", *map(Text, notes), sep="\n")
    print("\n".join(line.rstrip() for line in captured.get().rstrip("\n").split("\n")))


def _console() -> Console:
    console = Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _AS_WIDE_AS_IT_NEEDS
    return console


@dataclass(frozen=True, slots=True)
class _Drawn:
    heading: Text
    cells: Sequence[Text]
    footer: Text
    width: int
    narrowest: int


def _laid_out(widths: Sequence[int]) -> int:
    return sum(widths) + _BETWEEN_COLUMNS * (len(widths) - 1)


def _fitted(columns: Sequence[_Drawn], room: int) -> list[int]:
    """Return the width of each column: the widest that can give way does so first."""
    widths = [column.width for column in columns]
    while _laid_out(widths) > room:
        yielding = [place for place, column in enumerate(columns) if widths[place] > column.narrowest]
        if not yielding:
            break
        widths[max(yielding, key=widths.__getitem__)] -= 1
    return widths


def _grid(columns: Sequence[_Drawn], widths: Sequence[int], *, ascii_only: bool) -> Table:
    grid = Table(
        box=_ASCII if ascii_only else SIMPLE,
        show_edge=False,
        pad_edge=False,
        padding=(0, _BETWEEN_COLUMNS - 1, 0, 0),
        show_footer=any(column.footer.plain.strip() for column in columns),
        border_style="dim",
    )
    for column, width in zip(columns, widths, strict=True):
        grid.add_column(column.heading, footer=column.footer, width=width)
    for line in zip(*(column.cells for column in columns), strict=True):
        grid.add_row(*line)
    return grid


def _column(column: Column) -> _Drawn:
    """Return *column* as it is drawn where there is room for all of it."""
    whole = [column.heading, *column.cells, column.footer]
    plain = [clean(str(cell), _LONGEST_PROSE if column.kind == "prose" else _LONGEST_NAME) for cell in whole]
    styles = [cell.style if isinstance(cell, Text) else "" for cell in whole]
    texts = list(map(Text, _aligned(plain) if column.kind == "figure" else plain, styles))
    for text in texts:
        text.no_wrap, text.overflow = (False, "fold") if column.kind == "prose" else (True, "ellipsis")
    width = max(text.cell_len for text in texts)
    narrowest = min(width, _NARROWEST) if column.kind in {"name", "prose"} else width
    return _Drawn(texts[0], texts[1:-1], texts[-1], width, narrowest)


def _aligned(figures: Sequence[str]) -> list[str]:
    """Return *figures* with their decimal points, where they have one, below each other, all of the same width."""
    places = [len(figure.partition(".")[2]) if "." in figure else None for figure in figures]
    most = max((found for found in places if found is not None), default=0)
    padded = [
        figure if found is None else figure + " " * (most - found)
        for figure, found in zip(figures, places, strict=True)
    ]
    width = max(map(len, padded))
    return [figure.rjust(width) for figure in padded]


def _bars(amounts: Sequence[int], width: int) -> _Drawn:
    bars = [Text(_bar(amount, max(amounts), width), no_wrap=True) for amount in amounts]
    return _Drawn(Text(), bars, Text(), width, width)


def _bar(amount: int, longest: int, width: int) -> str:
    """Return a bar of blocks, *width* of them for *longest*; what is more than nothing shows."""
    if amount <= 0:
        return ""
    whole, eighths = divmod(max(1, amount * width * 8 // longest), 8)
    return "█" * whole + _EIGHTHS[eighths].strip()


def _unprintable(character: str) -> bool:
    return unicodedata.category(character) in _UNPRINTABLE
