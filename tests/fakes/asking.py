"""How these tests ask the fake without a network: one request, straight into the ASGI app."""

import asyncio
import json
from decimal import Decimal

import httpx

from reckon.fakes.openrouter import KEY, app


def ask(world, path=KEY, key=None, *, method="GET", headers=None, content=b""):
    """Return the response to one request, with the secret of *key* if one is given."""
    return ask_often(world, path, key, times=1, method=method, headers=headers, content=content)[0]


def ask_often(world, path, key, *, times, method="GET", headers=None, content=b""):
    """Return the responses of one and the same app to *times* equal requests."""
    headers = dict(headers or {})
    if key is not None:
        headers["authorization"] = f"Bearer {key.secret}"

    async def asking():
        transport = httpx.ASGITransport(app(world))
        async with httpx.AsyncClient(transport=transport, base_url="http://openrouter.test") as client:
            return [await client.request(method, path, headers=headers, content=content) for _ in range(times)]

    return asyncio.run(asking())


def data_of(response):
    """Return what stands in the envelope of a right answer, its numbers exact."""
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    document = json.loads(response.content, parse_float=Decimal)
    assert list(document) == ["data"]
    return document["data"]


def nanos(amount):
    """Return an amount of dollars from an answer, in nano-dollars."""
    return round(Decimal(amount).scaleb(9))
