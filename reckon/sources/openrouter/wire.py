"""What OpenRouter's answers look like, as far as we read them, and the records they become.

The models are narrow: OpenRouter adds fields often, and a field nobody reads cannot break a poll. What is read must be
there and be right, because a counter that is missing is unknown and must never become a zero.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    PlainValidator,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from reckon.core.money import ImplausibleMoney, nanos_from_usd, signed_nanos_from_usd
from reckon.core.records import Balance, FailureReason, Reading, Snapshot
from reckon.sources.openrouter.trouble import NoAnswer


def key_snapshot(value: Any, *, key_hash: str, secret: str, at: datetime) -> Snapshot:
    """Return the snapshot that the answer *value* of `/key` is. A label that repeats *secret* is left out.

    Raises:
        NoAnswer: it is no such answer; the text names the first field at fault, never its value.
    """
    key = _read(KeyAnswer, value).data
    return Snapshot(
        key_hash=key_hash,
        at=at,
        credits=Reading(key.usage, key.usage_daily, key.usage_weekly, key.usage_monthly),
        byok=Reading(key.byok_usage, key.byok_usage_daily, key.byok_usage_weekly, key.byok_usage_monthly),
        label=None if key.label is None or secret in key.label else _presentable(key.label),
    )


def credits_balance(value: Any, *, seen_by: str, at: datetime) -> Balance:
    """Return the balance that the answer *value* of `/credits` is.

    Raises:
        NoAnswer: as `key_snapshot`.
    """
    account = _read(CreditsAnswer, value).data
    return Balance(seen_by=seen_by, at=at, credits_nanos=account.total_credits, usage_nanos=account.total_usage)


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


def key_rights(value: Any) -> KeyRights:
    """Return what the answer *value* of `/key` tells of the key's rights, as far as it can be read.

    Raises:
        NoAnswer: it is no such answer at all.
    """
    told = _read(RightsAnswer, value).data
    return KeyRights(
        is_management_key=told.is_management_key,
        is_free_tier=told.is_free_tier,
        limit_nanos=told.limit,
        remaining_nanos=told.limit_remaining,
        limit_reset=told.limit_reset,
        expires_at=told.expires_at,
    )


def _nanos(usd: object) -> int:
    return _read_money(nanos_from_usd, usd)


def _signed_nanos(usd: object) -> int:
    return _read_money(signed_nanos_from_usd, usd)


def _read_money(read: Callable[[Decimal | int], int], usd: object) -> int:
    # `type`, because a bool is an int.
    if type(usd) is not int and not isinstance(usd, Decimal):
        raise PydanticCustomError("not_a_number", "not a number")
    try:
        return read(usd)
    except ImplausibleMoney as refusal:
        raise PydanticCustomError("implausible", "{why}", {"why": str(refusal)}) from None


def _instant(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        raise PydanticCustomError("not_an_instant", "not an instant") from None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _readable(value: object, read: ValidatorFunctionWrapHandler) -> object:
    try:
        return read(value)
    except ValidationError:
        return None


Nanos = Annotated[int, PlainValidator(_nanos)]
SignedNanos = Annotated[int, PlainValidator(_signed_nanos)]
Instant = Annotated[datetime, PlainValidator(_instant)]
Readable: Final = WrapValidator(_readable)
"""For what is only shown: None if it cannot be read."""


class _Wire(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


class KeyData(_Wire):
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


class KeyAnswer(_Wire):
    """`GET /key`, and its alias `GET /auth/key`."""

    data: KeyData


class RightsData(_Wire):
    """What the same answer tells beside the counters. What is left of a limit may be negative."""

    is_management_key: Annotated[bool | None, Readable] = None
    is_free_tier: Annotated[bool | None, Readable] = None
    limit: Annotated[Nanos | None, Readable] = None
    limit_remaining: Annotated[SignedNanos | None, Readable] = None
    limit_reset: Annotated[str | None, Readable] = None
    expires_at: Annotated[Instant | None, Readable] = None


class RightsAnswer(_Wire):
    """`GET /key` once more, for a person who looks into a key."""

    data: RightsData


class CreditsData(_Wire):
    """What the account bought and what it used, in nano-dollars. The difference may be negative, neither of the two."""

    total_credits: Nanos
    total_usage: Nanos


class CreditsAnswer(_Wire):
    """`GET /credits`."""

    data: CreditsData


_Answer = TypeVar("_Answer", bound=_Wire)


def _read(shape: type[_Answer], value: Any) -> _Answer:
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    # Raised outside the handler: the error it replaces holds the value.
    path = ".".join(map(str, first["loc"])) or "the answer"
    reason = FailureReason.IMPLAUSIBLE if first["type"] == "implausible" else FailureReason.UNEXPECTED_ANSWER
    raise NoAnswer(reason, f"{path}: {_PLAIN_WORDS.get(first['type'], first['msg'])}")


_PLAIN_WORDS: Final = {"missing": "missing", "model_type": "not an object", "string_type": "not a string"}


def _presentable(label: str) -> str:
    return _UNPRESENTABLE.sub("\N{REPLACEMENT CHARACTER}", label)[:_LABEL_CHARACTERS]


_LABEL_CHARACTERS: Final = 80
# Control characters, line separators, turns of writing direction, and surrogates, which no database can hold.
_UNPRESENTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
