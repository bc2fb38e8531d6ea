"""What is watched, and how fresh it is, as a document."""

from collections.abc import Iterable
from typing import Any

from reckon.core.money import usd_text
from reckon.core.records import KeyState
from reckon.documents import instant


def keys_document(keys: Iterable[KeyState]) -> dict[str, Any]:
    """Return *keys* as a document."""
    return {"rows": [_row(key) for key in keys]}


def _row(key: KeyState) -> dict[str, Any]:
    return {
        "owner": key.owner,
        "key": key.name,
        "hash": key.hash or None,
        "label": key.label,
        "watched": key.watched,
        "opened_at": instant(key.counters.opened_at) if key.counters else None,
        "last_seen_at": instant(key.counters.last_seen_at) if key.counters else None,
        "counter_usd": usd_text(key.counters.credits.total_nanos) if key.counters else None,
        "failure": key.failure.value if key.failure else None,
        "failing_since": instant(key.failing_since),
    }
