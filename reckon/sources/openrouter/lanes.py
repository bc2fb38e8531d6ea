"""Many connections without a pool of many connections.

httpcore's pool looks through all its connections again for each idle one, so its cost per request grows with the square
of their number: 300 requests at 100 in flight made 14.6 million `is_idle()` calls, and at 200 ms latency a stock client
delivered 67 of the 500 answers a second that 100 connections allow (encode/httpx#3215). Up to ten connections nobody
notices; from fifteen on a busy pool collapses.

So each lane here is a pool of exactly one connection, and choosing a lane is a pop from a list. The last lane given
back is taken first, which keeps few connections warm rather than many lukewarm. All lanes share one `SSLContext`,
because loading the certificates costs more than everything else about a lane.

A lane is used again only after an answer that was read to its end. A cancellation, and a deadline is one, that meets
httpcore while it tidies up leaves the connection marked as busy for ever, and a pool of one would never serve again:
random cancellations find such a moment within a dozen requests. Any lane whose answer ended otherwise is thrown away.

The environment is never asked (no proxy, no certificate file by surprise), HTTP/2 is off because one reset would then
fail every key at once, and nothing is retried: the next poll is the retry.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from typing import Final, cast

import httpx

# Long enough to serve one poll, too short for a middlebox to have forgotten the connection without telling us.
_LIMITS: Final = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=5.0)


class LaneTransport(httpx.AsyncBaseTransport):
    """At most *count* requests in flight, each alone on its connection; the next ones wait their turn.

    A lane is taken when a request is sent and given back when its response is closed, so every response must be closed.
    """

    def __init__(self, count: int, ssl_context: ssl.SSLContext | None = None) -> None:
        self._ssl_context = httpx.create_ssl_context(trust_env=False) if ssl_context is None else ssl_context
        self._turns = asyncio.Semaphore(count)
        self._free = [self._new_lane() for _ in range(count)]
        self._all = set(self._free)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send *request* on a free lane. Raises `httpx.TransportError`."""
        await self._turns.acquire()
        lane = self._free.pop()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            await self._replace(lane)
            raise
        response.stream = _OnLane(cast(httpx.AsyncByteStream, response.stream), self, lane)
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        for lane in self._all:
            await lane.aclose()

    def _new_lane(self) -> httpx.AsyncHTTPTransport:
        return httpx.AsyncHTTPTransport(
            verify=self._ssl_context, trust_env=False, http2=False, retries=0, limits=_LIMITS
        )

    def _give_back(self, lane: httpx.AsyncHTTPTransport) -> None:
        self._free.append(lane)
        self._turns.release()

    async def _replace(self, lane: httpx.AsyncHTTPTransport) -> None:
        # The new one first: closing the old one may be cancelled in its turn.
        fresh = self._new_lane()
        self._all.remove(lane)
        self._all.add(fresh)
        self._give_back(fresh)
        await lane.aclose()


class _OnLane(httpx.AsyncByteStream):
    """A body that gives its lane back when it is closed, once."""

    def __init__(self, body: httpx.AsyncByteStream, lanes: LaneTransport, lane: httpx.AsyncHTTPTransport) -> None:
        self._body = body
        self._lanes = lanes
        self._lane: httpx.AsyncHTTPTransport | None = lane
        self._read_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._body:
            yield chunk
        self._read_whole = True

    async def aclose(self) -> None:
        if self._lane is None:
            return
        lane, self._lane = self._lane, None
        sound = False
        try:
            await self._body.aclose()
            sound = self._read_whole
        finally:
            if sound:
                self._lanes._give_back(lane)  # noqa: SLF001 -- the two are one thing in two classes
            else:
                await self._lanes._replace(lane)
