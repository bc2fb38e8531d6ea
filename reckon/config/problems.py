"""What is wrong with a configuration, in words for whoever must mend it.

A problem names the setting, the file or variable it came from, and what would be accepted. It never repeats what was
written, because a key is easily pasted into the wrong place. A validator's own messages do repeat it, and so do the
errors of a TOML parser; neither is passed on. Names are shown only when they look like names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from reckon.config import grammar
from reckon.config.grammar import is_label
from reckon.config.settings import LEAVES, SECTIONS, Place, Section, pattern
from reckon.errors import ConfigError

_BARE_NAME: Final = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend."""

    where: str
    origin: str
    text: str

    def __str__(self) -> str:
        return f"{self.where} ({self.origin}): {self.text}"


def refusal(problems: Iterable[Problem]) -> ConfigError:
    """Return the one error that tells all *problems*, one on each line."""
    return ConfigError("\n".join(map(str, problems)))


def dotted(place: Place) -> str:
    """Return the place as a person writes it: `owners.dana.keys[0].name`. Hides a name that could be a secret."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _BARE_NAME.fullmatch(step) and is_label(step, most=80):
            text += f".{step}"
        elif is_label(step, most=80) and '"' not in step:
            text += f'."{step}"'
        else:
            text += ".(a name not shown)"
    return text.removeprefix(".")


def explain(error: Mapping[str, Any], given: Mapping[Place, str], otherwise: str) -> Problem:
    """Return the problem behind one entry of `ValidationError.errors()`, of which only place and type are trusted."""
    place: Place = tuple(error["loc"])
    if place[-1:] == ("[key]",):  # how pydantic says that the key of a mapping is meant, not what is under it
        place = place[:-1]
    match error["type"]:
        case grammar.REFUSED:
            text = str(error["msg"])
        case "extra_forbidden":
            text = f"there is no such setting; the nearest is {_nearest(place)}"
        case "missing":
            text = f"is missing; accepts {_accepted(place)}"
        case _:
            text = f"accepts {_accepted(place)}"
    return Problem(dotted(place), given.get(place, otherwise), text)


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the one of *names* that *name* most likely stands for."""
    return get_close_matches(name, names, n=1, cutoff=0.0)[0]


def _accepted(place: Place) -> str:
    setting = pattern(place)
    if setting in LEAVES:
        return LEAVES[setting].what
    section = SECTIONS.get(setting)
    if section is None:
        return "a table with one table for each id"
    if setting[-1:] == ("keys",) and not isinstance(place[-1], int):
        return "a list of tables of " + _names(section)
    return "a table of " + _names(section)


def _names(section: type[Section]) -> str:
    return ", ".join(section.model_fields)


def _nearest(place: Place) -> str:
    """Return the nearest setting: beside it under a similar name, elsewhere under the same, else just the nearest."""
    *above, name = place
    siblings = list(SECTIONS[pattern(tuple(above))].model_fields)
    similar = get_close_matches(str(name), siblings, n=1, cutoff=0.6)
    elsewhere = [".".join(leaf) for leaf in LEAVES if leaf[-1] == name]
    if not similar and elsewhere:
        return elsewhere[0]
    return dotted((*above, (similar or [nearest(str(name), siblings)])[0]))
