"""Asking an `OpenRouterSource` whose other side is a function of the request."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import httpx
from pydantic import SecretStr

from reckon.core.records import WatchedKey
from reckon.sources.openrouter import OpenRouterClient, OpenRouterSource
from tests.canary import inference_key

BASE_URL = "https://openrouter.test/api/v1"
NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
KEY, OTHER_KEY, THIRD_KEY = (inference_key(n) for n in (1, 2, 3))

COUNTERS = (
    "usage",
    "usage_daily",
    "usage_weekly",
    "usage_monthly",
    "byok_usage",
    "byok_usage_daily",
    "byok_usage_weekly",
    "byok_usage_monthly",
)


class Clock:
    """Stands still until it is set."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


class Upstream(httpx.AsyncBaseTransport):
    """Answers every request by a function of its path and key, and keeps the requests."""

    def __init__(self, answer: Callable[[str, str], httpx.Response]) -> None:
        self._answer = answer
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await asyncio.sleep(0)  # a real answer is never there at once
        return self._answer(request.url.path.removeprefix("/api/v1"), key_of(request))

    @property
    def asked(self) -> list[str]:
        return [request.url.path.removeprefix("/api/v1") for request in self.requests]


def source_over(upstream, *secrets, clock=None, management_key=None, concurrency=4, timeout_seconds=5):
    """Return a source that knows *secrets* (`KEY` alone if none are given) and the client below it."""
    clock = clock or Clock()
    client = OpenRouterClient(BASE_URL, timeout_seconds=timeout_seconds, clock=clock, transport=upstream)
    known = {hash_of(secret): SecretStr(secret) for secret in secrets or (KEY,)}
    management = None if management_key is None else SecretStr(management_key)
    return OpenRouterSource(client, known, clock=clock, management_key=management, concurrency=concurrency), client


def poll(answer, *secrets, **options):
    """Return one poll of *secrets*, answered by *answer*."""
    secrets = secrets or (KEY,)
    source, _ = source_over(Upstream(answer), *secrets, **options)
    return asyncio.run(source.poll(watched(*secrets)))


def watched(*secrets: str) -> list[WatchedKey]:
    return [WatchedKey(hash=hash_of(secret), owner="ada", name=f"key {n}") for n, secret in enumerate(secrets)]


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def key_of(request: httpx.Request) -> str:
    return request.headers["authorization"].removeprefix("Bearer ")


def good(**changes: object) -> dict[str, object]:
    """Return a sound answer to `/key`, with *changes* to its data."""
    data: dict[str, object] = dict.fromkeys(COUNTERS, 0) | {"usage": 25.5, "usage_daily": 1.5, "byok_usage": 17.38}
    return {"data": data | {"label": "sk-or-v1-abc...123", "limit": None, "is_free_tier": False} | changes}


def json_answer(value: object, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> httpx.Response:
    return body_answer(json.dumps(value).encode(), status, headers)


def body_answer(body: bytes, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> httpx.Response:
    return httpx.Response(status, content=body, headers=[("Content-Type", "application/json"), *headers])
