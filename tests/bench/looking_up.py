"""Looking up what pending generations cost: how fast, at what cost for each, and whether memory stays flat.

Ours is the whole way: the ledger's claim, source, client, lanes, strict JSON, the decision, the commit with its
rollups. The rival asks the same server for as many records, and stops at the bytes of the body. All generations are
pending from the beginning and are looked up in as many parts as there are rounds. One in ten is not known when it is
first asked for, and has to wait; the server remembers when it was asked for each.
"""

import asyncio
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path

import httpx
from pydantic import SecretStr

from reckon.app import system_clock
from reckon.core.generations import GenerationState, Handed
from reckon.core.ownership import key_hash
from reckon.core.records import WatchedKey
from reckon.core.settlement import SettlePolicy
from reckon.jobs.settle import Settler, SettleTerms
from reckon.sources.openrouter import LaneTransport, OpenRouterClient, OpenRouterSource
from reckon.store import Store
from tests.bench.calls import ZONE, owner_name
from tests.bench.figures import (
    Cost,
    Figure,
    NotMeasured,
    Stopwatch,
    at_least,
    at_most,
    compared,
    interleaved,
    limited,
)
from tests.bench.ledger import sqlite_ledger
from tests.bench.polling import by_workers, httpx_get, invented_keys, tuned_httpx
from tests.bench.upstream import KNOWN, Upstream, upstream

IN_FLIGHT = 10
SCHEDULE = (timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=5))
POLICY = SettlePolicy(SCHEDULE)
OWNERS = 50
HANDED_IN_AT_ONCE = 10_000
PROXIED_REQUEST_MILLISECONDS = 5.2
"""What a request through LiteLLM's proxy took of the processor on the machine where the goals were set."""
SHARES = (0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Size:
    ids: int
    rounds: int


FULL = Size(ids=10_000, rounds=5)
LONG = Size(ids=100_000, rounds=10)
TINY = Size(ids=20, rounds=1)


@dataclass(frozen=True)
class Part:
    """What one round came to."""

    cost: Cost
    asked: int
    settled: int


def measure(size: Size) -> Iterator[Figure]:
    if not Path("/proc/self/statm").exists():
        raise NotMeasured("only Linux tells what a process weighs")
    each = size.ids // size.rounds
    with upstream() as server, sqlite_ledger() as store:
        backlog = Backlog(server, store, size.ids)
        ours = partial(_run, backlog, each)
        found = interleaved({"ours": ours, "httpx": partial(_raw, server, backlog, each)}, size.rounds)
        _run(backlog, inf)
        waits_seconds = backlog.shortest_waits_seconds()
        with store.reading() as ledger:
            assert ledger.pending_counts() == {GenerationState.PENDING: 0, GenerationState.EXPIRED: 0}
    speed = {name: [part.asked / part.cost.wall_seconds for part in parts] for name, parts in found.items()}
    cpu = {name: [part.cost.cpu_seconds / part.settled * 1000 for part in parts] for name, parts in found.items()}
    yield compared(f"{size.ids:,} pending, lookups : raw tuned httpx", speed["ours"], speed["httpx"], "/s")
    yield compared("CPU per settled generation : raw tuned httpx", cpu["ours"], cpu["httpx"], "ms")
    yield limited("G14 the same : 0.15 x a proxied request", cpu["ours"], 0.15 * PROXIED_REQUEST_MILLISECONDS, "ms")
    tenth, half, whole = (backlog.weights_mib[share] for share in SHARES)
    yield compared("RSS when half are looked up : a tenth", [half], [tenth], "MiB", at_most(1.05))
    yield compared("RSS when all are looked up : a tenth", [whole], [tenth], "MiB", at_most(1.05))
    for which, waited_seconds, scheduled in zip(("first", "second"), waits_seconds, SCHEDULE, strict=False):
        what = f"Shortest wait for a {which} lookup : schedule"
        yield compared(what, [waited_seconds], [scheduled.total_seconds()], "s", at_least(1))


def _run(backlog: "Backlog", most: float) -> Part:
    return asyncio.run(backlog.look_up(most))


class Backlog:
    """Generations that all wait to be looked up, and whoever looks them up."""

    def __init__(self, server: Upstream, store: Store, size: int) -> None:
        self._server = server
        self._store = store
        self.ids = [f"gen-{number:010d}-abcdefghij" for number in range(size)]
        self.weights_mib: dict[float, float] = {}
        """What this process weighed when it had made such a share of the lookups."""
        self._asked = 0
        self._handed_in_at: dict[str, float] = {}
        for first in range(0, size, HANDED_IN_AT_ONCE):
            now = system_clock()
            some = self.ids[first : first + HANDED_IN_AT_ONCE]
            store.hand_in([Handed(name, owner_name(n % OWNERS), None) for n, name in enumerate(some)], POLICY, now)
            self._handed_in_at |= dict.fromkeys(some, now.timestamp())

    async def look_up(self, most: float) -> Part:
        """Look up so many as soon as they are due, or as many as are left."""
        secret = invented_keys(1)[0]
        asker = key_hash(secret)
        client = OpenRouterClient(
            self._server.base_url,
            timeout_seconds=15,
            clock=system_clock,
            transport=LaneTransport(IN_FLIGHT, self._server.ssl_context()),
        )
        source = OpenRouterSource(client, {asker: SecretStr(secret)}, clock=system_clock, concurrency=IN_FLIGHT)
        terms = SettleTerms(POLICY, ZONE, "one", timedelta(seconds=30), IN_FLIGHT)
        watched = [WatchedKey(asker, owner_name(0), "key")]
        settler = Settler(source, self._store, watched, None, terms=terms, clock=system_clock)

        def is_enough() -> bool:
            self._weigh(self._asked + settler.asked)
            return settler.asked >= most

        passes = []
        settled = 0
        while settler.asked < most and (due_at := await settler.next_due()):
            await asyncio.sleep((due_at - system_clock()).total_seconds())
            watch = Stopwatch()
            with watch.running():
                tally = await settler.settle(is_enough=is_enough)
            passes.append(watch.cost)
            settled += tally.settled
        await client.aclose()
        self._asked += settler.asked
        cost = Cost(sum(each.wall_seconds for each in passes), sum(each.cpu_seconds for each in passes))
        return Part(cost, settler.asked, settled)

    def shortest_waits_seconds(self) -> list[float]:
        """Return how soon one was asked for after it was handed in, and how soon for a second time."""
        asked_at = httpx.get(self._server.asked_url, verify=self._server.ssl_context()).json()
        first = min(asked_at[name][0] - at for name, at in self._handed_in_at.items())
        waits = (pairwise(asked_at[name]) for name in self.ids)
        return [first, min((later - earlier for wait in waits for earlier, later in wait), default=inf)]

    def _weigh(self, asked: int) -> None:
        for share in SHARES:
            if share not in self.weights_mib and asked >= share * len(self.ids):
                self.weights_mib[share] = _resident_mib()


def _raw(server: Upstream, backlog: Backlog, each: int) -> Part:
    """Ask for so many records that are there, with as little as httpx allows."""
    watch = Stopwatch()
    urls = [server.generation_url(KNOWN + name) for name in backlog.ids[:each]]
    secret = invented_keys(1)[0]

    async def ask() -> None:
        async with tuned_httpx(server, IN_FLIGHT) as clients:
            with watch.running():
                await by_workers(
                    [lambda url, client=client: httpx_get(client, url, secret) for client in clients], urls
                )

    asyncio.run(ask())
    return Part(watch.cost, each, each)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20
