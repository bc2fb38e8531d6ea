"""What a key tells of itself, and what the account has left: `GET /key`, its alias `GET /auth/key`, `GET /credits`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from reckon.core.records import Balance, Reading, Snapshot
from reckon.sources.openrouter.wire import Instant, Name, Nanos, Readable, SignedNanos, Wire, presentable, read


def key_snapshot(value: Any, *, key_hash: str, secret: str, at: datetime) -> Snapshot:
    """Return the snapshot that the answer *value* of `/key` is. A label that repeats *secret* is left out.

    Raises:
        NoAnswer: it is no such answer; the text names the first field at fault, never its value.
    """
    key = read(KeyAnswer, value).data
    return Snapshot(
        key_hash=key_hash,
        at=at,
        credits=Reading(key.usage, key.usage_daily, key.usage_weekly, key.usage_monthly),
        byok=Reading(key.byok_usage, key.byok_usage_daily, key.byok_usage_weekly, key.byok_usage_monthly),
        label=None if key.label is None or secret in key.label else presentable(key.label),
    )


def credits_balance(value: Any, *, seen_by: str, at: datetime) -> Balance:
    """Return the balance that the answer *value* of `/credits` is.

    Raises:
        NoAnswer: as `key_snapshot`.
    """
    account = read(CreditsAnswer, value).data
    return Balance(seen_by=seen_by, at=at, credits_nanos=account.total_credits, usage_nanos=account.total_usage)


@dataclass(frozen=True, slots=True)
class BudgetLayer:
    """One of the limits that OpenRouter holds a key to: its own, its member's, its workspace's."""

    scope: str
    """OpenRouter's word for whose it is: `key_limit`, `member`, `workspace`."""
    limit_nanos: int | None
    remaining_nanos: int | None
    """At nothing or below it, calls are refused."""
    reset: str | None
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a key may do, as it tells of itself. No counter depends on it: what it does not tell is None."""

    is_management_key: bool | None
    """It can list, make and delete keys."""
    is_free_tier: bool | None
    """The account has never bought credits."""
    limit_nanos: int | None
    """What OpenRouter lets it spend; None without a limit."""
    remaining_nanos: int | None
    limit_reset: str | None
    """`daily`, `weekly`, `monthly`; None for a limit that never resets."""
    expires_at: datetime | None
    blocks_first: BudgetLayer | None = None
    """Of all the limits it is held to, the one that is reached first; None also where the answer tells no layers."""


def key_rights(value: Any) -> KeyRights:
    """Return what the answer *value* of `/key` tells of the key's rights, as far as it can be read.

    Raises:
        NoAnswer: it is no such answer at all.
    """
    told = read(RightsAnswer, value).data
    return KeyRights(
        is_management_key=told.is_management_key,
        is_free_tier=told.is_free_tier,
        limit_nanos=told.limit,
        remaining_nanos=told.limit_remaining,
        limit_reset=told.limit_reset,
        expires_at=told.expires_at,
        blocks_first=_layer(told.effective_budget),
    )


def _layer(told: "BudgetData | None") -> BudgetLayer | None:
    if told is None or told.scope is None:
        return None
    return BudgetLayer(told.scope, told.limit_usd, told.remaining_usd, told.reset_interval, told.resets_at)


class KeyData(Wire):
    """The counters of one key, in nano-dollars, under the names OpenRouter gives them."""

    usage: Nanos
    usage_daily: Nanos
    usage_weekly: Nanos
    usage_monthly: Nanos
    byok_usage: Nanos
    byok_usage_daily: Nanos
    byok_usage_weekly: Nanos
    byok_usage_monthly: Nanos
    label: str | None = None


class KeyAnswer(Wire):
    """`GET /key`, and its alias `GET /auth/key`."""

    data: KeyData


class BudgetData(Wire):
    """One layer of a key's budget."""

    scope: Name = None
    limit_usd: Annotated[Nanos | None, Readable] = None
    remaining_usd: Annotated[SignedNanos | None, Readable] = None
    reset_interval: Name = None
    resets_at: Annotated[Instant | None, Readable] = None


class RightsData(Wire):
    """What the same answer tells beside the counters. What is left of a limit may be negative."""

    is_management_key: Annotated[bool | None, Readable] = None
    is_free_tier: Annotated[bool | None, Readable] = None
    limit: Annotated[Nanos | None, Readable] = None
    limit_remaining: Annotated[SignedNanos | None, Readable] = None
    limit_reset: Annotated[str | None, Readable] = None
    expires_at: Annotated[Instant | None, Readable] = None
    effective_budget: Annotated[BudgetData | None, Readable] = None


class RightsAnswer(Wire):
    """`GET /key` once more, for a person who looks into a key."""

    data: RightsData


class CreditsData(Wire):
    """What the account bought and what it used, in nano-dollars. The difference may be negative, neither of the two."""

    total_credits: Nanos
    total_usage: Nanos


class CreditsAnswer(Wire):
    """`GET /credits`."""

    data: CreditsData
