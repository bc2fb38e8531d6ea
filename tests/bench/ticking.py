"""What it costs to be a daemon: the scheduler's knocks, the looks at what is due, and the log, beside one poll.

The daemon idles with every key polled and none due, as it does for most of a minute; what that takes is scaled to the
minute between two polls. The poll beside it is the real one, of a thousand keys over TLS.
"""

import asyncio
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from reckon.config import load
from reckon.daemon import Daemon
from reckon.sources.openrouter import LaneTransport
from reckon.watch import open_watcher
from tests.bench.figures import Cost, Figure, Stopwatch, at_most, compared, interleaved
from tests.bench.polling import invented_keys
from tests.bench.upstream import Upstream, upstream

_MINUTE_SECONDS = 60


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: int
    idle_seconds: float


FULL = Size(rounds=5, keys=1_000, idle_seconds=10)
TINY = Size(rounds=1, keys=3, idle_seconds=0.3)


def measure(size: Size) -> Iterator[Figure]:
    with upstream() as server, tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        found = interleaved(
            {
                "idle": partial(_alone, _idle, server, Path(directory, "idle"), size),
                "poll": partial(_alone, _poll, server, Path(directory, "poll"), size),
            },
            size.rounds,
        )
    idle = [cost.cpu_seconds * 1_000 * _MINUTE_SECONDS / size.idle_seconds for cost in found["idle"]]
    poll = [cost.cpu_seconds * 1_000 for cost in found["poll"]]
    what = f"G13 scheduler, looks and log of a minute : a poll of {size.keys:,} keys"
    yield compared(what, idle, poll, "ms", at_most(0.02))


def _alone(way, server: Upstream, home: Path, size: Size) -> Cost:
    home.mkdir(exist_ok=True)
    config = home / "reckon.toml"
    config.touch(mode=0o600)
    config.write_text(_configuration(server, size.keys))
    watch = Stopwatch()
    with redirect_stderr(io.StringIO()):
        asyncio.run(way(config, server, size, watch))
    return watch.cost


async def _idle(config: Path, server: Upstream, size: Size, watch: Stopwatch) -> None:
    settings = load(config, {})
    transport = LaneTransport(settings.poll.concurrency, server.ssl_context())
    daemon = Daemon(lambda: settings, dict(os.environ), transport=transport)
    running = asyncio.create_task(daemon.run())
    while not daemon.pulse.polls:
        assert not running.done(), running.exception()
        await asyncio.sleep(0.05)
    with watch.running():
        await asyncio.sleep(size.idle_seconds)
    daemon.stop()
    await running


async def _poll(config: Path, server: Upstream, size: Size, watch: Stopwatch) -> None:
    settings = load(config, {})
    transport = LaneTransport(settings.poll.concurrency, server.ssl_context())
    async with open_watcher(settings, {}, transport=transport) as watcher:
        await watcher.poll_everything(watcher.app.clock())
        with watch.running():
            (plan,) = await watcher.poll_everything(watcher.app.clock())
    assert plan.polled == size.keys


def _configuration(server: Upstream, keys: int) -> str:
    entries = ", ".join(f'{{ name = "{number}", key = "{key}" }}' for number, key in enumerate(invented_keys(keys)))
    return f"""
        openrouter.base_url = "{server.base_url}"
        http.listen = "127.0.0.1:0"
        poll.every = "1h"
        owners.all.keys = [{entries}]
    """
