"""Settings from the environment: `RECKON_SECTION__KEY`, and for a secret also `RECKON_SECTION__KEY_FILE`.

pydantic-settings builds the tree; what it leaves out is here. A variable that names nothing is refused, as a key of
the file would be, and so are two variables for one setting. An empty variable counts as unset. Owners and teams have
no variables: a map of people does not fit into them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from reckon.config import grammar
from reckon.config.grammar import VariableText
from reckon.config.problems import Problem, dotted, nearest
from reckon.config.settings import LEAVES, Place, Settings
from reckon.references import BadReference, Unreadable, parse

CONFIG_VARIABLE: Final = "RECKON_CONFIG"

Setting = tuple[str, ...]

_PREFIX: Final = "RECKON_"
_FILE: Final = "_FILE"
_ORIGIN: Final = "environment"
_DATABASE_URL: Final = ("store", "url")
_MAPS: Final = frozenset({f"{_PREFIX}OWNERS", f"{_PREFIX}TEAMS"})
_SERVICE: Final = re.compile(
    r"RECKON_\w*?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_URL: Final = re.compile(r"(tcp|udp|sctp)://\S+")


@dataclass(frozen=True, slots=True)
class Overlay:
    """What the environment sets, to be laid over the file."""

    tree: Mapping[str, Any]
    given: Mapping[Place, str]
    """Each setting it sets, with the variable that did."""
    problems: tuple[Problem, ...]
    unknown: tuple[str, ...]
    """Variables of ours that name no setting. An `env:` reference may still be what they are for."""


def read(environ: Mapping[str, str]) -> Overlay:
    """Return what *environ* sets. Opens no secret; only a database URL that stands in a file is read from it."""
    ours = {name: value for name, value in sorted(environ.items()) if _is_ours(name, value)}
    problems = []
    texts: dict[Setting, VariableText] = {}
    given: dict[Place, str] = {}
    for setting, (name, *others) in _by_setting(ours).items():
        if others:
            problems.append(Problem(dotted(setting), ", ".join([name, *others]), "is set twice; accepts one of them"))
            continue
        try:
            texts[setting], given[setting] = _text(name, ours[name], environ), name
        except (BadReference, Unreadable) as error:
            problems.append(Problem(dotted(setting), name, str(error)))
    unknown = tuple(name for name in ours if name not in _VARIABLES)
    return Overlay(_tree(texts), given, tuple(problems), unknown)


def _by_setting(names: Iterable[str]) -> Mapping[Setting, list[str]]:
    setters: dict[Setting, list[str]] = defaultdict(list)
    for name in names:
        if name in _VARIABLES and name != CONFIG_VARIABLE:
            setters[_VARIABLES[name]].append(name)
    return setters


def _text(name: str, value: str, environ: Mapping[str, str]) -> VariableText:
    """Return what the variable says; for `..._FILE`, a reference to that file, which only a database URL follows."""
    if not name.endswith(_FILE):
        return VariableText(value)
    reference = parse(f"file:{value}")
    if _VARIABLES[name] == _DATABASE_URL:
        return VariableText(reference.open(environ).get_secret_value())
    return VariableText(f"file:{value}")


class _Environment(Settings, BaseSettings):
    """The tree, in the form pydantic-settings reads variables into. Never made."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX, env_nested_delimiter="__", env_ignore_empty=True, enable_decoding=False
    )


def _tree(texts: Mapping[Setting, VariableText]) -> Mapping[str, Any]:
    source = EnvSettingsSource(_Environment)
    # Not the process's variables but those that were handed in, each under its one long name.
    source.env_vars = {_variable(setting).lower(): text for setting, text in texts.items()}
    return source()


def _is_ours(name: str, value: str) -> bool:
    return name.upper().startswith(_PREFIX) and value != "" and not _is_injected(name, value)


def _is_injected(name: str, value: str) -> bool:
    """Return whether Kubernetes set it, as it does in every pod beside a service whose name begins with `reckon`."""
    return _SERVICE.fullmatch(name) is not None or (
        name.endswith("_PORT") and _SERVICE_URL.fullmatch(value) is not None
    )


def unknown_variable(name: str) -> Problem:
    """Return what to say of a variable that names no setting and that no reference names either."""
    shown = name if grammar.is_label(name, most=80) else f"{_PREFIX}(a name not shown)"
    if name.upper().startswith((f"{_PREFIX}OWNERS_", f"{_PREFIX}TEAMS_")) or name.upper() in _MAPS:
        text = "owners and teams cannot be set from the environment; accepts them in the configuration file only"
    else:
        text = f"there is no such setting; the nearest is {nearest(name.upper(), list(_VARIABLES))}"
    return Problem(shown, _ORIGIN, text)


def _variable(setting: Setting) -> str:
    return _PREFIX + "__".join(setting).upper()


def _variables() -> Iterator[tuple[str, Setting]]:
    yield CONFIG_VARIABLE, ()
    for setting, accepts in LEAVES.items():
        if setting[0] in {"owners", "teams"}:
            continue
        names = [_variable(setting)]
        if setting == _DATABASE_URL:
            names.append(f"{_PREFIX}DATABASE_URL")
        for name in names:
            yield name, setting
            if accepts.secret:
                yield name + _FILE, setting


_VARIABLES: Final[Mapping[str, Setting]] = dict(_variables())
