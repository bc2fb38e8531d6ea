"""What a poll writes, by our statements and by the bare driver, into the same tables under the same promises.

Each way has a database of its own. One transaction writes what a poll finds whose every key has changed: a snapshot
each; or, for a window that one poll opens and two more add to, three times the same window totals. The rows are in the
form that each way takes them in before the clock starts.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from itertools import count

import psycopg
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from reckon.store import Store, open_store
from reckon.store.tables import SNAPSHOT, WINDOW_TOTAL, SnapshotRow
from reckon.store.writing import insert_rows, upsert_rows
from tests.bench.figures import Cost, Figure, Goal, at_least, compared, interleaved, timed
from tests.bench.ledger import KEYS_AN_OWNER, Team, sqlite_ledger
from tests.databases import postgres_server

_POLLS_A_WINDOW = 3
_KEY = ("start", "owner_id", "key_id", "meter")
_SUMS = ("spend_nanos", "correction_nanos")

_INSERT = """
INSERT INTO snapshot
  (key_id, n, at, stretch_seconds, credits_nanos, credits_daily_nanos, byok_nanos, byok_daily_nanos)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""
_UPSERT = """
INSERT INTO window_total (start, owner_id, key_id, meter, spend_nanos, correction_nanos) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (start, owner_id, key_id, meter) DO UPDATE SET
  spend_nanos = window_total.spend_nanos + excluded.spend_nanos,
  correction_nanos = window_total.correction_nanos + excluded.correction_nanos
"""

Row = Mapping[str, int]


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: int


FULL = Size(rounds=7, keys=5_000)
TINY = Size(rounds=1, keys=10)


@dataclass(frozen=True)
class Goals:
    inserts: Goal
    upserts: Goal
    add_all: Goal | None


def measure(size: Size) -> Iterator[Figure]:
    with ExitStack() as databases:
        ours, raw, orm = (databases.enter_context(sqlite_ledger()) for _ in range(3))
        driver = databases.enter_context(closing(_sqlite_driver(raw.name)))
        yield from _figures(
            "SQLite",
            (ours, raw, orm),
            partial(_raw_sqlite, driver),
            Goals(inserts=at_least(0.55), upserts=at_least(0.50), add_all=at_least(10)),
            size,
        )
    with ExitStack() as databases:
        server = databases.enter_context(postgres_server())
        urls = [server.lend() for _ in range(3)]
        ours, raw, orm = (databases.enter_context(open_store(url, writes=True)) for url in urls)
        driver = databases.enter_context(psycopg.connect(urls[1]))
        yield from _figures(
            "Postgres",
            (ours, raw, orm),
            partial(_raw_postgres, driver),
            Goals(inserts=at_least(0.75), upserts=at_least(0.75), add_all=None),
            size,
        )


def _figures(
    database: str,
    stores: Sequence[Store],
    raw: Callable[[str, list[list[tuple[int, ...]]]], Cost],
    goals: Goals,
    size: Size,
) -> Iterator[Figure]:
    for store in stores:
        team = Team(size.keys)
        team.commit(store, team.first_poll())
    ours, _, orm = stores
    polls = {name: count(2) for name in ("ours", "raw", "add_all")}
    quarters = {name: count(1) for name in ("ours", "raw")}
    inserts = interleaved(
        {
            "ours": lambda: _insert_ours(ours, _snapshots(next(polls["ours"]), size.keys)),
            "raw": lambda: raw(_INSERT, [_tuples(_snapshots(next(polls["raw"]), size.keys))]),
            "add_all": lambda: _add_all(orm, _snapshots(next(polls["add_all"]), size.keys)),
        },
        size.rounds,
    )
    upserts = interleaved(
        {
            "ours": lambda: _upsert_ours(ours, _totals(next(quarters["ours"]), size.keys)),
            "raw": lambda: raw(_UPSERT, [_tuples(_totals(next(quarters["raw"]), size.keys))] * _POLLS_A_WINDOW),
        },
        size.rounds,
    )
    assert _contents(ours) == _contents(stores[1])
    rates = {name: [size.keys / cost.wall_seconds / 1000 for cost in costs] for name, costs in inserts.items()}
    upserted = size.keys * _POLLS_A_WINDOW
    upsert_rates = {name: [upserted / cost.wall_seconds / 1000 for cost in costs] for name, costs in upserts.items()}
    yield compared(f"G5 {database} inserts : raw executemany", rates["ours"], rates["raw"], "k/s", goals.inserts)
    yield compared(f"G5 {database} inserts : add_all", rates["ours"], rates["add_all"], "k/s", goals.add_all)
    yield compared(
        f"G5 {database} upserts : raw executemany", upsert_rates["ours"], upsert_rates["raw"], "k/s", goals.upserts
    )


