"""An ASGI app on a loopback port, for as long as a `with` block lasts."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import trustme
import uvicorn

_DEADLINE_SECONDS = 10.0


@contextmanager
def serve(app: Any, *, ca: trustme.CA | None = None) -> Iterator[str]:
    """Yield the base URL, without a path, of *app* served by a thread and event loop of its own.

    With *ca* it is served over https, under a certificate that only those who trust *ca* accept. Works from plain and
    from async tests. No header is added to the app's own, `Date` included, and no signal is touched.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=1,
        ssl_context_factory=None if ca is None else lambda *_: _certified_by(ca),
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run_until_stopped, args=(listener,), name="serving", daemon=True)
        thread.start()
        try:
            if not server.settled.wait(_DEADLINE_SECONDS) or not server.started:
                raise RuntimeError("the server did not start") from server.trouble
            yield f"{'http' if ca is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            thread.join(_DEADLINE_SECONDS)
    if thread.is_alive():
        raise RuntimeError("the server did not stop")
    if server.trouble is not None:
        raise RuntimeError("the server failed") from server.trouble


class _Server(uvicorn.Server):
    """A uvicorn that waits to be told to stop, where the original looks up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.settled = threading.Event()
        self.trouble: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def run_until_stopped(self, listener: socket.socket) -> None:
        try:
            self.run(sockets=[listener])
        except BaseException as trouble:  # noqa: BLE001  a thread has nobody to raise to: `serve` tells it
            self.trouble = trouble
        finally:
            self.settled.set()

    async def main_loop(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self.settled.set()
        await self._stopping.wait()

    def stop(self) -> None:
        if self._loop is not None and self._stopping is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stopping.set)


def _certified_by(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context
