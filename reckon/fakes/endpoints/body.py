"""How a body is written: exact text for money, JSON around it."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, lru_cache
from json.encoder import encode_basestring_ascii

from reckon.fakes.answers import Answer
from reckon.fakes.world import Figures


class Written(str):
    """JSON text that stands as it is."""

    __slots__ = ()


# A page of keys says the same numbers again and again.
@lru_cache(maxsize=1 << 16)
def number(nanos: int, figures: Figures = Figures.SHORTEST, towards: float = math.inf) -> str:
    """Return *nanos* as a JSON number of dollars, *towards* saying on which side of the truth noise lies.

    Raises:
        OverflowError: a double cannot hold the amount to the nano-dollar, which begins at some millions of dollars.
    """
    if figures is Figures.EXACT:
        return f"{Decimal(nanos).scaleb(-9):.9f}"
    double = nanos / 1_000_000_000
    if figures is Figures.NOISY and nanos:
        double = math.nextafter(double, towards)
    text = str(int(double)) if double.is_integer() else repr(double)
    if Decimal(text).scaleb(9).to_integral_value(ROUND_HALF_EVEN) != nanos:
        raise OverflowError(f"no double is {nanos} nano-dollars")
    return text


def found(data: object, **beside: object) -> Answer:
    """Return the answer that holds *data* in the usual envelope, and what stands *beside* it there."""
    return Answer(json_text({"data": data, **beside}).encode())


def json_text(value: object) -> str:  # noqa: PLR0911 - one for each kind of value
    """Return *value* as JSON without spaces, what is `Written` as it stands."""
    # A body has a hundred members, most of them plain: a call of the library for each would take most of its time.
    if value is None:
        return "null"
    match value:
        case Written():
            return value
        case str():
            return encode_basestring_ascii(value)
        case bool() | float():
            return json.dumps(value)
        case int():
            return str(value)
        case Mapping():
            return "{" + ",".join([f"{_quoted(name)}:{json_text(member)}" for name, member in value.items()]) + "}"
        case Sequence():
            return "[" + ",".join(map(json_text, value)) + "]"
        case _:
            raise TypeError(f"{type(value).__name__} is not written as JSON")


@cache
def _quoted(name: str) -> str:
    return json.dumps(name)


@lru_cache(maxsize=1 << 16)
def timestamp(at: datetime | None) -> str | None:
    """Return *at* to the second, as most instants of this API are written."""
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
