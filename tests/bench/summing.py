"""Reports over years of generations, beside DuckDB reading the raw rows in the same run.

DuckDB is the best there is at adding up many rows, and reads them all; Reckon reads the sums that it kept. Both give
back every row with its names. The history keeps the density of ten million generations of a thousand owners in 400
days; the usual run has a tenth of each owner and generation, `--long` all of them.

Mean and deviation are of what each owner's days came to. The days of the ledger are those that its polls closed, here
with the money of the generations in them.
"""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import chain
from math import isclose, sqrt
from pathlib import Path

from reckon.core.baseline import Baseline
from reckon.core.noticing import Concern
from reckon.core.records import Amounts, OwnerDay, TotalState
from reckon.core.windows import Window, day_start
from reckon.store import Store, histories, open_store
from reckon.store.names import owner_numbers
from reckon.store.rows import seconds
from reckon.store.tables import OWNER_DAY
from reckon.store.writing import insert_rows
from tests.bench.calls import FIRST_DAY, MODELS, ZONE, calls_of_days, model_name, owner_name, write_history
from tests.bench.figures import Figure, Goal, NotMeasured, at_most, compared, interleaved, timed
from tests.bench.ledger import sqlite_ledger
from tests.databases import postgres_server

_BY = frozenset({"owner", "model", "requested_model"})
_EPOCH = date(1970, 1, 1)


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
    one_owner: Goal
    deviations: Goal


def measure(size: Size) -> Iterator[Figure]:
    with ExitStack() as resources:
        rival = resources.enter_context(_duckdb(size))
        store = resources.enter_context(sqlite_ledger())
        yield from _figures("SQLite", store, rival, Goals(at_most(4), at_most(0.5), at_most(2)), size)
        yield from _command(store, rival, size)
        server = resources.enter_context(postgres_server())
        store = resources.enter_context(open_store(server.lend(), writes=True))
        yield from _figures("Postgres", store, rival, Goals(at_most(3), at_most(1), at_most(5)), size)


def _figures(database: str, store: Store, rival, goals: Goals, size: Size) -> Iterator[Figure]:
    write_history(store, calls_of_days(size.owners, size.days, size.each_day), size.owners)
    last = date(2025, 10, 1).toordinal() + size.days
    ends = day_start(date.fromordinal(last), ZONE)
    everything = Window(FIRST_DAY, ends)
    spans = {
        "30 days": (Window(day_start(date.fromordinal(last - 30), ZONE), ends), None, goals.month),
        "the whole history": (everything, None, at_most(0.8)),
        "one owner's": (everything, [owner_name(0)], goals.one_owner),
    }
    for what, (span, owners, goal) in spans.items():
        ours, theirs = _ours(store, span, owners), _theirs(rival, span, owners)
        assert sorted(theirs()) == sorted(
            (total.place.owner, total.place.model, total.generations, total.credits_nanos) for total in ours()
        )
        yield _beside(f"G8 {database} owner x model, {what} : DuckDB", ours, theirs, goal, size)
    _write_days(store, rival)
    ours, theirs = _our_deviations(store, size, date.fromordinal(last)), _their_deviations(rival)
    found, expected = ours(), {owner: figures for owner, *figures in theirs()}
    assert found.keys() == expected.keys()
    assert all(map(isclose, chain.from_iterable(found.values()), chain(*(expected[owner] for owner in found))))
    yield _beside(f"G8 {database} mean and sigma of all owners : DuckDB", ours, theirs, goals.deviations, size)


def _beside(what: str, ours: Callable, theirs: Callable, goal: Goal, size: Size) -> Figure:
    costs = interleaved({"ours": partial(timed, ours), "rival": partial(timed, theirs)}, size.rounds)
    wall = {name: [cost.wall_seconds * 1000 for cost in found] for name, found in costs.items()}
    return compared(what, wall["ours"], wall["rival"], "ms", goal)


def _ours(store: Store, span: Window, owners: list[str] | None) -> Callable[[], list]:
    def read() -> list:
        with store.reading() as ledger:
            return ledger.call_totals([(None, span)], _BY, ZONE, owners)[0]

    return read


def _our_deviations(store: Store, size: Size, today: date) -> Callable[[], dict[str, list[float]]]:
    """Return what reads, as a poll does, every owner's history, and makes mean and deviation of it."""
    concerned = {owner_name(number): Concern(today) for number in range(size.owners)}

    def read() -> dict[str, list[float]]:
        with store.reading() as ledger:
            found = histories.read(ledger.connection, concerned, byok=True)
        pasts = {owner: history.past.folded for owner, history in found.items()}
        return {owner: [past.total_nanos / past.days, _deviation(past)] for owner, past in pasts.items() if past.days}

    return read


