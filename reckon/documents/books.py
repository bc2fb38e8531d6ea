"""One day reconciled, as a document."""

from typing import Any

from reckon.core.comparing import Comparison, Teller
from reckon.core.money import usd_text
from reckon.core.reasons import TOLERANCE_NANOS, Explained
from reckon.core.reconcile import Books
from reckon.documents import instant


def books_document(books: Books) -> dict[str, Any]:
    """Return *books* as a document; null stands for a number that nobody can tell.

    What the account tells of another span than the local day, which is a UTC day in any other zone, stands among
    `compared` alone.
    """
    return {
        "day": books.day.isoformat(),
        "counters_usd": usd_text(books.counters_nanos),
        **{f"{teller.value}_usd": _usd(books.told_by(teller)) for teller in Teller},
        "settled_usd": usd_text(books.settled_nanos),
        "settled": books.settled,
        "pending": books.pending,
        "expired": books.expired,
        "residual_usd": usd_text(books.residual_nanos),
        "explained": _explained(books.explained),
        "compared": [_compared(other) for other in books.compared],
        "tolerance_usd": usd_text(TOLERANCE_NANOS),
        "balanced": books.is_balanced,
    }


def _compared(other: Comparison) -> dict[str, Any]:
    return {
        "with": other.teller.value,
        "since": instant(other.span.start),
        "until": instant(other.span.end),
        "as_of": instant(other.as_of),
        "usd": usd_text(other.told_nanos),
        "counters_usd": usd_text(other.counters_nanos),
        "difference_usd": usd_text(other.difference_nanos),
        "explained": _explained(other.explained),
    }


def _explained(explained: Explained) -> list[dict[str, str]]:
    return [{"reason": reason.value, "usd": usd_text(nanos)} for reason, nanos in explained]


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else usd_text(nanos)
