"""The ledger on disk. One transaction reads it, lets a pure function decide, and writes the plan.

`commit_poll` is the only way money enters. Reading happens inside the transaction that writes, under a lock on the
owners (SQLite's transaction is exclusive by itself), so no plan is ever made from something already out of date. The
whole unit may be run again after a deadlock, a broken connection or a commit whose outcome is unknown: the decision is
pure, and a poll that is already in the ledger changes nothing the second time.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from sqlalchemy import Column, Connection, Engine, Table, bindparam, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from reckon.core.plans import LedgerPolicy, Plan, State
from reckon.errors import StoreError
from reckon.store import rows
from reckon.store.engines import (
    parse,
    postgres_engine,
    require_usable,
    sqlite_path,
    sqlite_readers,
    sqlite_writer,
)
from reckon.store.lock import WriterLock
from reckon.store.reading import BALANCES_ASKED_AT, SWEPT_PREFIX, ZONE, Reading
from reckon.store.schema import migrate, require_current
from reckon.store.tables import (
    BALANCE,
    CORRECTION,
    GAP,
    KEY,
    META,
    OWNER,
    OWNER_DAY,
    SNAPSHOT,
    WINDOW_TOTAL,
)
from reckon.store.writing import insert_rows, update_rows, upsert_rows

_ATTEMPTS: Final = 4


class Store:
    """The ledger. Made by `open_store`; use it as a context manager, or `close` it."""

    def __init__(self, name: str, writer: Engine, readers: Engine, lock: WriterLock | None = None) -> None:
        self.name = name
        """What a person would call this database: a path, or a URL without its password."""
        self._writer = writer
        self._readers = readers
        self._lock = lock
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        """Where jobs use the ledger from. Not the event loop's own threads: a name server that hangs can fill those."""

    def prepare(self, *, writes: bool) -> None:
        """Bring the schema up to date, or without *writes* refuse any but ours.

        Raises:
            StoreMissing: there is no ledger.
            StoreError: it is another release's, or does not answer.
        """
        with self._translated():
            if writes:
                migrate(self._writer, self.name)
            else:
                require_current(self._readers, self.name)

    def commit_poll(self, decide: Callable[[State], Plan], policy: LedgerPolicy, now: datetime) -> Plan:
        """Let *decide* make a plan from the ledger as it stands, write it, and return it.

        Raises:
            StoreError: the database could not be written, after a few tries. Then nothing was, and the next poll's
                delta spans the gap.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._writer.begin() as connection:
                    _lock_owners(connection)
                    plan = decide(Reading(connection).state(policy, now))
                    _write(connection, plan)
                return plan  # noqa: TRY300 - only after the commit
            except (OperationalError, IntegrityError) as error:
                # A deadlock, a lost connection, another replica that was first: the unit is run again, whole.
                if attempt == _ATTEMPTS:
                    raise self._refused(error) from error
            except SQLAlchemyError as error:
                raise self._refused(error) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Yield the ledger as of one instant, while others may go on writing.

        Raises:
            StoreError: the database could not be read.
        """
        with self._translated(), self._readers.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield Reading(connection)

    def damage(self) -> list[str]:
        """Return what the database itself finds wrong with its file; Postgres has no such check.

        Raises:
            StoreError: the damage is such that the database cannot even be asked.
        """
        if self._readers.dialect.name != "sqlite":
            return []
        with self._translated(), self._readers.connect() as connection:
            found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)"))]
            found += [f"foreign key: {row}" for row in connection.execute(text("PRAGMA foreign_key_check"))]
        return [line for line in found if line != "ok"]

    def close(self) -> None:
        """Close every connection and release the writer's lock."""
        self.thread.shutdown()
        self._writer.dispose()
        self._readers.dispose()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._refused(error) from error

    def _refused(self, error: SQLAlchemyError) -> StoreError:
        original = error.orig if isinstance(error, DBAPIError) else error
        reason = (str(original).strip() or type(original).__name__).splitlines()[0]
        return StoreError(f"{self.name}: {reason}")


def open_store(url: str, *, writes: bool) -> Store:
    """Open the ledger at *url*; with *writes* create or migrate it, and hold a SQLite file against other writers.

    Raises:
        StoreMissing: there is no ledger, and *writes* is false.
        StoreBusy: another process writes to this SQLite file.
        StoreError: the database is not ours, is newer than we are, or does not answer.
    """
    parsed = parse(url)
    path = sqlite_path(parsed)
    if path is None:
        engine = postgres_engine(parsed)
        store = Store(parsed.render_as_string(hide_password=True), engine, engine)
    else:
        store = _open_sqlite(path, writes=writes)
    try:
        store.prepare(writes=writes)
    except BaseException:
        store.close()
        raise
    return store


