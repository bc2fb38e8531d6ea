"""The configuration in force, for a person to see: every setting, its value, and where it came from.

Never a secret: of a reference its place is shown, of a literal that there is one, of a database URL everything but the
password and the options.
"""

from dataclasses import dataclass
from datetime import time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import SecretStr

from reckon.config import addresses, grammar
from reckon.config.problems import dotted
from reckon.config.settings import NOT_BUILT_YET, Settings, leaves, pattern
from reckon.references import Reference


@dataclass(frozen=True, slots=True)
class Origin:
    """One setting in force. Three texts, so that it is JSON as it stands."""

    setting: str
    """The dotted name, such as `poll.every` or `owners.dana.keys[0].key`."""
    value: str | None
    """As it would be written in the file, without quotes; None where nothing is set."""
    origin: str
    """`default`, the path of the file, or the name of the variable."""


def origins(settings: Settings) -> tuple[Origin, ...]:
    """Return a row for every setting, in the order of the file; of owners and teams, for those that have a value."""
    return tuple(
        Origin(dotted(place), _shown(value), settings.given.get(place, "default"))
        for place, value in leaves(settings)
        if value is not None or place[0] not in {"owners", "teams"}
    )


def unbuilt(settings: Settings) -> tuple[str, ...]:
    """Return the settings that somebody set and that do nothing yet, by their entries in `NOT_BUILT_YET`, sorted."""
    names = {".".join(pattern(place)[:depth]) for place in settings.given for depth in range(1, len(place) + 1)}
    return tuple(sorted(names & NOT_BUILT_YET))


def _shown(value: Any) -> str | None:  # noqa: PLR0911 - one return per type, as a table would have one row
    match value:
        case None:
            return None
        case Reference():
            return f"set ({value})"
        case SecretStr():
            return addresses.masked_database_url(value)
        case bool():
            return "true" if value else "false"
        case timedelta():
            return grammar.duration_text(value)
        case time():
            return f"{value:%H:%M}"
        case tuple():
            return f"[{', '.join(str(_shown(item)) for item in value)}]"
        case ZoneInfo():
            return value.key
        case _:
            return str(value)
