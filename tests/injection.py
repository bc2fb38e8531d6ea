"""Trouble at one chosen side effect: each HTTP request, each statement and each commit, counted as they come.

The seams are those that the libraries offer: a transport of httpx, the driver's own connection class, which SQLAlchemy
lets us choose, and for whoever talks over a socket the server at its other end. Nothing of Reckon's is touched, and
whatever it asks of a driver is counted, the pragmas of a new connection and the statements of a migration included.

A process that dies here stays dead: every later request, statement and commit of it is refused as well, whatever its
`finally` blocks try. What the system does for the dead still happens: open transactions are rolled back and files are
closed.
"""

import sqlite3
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from enum import StrEnum
from typing import Any, Final

import httpx
import psycopg
from sqlalchemy import Engine, event

from tests import wire_faults


class Trouble(StrEnum):
    """What happens at the chosen side effect."""

    DIES_BEFORE = "dies before"
    DIES_AFTER = "dies after"
    EXECUTED_BUT_FAILED = "executed but failed"
    """It really happened; the caller is told that it did not, and goes on."""
    RAISES = "raises"
    """It did not happen; the caller is told so, and goes on."""
    STAYS_BROKEN = "stays broken"
    """As RAISES, and every later one likewise."""


FATAL: Final = frozenset({Trouble.DIES_BEFORE, Trouble.DIES_AFTER})


class Death(BaseException):
    """The process is gone. Nobody may catch this but the test."""