def _contents(store: Store) -> list[tuple[int, ...]]:
    """Return enough of both tables to tell that the same was written."""
    statements = (
        select(func.count(), func.sum(SNAPSHOT.c.n), func.sum(SNAPSHOT.c.credits_nanos)),
        select(func.count(), func.sum(WINDOW_TOTAL.c.start), func.sum(WINDOW_TOTAL.c.spend_nanos)),
    )
    with store.reading() as ledger:
        return [tuple(ledger.connection.execute(statement).one()) for statement in statements]


# --- The rows ------------------------------------------------------------------------------------------------------


def _snapshots(n: int, keys: int) -> list[Row]:
    """Return the *n*th snapshot of every key."""
    return [
        {
            "key_id": key,
            "n": n,
            "at": 1_793_574_004 + 300 * n,
            "stretch_seconds": 300,
            "credits_nanos": 25_000_000_000 + 1_000_003 * n + key,
            "credits_daily_nanos": 1_000_003 * n,
            "byok_nanos": None,
            "byok_daily_nanos": None,
        }
        for key in range(1, keys + 1)
    ]


def _totals(quarter: int, keys: int) -> list[Row]:
    """Return what every key adds to its total of one quarter hour."""
    return [
        {
            "start": 1_793_574_000 + 900 * quarter,
            "owner_id": (key - 1) // KEYS_AN_OWNER + 1,
            "key_id": key,
            "meter": 0,
            "spend_nanos": 10_416_667 + key,
            "correction_nanos": 0,
        }
        for key in range(1, keys + 1)
    ]


def _tuples(new: list[Row]) -> list[tuple[int, ...]]:
    return [tuple(row.values()) for row in new]


# --- The ways ------------------------------------------------------------------------------------------------------


def _insert_ours(store: Store, new: list[Row]) -> Cost:
    def write() -> None:
        with store._writer.begin() as connection:
            insert_rows(connection, SNAPSHOT, new)

    return timed(write)


def _upsert_ours(store: Store, new: list[Row]) -> Cost:
    def write() -> None:
        with store._writer.begin() as connection:
            for _ in range(_POLLS_A_WINDOW):
                upsert_rows(connection, WINDOW_TOTAL, new, key=_KEY, add=_SUMS)

    return timed(write)


def _add_all(store: Store, new: list[Row]) -> Cost:
    def write() -> None:
        with Session(store._writer) as session:
            session.add_all(SnapshotRow(**row) for row in new)
            session.commit()

    return timed(write)


def _sqlite_driver(path: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "mmap_size = 0"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _raw_sqlite(driver: sqlite3.Connection, statement: str, batches: list[list[tuple[int, ...]]]) -> Cost:
    def write() -> None:
        driver.execute("BEGIN IMMEDIATE")
        for batch in batches:
            driver.executemany(statement, batch)
        driver.execute("COMMIT")

    return timed(write)


def _raw_postgres(driver: psycopg.Connection, statement: str, batches: list[list[tuple[int, ...]]]) -> Cost:
    def write() -> None:
        with driver.transaction(), driver.cursor() as cursor:
            for batch in batches:
                cursor.executemany(statement.replace("?", "%s"), batch)

    return timed(write)
