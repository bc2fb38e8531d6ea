"""Generations to rows and back. Names of a settled one stand in tables of their own, where '' is unknown."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Row

from reckon.core.generations import Call, ExpiryReason, Facts, GenerationState, Pending, Settled
from reckon.core.tokens import TokenPools
from reckon.store.names import Name
from reckon.store.rows import instant, maybe_instant, maybe_seconds, seconds

POOLS: Final = tuple(f"{pool}_tokens" for pool in TokenPools.__slots__)
"""The columns of the token pools, in the order of `TokenPools`."""


def pending_row(waiting: Pending, whose: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is pending or expired as its row, without its lease."""
    return {
        "id": waiting.id,
        **whose,
        "handed_in_at": seconds(waiting.handed_in_at),
        **schedule_row(waiting),
        "again": 0,
        **facts_row(waiting.facts),
    }


def whose_row(found: Pending | Settled, owner_ids: Mapping[str, int], key_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return whose a generation is, as columns. A key that the ledger has never met is none."""
    return {"owner_id": owner_ids[found.owner], "key_id": key_ids.get(found.key_hash or "")}


def schedule_row(waiting: Pending) -> dict[str, Any]:
    """Return when to ask again, and what came of it so far, as columns of `pending_generation`."""
    return {
        "due_at": maybe_seconds(waiting.due_at),
        "attempts": waiting.attempts,
        "refusals": waiting.refusals,
        "expired": waiting.expired.value if waiting.expired else None,
    }


def facts_row(facts: Facts) -> dict[str, Any]:
    """Return what is known of a generation as columns of `pending_generation`."""
    return {
        "created_at": maybe_seconds(facts.created_at),
        "model": facts.model,
        "requested_model": facts.requested_model,
        "provider": facts.provider,
        "app": facts.app,
        "session": facts.session,
        "credits_nanos": facts.credits_nanos,
        "byok_nanos": facts.byok_nanos,
        **pools_row(facts.pools),
    }


def pools_row(pools: TokenPools) -> dict[str, Any]:
    """Return token pools as columns."""
    return {
        "input_tokens": pools.input,
        "output_tokens": pools.output,
        "cache_read_tokens": pools.cache_read,
        "cache_write_tokens": pools.cache_write,
        "audio_input_tokens": pools.audio_input,
        "reasoning_tokens": pools.reasoning,
    }


def route_name(facts: Facts) -> Name:
    """Return the names of *facts* as the route they stand for."""
    return (facts.model or "", facts.requested_model or "", facts.provider or "", facts.app or "")


def pending(row: Row[Any]) -> Pending:
    """Return the generation of a row of `pending_generation` joined with its `owner` and its key's `hash`."""
    return Pending(
        id=row.id,
        owner=row.owner,
        key_hash=row.hash,
        handed_in_at=instant(row.handed_in_at),
        due_at=maybe_instant(row.due_at),
        attempts=row.attempts,
        refusals=row.refusals,
        expired=ExpiryReason(row.expired) if row.expired else None,
        facts=facts(row),
    )


def facts(row: Row[Any]) -> Facts:
    """Return what is known of a generation: of a row of either table, the settled one joined with its names."""
    return Facts(
        created_at=maybe_instant(row.created_at),
        model=row.model or None,
        requested_model=row.requested_model or None,
        provider=row.provider or None,
        app=row.app or None,
        session=row.session,
        credits_nanos=row.credits_nanos,
        byok_nanos=row.byok_nanos,
        pools=TokenPools(*(row._mapping[pool] for pool in POOLS)),  # noqa: SLF001 - SQLAlchemy's documented way to a row by name
    )


def call(row: Row[Any], state: GenerationState, expired: ExpiryReason | None = None) -> Call:
    """Return a generation of either table as it is listed; its key's name is the row's `key_name`."""
    return Call(row.id, row.owner, row.hash, row.key_name, state, facts(row), expired)
