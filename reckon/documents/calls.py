"""Single generations, as a document."""

from collections.abc import Iterable, Mapping
from typing import Any

from reckon.core.generations import Call, GenerationState
from reckon.core.money import usd_text
from reckon.documents import instant
from reckon.documents.tokens import tokens


def calls_document(calls: Iterable[Call]) -> dict[str, Any]:
    """Return *calls* as a document. What is unknown is null, a cost that has not settled is what was said of it."""
    return {"rows": [_row(call) for call in calls]}


def settled_document(settled: int, unsettled: Mapping[GenerationState, int]) -> dict[str, Any]:
    """Return what one pass of lookups came to as a document, and how many generations are not settled after it."""
    return {
        "settled": settled,
        "pending": unsettled.get(GenerationState.PENDING, 0),
        "expired": unsettled.get(GenerationState.EXPIRED, 0),
    }


def _row(call: Call) -> dict[str, Any]:
    facts = call.facts
    return {
        "id": call.id,
        "owner": call.owner,
        "key": call.key_name,
        "model": facts.model,
        "requested_model": facts.requested_model,
        "provider": facts.provider,
        "app": facts.app,
        "session": facts.session,
        "cost_usd": _usd(facts.credits_nanos),
        "byok_usd": _usd(facts.byok_nanos),
        "created_at": instant(facts.created_at),
        "state": call.state.value,
        "reason": call.expired.value if call.expired else None,
        "tokens": tokens(facts.pools),
    }


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else usd_text(nanos)
