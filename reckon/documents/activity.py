"""Days gone by, as documents: what `reckon sweep` and `reckon backfill` read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from reckon.core.activity_days import ActivityTally
from reckon.core.money import usd_text
from reckon.core.plans import Plan
from reckon.core.records import UNOWNED, Failure, KeyState
from reckon.documents import instant


def swept_document(plans: Sequence[Plan], keys: Iterable[KeyState]) -> dict[str, Any]:
    """Return what polling everything brought, as a poll tells it."""
    known = {key.hash: key for key in keys}
    return {
        "keys_polled": sum(plan.polled for plan in plans),
        "failures": [_failure(failure, known) for plan in plans for failure in plan.failures],
        "spend_usd": usd_text(sum(plan.spend_nanos for plan in plans)),
    }


def days_document(tally: ActivityTally, keys: Iterable[KeyState], since: datetime) -> dict[str, Any]:
    """Return what reading days gone by came to so far, and since when whatever was read need not be read again."""
    known = {key.hash: key for key in keys}
    return {
        "since": instant(since),
        "keys_read": tally.read,
        "keys_idle": tally.idle,
        "keys_left": tally.left,
        "keys_failed": [_failure(failure, known) for failure in tally.failures],
        "refused": tally.closed.detail if tally.closed else None,
        "is_elsewhere": tally.is_elsewhere,
    }


def _failure(failure: Failure, keys: Mapping[str, KeyState]) -> dict[str, str]:
    key = keys.get(failure.key_hash)
    return {
        "owner": key.owner if key else UNOWNED,
        "key": key.name if key else failure.key_hash[:12],
        "reason": failure.reason.value,
        "detail": failure.detail,
    }
