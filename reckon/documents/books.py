"""One day reconciled, as a document."""

from typing import Any

from reckon.core.money import usd_text
from reckon.core.reconcile import Books


def books_document(books: Books) -> dict[str, Any]:
    """Return *books* as a document; null stands for a number that nobody can tell."""
    return {
        "day": books.day.isoformat(),
        "counters_usd": usd_text(books.counters_nanos),
        "analytics_usd": None,
        "activity_usd": None,
        "settled_usd": usd_text(books.settled_nanos),
        "settled": books.settled,
        "pending": books.pending,
        "expired": books.expired,
        "credits_usd": None,
        "residual_usd": usd_text(books.residual_nanos),
        "explained": [{"reason": reason.value, "usd": usd_text(nanos)} for reason, nanos in books.explained],
        "balanced": books.is_balanced,
    }
