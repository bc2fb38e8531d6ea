"""Why one ask brought nothing, in words that can hold no secret.

The words are chosen here, by kind of trouble. The texts of the libraries below are never passed on: h11 quotes the
header it refuses, key and all, and the bytes a server sent instead of HTTP.
"""

import socket
import ssl
from collections.abc import Iterator
from typing import Final

import httpx

from reckon.core.records import FailureReason
from reckon.errors import SourceError


class NoAnswer(SourceError):
    """One ask of OpenRouter brought no JSON value. The text is one line for a person: no body, no secret."""

    def __init__(
        self,
        reason: FailureReason,
        detail: str,
        *,
        retry_after_seconds: int | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(detail, retry_after_seconds=retry_after_seconds)
        self.reason = reason
        self.detail = detail
        self.status = status
        """The HTTP status, where the status is the trouble."""


def network_trouble(error: BaseException) -> str:
    """Return what went wrong below HTTP, by the most telling cause of *error*."""
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"the certificate was not accepted: {cause.verify_message}"
    return next(
        (words for kind, words in _WORDS if any(isinstance(cause, kind) for cause in causes)), "the connection failed"
    )


_WORDS: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (ssl.SSLError, "TLS failed"),
    (socket.gaierror, "the host name could not be resolved"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (httpx.RemoteProtocolError, "the answer broke off, or was not HTTP"),
    (httpx.ReadError, "connection lost while reading"),
    (httpx.WriteError, "connection lost while writing"),
)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for member in error.exceptions:
                yield from _causes(member)
        error = error.__cause__ or error.__context__
