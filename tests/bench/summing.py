"""Reports over years of generations, beside DuckDB reading the raw rows in the same run.

DuckDB is the best there is at adding up many rows, and reads them all; Reckon reads the sums that it kept. Both give
back every row with its names. The history keeps the density of ten million generations of a thousand owners in 400
days; the usual run has a tenth of each owner and generation, `--long` all of them.
"""

import csv
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

from reckon.core.windows import Window, day_start
from reckon.store import Store, open_store
from reckon.store.rows import seconds
from tests.bench.calls import FIRST_DAY, MODELS, ZONE, calls_of_days, model_name, owner_name, write_history
from tests.bench.figures import Figure, Goal, NotMeasured, at_most, compared, interleaved, timed
from tests.bench.ledger import sqlite_ledger
from tests.databases import postgres_server

_BY = frozenset({"owner", "model", "requested_model"})


@dataclass(frozen=True)
class Size:
    owners: int
    days: int
    each_day: int
    rounds: int


FULL = Size(owners=100, days=400, each_day=2_500, rounds=9)
LONG = Size(owners=1_000, days=400, each_day=25_000, rounds=9)
TINY = Size(owners=4, days=70, each_day=3, rounds=1)


@dataclass(frozen=True)
class Goals:
    month: Goal
    everything: Goal


def measure(size: Size) -> Iterator[Figure]:
    with ExitStack() as resources:
        rival = resources.enter_context(_duckdb(size))
        store = resources.enter_context(sqlite_ledger())
        yield from _figures("SQLite", store, rival, Goals(at_most(4), at_most(0.8)), size)
        server = resources.enter_context(postgres_server())
        store = resources.enter_context(open_store(server.lend(), writes=True))
        yield from _figures("Postgres", store, rival, Goals(at_most(3), at_most(0.8)), size)


def _figures(database: str, store: Store, rival, goals: Goals, size: Size) -> Iterator[Figure]:
    write_history(store, calls_of_days(size.owners, size.days, size.each_day), size.owners)
    last = date(2025, 10, 1).toordinal() + size.days
    ends = day_start(date.fromordinal(last), ZONE)
    spans = {
        "30 days": (Window(day_start(date.fromordinal(last - 30), ZONE), ends), goals.month),
        "the whole history": (Window(FIRST_DAY, ends), goals.everything),
    }
    for what, (span, goal) in spans.items():
        ours, theirs = _ours(store, span), _theirs(rival, span)
        assert sorted(theirs()) == sorted(
            (total.place.owner, total.place.model, total.generations, total.credits_nanos) for total in ours()
        )
        costs = interleaved({"ours": partial(timed, ours), "rival": partial(timed, theirs)}, size.rounds)
        wall = {name: [cost.wall_seconds * 1000 for cost in found] for name, found in costs.items()}
        yield compared(f"G8 {database} owner x model, {what} : DuckDB", wall["ours"], wall["rival"], "ms", goal)


def _ours(store: Store, span: Window) -> Callable[[], list]:
    def read() -> list:
        with store.reading() as ledger:
            return ledger.call_totals([(None, span)], _BY, ZONE)[0]

    return read


# --- The rival -----------------------------------------------------------------------------------------------------

_ADDED_UP = """
SELECT owner.name, model.name, generations, credits FROM (
  SELECT owner_id, model_id, count(*) AS generations, sum(credits_nanos)::BIGINT AS credits,
    sum(input_tokens)::BIGINT, sum(output_tokens)::BIGINT, sum(cache_read_tokens)::BIGINT
  FROM generation WHERE created_at >= ? AND created_at < ? GROUP BY owner_id, model_id
) JOIN owner ON owner.id = owner_id JOIN model ON model.id = model_id
"""


def _theirs(rival, span: Window) -> Callable[[], list]:
    return lambda: rival.execute(_ADDED_UP, [seconds(span.start), seconds(span.end)]).fetchall()


def _duckdb(size: Size):
    """Return a DuckDB that holds the raw rows in a file of its own."""
    try:
        import duckdb  # noqa: PLC0415 - only this benchmark needs it
    except ImportError:
        raise NotMeasured("duckdb is not installed: `pip install reckon[bench]`") from None
    return _filled(duckdb, size)


@contextmanager
def _filled(duckdb, size: Size):
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        raw = Path(directory, "raw.csv")
        with raw.open("w", newline="") as file:
            writer = csv.writer(file)
            for calls in calls_of_days(size.owners, size.days, size.each_day):
                writer.writerows((call.at, call.id, call.nanos, call.owner, call.model, *call.tokens) for call in calls)
        with duckdb.connect(f"{directory}/rival.duckdb") as rival:
            rival.execute(
                "CREATE TABLE generation (created_at BIGINT, id VARCHAR, credits_nanos BIGINT, owner_id INTEGER,"
                " model_id INTEGER, input_tokens BIGINT, output_tokens BIGINT, cache_read_tokens BIGINT)"
            )
            rival.execute(f"COPY generation FROM '{raw}'")
            raw.unlink()
            for table, count, name in (("owner", size.owners, owner_name), ("model", MODELS, model_name)):
                rival.execute(f"CREATE TABLE {table} (id INTEGER, name VARCHAR)")
                rival.executemany(f"INSERT INTO {table} VALUES (?, ?)", [(n, name(n)) for n in range(count)])  # noqa: S608 - our own words
            yield rival
