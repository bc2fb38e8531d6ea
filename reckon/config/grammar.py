"""The small languages settings are written in: durations, times of day, dollars, names, secrets.

Each is an `Accepts`: a sentence that tells a person what is accepted, and a function that reads it. Whatever that
function cannot read is refused with that sentence and nothing else, so no message ever repeats what was written; it
might be a key pasted into the wrong place. The few refusals that know better say so with `Refused`.

In a file a number must be a number. In the environment everything is text, marked as `VariableText`, and a number is
read from it.
"""

import re
import zoneinfo
from collections.abc import Callable
from dataclasses import dataclass
from datetime import time, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import no_info_plain_validator_function

from reckon import references
from reckon.core.money import ImplausibleMoney, nanos_from_usd

REFUSED: Final = "refused"
"""The type of a validation error whose message is ours, and so is safe to show."""


class VariableText(str):
    """The text of an environment variable, where even a number is text."""

    __slots__ = ()


class Unread(ValueError):
    """Not in the setting's language: to be answered with what is accepted."""


class Refused(ValueError):
    """A refusal that says more than what is accepted. Its text holds nothing of what was written."""


@dataclass(frozen=True, slots=True)
class Accepts:
    """What one setting accepts, and how it is read. `read` raises a `ValueError` on anything else."""

    what: str
    read: Callable[[object], object]
    secret: bool = False

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> CoreSchema:
        return no_info_plain_validator_function(self._validate)

    def _validate(self, value: object) -> object:
        try:
            return self.read(value)
        except Refused as refused:
            text = str(refused)
        except ValueError:
            text = f"accepts {self.what}"
        raise PydanticCustomError(REFUSED, "{text}", {"text": text})


def or_empty(accepts: Accepts) -> Accepts:
    """Accept the same, or empty text, which turns the thing off and is read as None."""

    def read(value: object) -> object:
        return None if value == "" else accepts.read(value)

    return Accepts(f'{accepts.what}, or "" for off', read)


# --- Text ------------------------------------------------------------------------------------------------------------


def label(what: str, *, most: int = 80) -> Accepts:
    """Accept a name for people: printable, not blank, not the look of a secret."""

    def read(value: object) -> str:
        text = read_text(value)
        if not is_label(text, most=most):
            raise Unread
        return text

    return Accepts(f"{what}: 1 to {most} printable characters, no blank at either end", read)


def owner_id() -> Accepts:
    """Accept an id of the owner map. A leading bracket is kept for `(unowned)`."""

    def read(value: object) -> str:
        text = read_text(value)
        if not is_label(text, most=80) or text.startswith("("):
            raise Unread
        return text

    return Accepts("an id of 1 to 80 printable characters, not beginning with `(`", read)


# No name for people holds so long a run of hexadecimal digits; keys, hashes and generated tokens do.
_TOKEN: Final = re.compile(r"[0-9A-Fa-f]{24}")


def is_label(text: str, *, most: int) -> bool:
    """Return whether *text* can stand in a table or message as it is, and gives no secret away."""
    return (
        1 <= len(text) <= most
        and text.isprintable()
        and text == text.strip()
        and not references.looks_like_a_secret(text)
        and not _TOKEN.search(text)
    )


def pattern(expression: str, what: str) -> Accepts:
    """Accept text that matches the whole of *expression*."""
    compiled = re.compile(expression)

    def read(value: object) -> str:
        text = read_text(value)
        if not compiled.fullmatch(text) or references.looks_like_a_secret(text):
            raise Unread
        return text

    return Accepts(what, read)


def slack_user() -> Accepts:
    """Accept the id of a Slack user, which is what can be mentioned."""
    return pattern(r"[UW][A-Z0-9]{1,30}", "the id of a Slack user, such as U012ABCDEF")


def slack_channel() -> Accepts:
    """Accept the id or the name of a Slack channel."""
    return pattern(r"#?[\w.-]{1,80}", "the id of a Slack channel, such as C012ABCDEF, or its name")


def choice(*words: str, not_built: tuple[str, ...] = ()) -> Accepts:
    """Accept one of *words*; say of the words in *not_built* that their time will come."""
    what = "one of " + ", ".join(f'"{word}"' for word in words) if len(words) > 1 else f'"{words[0]}"'

    def read(value: object) -> str:
        text = read_text(value)
        if text in not_built:
            raise Refused(f'accepts {what}; "{text}" is not built yet')
        if text not in words:
            raise Unread
        return str(text)

    return Accepts(what, read)


