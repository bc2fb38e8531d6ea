"""Which schema a database has, and how it comes to have ours.

Migrations are Alembic's, one file each, and each runs whole or not at all: both databases change schemas inside a
transaction. Alembic is imported only when there is something to migrate.
"""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from reckon.errors import StoreError, StoreMissing
from reckon.store.engines import APPLICATION_ID

REVISIONS: Final = ("0001", "0002", "0003", "0004")
"""Every schema this release knows, oldest first; the last is the one it works with."""

_MIGRATION_LOCK: Final = 5_267_614_951  # any number that nobody else uses for a Postgres advisory lock


def migrate(engine: Engine, name: str) -> None:
    """Bring the database up to the last of `REVISIONS`, in one transaction.

    Raises:
        StoreError: a newer Reckon made this database.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            # A table of years is written anew in one statement.
            connection.execute(text("SELECT set_config('statement_timeout', '0', true)"))
        revision = _revision(connection)
        _refuse_newer(revision, name)
        if revision == REVISIONS[-1]:
            return
        _upgrade(connection)
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")


def require_current(engine: Engine, name: str) -> None:
    """Return if the database has our schema.

    Raises:
        StoreMissing: it has none yet.
        StoreError: it has an older or a newer one.
    """
    with engine.connect() as connection:
        revision = _revision(connection)
    if revision is None:
        raise StoreMissing(f"{name} holds no ledger yet. `reckon poll` or `reckon run` creates it.")
    _refuse_newer(revision, name)
    if revision != REVISIONS[-1]:
        raise StoreError(
            f"{name} was made by an older Reckon (schema {revision}). `reckon poll` or `reckon run` updates it."
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _refuse_newer(revision: str | None, name: str) -> None:
    if revision is not None and revision not in REVISIONS:
        raise StoreError(
            f"{name} has schema {revision}, and this release knows {REVISIONS[-1]} at most: a newer Reckon made it."
            " Install that one, or restore a backup from before."
        )


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - a tenth of a second, and only ever needed once
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