def _open_sqlite(path: Path, *, writes: bool) -> Store:
    if not writes:
        require_usable(path, create=False)
        readers = sqlite_readers(path)
        return Store(str(path), readers, readers)
    lock = WriterLock(path).acquire()
    try:
        require_usable(path, create=True)
    except BaseException:
        lock.release()
        raise
    return Store(str(path), sqlite_writer(path), sqlite_readers(path), lock)


# --- Writing a plan: a handful of statements, whatever the number of keys ------------------------------------------


def _lock_owners(connection: Connection) -> None:
    """Let no other replica decide about these owners until we have committed."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(OWNER.c.id).order_by(OWNER.c.id).with_for_update())


def _write(connection: Connection, plan: Plan) -> None:
    owner_ids = _save(connection, OWNER, OWNER.c.name, [rows.owner_row(owner) for owner in plan.owners])
    key_ids = _save(connection, KEY, KEY.c.hash, [rows.key_row(key, owner_ids) for key in plan.keys])
    _touch(connection, plan)
    insert_rows(connection, SNAPSHOT, [rows.snapshot_row(key_ids[key_hash], row) for key_hash, row in plan.snapshots])
    insert_rows(
        connection,
        CORRECTION,
        [rows.correction_row(key_ids[key_hash], correction) for key_hash, correction in plan.corrections],
    )
    # One stretch can be written twice: for one meter when it ends, for the other when a dip around it is corrected.
    upsert_rows(
        connection,
        GAP,
        [rows.gap_row(key_ids[gap.key_hash], gap) for gap in plan.gaps],
        key=("key_id", "n"),
        add=("nanos",),
    )
    upsert_rows(
        connection,
        WINDOW_TOTAL,
        [rows.window_row(window, owner_ids, key_ids) for window in plan.windows],
        key=("start", "owner_id", "key_id", "meter"),
        add=("spend_nanos", "correction_nanos"),
    )
    if plan.rebuild_days:
        connection.execute(OWNER_DAY.delete())
    upsert_rows(
        connection,
        OWNER_DAY,
        [rows.owner_day_row(day, owner_ids) for day in plan.owner_days],
        key=("owner_id", "day"),
        add=("spend_nanos", "correction_nanos", "byok_nanos", "byok_correction_nanos"),
    )
    upsert_rows(connection, BALANCE, [rows.balance_row(balance) for balance in plan.balances], key=("seen_by",))
    facts = {ZONE: plan.zone_key}
    facts |= {SWEPT_PREFIX + workspace: str(rows.seconds(at)) for workspace, at in plan.swept.items()}
    if plan.balances_asked_at:
        facts[BALANCES_ASKED_AT] = str(rows.seconds(plan.balances_asked_at))
    upsert_rows(connection, META, [{"name": name, "value": value} for name, value in facts.items()], key=("name",))


def _save(connection: Connection, table: Table, name: Column[str], saved: list[dict[str, Any]]) -> Mapping[str, int]:
    """Update the rows that are there by *name*, insert the others, and return the id of every row of the table.

    Not an upsert: on Postgres each one that finds its row still takes a number from the sequence of ids, and a poll a
    minute of ten thousand keys would use up all of them within half a year.
    """
    ids = _ids(connection, table, name)
    known = [row for row in saved if row[name.name] in ids]
    new = [row for row in saved if row[name.name] not in ids]
    update_rows(connection, table, known, by=name.name)
    if new:
        insert_rows(connection, table, new)
        return _ids(connection, table, name)
    return ids


def _ids(connection: Connection, table: Table, name: Column[str]) -> Mapping[str, int]:
    return {row[1]: row[0] for row in connection.execute(select(table.c.id, name))}


def _touch(connection: Connection, plan: Plan) -> None:
    """Advance the last sight of keys that had not changed: one statement for all keys answered in the same second."""
    by_instant: dict[datetime, list[str]] = {}
    for key_hash, at in plan.seen:
        by_instant.setdefault(at, []).append(key_hash)
    statement = (
        update(KEY).where(KEY.c.hash.in_(bindparam("hashes", expanding=True))).values(last_seen_at=bindparam("seen_at"))
    )
    for at, hashes in by_instant.items():
        for first in range(0, len(hashes), 10_000):
            some = hashes[first : first + 10_000]
            connection.execute(statement, {"hashes": some, "seen_at": rows.seconds(at)})