def key_hash() -> Accepts:
    """Accept a key's SHA-256, and return it in lower case."""

    def read(value: object) -> str:
        text = read_text(value)
        if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
            raise Unread
        return text.lower()

    return Accepts("the SHA-256 of a key: 64 hexadecimal digits", read)


def directory() -> Accepts:
    """Accept the path of a directory. Whether it is there is for whoever uses it."""

    def read(value: object) -> Path:
        text = read_text(value)
        if not is_label(text, most=4096):
            raise Unread
        return Path(text)

    return Accepts("the path of a directory", read)


def secret() -> Accepts:
    """Accept a reference to a secret, or the secret itself."""

    def read(value: object) -> references.Reference:
        try:
            return references.parse(read_text(value))
        except references.BadReference as bad:
            text = str(bad)
        raise Refused(text)

    return Accepts(references.ACCEPTED_FORMS, read, secret=True)


# --- Numbers ---------------------------------------------------------------------------------------------------------


def whole(lowest: int, highest: int) -> Accepts:
    """Accept a whole number within bounds."""
    return Accepts(f"a whole number from {lowest} to {highest}", lambda value: _whole(value, lowest, highest))


def number(above: int, highest: int) -> Accepts:
    """Accept a number above one bound and up to another."""

    def read(value: object) -> float:
        amount = _decimal(value)
        if not above < amount <= highest:
            raise Unread
        return float(amount)

    return Accepts(f"a number above {above}, at most {highest}", read)


def flag() -> Accepts:
    """Accept true or false."""

    def read(value: object) -> bool:
        if isinstance(value, VariableText):
            value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
        if not isinstance(value, bool):
            raise Unread
        return value

    return Accepts("true or false", read)


def usd(*, zero: bool = False) -> Accepts:
    """Accept an amount of dollars that is a whole number of nano-dollars."""
    lowest = "0 or more" if zero else "more than 0"

    def read(value: object) -> Decimal:
        amount = _decimal(value)
        try:
            nanos = nanos_from_usd(amount)
        except ImplausibleMoney:
            raise Unread from None
        if Decimal(nanos).scaleb(-9) != amount or (nanos == 0 and not zero):
            raise Unread
        return amount

    return Accepts(f"dollars, {lowest}, with at most nine decimal places", read)


def percentages() -> Accepts:
    """Accept a rising list of percentages."""

    def read(value: object) -> tuple[int, ...]:
        steps = tuple(_whole(step, 1, 1000) for step in _items(value))
        if not 1 <= len(steps) <= 10 or any(later <= earlier for earlier, later in pairwise(steps)):
            raise Unread
        return steps

    return Accepts("a rising list of one to ten percentages, such as [50, 80, 100]", read)


# --- Durations, times of day, zones ----------------------------------------------------------------------------------

_MILLISECONDS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_DURATION: Final = re.compile(r"(0|[1-9][0-9]{0,14})(ms|s|m|h|d)")
OFF: Final = timedelta()


def read_duration(text: str) -> timedelta:
    """Return the duration that *text* names: a whole number with its unit (`ms`, `s`, `m`, `h`, `d`), or a plain `0`.

    Raises:
        Unread: it is not written so, or is longer than a `timedelta` holds.
    """
    if text == "0":
        return OFF
    match = _DURATION.fullmatch(text)
    if match is None:
        raise Unread
    try:
        return timedelta(milliseconds=int(match[1]) * _MILLISECONDS[match[2]])
    except OverflowError:
        raise Unread from None


def duration_text(duration: timedelta) -> str:
    """Return the duration as it would be written, in the largest unit that divides it: `90m`, `2h`, `0`."""
    milliseconds = duration // timedelta(milliseconds=1)
    if milliseconds == 0:
        return "0"
    unit = next(unit for unit, size in _MILLISECONDS.items() if milliseconds % size == 0)
    return f"{milliseconds // _MILLISECONDS[unit]}{unit}"


def duration(shortest: str, longest: str, *, off: bool = False) -> Accepts:
    """Accept a duration within bounds; with *off* also `"0"`, which turns the thing off."""

    def read(value: object) -> timedelta:
        return _duration(value, read_duration(shortest), read_duration(longest), off=off)

    zero = ', or "0" for off' if off else ""
    return Accepts(f'a duration from {shortest} to {longest}, such as "90s" or "15m"{zero}', read)


