"""The HTTP surface, served on a socket that is bound before anything else is promised."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from urllib.parse import urlsplit

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from reckon.app import App
from reckon.config import Listen
from reckon.errors import ReckonError
from reckon.pulse import Pulse
from reckon.web import catching_up, health, ingest, metrics, openapi, reports, traces
from reckon.web.intake_queue import IntakeQueue, WaysIn
from reckon.web.refusals import HANDLERS

_MOST_AT_ONCE: Final = 100
_GRACE_SECONDS: Final = 1
_LONGEST_CONNECTION_SECONDS: Final = 30.0


def surface(
    app: Callable[[], App],
    pulse: Pulse,
    token: SecretStr | None,
    listen: Listen | None,
    ways_in: WaysIn | None = None,
) -> Starlette:
    """Return the ASGI app.

    Args:
        app: gives the questions about the ledger, by the configuration that is in force then.
        pulse: what this process is doing.
        token: asked of whoever wants figures or hands something in. None where only this machine can ask for figures,
            and nobody can hand anything in.
        listen: where it is served.
        ways_in: where what is handed in goes; None where nothing is taken.
    """
    names = {"localhost", "127.0.0.1", "::1", listen.host} if listen and listen.is_loopback else None
    routes = [
        Route("/healthz", health.healthz, methods=["GET"]),
        Route("/readyz", health.readyz, methods=["GET"]),
        Route("/metrics", metrics.metrics, methods=["GET"]),
        Route("/openapi.json", openapi.openapi, methods=["GET"]),
        *reports.routes(),
    ]
    if ways_in:
        routes += [
            Route("/v1/generations", ingest.generations, methods=["POST"]),
            Route("/v1/traces", traces.traces, methods=["POST", "PUT"]),
            Route("/v1/settle", ingest.settle, methods=["POST"]),
        ]
    if ways_in and ways_in.catching_up:
        routes += [
            Route("/v1/sweep", catching_up.sweep, methods=["POST"]),
            Route("/v1/backfill", catching_up.backfill, methods=["POST"]),
        ]
    surface = Starlette(routes=routes, middleware=[Middleware(_AskedByName, names=names)], exception_handlers=HANDLERS)
    surface.state.app = app
    surface.state.pulse = pulse
    surface.state.token = token
    if ways_in:
        surface.state.ways_in = ways_in
        surface.state.intake_queue = IntakeQueue(ways_in)
        surface.state.room_for_traces = asyncio.Semaphore(traces.MOST_AT_ONCE)
    return surface


class _AskedByName:
    """Answers 421 to whoever asks for a host that is not this one.

    What is served on loopback asks no token. A page of another site could make its own name lead here, and read the
    answer as its own; but it cannot choose what its browser then puts into `Host`.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._names is None or _host(Headers(scope=scope)) in self._names:
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse("this host is not served here\n", 421)(scope, receive, send)


def _host(headers: Headers) -> str | None:
    """Return the host that is asked for, without its port; None if that cannot be read."""
    try:
        return urlsplit(f"//{headers.get('host', '')}").hostname
    except ValueError:
        return None


class CannotListen(ReckonError):
    """The address for our own HTTP surface cannot be had."""


@asynccontextmanager
async def served(surface: Starlette, listen: Listen | None) -> AsyncIterator[None]:
    """Serve *surface* at *listen* while a block runs; without an address, do nothing.

    Raises:
        CannotListen: the address is taken, or not ours.
    """
    if listen is None:
        yield
        return
    server = _Server(
        uvicorn.Config(
            surface,
            http=_Protocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MOST_AT_ONCE,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
    )
    with _bound(listen) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield
        finally:
            server.should_exit = True
            await serving


class _Protocol(H11Protocol):
    """Ends every connection after a while: nothing here takes long, and one that says nothing would stay for ever."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the original
        super().connection_made(transport)
        self._end = self.loop.call_later(_LONGEST_CONNECTION_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        super().connection_lost(exc)


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the daemon: the original would raise each of them a second time at its end."""
        yield


def _bound(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        return socket.create_server((listen.host, listen.port), family=family, backlog=_MOST_AT_ONCE)
    except OSError as error:
        raise CannotListen(
            f"http.listen: {listen} cannot be listened on ({error.strerror or error}). Name another address, or"
            ' "" for none.'
        ) from error
