"""One request to Slack and its answer, or one `SinkError` that says whether it may have been carried out.

What this file guarantees, whatever the other side does:

- An exchange ends within the deadline, counted over everything: name, connection, TLS, headers and body.
- Nothing follows a redirect, so no token and no message leaves the origin it was meant for.
- No proxy from the environment, no cookie, no connection kept: a kept one that the other side has closed would make a
  lost answer out of a message that was never sent.
- No more than a mebibyte of an answer is held; a compressed one is not unpacked.
- No error holds another or a word of the libraries' own, which know the request, and the request knows the secret.

A message is certainly not delivered only when no connection came about. Once there was one, a lost answer is ambiguous.
"""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from reckon.core.outbox import Outcome
from reckon.errors import SinkError

MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. Its text shows the status alone."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class Carrier:
    """Carries requests over connections of its own. Close it."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._connect_seconds = timeout_seconds * _SHARE_OF_CONNECTING
        self._session: aiohttp.ClientSession | None = None

    async def exchange(
        self,
        verb: str,
        url: str,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str] | None = None,
        json: Any = None,
    ) -> Answer:
        """Send one request once and return its answer, whatever its status, redirects excepted.

        Raises:
            SinkError: there was no answer, or none that Slack would give.
        """
        try:
            async with asyncio.timeout(self._timeout_seconds):
                asked = self._opened().request(
                    verb, url, headers={**headers, **_HEADERS}, params=params, json=json, allow_redirects=False
                )
                async with asked as response:
                    body = await _whole(response.content)
                    answer = Answer(response.status, response.headers.copy(), body)
        except aiohttp.ConnectionTimeoutError:
            trouble = _not_delivered(f"no connection to Slack within {self._connect_seconds:g} s")
        except aiohttp.ClientConnectorError as error:
            trouble = _not_delivered(_why_no_connection(error))
        except TimeoutError:
            trouble = _ambiguous(f"no whole answer from Slack within {self._timeout_seconds:g} s")
        except SinkError as too_much:
            trouble = too_much
        except Exception:  # noqa: BLE001 - whatever a library meets in an answer, a message must not end its sender
            trouble = _ambiguous("Slack's answer broke off, or was not HTTP")
        else:
            if 300 <= answer.status < 400:
                # Whoever redirects has not taken the message, and Slack never does.
                raise _not_delivered(f"something before Slack answered with a redirect, HTTP {answer.status}")
            return answer
        raise trouble

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._connect_seconds),
                trust_env=False,
                auto_decompress=False,
            )
        return self._session


_HEADERS: Final = {"Accept-Encoding": "identity"}
# Below the whole, or no one could tell a connection that never came about from an answer that was lost.
_SHARE_OF_CONNECTING: Final = 0.5

_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLCertVerificationError, "Slack's certificate was not accepted"),
    (ssl.SSLError, "TLS with Slack failed"),
    (socket.gaierror, "the host name of Slack could not be resolved"),
    (ConnectionRefusedError, "the connection to Slack was refused"),
)


async def _whole(stream: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in stream.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            raise _ambiguous(f"Slack's answer was longer than {MOST_BYTES} bytes")
    return bytes(body)


def _why_no_connection(error: aiohttp.ClientConnectorError) -> str:
    causes = list(_causes(error))
    return next(
        (words for kind, words in _WORDS if any(isinstance(cause, kind) for cause in causes)),
        "no connection to Slack",
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _not_delivered(what: str) -> SinkError:
    return SinkError(what, outcome=Outcome.NOT_DELIVERED)


def _ambiguous(what: str) -> SinkError:
    return SinkError(what, outcome=Outcome.AMBIGUOUS)
