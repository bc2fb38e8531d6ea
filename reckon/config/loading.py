"""From a file and the environment to `Settings`, or to one error that tells every problem at once.

The environment beats the file, and the file beats the defaults. Nothing here opens a secret or touches the network or
the database, so a report works where the keys are out of reach, and a wrong configuration is refused before anything
has happened.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from reckon.config import addresses, environment
from reckon.config.environment import CONFIG_VARIABLE
from reckon.config.problems import Problem, dotted, explain, refusal
from reckon.config.settings import Place, Settings, completed, contradictions, leaves
from reckon.errors import ConfigError
from reckon.references import ACCEPTED_FORMS, Kind, Reference, Unreadable, read_regular_file

_MOST_FILE_BYTES: Final = 16 * 1024 * 1024
_POSITION: Final = re.compile(r"\(at (line \d+, column \d+|end of document)\)$")


def load(explicit: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Settings:
    """Return the configuration in force: the file `find` finds, and *environ* over it.

    A relative SQLite path or spool is taken from `$STATE_DIRECTORY` if that is set, else from the directory of the
    configuration file, else from *cwd*, which is the current directory unless given.

    Raises:
        ConfigError: one line for each problem: the setting, where it was set, and what would be accepted.
    """
    here = cwd or Path.cwd()
    path = find(explicit, environ, here)
    file = _read(path) if path else _File("default", {}, private=True)
    overlay = environment.read(environ)
    given = dict.fromkeys(_places(file.tree, ()), file.origin) | dict(overlay.given)
    settings, problems = _validated(_laid_over(file.tree, overlay.tree), given, file.origin)
    problems = [*problems, *overlay.problems, *_exposed(settings, file)]
    problems.extend(map(environment.unknown_variable, sorted(set(overlay.unknown) - _referenced(settings))))
    base = _base(path, environ, here)
    if set(str(base)) & set("?#"):
        problems.append(Problem("store.url", str(base), "accepts no directory with ? or # in its name"))
    if problems:
        raise refusal(problems)
    return _anchored(completed(settings), base)


def find(explicit: Path | None, environ: Mapping[str, str], cwd: Path | None = None) -> Path | None:
    """Return the absolute path of the configuration file, or None where there is none and the defaults apply.

    The first of: *explicit*, `$RECKON_CONFIG`, `reckon.toml` here, `reckon/config.toml` in `$XDG_CONFIG_HOME` (or
    `~/.config`), `/etc/reckon/config.toml`.

    Raises:
        ConfigError: the first or the second names a file that is not there.
    """
    here = cwd or Path.cwd()
    named = (("--config", explicit), (CONFIG_VARIABLE, environ.get(CONFIG_VARIABLE)))
    for origin, name in named:
        if name:
            path = Path(os.path.abspath(here / name))  # noqa: PTH100 - a link in it is not to be followed
            if not _is_there(path):
                raise ConfigError(f"{path} ({origin}): there is no such file; accepts a configuration file")
            return path
    home = environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME") or here) / ".config"
    usual = (here / "reckon.toml", Path(home) / "reckon" / "config.toml", Path("/etc/reckon/config.toml"))
    return next((path.absolute() for path in usual if _is_there(path)), None)


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True  # There is something; reading it will say what is wrong with it.
    return True


@dataclass(frozen=True, slots=True)
class _File:
    origin: str
    tree: Mapping[str, Any]
    private: bool


def _read(path: Path) -> _File:
    try:
        content, private = read_regular_file(path, most_bytes=_MOST_FILE_BYTES)
        return _File(str(path), tomllib.loads(content.decode("utf-8-sig"), parse_float=Decimal), private)
    except Unreadable as error:
        reason = str(error)
    except UnicodeDecodeError:
        reason = "is not UTF-8; accepts TOML"
    except RecursionError:
        reason = "is nested too deeply; accepts TOML"
    except ValueError as error:
        # The parser's text may quote the file. Where it stopped is all that is passed on.
        position = _POSITION.search(str(error))
        reason = f"is not TOML at {position[1]}; text stands in double quotes" if position else "is not TOML"
    raise ConfigError(f"{path}: {reason}")


def _places(tree: Any, above: Place) -> Iterator[Place]:
    """Yield where each value of the raw tree stands; a list counts as one value unless tables are in it."""
    if isinstance(tree, Mapping):
        inside: Iterable[tuple[str | int, Any]] = tree.items()
    elif isinstance(tree, list) and any(isinstance(item, Mapping) for item in tree):
        inside = enumerate(tree)
    else:
        yield above
        return
    for step, value in inside:
        yield from _places(value, (*above, step))


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        beneath = merged.get(name, {})
        if not isinstance(value, Mapping):
            merged[name] = value
        elif isinstance(beneath, Mapping):  # else the file has a value for a table, and validation says so
            merged[name] = _laid_over(beneath, value)
    return merged


def _validated(tree: Mapping[str, Any], given: Mapping[Place, str], otherwise: str) -> tuple[Settings, list[Problem]]:
    """Return the settings, without those that are wrong, and what is wrong with them.

    The second look, at what is right, finds the rules broken between two settings while a third is wrong.
    """
    wrong = _errors(tree, given)
    spoilt = [error["loc"][:2] for error in wrong]
    settings = Settings.model_validate(_without(tree, spoilt), context=given)
    problems = [explain(error, given, otherwise) for error in wrong]
    problems.extend(
        Problem(dotted(places[0]), given.get(places[0], otherwise), rule)
        for places, rule in contradictions(settings)
        if not any(place[: len(where)] == where for place in places for where in spoilt)
    )
    return settings, problems


def _errors(tree: Mapping[str, Any], given: Mapping[Place, str]) -> list[ErrorDetails]:
    try:
        Settings.model_validate(tree, context=given)
    except ValidationError as error:
        return error.errors(include_url=False, include_context=False, include_input=False)
    return []


def _without(tree: Mapping[str, Any], spoilt: Iterable[Place]) -> dict[str, Any]:
    sound = {name: dict(value) if isinstance(value, Mapping) else value for name, value in tree.items()}
    for top, *below in spoilt:
        if below and top in sound:
            sound[str(top)].pop(below[0], None)
        else:
            sound.pop(str(top), None)
    return sound


def _referenced(settings: Settings) -> set[str]:
    """Return the variables that secrets are read from: one of them may begin as ours do."""
    references = (value for _, value in leaves(settings) if isinstance(value, Reference))
    return {reference.target.get_secret_value() for reference in references if reference.kind is Kind.ENV}


def _exposed(settings: Settings, file: _File) -> Iterator[Problem]:
    """Yield the secrets that stand in a file which others may read."""
    if file.private:
        return
    for place, value in leaves(settings):
        is_literal = isinstance(value, Reference) and value.kind is Kind.LITERAL
        has_password = isinstance(value, SecretStr) and addresses.has_password(value)
        if (is_literal or has_password) and settings.given.get(place) == file.origin:
            yield Problem(
                dotted(place),
                file.origin,
                "a secret stands in a file that other users may read; accepts that in a file of mode 0600 only, and "
                + ("RECKON_DATABASE_URL" if has_password else f"in any file {ACCEPTED_FORMS}"),
            )


def _base(path: Path | None, environ: Mapping[str, str], here: Path) -> Path:
    """Return the directory that relative paths start from. systemd may name several state directories."""
    state = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if state:
        return Path(state)
    return path.parent if path else here.absolute()


def _anchored(settings: Settings, base: Path) -> Settings:
    url = addresses.absolute_database_url(settings.store.url, base)
    spool = settings.ingest.spool
    return settings.model_copy(
        update={
            "store": settings.store.model_copy(update={"url": url}),
            "ingest": settings.ingest.model_copy(update={"spool": base / spool if spool else None}),
        }
    )