class Injector:
    """Counts side effects, and makes trouble at number *place*, from 1 on. Without a place it only counts."""

    def __init__(self, place: int | None = None, trouble: Trouble = Trouble.DIES_BEFORE) -> None:
        self._place = place
        self._trouble = trouble
        self.reached: list[str] = []
        """Every side effect so far, in words."""
        self.is_dead = False
        self._is_looking_away = False
        self._connections: list[sqlite3.Connection | psycopg.Connection] = []

    def do(self, what: str, effect: Callable[[], Any], refusal: Callable[[], Exception]) -> Any:
        """Carry *effect* out, or make the trouble that is due; *refusal* is the error that its caller expects."""
        self._before(what, refusal)
        done = effect()
        self._after(refusal)
        return done

    async def do_async(self, what: str, effect: Callable[[], Any], refusal: Callable[[], Exception]) -> Any:
        """As `do`, for an effect to be awaited."""
        self._before(what, refusal)
        done = await effect()
        self._after(refusal)
        return done

    def _before(self, what: str, refusal: Callable[[], Exception]) -> None:
        if self.is_dead:
            raise Death
        if self._is_looking_away:
            return
        self.reached.append(what)
        if self._place is None or len(self.reached) < self._place:
            return
        is_here = len(self.reached) == self._place
        if is_here and self._trouble is Trouble.DIES_BEFORE:
            self._die()
        if self._trouble is Trouble.STAYS_BROKEN or (is_here and self._trouble is Trouble.RAISES):
            raise refusal()

    def _after(self, refusal: Callable[[], Exception]) -> None:
        if self._is_looking_away or len(self.reached) != self._place:
            return
        if self._trouble is Trouble.DIES_AFTER:
            self._die()
        if self._trouble is Trouble.EXECUTED_BUT_FAILED:
            raise refusal()

    def _die(self) -> None:
        self.is_dead = True
        raise Death

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Count nothing within the block, and make no trouble."""
        self._is_looking_away = True
        try:
            yield
        finally:
            self._is_looking_away = False

    @property
    def has_made_trouble(self) -> bool:
        """Whether the chosen side effect was reached."""
        return self._place is not None and len(self.reached) >= self._place

    def mend(self) -> None:
        """Make no more trouble. What was reached stays counted."""
        self._place = None

    # --- The seams -------------------------------------------------------------------------------------------------

    def over(self, transport: httpx.AsyncBaseTransport) -> httpx.AsyncBaseTransport:
        """Return *transport* with trouble in it. An answer that is lost was asked for all the same."""
        return _Transport(self, transport)

    @asynccontextmanager
    async def at_the_door_of(self, app: Any) -> AsyncIterator[str]:
        """Serve *app* on loopback, in the event loop of whoever asks it, and yield its URL.

        Each request is counted by the last part of its path. One that is refused, and one whose answer is lost, is
        reset, and so is every request of a process that is dead.
        """
        transport = httpx.ASGITransport(app)

        async def answer(wire: wire_faults.Wire) -> None:
            asked = wire.request
            url = f"http://behind.test{asked.path}" + (f"?{asked.query}" if asked.query else "")
            request = httpx.Request(asked.method, url, headers=dict(asked.headers), content=asked.body)
            try:
                response = await self.do_async(
                    f"{asked.method} {asked.path.rpartition('/')[2]}",
                    lambda: transport.handle_async_request(request),
                    ConnectionResetError,
                )
            except (Death, ConnectionResetError):
                return wire.reset()
            await response.aread()
            shown = [f"{name}: {value}" for name, value in response.headers.items()]
            return await wire.send(wire_faults.head(f"{response.status_code} Whatever", *shown), response.content)

        async with wire_faults.serve(otherwise=answer) as server:
            yield server.url

    @contextmanager
    def on_databases(self) -> Iterator[None]:
        """Reach every connection that is made within the block, by whomever: the life of one process.

        At its end the system closes what is left open.
        """

        def connect(dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
            if dialect.name == "sqlite":
                connection = sqlite3.connect(*arguments, factory=_SqliteConnection, **options)
            else:
                connection = _PostgresConnection.connect(*arguments, cursor_factory=_PostgresCursor, **options)
            connection.injector = self
            self._connections.append(connection)
            return connection

        event.listen(Engine, "do_connect", connect)
        try:
            yield
        finally:
            event.remove(Engine, "do_connect", connect)
            for connection in self._connections:
                connection.close()


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, injector: Injector, inner: httpx.AsyncBaseTransport) -> None:
        self._injector = injector
        self._inner = inner

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._injector.do_async(
            f"{request.method} {request.url.path}",
            lambda: self._inner.handle_async_request(request),
            lambda: httpx.ReadError("invented"),
        )

    async def aclose(self) -> None:
        await self._inner.aclose()


# --- Drivers -------------------------------------------------------------------------------------------------------


def _words(statement: Any) -> str:
    return " ".join(str(statement).split()[:4])


class _SqliteCursor(sqlite3.Cursor):
    def execute(self, statement, *parameters):
        done = super().execute
        return self.connection.injector.do(_words(statement), lambda: done(statement, *parameters), _sqlite_refusal)

    def executemany(self, statement, parameters):
        done = super().executemany
        return self.connection.injector.do(_words(statement), lambda: done(statement, parameters), _sqlite_refusal)


class _SqliteConnection(sqlite3.Connection):
    injector: Injector

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self._cursors = weakref.WeakSet()

    def cursor(self, factory=_SqliteCursor):
        cursor = super().cursor(factory)
        self._cursors.add(cursor)
        return cursor

    def execute(self, statement, *parameters):
        return self.cursor().execute(statement, *parameters)

    def commit(self):
        self.injector.do("COMMIT", super().commit, _sqlite_refusal)

    def close(self):
        # Behind its back a connection stays open, and its transaction too, until its last statement is forgotten, which
        # a traceback may keep from happening. When a process is over, the system closes its files at once.
        for cursor in self._cursors:
            cursor.close()
        self._cursors.clear()
        super().close()


def _sqlite_refusal() -> Exception:
    return sqlite3.OperationalError("disk I/O error")


class _PostgresCursor(psycopg.Cursor):
    def execute(self, query, *parameters, **options):
        done = super().execute
        return self.connection.injector.do(
            _words(query), lambda: done(query, *parameters, **options), self.connection.lost
        )

    def executemany(self, query, *parameters, **options):
        done = super().executemany
        return self.connection.injector.do(
            _words(query), lambda: done(query, *parameters, **options), self.connection.lost
        )


class _PostgresConnection(psycopg.Connection):
    injector: Injector

    def commit(self):
        self.injector.do("COMMIT", super().commit, self.lost)

    def lost(self) -> Exception:
        """Lose the connection, as when the server goes away, and return what the driver then says."""
        self.close()
        return psycopg.OperationalError("server closed the connection unexpectedly")
