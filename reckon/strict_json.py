"""JSON as its standard has it, and nothing a lenient reader would make of it.

A ledger must not guess. Python's reader takes `NaN`, keeps the last of two equal keys and rounds a decimal to a double;
here the first two are refused and the third cannot happen: a number with a point or an exponent is a `Decimal`, and so
is an integer too long for any counter, so that its size can be judged like any other's.
"""

import codecs
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NoReturn


class NotStrictJson(ValueError):
    """These bytes are not JSON that can be believed. The text says why, and holds nothing of the bytes."""


def read_json(body: bytes | bytearray, made_of: Callable[[dict[str, Any]], Any] = lambda members: members) -> Any:
    """Return the one JSON value that *body* is, in UTF-8 with or without a byte order mark.

    Args:
        body: the text.
        made_of: what becomes of each object the moment it has been read, innermost first.

    Raises:
        NotStrictJson: whatever is wrong, at any depth and length.
    """
    # Raised outside the handlers: the errors below keep the whole body as an attribute.
    try:
        return _decoder(made_of).decode(body.removeprefix(codecs.BOM_UTF8).decode())
    except NotStrictJson as refusal:
        why = str(refusal)
    except UnicodeDecodeError as error:
        why = f"not UTF-8 at byte {error.start}"
    except json.JSONDecodeError as error:
        why = f"not JSON at character {error.pos}"
    except RecursionError:
        why = "nested too deeply"
    except ArithmeticError:
        why = "a number beyond every range"
    raise NotStrictJson(why)


def _decoder(made_of: Callable[[dict[str, Any]], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=lambda pairs: made_of(_object(pairs)),
        parse_float=Decimal,
        parse_int=_integer,
        parse_constant=_constant,
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("an object holds the same key twice")
    return members


def _integer(digits: str) -> int | Decimal:
    # Python refuses to convert an int of more than 4,300 digits, and the error would not say where it stood.
    return int(digits) if len(digits) <= 40 else Decimal(digits)


def _constant(_name: str) -> NoReturn:
    raise NotStrictJson("NaN and Infinity are not JSON")