def _deviation(past: Baseline) -> float:
    return sqrt(past.days * past.squares - past.total_nanos**2) / past.days


def _write_days(store: Store, rival) -> None:
    """Write what each owner's days came to as closed ones, and fold them as closing a day does."""
    zero = {"correction_nanos": 0, "byok_nanos": 0, "byok_correction_nanos": 0, "state": TotalState.SETTLED.value}
    with store._writer.begin() as connection:
        found = [(owner, _EPOCH + timedelta(days), nanos) for owner, days, nanos in rival.execute(_DAYS).fetchall()]
        numbers = owner_numbers(connection, {owner for owner, *_ in found})
        rows_of_days = [
            {"owner_id": numbers[owner], "day": day.isoformat(), "spend_nanos": nanos} | zero
            for owner, day, nanos in found
        ]
        insert_rows(connection, OWNER_DAY, rows_of_days)
        written = [OwnerDay(owner, day, Amounts(), TotalState.SETTLED) for owner, day, _ in found]
        histories.keep_up(connection, written, rebuilt=False)


def _command(store: Store, rival, size: Size) -> Iterator[Figure]:
    """Compare whole processes: the command that a person waits for, and one that asks DuckDB the same."""
    span = ["2025-10-01", date.fromordinal(date(2025, 10, 1).toordinal() + size.days).isoformat()]
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        config = Path(directory, "reckon.toml")
        config.touch(mode=0o600)
        config.write_text(f'timezone = "{ZONE.key}"\nstore.url = "sqlite:///{store.name}"\n')
        rival.execute("CHECKPOINT")
        (file,) = rival.execute("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL").fetchone()
        copy = shutil.copy(file, directory)
        spend = [sys.executable, "-m", "reckon", "--config", str(config), "spend", "--by", "model"]
        ours = partial(_output, *spend, "--since", span[0], "--until", span[1], "--json")
        theirs = partial(_output, sys.executable, "-c", _WHOLE_PROCESS, copy)
        assert sum(row["generations"] or 0 for row in json.loads(ours())["rows"]) == size.days * size.each_day
        assert sum(generations for _, generations, *_ in json.loads(theirs())) == size.days * size.each_day
        yield _beside("G11 reckon spend --by model : DuckDB's process", ours, theirs, at_most(3), size)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True).stdout


# --- The rival -----------------------------------------------------------------------------------------------------

_WHOLE_PROCESS = """
import duckdb, json, sys
with duckdb.connect(sys.argv[1], read_only=True) as rival:
    print(json.dumps(rival.execute(
        "SELECT model.name, count(*), sum(credits_nanos)::BIGINT, sum(input_tokens)::BIGINT,"
        " sum(output_tokens)::BIGINT FROM generation JOIN model ON model.id = model_id GROUP BY model.name"
    ).fetchall()))
"""
_DAYS = """
SELECT name, created_at // 86400, sum(credits_nanos)::BIGINT
FROM generation JOIN owner ON owner.id = owner_id GROUP BY ALL
"""
_DEVIATIONS = f"""
SELECT name, avg(nanos), stddev_pop(nanos) FROM ({_DAYS}) AS days(name, day, nanos) GROUP BY name
"""  # noqa: S608 - our own words
_ADDED_UP = """
SELECT owner.name, model.name, generations, credits FROM (
  SELECT owner_id, model_id, count(*) AS generations, sum(credits_nanos)::BIGINT AS credits,
    sum(input_tokens)::BIGINT, sum(output_tokens)::BIGINT, sum(cache_read_tokens)::BIGINT
  FROM generation WHERE created_at >= ? AND created_at < ? %s GROUP BY owner_id, model_id
) JOIN owner ON owner.id = owner_id JOIN model ON model.id = model_id
"""


def _theirs(rival, span: Window, owners: list[str] | None) -> Callable[[], list]:
    of_some = "" if owners is None else "AND owner_id IN (SELECT id FROM owner WHERE list_contains(?, name))"
    asked = [seconds(span.start), seconds(span.end)] + ([] if owners is None else [owners])
    return lambda: rival.execute(_ADDED_UP % of_some, asked).fetchall()


def _their_deviations(rival) -> Callable[[], list]:
    return lambda: rival.execute(_DEVIATIONS).fetchall()


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
