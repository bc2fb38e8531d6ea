"""A server that is wrong on the wire, over real sockets.

What is wrong in content any HTTP server can play; what is wrong below it cannot come from one, because a server
corrects it. Here each connection is handed to a script, chosen by the bearer key of its request, that writes bytes as
it likes. Every request that arrives is kept, headers and all, so that a test can say what did *not* arrive.
"""

import asyncio
import gzip
import itertools
import json
import socket
import ssl
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import httpx

MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Arrived:
    """One request as it came in."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def key(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")


@dataclass
class Wire:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    request: Arrived | None = None
    """What a script is to answer."""

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()

    def reset(self) -> None:
        """End the connection by RST, not FIN."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def until_the_other_side_leaves(self) -> None:
        while await self.reader.read(65_536):
            pass


Script = Callable[[Wire], Awaitable[None]]
"""What to do with one request. The connection is closed when a script ends, unless it is a `whole` answer."""


@dataclass
class FaultServer:
    """Listening while its `serve` is open."""

    port: int = 0
    scheme: str = "http"
    arrived: list[Arrived] = field(default_factory=list)
    connections: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def has_seen(self, requests: int, *, within_seconds: float = 5.0) -> None:
        """Return once so many requests have arrived."""
        async with asyncio.timeout(within_seconds):
            while len(self.arrived) < requests:
                self.news.clear()
                await self.news.wait()

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def serve(
    scripts: Mapping[str, Script] | None = None,
    *,
    otherwise: Script | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[FaultServer]:
    """Serve each request by the script of its key, or by *otherwise*, which answers well if it is not given."""
    server = FaultServer(scheme="http" if tls is None else "https")
    standard = whole(good_body()) if otherwise is None else otherwise
    busy: set[asyncio.Task[Any]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        busy.add(asyncio.current_task())
        wire = Wire(reader, writer)
        try:
            stays = True
            while stays:
                request = await _request(reader)
                server.arrived.append(request)
                server.news.set()
                wire.request = request
                script = (scripts or {}).get(request.key, standard)
                await script(wire)
                stays = getattr(script, "keeps_alive", False)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side left, as it may
        except asyncio.CancelledError:
            pass  # `serve` is over; before 3.12 asyncio complains of a handler that ends cancelled
        finally:
            busy.discard(asyncio.current_task())
            writer.close()

    listener = await asyncio.start_server(attend, host, port, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(busy):
            task.cancel()
        await asyncio.gather(*busy, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Arrived:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    path, _, query = target.partition("?")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Arrived(method, path, query, headers, body)


# --- Scripts -------------------------------------------------------------------------------------------------------


def whole(body: bytes, status: str = "200 OK", *headers: str, content_type: str = "application/json") -> Script:
    """Answer as a sound server does, and keep the connection."""
    answer = head(status, f"Content-Type: {content_type}", f"Content-Length: {len(body)}", *headers) + body

    async def script(wire: Wire) -> None:
        await wire.send(answer)

    script.keeps_alive = True
    return script


async def silence(wire: Wire) -> None:
    """Take the request and say nothing."""
    await wire.until_the_other_side_leaves()


async def hang_up(wire: Wire) -> None:
    """Take the request and close."""


async def reset_at_once(wire: Wire) -> None:
    """Take the request and reset."""
    wire.reset()


async def not_http(wire: Wire) -> None:
    """Say something else."""
    await wire.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")


def drip(body: bytes, *, every_seconds: float = 0.5, from_the_start: bool = False) -> Script:
    """Send the body, or the whole answer, one byte at a time."""
    start = head("200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}")

    async def script(wire: Wire) -> None:
        slowly = start + body if from_the_start else body
        if not from_the_start:
            await wire.send(start)
        for byte in slowly:
            await wire.send(bytes([byte]))
            await asyncio.sleep(every_seconds)

    return script


def reset_mid_body(body: bytes) -> Script:
    """Send half of the body, then reset."""

    async def script(wire: Wire) -> None:
        start = head("200 OK", "Content-Type: application/json", f"Content-Length: {len(body)}")
        await wire.send(start, body[: len(body) // 2])
        wire.reset()

    return script


def cut_short(body: bytes) -> Script:
    """Promise more than is sent, and close in good order. What is sent is a whole JSON value."""

    async def script(wire: Wire) -> None:
        await wire.send(head("200 OK", "Content-Type: application/json", f"Content-Length: {len(body) + 1}"), body)

    return script


def chunks_cut_short(body: bytes) -> Script:
    """Send a whole JSON value in one chunk, and close without the last chunk."""

    async def script(wire: Wire) -> None:
        start = head("200 OK", "Content-Type: application/json", "Transfer-Encoding: chunked")
        await wire.send(start, b"%x\r\n%s\r\n" % (len(body), body))

    return script


def gzipped(packed: bytes) -> Script:
    """Send bytes that are said to be gzip."""

    async def script(wire: Wire) -> None:
        length = f"Content-Length: {len(packed)}"
        await wire.send(head("200 OK", "Content-Type: application/json", "Content-Encoding: gzip", length))
        for start in range(0, len(packed), 65_536):
            await wire.send(packed[start : start + 65_536])
        await wire.until_the_other_side_leaves()

    return script


async def endless(wire: Wire) -> None:
    """Send a body without an end."""
    await wire.send(head("200 OK", "Content-Type: application/json", "Connection: close"))
    spaces = b" " * 65_536
    while True:
        await wire.send(spaces)


async def endless_headers(wire: Wire) -> None:
    """Send headers without an end."""
    await wire.send(b"HTTP/1.1 200 OK\r\n")
    for n in itertools.count():
        await wire.send(b"X-%d: %s\r\n" % (n, b"x" * 1000))


def redirect(status: str, to: str) -> Script:
    """Point somewhere else."""
    return whole(b"", status, f"Location: {to}")


def carried_out(app: Any, then: Script | None = None) -> Script:
    """Let *app* carry the request out, and answer for it; or lose its answer, and do *then* instead."""

    async def script(wire: Wire) -> None:
        asked = wire.request
        url = f"http://carried.test{asked.path}" + (f"?{asked.query}" if asked.query else "")
        request = httpx.Request(asked.method, url, headers=dict(asked.headers), content=asked.body)
        # The transport alone: a client above it would log the path, which may be a secret.
        response = await httpx.ASGITransport(app).handle_async_request(request)
        await response.aread()
        if then is not None:
            return await then(wire)
        shown = [f"{name}: {value}" for name, value in response.headers.items()]
        return await wire.send(head(f"{response.status_code} Whatever", *shown), response.content)

    return script


def in_turn(*scripts: Script) -> Script:
    """Serve each request by the next of *scripts*, and all that come after by the last."""
    left = list(scripts)

    async def script(wire: Wire) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(wire)

    return script


def head(status: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


def good_body(**changes: object) -> bytes:
    """Return a sound answer to `/key`, with *changes* to its data."""
    counters = ("usage", "usage_daily", "usage_weekly", "usage_monthly")
    data: dict[str, object] = dict.fromkeys(counters, 1.25) | {f"byok_{name}": 0 for name in counters}
    return json.dumps({"data": data | {"label": "sk-or-v1-abc...123"} | changes}).encode()


@cache
def bomb(mebibytes: int) -> bytes:
    """Return the gzip of so many MiB of spaces: about a kilobyte for each, made without ever holding them."""
    pack = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    piece = b" " * MEBIBYTE
    return b"".join([*(pack.compress(piece) for _ in range(mebibytes)), pack.flush()])


def packed(body: bytes) -> bytes:
    return gzip.compress(body)


# --- What is wrong before a connection exists ----------------------------------------------------------------------


@contextmanager
def refused_port() -> Iterator[int]:
    """Yield a port that is ours and that nobody listens at."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextmanager
def unanswered_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """Yield a port whose SYNs are dropped: its queue of connections is full, and nobody takes one from it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    waiting: list[socket.socket] = []
    with socket.socket(family) as listener:
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(0)
        try:
            while True:
                caller = socket.socket(family)
                waiting.append(caller)
                caller.settimeout(0.2)
                try:
                    caller.connect(listener.getsockname()[:2])
                except TimeoutError:
                    break
                assert len(waiting) < 64, "the queue never filled"
            yield listener.getsockname()[1]
        finally:
            for caller in waiting:
                caller.close()