def schedule(shortest: str, longest: str) -> Accepts:
    """Accept a list of waits; in the environment they stand in one variable with commas between."""

    def read(value: object) -> tuple[timedelta, ...]:
        waits = tuple(
            _duration(wait, read_duration(shortest), read_duration(longest), off=False) for wait in _items(value)
        )
        if not 1 <= len(waits) <= 50:
            raise Unread
        return waits

    return Accepts(f'a list of 1 to 50 durations from {shortest} to {longest}, such as ["1s", "5m"]', read)


WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class WeeklyTime:
    """A local time on one day of the week, Monday being 0."""

    weekday: int
    at: time

    def __str__(self) -> str:
        return f"{WEEKDAYS[self.weekday]} {self.at:%H:%M}"


@dataclass(frozen=True, slots=True)
class MonthlyTime:
    """A local time on one day of every month, so at most the 28th."""

    day: int
    at: time

    def __str__(self) -> str:
        return f"{self.day} {self.at:%H:%M}"


def daily_time() -> Accepts:
    """Accept a local time."""
    return Accepts('a local time such as "09:00"', lambda value: _time(read_text(value)))


def weekly_time() -> Accepts:
    """Accept a weekday with a local time."""

    def read(value: object) -> WeeklyTime:
        day, _, at = read_text(value).partition(" ")
        return WeeklyTime(WEEKDAYS.index(day), _time(at))

    return Accepts('a weekday and a local time such as "mon 09:00"', read)


def monthly_time() -> Accepts:
    """Accept a day of the month with a local time."""

    def read(value: object) -> MonthlyTime:
        day, _, at = read_text(value).partition(" ")
        if not re.fullmatch(r"[1-9]|1[0-9]|2[0-8]", day):
            raise Unread
        return MonthlyTime(int(day), _time(at))

    return Accepts('a day from 1 to 28 and a local time such as "1 09:00"', read)


# A mistyped zone is worth naming. What begins with one of the world's regions is no secret.
_ZONE_LIKE: Final = re.compile(
    r"(Africa|America|Antarctica|Arctic|Asia|Atlantic|Australia|Brazil|Canada|Chile|Etc|Europe|Indian|Mexico|Pacific|US)"
    r"(/[A-Za-z][A-Za-z0-9_+-]{0,30}){1,2}"
)


def zone() -> Accepts:
    """Accept a zone of the IANA database that is installed here."""
    what = 'a zone of the IANA time zone database, such as "Europe/Vienna" or "UTC"'

    def read(value: object) -> ZoneInfo:
        text = read_text(value)
        try:
            return ZoneInfo(text)
        except (zoneinfo.ZoneInfoNotFoundError, OSError):
            named = _ZONE_LIKE.fullmatch(text)
        raise Refused(f'"{text}" is not installed here; accepts {what}' if named else f"accepts {what}")

    return Accepts(what, read)


# --- Reading the raw values ------------------------------------------------------------------------------------------


def read_text(value: object) -> str:
    """Return *value* if it is text; raise `Unread` if not."""
    if not isinstance(value, str):
        raise Unread
    return value


def _items(value: object) -> list[Any]:
    if isinstance(value, VariableText):
        return [VariableText(item.strip()) for item in value.split(",")]
    if not isinstance(value, list):
        raise Unread
    return value


def _whole(value: object, lowest: int, highest: int) -> int:
    if isinstance(value, VariableText):
        if not re.fullmatch(r"-?[0-9]{1,12}", value):
            raise Unread
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value <= highest:
        raise Unread
    return value


def _decimal(value: object) -> Decimal:
    if isinstance(value, VariableText):
        if not re.fullmatch(r"-?[0-9]{1,12}(\.[0-9]{1,12})?", value):
            raise Unread
        return Decimal(value)
    if not isinstance(value, int | Decimal) or isinstance(value, bool):
        raise Unread
    amount = Decimal(value)
    if not amount.is_finite():
        raise Unread
    return amount


def _duration(value: object, shortest: timedelta, longest: timedelta, *, off: bool) -> timedelta:
    span = read_duration(read_text(value))
    if not (shortest <= span <= longest or (off and span == OFF)):
        raise Unread
    return span


def _time(text: str) -> time:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", text):
        raise Unread
    return time.fromisoformat(text)
