"""Sweeps of single keys over TLS: how fast, how close to what latency allows, and at what cost per poll.

Ours is the whole real thing: source, client, lanes, strict JSON, wire models, snapshots. The rivals stop at the bytes
of the body, but for the naive loop, which does what a first script would: `requests.get`, `.json()`, a line of log.
"""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import httpx
import requests
from pydantic import SecretStr

from reckon.app import system_clock
from reckon.core.records import WatchedKey
from reckon.sources.openrouter import LaneTransport, OpenRouterClient, OpenRouterSource
from tests.bench.figures import Cost, Figure, Stopwatch, at_least, at_most, compared, interleaved
from tests.bench.upstream import Upstream, upstream

LATENCY_SECONDS = 0.2


@dataclass(frozen=True)
class Size:
    rounds: int
    polls: int
    naive_polls: int
    waiting_rounds: int
    """A round of waiting is mostly that, and hardly varies."""
    waits: int
    """How many polls one after the other each connection makes under latency."""
    naive_waits: int


FULL = Size(rounds=7, polls=1_000, naive_polls=150, waiting_rounds=5, waits=20, naive_waits=4)
TINY = Size(rounds=1, polls=20, naive_polls=2, waiting_rounds=1, waits=1, naive_waits=1)


def measure(size: Size) -> Iterator[Figure]:
    yield from _without_latency(size)
    yield from _with_latency(size)


def _without_latency(size: Size) -> Iterator[Figure]:
    with upstream() as server:
        found = interleaved(
            {
                "ours": partial(_sweep, _ours, server, size.polls, 10),
                "httpx": partial(_sweep, _tuned_httpx, server, size.polls, 10),
                "aiohttp": partial(_sweep, _aiohttp, server, size.polls, 10),
                "naive": partial(_naive, server, size.naive_polls),
            },
            size.rounds,
        )
    counts = {"ours": size.polls, "httpx": size.polls, "aiohttp": size.polls, "naive": size.naive_polls}
    speed = {name: [counts[name] / cost.wall_seconds for cost in costs] for name, costs in found.items()}
    cpu = {name: [cost.cpu_seconds / counts[name] * 1e6 for cost in costs] for name, costs in found.items()}
    yield compared("G1 sweep, 10 in flight : raw tuned httpx", speed["ours"], speed["httpx"], "/s", at_least(0.90))
    yield compared("G1 sweep, 10 in flight : naive loop", speed["ours"], speed["naive"], "/s", at_least(5))
    yield compared("G3 CPU per key poll : raw tuned httpx", cpu["ours"], cpu["httpx"], "µs", at_most(1.15))
    yield compared("G3 CPU per key poll : raw aiohttp", cpu["ours"], cpu["aiohttp"], "µs", at_most(6.5))
    yield compared("G3 CPU per key poll : naive loop", cpu["ours"], cpu["naive"], "µs", at_most(0.22))


def _with_latency(size: Size) -> Iterator[Figure]:
    polls = {lanes: lanes * size.waits for lanes in (50, 100)}
    stock_polls = 2 * 100 if size.waits > 1 else 100
    with upstream(latency_seconds=LATENCY_SECONDS) as server:
        found = interleaved(
            {
                "50": partial(_sweep, _ours, server, polls[50], 50),
                "100": partial(_sweep, _ours, server, polls[100], 100),
                "stock": partial(_sweep, _stock_httpx, server, stock_polls, 100),
                "naive": partial(_naive, server, size.naive_waits),
            },
            size.waiting_rounds,
        )
    counts = {"50": polls[50], "100": polls[100], "stock": stock_polls, "naive": size.naive_waits}
    speed = {name: [counts[name] / cost.wall_seconds for cost in costs] for name, costs in found.items()}
    allowed = {lanes: [lanes / LATENCY_SECONDS] * size.waiting_rounds for lanes in (50, 100)}
    yield compared("G2 200 ms, 50 in flight : ideal", speed["50"], allowed[50], "/s", at_least(0.90))
    yield compared("G2 200 ms, 50 in flight : naive loop", speed["50"], speed["naive"], "/s", at_least(40))
    yield compared("G2 200 ms, 100 in flight : ideal", speed["100"], allowed[100], "/s", at_least(0.85))
    yield compared("G2 200 ms, 100 in flight : stock pool", speed["100"], speed["stock"], "/s")


# --- The ways ------------------------------------------------------------------------------------------------------

