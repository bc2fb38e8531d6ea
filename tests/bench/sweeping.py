"""One sweep of an account beside as many polls of single keys: what each costs for a key, and what the daemon weighs.

Both are the whole job, as the daemon does it: asking over TLS, strict reading, the decision and the commit. From one
poll to the next one key in ten has spent.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import event

from reckon.app import system_clock
from reckon.config import Settings, load
from reckon.sources.openrouter import LaneTransport
from reckon.store import Store
from reckon.watch import open_watcher
from tests.bench.figures import Cost, Figure, Stopwatch, at_most, compared, interleaved, told
from tests.bench.ledger import sqlite_ledger
from tests.bench.memory import configuration, weighed
from tests.bench.polling import invented_keys
from tests.bench.upstream import Upstream, upstream


@dataclass(frozen=True)
class Size:
    keys: int
    rounds: int


FULL = Size(keys=10_000, rounds=5)
TINY = Size(keys=120, rounds=1)


def measure(size: Size) -> Iterator[Figure]:
    with upstream(keys=size.keys) as server, tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        accounts = {
            "sweep": _written(Path(directory, "sweep"), _swept(server)),
            "single": _written(Path(directory, "single"), configuration(server, size.keys)),
        }
        with _ledgers(accounts) as stores:
            ways = {
                name: partial(_polled, load(config, {}), stores[name], server, size.keys)
                for name, config in accounts.items()
            }
            for first_poll in ways.values():
                first_poll()
            found = interleaved(ways, size.rounds)
            statements = _statements_of(ways["sweep"], stores["sweep"])
        weights = {name: weighed(str(config), str(server.certificate)) for name, config in accounts.items()}
    cpu = {name: [cost.cpu_seconds / size.keys * 1e6 for cost in costs] for name, costs in found.items()}
    wall = [cost.wall_seconds for cost in found["sweep"]]
    keys = f"{size.keys:,} keys"
    yield compared(f"G4 {keys}, CPU a key: sweep : single polls", cpu["sweep"], cpu["single"], "µs", at_most(1 / 20))
    yield told(f"G4 {keys}, one sweep with its commit", wall, "s")
    yield told("G4 statements of one sweep", [statements], "")
    sweep, single = ([weights[name].peak_mib] for name in ("sweep", "single"))
    yield compared(f"G4 {keys}, peak of the daemon: sweep : single polls", sweep, single, "MiB", at_most(1))


def _polled(settings: Settings, store: Store, server: Upstream, keys: int) -> Cost:
    """Poll everything once, and return what asking, deciding and committing took."""
    watch = Stopwatch()

    async def poll() -> None:
        transport = LaneTransport(settings.poll.concurrency, server.ssl_context())
        async with open_watcher(settings, {}, transport=transport, store=store) as watcher:
            with watch.running():
                (plan,) = await watcher.poll_everything(system_clock())
        assert (plan.polled, plan.failures) == (keys, ())

    asyncio.run(poll())
    return watch.cost


def _statements_of(work, store: Store) -> int:
    """Return how many statements *work* runs on what writes to *store*; many rows of one statement are one."""
    run = []
    event.listen(store._writer, "before_cursor_execute", lambda *statement: run.append(statement[2]))
    work()
    return len(run)


@contextmanager
def _ledgers(accounts) -> Iterator[dict[str, Store]]:
    with sqlite_ledger() as sweep, sqlite_ledger() as single:
        yield dict(zip(accounts, (sweep, single), strict=True))


def _swept(server: Upstream) -> str:
    owners = [f'owners.owner-{number}.match = {{ name = "key-{number:02d}*" }}' for number in range(100)]
    return "\n".join(
        [
            f'openrouter.base_url = "{server.base_url}"',
            f'openrouter.management_key = "{invented_keys(1)[0]}"',
            'log.level = "error"',
            'poll.sweep_every = "1s"',
            'http.listen = "127.0.0.1:0"',
            *owners,
        ]
    )


def _written(home: Path, text: str) -> Path:
    home.mkdir()
    config = home / "reckon.toml"
    config.touch(mode=0o600)
    config.write_text(text)
    return config
