"""A table as lines of monospaced text: figures to the right, names cut to fit.

Names give way first, the widest of them before the others, and what a line is about, its first cell, after them;
figures are whole as long as the width allows it at all.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from reckon.core.messages import Table
from reckon.sinks.foreign import clean, clip, columns, size

LONGEST_CELL: Final = 80
_LONGEST_READ: Final = 8 * LONGEST_CELL
_GAP: Final = "  "
_NARROWEST_NAME: Final = 8
_NARROWEST: Final = 3


def lines_of(table: Table, width: int) -> list[str]:
    """Return *table* line by line, headings first, none wider than *width* columns."""
    rows = [[clip(clean(cell, _LONGEST_READ), LONGEST_CELL) for cell in row] for row in (table.columns, *table.rows)]
    cells_by_column = list(zip_longest(*rows, fillvalue=""))
    figures = set(table.figures)
    widths = _fitted(
        [max(size(cell) for cell in cells) for cells in cells_by_column],
        [place in figures for place in range(len(cells_by_column))],
        width,
    )
    # A cell cut to fewer columns than it may have is filled up again, since a letter may be two columns wide.
    laid_out = [
        [_laid(clip(cell, wide, by=columns), wide, to_the_right=place in figures) for cell in cells] if wide else []
        for place, (cells, wide) in enumerate(zip(cells_by_column, widths, strict=True))
    ]
    shown = [cells for cells in laid_out if cells]
    return [clip(_GAP.join(line).rstrip(), width, by=columns) for line in zip(*shown, strict=True)]


def _fitted(widths: Sequence[int], is_figure: Sequence[bool], room: int) -> list[int]:
    """Return the width of each column: names give way down to their narrowest, the first of them last, then all."""
    fitted = list(widths)
    names = [place for place, figure in enumerate(is_figure) if not figure]
    beside = names[1:] if names[:1] == [0] else names
    orders = ((beside, _NARROWEST_NAME), (names, _NARROWEST_NAME), (range(len(fitted)), _NARROWEST))
    for yielding, narrowest in orders:
        while sum(fitted) + len(_GAP) * (len(fitted) - 1) > room:
            widest = max(yielding, key=fitted.__getitem__, default=None)
            if widest is None or fitted[widest] <= narrowest:
                break
            fitted[widest] -= 1
    return fitted


def _laid(cell: str, width: int, *, to_the_right: bool) -> str:
    filling = " " * (width - size(cell))
    return filling + cell if to_the_right else cell + filling
