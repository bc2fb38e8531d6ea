"""What the ledger weighs after some days of a team at work, every page counted that SQLite or Postgres gave to it.

A tenth of the keys change from poll to poll, each by itself; real keys come in bursts, which fill fewer quarter hours.
Rows are written poll by poll, so that those of a key arrive among those of all others and pages fill as they would;
what is left over in them is counted. A key-day is written by the whole of the real poll; for a single row a thousand
keys are worth more than whole polls, so those rows alone are written, by the store's statement.
"""

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

from sqlalchemy import text

from reckon.core.money import NANOS_PER_USD
from reckon.store import Store, open_store, rows
from reckon.store.tables import SNAPSHOT
from reckon.store.writing import insert_rows
from tests.bench.figures import Figure, limited
from tests.bench.ledger import NANOS_A_DAY, POLL_EVERY, POLLS_A_DAY, START, Team, sqlite_ledger
from tests.databases import postgres_server

SHARE_CHANGED = 0.1


@dataclass(frozen=True)
class Size:
    keys: int
    polls: int
    row_keys: int
    row_polls: int


FULL = Size(keys=40, polls=3 * POLLS_A_DAY, row_keys=1_000, row_polls=5 * POLLS_A_DAY)
TINY = Size(keys=5, polls=4, row_keys=5, row_polls=20)


def measure(size: Size) -> Iterator[Figure]:
    with sqlite_ledger() as store:
        count = _write_snapshots(store, size)
        of_snapshots = partial(sqlite_bytes, store.name, "snapshot")
        yield limited("G6 a stored snapshot, SQLite", [of_snapshots() / count], 36, "B")
        yield limited("G6 the same after VACUUM", [of_snapshots(vacuumed=True) / count], 36, "B")
    with sqlite_ledger() as store:
        team = Team(size.keys)
        team.commit(store, team.first_poll())
        for _ in range(size.polls):
            team.commit(store, team.poll(share_changed=SHARE_CHANGED))
        key_days = size.keys * size.polls / POLLS_A_DAY
        snapshots = sqlite_bytes(store.name, "snapshot") / key_days
        windows = sqlite_bytes(store.name, "window_total") / key_days
        yield limited("G6 a key-day of snapshots, SQLite", [snapshots], 1_024, "B")
        yield limited("G6 a key-day with window totals, SQLite", [snapshots + windows], 2_048, "B")
    with postgres_server() as server, open_store(server.lend(), writes=True) as store:
        count = _write_snapshots(store, size)
        yield limited("G6 a stored snapshot, Postgres", [_postgres_bytes(store, "snapshot") / count], 110, "B")


def _write_snapshots(store: Store, size: Size) -> int:
    """Write what so many polls find, in one transaction, and return how many snapshots that is."""
    team = Team(size.row_keys)
    team.commit(store, team.first_poll())
    luck = random.Random(2)  # noqa: S311 - nobody need be unable to guess it
    most_nanos = int(2 * NANOS_A_DAY / POLLS_A_DAY / SHARE_CHANGED)
    opened_at, stretch_seconds = rows.seconds(START), int(POLL_EVERY.total_seconds())
    counts = [1] * size.row_keys
    totals = [luck.randrange(10 * NANOS_PER_USD, 90 * NANOS_PER_USD) for _ in counts]
    with store._writer.begin() as connection:
        for poll in range(1, size.row_polls + 1):
            if poll % POLLS_A_DAY == 1:
                midnight_totals = list(totals)
            found = []
            for place in range(size.row_keys):
                if luck.random() >= SHARE_CHANGED:
                    continue
                counts[place] += 1
                totals[place] += luck.randrange(1, most_nanos)
                found.append(
                    {
                        "key_id": place + 1,
                        "n": counts[place],
                        "at": opened_at + poll * stretch_seconds + place * 4 // size.row_keys,
                        "stretch_seconds": stretch_seconds,
                        "credits_nanos": totals[place],
                        "credits_daily_nanos": totals[place] - midnight_totals[place],
                        "byok_nanos": None,
                        "byok_daily_nanos": None,
                    }
                )
            insert_rows(connection, SNAPSHOT, found)
    return sum(counts)


def sqlite_bytes(path: str, table: str, *, vacuumed: bool = False) -> int:
    """Return the size of all pages of *table*: as many as become free when it is dropped from a copy."""
    with closing(sqlite3.connect(path)) as ledger, closing(sqlite3.connect(":memory:")) as copy:
        ledger.backup(copy)
        if vacuumed:
            copy.execute("VACUUM")
        before = _pragma(copy, "freelist_count")
        copy.execute(f"DROP TABLE {table}")
        return (_pragma(copy, "freelist_count") - before) * _pragma(copy, "page_size")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return value


def _postgres_bytes(store: Store, table: str) -> int:
    """Return the size of *table* with its indexes and maps."""
    with store.reading() as ledger:
        return ledger.connection.scalar(text("SELECT pg_total_relation_size(:name)"), {"name": table})
