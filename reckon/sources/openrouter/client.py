"""One ask of OpenRouter: a path and a key in, a JSON value or one `NoAnswer` out.

What this file guarantees, whatever the other side does:

- Nothing but the pairs of `EGRESS` ever leaves, and how often each did is counted. All of them are questions, the POST
  too: asking twice changes nothing.
- What varies in a URL is percent-encoded here, from a mapping, so that no id can become a path or another parameter.
- An ask ends within the timeout, counted over everything: the wait for a lane, name, connection, headers and body.
- No more than the limit of a body is held, and a body that is not JSON by its content type is not read at all.
- A redirect is an error, so no key leaves the origin it was meant for. Only a 200 is read: what an error says beyond
  its status may quote the key.
- No error carries another as its cause: the libraries' own errors know the request, and the request knows the key.

The transport is driven directly. An `httpx.AsyncClient` above it would keep cookies from one key's answer for the next
key's ask, read proxies from the environment, log the URL and cost a quarter of the CPU; none of it is wanted.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from reckon import __version__
from reckon.core.records import FailureReason
from reckon.http_time import http_date, retry_after_seconds
from reckon.sources.openrouter.body import read_body
from reckon.sources.openrouter.lanes import LaneTransport
from reckon.sources.openrouter.trouble import NoAnswer, network_trouble
from reckon.strict_json import NotStrictJson, read_json

EGRESS: Final = frozenset(
    {
        ("GET", "/auth/key"),
        ("GET", "/key"),
        ("GET", "/credits"),
        ("GET", "/generation"),
        ("GET", "/keys"),
        ("GET", "/workspaces"),
        ("GET", "/activity"),
        ("GET", "/analytics/meta"),
        ("POST", "/analytics/query"),
    }
)
"""Every (method, path) that Reckon may send to OpenRouter. Not `/generation/content`: it answers with prompts."""

BODY_LIMIT_BYTES: Final = 1 << 20
PAGE_LIMIT_BYTES: Final = 16 << 20
"""The limit of an answer that lists things: some of them cannot be asked for in pages."""
CLOCK_TOLERANCE_SECONDS: Final = 60


class NotOnTheEgressList(Exception):
    """The program tried to send what `EGRESS` does not allow. A mistake in Reckon, not in the world."""


class OpenRouterClient:
    """Asks OpenRouter at one base URL. Close it, or use it as an async context manager.

    *transport* is the seam where tests, the demo and a faster transport take the place of `LaneTransport`.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_seconds: float,
        clock: Callable[[], datetime],
        concurrency: int = 32,
        transport: httpx.AsyncBaseTransport | None = None,
        body_limit_bytes: int = BODY_LIMIT_BYTES,
        page_limit_bytes: int = PAGE_LIMIT_BYTES,
    ) -> None:
        self._urls = {path: httpx.URL(base_url.rstrip("/") + path) for _, path in EGRESS}
        self._timeout_seconds = timeout_seconds
        self._connect_seconds = timeout_seconds * _SHARE_OF_CONNECTING
        self._clock = clock
        self._transport = LaneTransport(concurrency) if transport is None else transport
        self._limits_bytes = {path: page_limit_bytes if path in _PAGES else body_limit_bytes for _, path in EGRESS}
        self._last_date: str | None = None

        self.asked: Counter[tuple[str, str]] = Counter(dict.fromkeys(sorted(EGRESS), 0))
        """How often each pair of `EGRESS` was sent."""
        self.clock_skew_seconds: float | None = None
        """How far the server's clock was ahead of ours at the last answer; None within a minute, or if it said none."""

    @property
    def has_compared_clocks(self) -> bool:
        """Whether an answer has told the server's time."""
        return self._last_date is not None

    async def get(self, path: str, secret: SecretStr, params: Mapping[str, str | int] | None = None) -> Any:
        """Return the JSON value that *path*, with *params* in its query string, answers to the key *secret*.

        Raises:
            NoAnswer: OpenRouter gave none, for whatever reason.
            NotOnTheEgressList: *path* may not be asked. Nothing was sent.
        """
        return await self._ask("GET", path, secret, params=params)

    async def post(self, path: str, secret: SecretStr, body: Mapping[str, Any]) -> Any:
        """Return the JSON value that *path* answers to the question *body*.

        Raises:
            NoAnswer: as `get`.
            NotOnTheEgressList: as `get`.
        """
        return await self._ask("POST", path, secret, body=json.dumps(body, allow_nan=False).encode())

    async def aclose(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _ask(
        self,
        method: str,
        path: str,
        secret: SecretStr,
        *,
        params: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
    ) -> Any:
        if (method, path) not in EGRESS:
            raise NotOnTheEgressList(f"{method} {path}")
        url = self._urls[path]
        if params:
            url = httpx.URL(f"{url}?{urlencode(params)}")
        request = self._request(method, url, secret, body)
        self.asked[method, path] += 1
        answer = await self._exchange(request, self._limits_bytes[path])
        try:
            return read_json(answer)
        except NotStrictJson as refusal:
            raise NoAnswer(FailureReason.NOT_JSON, str(refusal)) from None

    def _request(self, method: str, url: httpx.URL, secret: SecretStr, body: bytes | None) -> httpx.Request:
        key = secret.get_secret_value()
        if not _FITS_A_HEADER.fullmatch(key):
            why = "the key holds characters that no key has" if key else "the key is empty"
            raise NoAnswer(FailureReason.ACCESS_DENIED, why)
        headers = [(b"Host", url.netloc), *_HEADERS, (b"Authorization", b"Bearer " + key.encode())]
        limits = {"timeout": {"connect": self._connect_seconds}}
        stream = _NO_BODY
        if body is not None:
            headers += [(b"Content-Type", b"application/json"), (b"Content-Length", b"%d" % len(body))]
            stream = httpx.ByteStream(body)
        return httpx.Request(method, url, headers=headers, stream=stream, extensions=limits)

    async def _exchange(self, request: httpx.Request, limit_bytes: int) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._transport.handle_async_request(request)
                try:
                    self._compare_clocks(response.headers.get("date"))
                    self._judge(response)
                    return await read_body(response, limit_bytes)
                finally:
                    await response.aclose()
        except httpx.ConnectTimeout:
            trouble = NoAnswer(FailureReason.TIMED_OUT, f"no connection within {self._connect_seconds:g} s")
        except (TimeoutError, httpx.TimeoutException):
            trouble = NoAnswer(FailureReason.TIMED_OUT, f"no whole answer within {self._timeout_seconds:g} s")
        except (httpx.TransportError, OSError) as error:
            trouble = NoAnswer(FailureReason.UNAVAILABLE, network_trouble(error))
        raise trouble

    def _judge(self, response: httpx.Response) -> None:
        status = response.status_code
        if status != httpx.codes.OK:
            wait = response.headers.get("retry-after") if status in _MAY_ASK_TO_WAIT else None
            raise NoAnswer(
                _BY_STATUS.get(status) or _BY_CLASS.get(status // 100, FailureReason.UNEXPECTED_ANSWER),
                f"HTTP {status}",
                retry_after_seconds=retry_after_seconds(wait, self._clock()),
                status=status,
            )
        media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json" and not media_type.endswith("+json"):
            what = "HTML" if media_type == "text/html" else "another content type"
            raise NoAnswer(FailureReason.NOT_JSON, f"{what} where JSON was asked for")

    def _compare_clocks(self, date: str | None) -> None:
        if date is None or date == self._last_date:
            return
        self._last_date = date
        theirs = http_date(date)
        if theirs is not None:
            ahead_seconds = (theirs - self._clock()).total_seconds()
            self.clock_skew_seconds = ahead_seconds if abs(ahead_seconds) > CLOCK_TOLERANCE_SECONDS else None


_PAGES: Final = frozenset({"/keys", "/activity", "/analytics/meta", "/analytics/query"})

_HEADERS: Final = (
    (b"Accept", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", f"reckon/{__version__}".encode()),
)
# Of the timeout, for the connection, and again for TLS: httpcore closes a socket whose handshake runs into a limit of
# its own, and forgets to close one whose handshake is cancelled from above. So its limits must come first.
_SHARE_OF_CONNECTING: Final = 0.45
_NO_BODY: Final = httpx.ByteStream(b"")
_FITS_A_HEADER: Final = re.compile(r"[\x21-\x7e]+")

_BY_STATUS: Final = {
    401: FailureReason.ACCESS_DENIED,
    403: FailureReason.ACCESS_DENIED,
    429: FailureReason.RATE_LIMITED,
}
_BY_CLASS: Final = {3: FailureReason.REDIRECTED, 5: FailureReason.UNAVAILABLE}
_MAY_ASK_TO_WAIT: Final = frozenset({429, 503})
