"""How many generation ids a running daemon takes in, over HTTP, each in the ledger for good before it is answered.

The daemon is a process of its own, as `reckon run` starts it. Ids come as lines of JSON in bodies as long as may be,
and one by one over many connections at once. Whoever asks does as little as HTTP allows.
"""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from reckon.core.generations import GenerationState
from reckon.store import open_store
from tests.bench.figures import Cost, Figure, Stopwatch, at_least, compared, interleaved
from tests.bench.polling import invented_keys

TOKEN = "a-token-that-only-this-benchmark-knows"
LINES_A_BODY = 1_000
CONNECTIONS = 50
_PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Size:
    ids: int
    single_ids: int
    """How many are handed in one by one, in each round."""
    rounds: int


FULL = Size(ids=10_000, single_ids=1_000, rounds=5)
LONG = Size(ids=10_000, single_ids=10_000, rounds=5)
TINY = Size(ids=100, single_ids=100, rounds=1)


def measure(size: Size) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as home:
        with _daemon(Path(home)) as port:
            numbers = count()
            found = interleaved(
                {
                    "lines": partial(_posted, port, size.ids, LINES_A_BODY, 1, numbers),
                    "single": partial(_posted, port, size.single_ids, 1, CONNECTIONS, numbers),
                },
                size.rounds,
            )
        with open_store(f"sqlite:///{home}/reckon.db", writes=True) as store, store.reading() as ledger:
            kept = ledger.pending_counts()[GenerationState.PENDING]
    ids = {"lines": size.ids, "single": size.single_ids}
    rates = {way: [ids[way] / cost.wall_seconds for cost in costs] for way, costs in found.items()}
    wanted = [10_000.0] * size.rounds
    yield compared("Ids taken in as lines of JSON : 10,000 a second", rates["lines"], wanted, "/s", at_least(1))
    yield compared(f"Ids one by one, {CONNECTIONS} connections : 10,000 a second", rates["single"], wanted, "/s")
    handed_in = sum(ids.values()) * size.rounds
    yield compared("Ids kept : handed in", [kept], [handed_in], "", at_least(1))


def _posted(port: int, ids: int, lines: int, connections: int, numbers: Iterator[int]) -> Cost:
    """Hand in so many new ids, so many in a body, and return what it took until the last was accepted."""
    names = [f"gen-{next(numbers):010d}-abcdefghij" for _ in range(ids)]
    bodies = iter(
        [
            "\n".join(json.dumps({"id": name}) for name in names[first : first + lines]).encode()
            for first in range(0, ids, lines)
        ]
    )
    watch = Stopwatch()

    async def post() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in bodies:
            writer.write(_HEAD % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 202 "), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            assert json.loads(await reader.readexactly(length))["duplicates"] == 0
        writer.close()
        await writer.wait_closed()

    async def post_all() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(post())

    with watch.running():
        asyncio.run(post_all())
    return watch.cost


_HEAD = (
    b"POST /v1/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + TOKEN.encode() + b"\r\n"
    b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n"
)


@contextmanager
def _daemon(home: Path) -> Iterator[int]:
    """Run a daemon that takes generations in and looks none up yet; yield the port of its HTTP surface."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    config = Path(home, "reckon.toml")
    config.touch(mode=0o600)
    config.write_text(
        f'openrouter.base_url = "http://127.0.0.1:1/api/v1"\nhttp.listen = "127.0.0.1:{port}"\nhttp.token = "{TOKEN}"\n'
        f'settle.schedule = ["24h"]\nlog.level = "error"\npoll.every = "1h"\n'
        f'owners.ana.keys = [{{ name = "key", key = "{invented_keys(1)[0]}" }}]\n'
    )
    daemon = subprocess.Popen(
        [sys.executable, "-m", "reckon", "--config", str(config), "run"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    try:
        asyncio.run(_is_open(port))
        yield port
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=_PATIENCE_SECONDS) == 0


async def _is_open(port: int) -> None:
    """Return as soon as somebody listens there."""
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(0.05)
