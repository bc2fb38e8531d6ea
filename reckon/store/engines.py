"""How to talk to each database so that no write is lost and no reader stands in the way.

SQLite: two engines over one file. The writer has one connection and begins every transaction IMMEDIATE, because a
deferred one that reads and then writes fails or, under Python's own transaction control, silently overwrites; readers
begin deferred, may not write and never checkpoint. WAL with `synchronous=FULL`, so that what was committed survives the
power going. No memory mapping: SQLite before 3.51.3 can corrupt a file whose log is reset by two connections at once.

Postgres: one engine. Limits are set for each transaction and not for the session, so that a pooler in between changes
nothing.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event
from sqlalchemy.engine import make_url

from reckon.errors import StoreError, StoreMissing

APPLICATION_ID: Final = 0x52434B4E
"""Written into every SQLite file of ours ("RCKN"), so that no other program's file is taken for a ledger."""

_NETWORK_FILESYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "fuse.sshfs"})
_BUSY_MILLISECONDS: Final = 10_000
_PRAGMAS: Final = (
    "foreign_keys = ON",
    "trusted_schema = OFF",
    f"busy_timeout = {_BUSY_MILLISECONDS}",
    "mmap_size = 0",
)


def parse(url: str) -> URL:
    """Return *url* as SQLAlchemy reads it, with the driver Reckon uses."""
    parsed = make_url(url)
    return parsed.set(drivername="postgresql+psycopg") if parsed.get_backend_name() == "postgresql" else parsed


def sqlite_path(url: URL) -> Path | None:
    """Return the file of a SQLite *url*, or None for Postgres."""
    return Path(url.database or "") if url.get_backend_name() == "sqlite" else None


def require_usable(path: Path, *, create: bool) -> None:
    """Return if a ledger may stand at *path*; with *create* make the file, readable by its owner alone.

    Raises:
        StoreMissing: there is no such file and *create* is false.
        StoreError: the file is another program's, or lies where SQLite cannot keep its promises.
    """
    if not path.exists() and not create:
        raise StoreMissing(f"There is no database at {path}. `reckon poll` or `reckon run` creates it.")
    _refuse_network_filesystem(path)
    if not path.exists():
        path.touch(mode=0o600)
    _refuse_foreign_file(path)


def sqlite_writer(path: Path) -> Engine:
    """Return the engine of the one connection that writes."""
    pragmas = ["journal_mode = WAL", *_PRAGMAS, "synchronous = FULL"]
    return _sqlite_engine(path, pragmas, begin="BEGIN IMMEDIATE", pool_size=1, max_overflow=0)


def sqlite_readers(path: Path) -> Engine:
    """Return the engine of connections that cannot write."""
    pragmas = [*_PRAGMAS, "query_only = ON", "wal_autocheckpoint = 0"]
    return _sqlite_engine(path, pragmas, begin="BEGIN", pool_size=4, max_overflow=4)


def postgres_engine(url: URL) -> Engine:
    """Return the engine for the Postgres database at *url*. Nothing is connected yet."""
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=5,
        max_overflow=0,
        pool_timeout=5,
        pool_pre_ping=True,
        pool_recycle=1800,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "application_name": f"reckon/{os.getpid()}",
            "keepalives_idle": 30,
            "prepare_threshold": None,
        },
    )

    @event.listens_for(engine, "begin")
    def limit(connection: Connection) -> None:
        connection.exec_driver_sql(
            "SELECT set_config('statement_timeout', '60s', true), set_config('lock_timeout', '10s', true),"
            " set_config('idle_in_transaction_session_timeout', '60s', true)",
        )

    return engine


def _sqlite_engine(path: Path, pragmas: Sequence[str], *, begin: str, pool_size: int, max_overflow: int) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        hide_parameters=True,
        connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def say_begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _refuse_foreign_file(path: Path) -> None:
    """Refuse a file that is not SQLite's, or not ours. An empty one is about to become ours."""
    if path.stat().st_size == 0:
        return
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_MILLISECONDS / 1000)
        try:
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise StoreError(
            f"{path} cannot be read as a SQLite database ({error}). Restore it from a backup, or move it away: Reckon"
            " starts a new ledger with the next poll."
        ) from error
    if application_id != APPLICATION_ID and tables:
        raise StoreError(f"{path} is a SQLite database of another program; Reckon leaves it alone.")


def _refuse_network_filesystem(path: Path) -> None:
    """Refuse file systems on which SQLite's write-ahead log is not safe. Where nobody can tell, trust."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    resolved = path.resolve()
    mounts = {}
    for line in lines:
        fields, _, tail = line.partition(" - ")
        mounts[Path(fields.split()[4].replace("\\040", " "))] = tail.split()[0]
    for directory in resolved.parents:
        if kind := mounts.get(directory):
            if kind in _NETWORK_FILESYSTEMS:
                raise StoreError(
                    f"{path} lies on a network file system ({kind}), where SQLite's log is not safe. Use a local disk,"
                    " or Postgres (store.url)."
                )
            return
