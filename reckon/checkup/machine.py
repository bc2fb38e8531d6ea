"""What lies on this machine: the configuration file, the ledger, and the library that keeps it."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from reckon.checkup.records import Check, CheckState
from reckon.config import Settings, unbuilt
from reckon.config.addresses import masked_database_url
from reckon.errors import StoreError, StoreMissing
from reckon.store import open_store
from reckon.store.engines import parse, sqlite_path
from reckon.store.schema import REVISIONS

_SOUND_SQLITE: Final = (3, 51, 3)


def configuration(settings: Settings, file: Path | None) -> Iterator[Check]:
    """Yield how the configuration file stands, who may change it, and what in it does nothing."""
    if file is None:
        text = "There is no file: the defaults and the environment are in force."
        yield Check("configuration", CheckState.OK, text)
    else:
        yield _file(file)
    if later := unbuilt(settings):
        text = f"Not built yet, so without effect: {', '.join(later)}."
        yield Check("configuration", CheckState.WARNING, text, "Nothing is broken; do not count on them.")


def _file(file: Path) -> Check:
    mode = file.stat().st_mode & 0o7777
    told = f"{file}, mode {mode:04o}"
    if mode & 0o022:
        return Check(
            "configuration",
            CheckState.WARNING,
            f"{told}: other users may change it, and name programs in it that Reckon runs.",
            f"chmod go-w {file}",
        )
    return Check("configuration", CheckState.OK, f"{told}.")


def ledger(settings: Settings) -> Iterator[Check]:
    """Yield whether the ledger can be read and written, and whether it is sound."""
    url = settings.store.url.get_secret_value()
    path = sqlite_path(parse(url))
    name = masked_database_url(settings.store.url) if path is None else str(path)
    try:
        with open_store(url, writes=False) as store:
            damage = store.damage()
    except StoreMissing:
        yield _missing(name, path)
    except StoreError as error:
        yield Check("ledger", CheckState.WRONG, str(error))
    else:
        yield _sound(name, path) if not damage else _damaged(name, damage)
    if path is not None:
        yield _sqlite()


def _missing(name: str, path: Path | None) -> Check:
    made_by = "`reckon poll` or `reckon run` makes it."
    if path is None or path.exists():
        return Check("ledger", CheckState.WARNING, f"{name} holds no ledger yet.", made_by)
    if not path.parent.is_dir():
        return Check("ledger", CheckState.WRONG, f"{name}: there is no such directory.", f"mkdir -p {path.parent}")
    if not _may_write(path.parent):
        return Check(
            "ledger",
            CheckState.WRONG,
            f"{name}: there is no ledger yet, and this user may make none there.",
            "Name another place in store.url, or look as the user that Reckon runs as.",
        )
    return Check("ledger", CheckState.WARNING, f"{name}: there is no ledger yet.", made_by)


def _sound(name: str, path: Path | None) -> Check:
    told = f"{name}, schema {REVISIONS[-1]}"
    if path is None:
        return Check("ledger", CheckState.OK, f"{told}: it can be read.")
    if not (_may_write(path) and _may_write(path.parent)):
        return Check(
            "ledger",
            CheckState.WARNING,
            f"{told}: sound; this user may read it and not write it.",
            "Nothing to do if Reckon runs as another user.",
        )
    return Check("ledger", CheckState.OK, f"{told}: sound, and can be written.")


def _damaged(name: str, damage: list[str]) -> Check:
    more = f" and {len(damage) - 1} more" if len(damage) > 1 else ""
    return Check(
        "ledger",
        CheckState.WRONG,
        f"{name} is damaged: {damage[0]}{more}.",
        "Stop Reckon, keep a copy of the file with its -wal, and go back to a backup. Look at the disk, too.",
    )


def _sqlite() -> Check:
    version = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info >= _SOUND_SQLITE:
        return Check("SQLite", CheckState.OK, f"{version}.")
    return Check(
        "SQLite",
        CheckState.WARNING,
        f"{version}: before 3.51.3, two connections that reset the write-ahead log at once can damage a file. It cannot"
        " happen here: one process writes, through one connection, and no reader resets the log.",
        "Open the file with no other program that writes.",
    )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK)
