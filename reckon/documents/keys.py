"""What is watched, how fresh it is, and what lies ahead of it, as a document."""

from collections.abc import Iterable
from typing import Any

from reckon.core.key_outlook import Blocked, KeyOutlook
from reckon.core.money import usd_text
from reckon.documents import instant


def keys_document(keys: Iterable[KeyOutlook]) -> dict[str, Any]:
    """Return *keys* as a document."""
    return {"rows": [_row(key) for key in keys]}


def _row(outlook: KeyOutlook) -> dict[str, Any]:
    key, about = outlook.key, outlook.about
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
        "workspace": outlook.workspace,
        "suggested_owner": outlook.suggested,
        "disabled": about.disabled,
        "created_at": instant(about.created_at),
        "last_used_at": instant(about.last_used_at),
        "expires_at": instant(about.expires_at),
        "limit_usd": _usd(about.limit_nanos),
        "limit_remaining_usd": _usd(outlook.left_nanos),
        "limit_reset": about.limit_reset,
        "limit_resets_at": instant(outlook.resets_at),
        "limit_includes_byok": about.include_byok_in_limit,
        "last_24h_usd": usd_text(outlook.last_day_nanos),
        "blocked": _blocked(outlook.blocked),
    }


def _blocked(blocked: Blocked | None) -> dict[str, Any] | None:
    if blocked is None:
        return None
    return {"by": blocked.by.value, "at": instant(blocked.at), "until": instant(blocked.until)}


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else usd_text(nanos)
