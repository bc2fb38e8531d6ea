"""What OpenRouter's answers look like, as far as we read them, and the records they become.

The models are narrow: OpenRouter adds fields often, and a field nobody reads cannot break a poll. What is read must be
there and be right, because a counter that is missing is unknown and must never become a zero.
"""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from reckon.core.money import ImplausibleMoney, nanos_from_usd
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


def _nanos(usd: object) -> int:
    # `type`, because a bool is an int.
    if type(usd) is not int and not isinstance(usd, Decimal):
        raise PydanticCustomError("not_a_number", "not a number")
    try:
        return nanos_from_usd(usd)
    except ImplausibleMoney as refusal:
        raise PydanticCustomError("implausible", "{why}", {"why": str(refusal)}) from None


Nanos = Annotated[int, PlainValidator(_nanos)]


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
