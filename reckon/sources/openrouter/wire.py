"""The atoms of OpenRouter's answers: what a number, an instant, a count and a name must be to be believed.

The models made of them are narrow: OpenRouter adds fields often, and a field nobody reads cannot break a poll. What is
counted must be there and be right, because a counter that is missing is unknown and must never become a zero. What is
only shown is None where it cannot be read, and cannot cost what is counted.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
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
from reckon.core.records import FailureReason
from reckon.sources.openrouter.trouble import NoAnswer


class Wire(BaseModel):
    """What every model here is: strict, frozen, blind to what it does not name, and silent about what it was given."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", hide_input_in_errors=True)


_Answer = TypeVar("_Answer", bound=Wire)


def read(shape: type[_Answer], value: Any) -> _Answer:
    """Return *value* as the *shape* it should have.

    Raises:
        NoAnswer: it has another; the text names the first field at fault, never its value.
    """
    try:
        return shape.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    # Raised outside the handler: the error it replaces holds the value.
    path = ".".join(map(str, first["loc"])) or "the answer"
    reason = FailureReason.IMPLAUSIBLE if first["type"] == "implausible" else FailureReason.UNEXPECTED_ANSWER
    raise NoAnswer(reason, f"{path}: {_PLAIN_WORDS.get(first['type'], first['msg'])}")


def presentable(text: str, most_characters: int = 80) -> str:
    """Return *text* as a line that no terminal, database or message can take for anything else."""
    return _UNPRESENTABLE.sub("\N{REPLACEMENT CHARACTER}", text)[:most_characters]


def _nanos(usd: object) -> int:
    return _read_money(nanos_from_usd, usd)


def _signed_nanos(usd: object) -> int:
    return _read_money(signed_nanos_from_usd, usd)


def _read_money(convert: Callable[[Decimal | int], int], usd: object) -> int:
    # `type`, because a bool is an int.
    if type(usd) is not int and not isinstance(usd, Decimal):
        raise PydanticCustomError("not_a_number", "not a number")
    try:
        return convert(usd)
    except ImplausibleMoney as refusal:
        raise PydanticCustomError("implausible", "{why}", {"why": str(refusal)}) from None


def _instant(text: object) -> datetime:
    try:
        at = datetime.fromisoformat(text if isinstance(text, str) else "")
        utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        utc = None
    # Beyond these years a date means "never" or nothing, and local calendars end.
    if utc is None or not 2000 <= utc.year < 2200:
        raise PydanticCustomError("not_an_instant", "not an instant")
    return utc.replace(microsecond=0)


def _count(number: object) -> int:
    if isinstance(number, str) and _DIGITS.fullmatch(number):
        return int(number)
    if isinstance(number, Decimal) and number.is_finite() and abs(number) <= _MOST and number == int(number):
        number = int(number)
    if type(number) is not int or not 0 <= number <= _MOST:
        raise PydanticCustomError("not_a_count", "not a count")
    return number


def _shown(text: object, *, most_characters: int) -> str | None:
    if not isinstance(text, str) or not text or _WHOLE_KEY.search(text):
        return None
    return presentable(text, most_characters)


def _readable(value: object, believe: ValidatorFunctionWrapHandler) -> object:
    try:
        return believe(value)
    except ValidationError:
        return None


Nanos = Annotated[int, PlainValidator(_nanos)]
SignedNanos = Annotated[int, PlainValidator(_signed_nanos)]
Instant = Annotated[datetime, PlainValidator(_instant)]
"""In UTC, and on the second it lies in."""
Count = Annotated[int, PlainValidator(_count)]
"""A whole number from zero on, in digits or as a string of them."""
Name = Annotated[str | None, PlainValidator(partial(_shown, most_characters=80))]
"""What somebody called something, made presentable. None for nothing, and for what holds a whole key."""
Slug = Annotated[str | None, PlainValidator(partial(_shown, most_characters=200))]
"""A `Name` out of a catalogue, where some are long."""
Session = Annotated[str | None, PlainValidator(partial(_shown, most_characters=128))]
Readable: Final = WrapValidator(_readable)
"""For what is only shown: None if it cannot be read."""

_PLAIN_WORDS: Final = {
    "missing": "missing",
    "model_type": "not an object",
    "string_type": "not a string",
    "bool_type": "not true or false",
    "list_type": "not a list",
}
_MOST: Final = 10**15
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
_WHOLE_KEY: Final = re.compile(r"sk-or-[\w-]{24,}")
# Control characters, line separators, turns of writing direction, and surrogates, which no database can hold.
_UNPRESENTABLE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
