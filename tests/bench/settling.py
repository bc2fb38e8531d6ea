"""What a settled generation weighs, and what it costs to count it as it is written.

The rows are those of a busy day of a thousand owners, settled in batches as lookups come in. Of the bytes, ids are
counted apart: their text is OpenRouter's, and stands in the table and in its index.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain

from reckon.core.settlement import SettlePlan
from reckon.store import Store, open_store
from reckon.store.generations import rows
from reckon.store.tables import GENERATION
from reckon.store.writing import insert_rows
from tests.bench.calls import ZONE, calls_of_days, settled, write_history
from tests.bench.figures import Figure, at_least, compared, interleaved, limited, timed, told
from tests.bench.ledger import sqlite_ledger
from tests.bench.storing import sqlite_bytes
from tests.databases import postgres_server


@dataclass(frozen=True)
class Size:
    rows: int
    owners: int
    batch: int
    rounds: int


FULL = Size(rows=200_000, owners=1_000, batch=10_000, rounds=6)
TINY = Size(rows=200, owners=5, batch=20, rounds=1)


def measure(size: Size) -> Iterator[Figure]:
    days = 8
    with sqlite_ledger() as store:
        each_day = size.rows // days
        write_history(store, calls_of_days(size.owners, days, each_day), size.owners)
        ids = sum(len(call.id) for call in chain.from_iterable(calls_of_days(size.owners, days, each_day)))
        fixed = sqlite_bytes(store.name, "generation") - 2 * ids
        yield limited("G7 a settled generation without its id, SQLite", [fixed / size.rows], 75, "B")
    with ExitStack() as databases:
        stores = [databases.enter_context(sqlite_ledger()) for _ in range(2)]
        yield from _ingest("SQLite", stores, size)
    with ExitStack() as databases:
        server = databases.enter_context(postgres_server())
        stores = [databases.enter_context(open_store(server.lend(), writes=True)) for _ in range(2)]
        yield from _ingest("Postgres", stores, size)


def _ingest(database: str, stores: list[Store], size: Size) -> Iterator[Figure]:
    ours, bare = stores
    for store in stores:
        store.keep_rollups_in(ZONE)
    by_day = calls_of_days(size.owners, size.rounds, size.batch * 5 // 2)
    batches = [SettlePlan(tuple(map(settled, calls[: size.batch]))) for calls in by_day]
    mine, others = iter(batches), iter(batches)
    costs = interleaved(
        {
            "ours": lambda: timed(partial(ours.commit_settlement, next(mine), ZONE, holder="one")),
            "rows": lambda: timed(partial(_write_rows, bare, next(others))),
        },
        size.rounds,
    )
    rates = {name: [size.batch / cost.wall_seconds / 1000 for cost in found] for name, found in costs.items()}
    yield compared(f"G9 {database} rows with rollups : rows only", rates["ours"], rates["rows"], "k/s", at_least(0.5))
    cpu = [cost.cpu_seconds / size.batch * 1e6 for cost in costs["ours"]]
    yield told(f"G14 {database} processor time to settle and count one", cpu, "us")


def _write_rows(store: Store, plan: SettlePlan) -> None:
    """Write the rows as `commit_settlement` does, and nothing else."""
    with store._writer.begin() as connection:
        insert_rows(connection, GENERATION, rows(connection, plan.settled))