Way = Callable[[Upstream, list[str], int, Stopwatch], Awaitable[None]]


def invented_keys(count: int) -> list[str]:
    return [f"sk-or-v1-{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(count)]


def _sweep(way: Way, server: Upstream, polls: int, in_flight: int) -> Cost:
    """Return what asking so many keys took: from the first connection to the last answer, the client being made."""
    watch = Stopwatch()
    asyncio.run(way(server, invented_keys(polls), in_flight, watch))
    return watch.cost


def real_source(server: Upstream, keys: list[str], in_flight: int) -> tuple[OpenRouterSource, list[WatchedKey]]:
    """Return our source over *keys*, as the daemon would make it, and the keys to hand to it."""
    secrets = {hashlib.sha256(key.encode()).hexdigest(): SecretStr(key) for key in keys}
    client = OpenRouterClient(
        server.base_url,
        timeout_seconds=15,
        clock=system_clock,
        transport=LaneTransport(in_flight, server.ssl_context()),
    )
    watched = [WatchedKey(key_hash, f"owner {number % 50}", key_hash[:12]) for number, key_hash in enumerate(secrets)]
    return OpenRouterSource(client, secrets, clock=system_clock, concurrency=in_flight), watched


async def _ours(server: Upstream, keys: list[str], in_flight: int, watch: Stopwatch) -> None:
    source, watched = real_source(server, keys, in_flight)
    with watch.running():
        poll = await source.poll(watched)
    await source._client.aclose()
    assert len(poll.snapshots) == len(keys), poll.failures[:1]


async def _tuned_httpx(server: Upstream, keys: list[str], in_flight: int, watch: Stopwatch) -> None:
    async with tuned_httpx(server, in_flight) as clients:
        with watch.running():
            await by_workers([partial(httpx_get, client, server.key_url) for client in clients], keys)


@asynccontextmanager
async def tuned_httpx(server: Upstream, in_flight: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """As many clients of one connection as may be in flight, all on one SSL context."""
    context = server.ssl_context()
    limits = httpx.Limits(max_connections=1, max_keepalive_connections=1)
    clients = [httpx.AsyncClient(verify=context, limits=limits, trust_env=False) for _ in range(in_flight)]
    yield clients
    for client in clients:
        await client.aclose()


async def _stock_httpx(server: Upstream, keys: list[str], in_flight: int, watch: Stopwatch) -> None:
    """One client as it comes, of which nobody warns."""
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    async with httpx.AsyncClient(verify=server.ssl_context(), limits=limits, timeout=60, trust_env=False) as client:
        with watch.running():
            await by_workers([partial(httpx_get, client, server.key_url)] * in_flight, keys)


async def httpx_get(client: httpx.AsyncClient, url: str, key: str) -> None:
    response = await client.get(url, headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200
    assert response.content


async def _aiohttp(server: Upstream, keys: list[str], in_flight: int, watch: Stopwatch) -> None:
    connector = aiohttp.TCPConnector(limit=in_flight, ssl=server.ssl_context())
    async with aiohttp.ClientSession(connector=connector) as session:

        async def get(key: str) -> None:
            async with session.get(server.key_url, headers={"Authorization": f"Bearer {key}"}) as response:
                assert response.status == 200
                assert await response.read()

        with watch.running():
            await by_workers([get] * in_flight, keys)


async def by_workers(gets: list[Callable[[str], Awaitable[Any]]], keys: list[str]) -> None:
    waiting = iter(keys)

    async def work(get: Callable[[str], Awaitable[Any]]) -> None:
        for key in waiting:
            await get(key)

    async with asyncio.TaskGroup() as group:
        for get in gets:
            group.create_task(work(get))


def _naive(server: Upstream, polls: int) -> Cost:
    """One key after the other, each with a connection of its own and a line in the log."""
    log = logging.Logger("naive")  # noqa: LOG001 - one that nobody else has set up
    with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - a device, not a path
        log.addHandler(logging.StreamHandler(nowhere))
        log.handlers[0].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        watch = Stopwatch()
        with watch.running():
            for key in invented_keys(polls):
                response = requests.get(
                    server.key_url,
                    headers={"Authorization": f"Bearer {key}"},
                    verify=str(server.certificate),
                    timeout=15,
                )
                log.info("key %s has used %s", key[:12], response.json()["data"]["usage"])
    return watch.cost
