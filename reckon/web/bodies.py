"""Bodies, read no further than they may be long."""

import zlib
from typing import Final

from starlette.requests import Request

from reckon.web.refusals import Refused

_GZIP: Final = 16 + zlib.MAX_WBITS


async def body_of(request: Request, most_bytes: int, *, is_gzip: bool = False) -> bytearray:
    """Return the body of *request*; of one that is compressed, what it holds.

    Raises:
        Refused: it is longer than *most_bytes*, or says that it will be, and was not read to its end; or it is no whole
            gzip stream.
        ClientDisconnect: it broke off.
    """
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced[:20]) > most_bytes:
        raise _too_long(most_bytes)
    inflating = zlib.decompressobj(_GZIP) if is_gzip else None
    body = bytearray()
    received = 0
    async for piece in request.stream():
        received += len(piece)
        body += _inflated(inflating, piece, most_bytes + 1 - len(body)) if inflating else piece
        if max(received, len(body)) > most_bytes:
            raise _too_long(most_bytes)
    if inflating and not inflating.eof:
        raise _not_gzip()
    return body


def content_type_of(request: Request) -> str:
    """Return the content type that a request names, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def content_encoding_of(request: Request) -> str:
    """Return how a request says that its body is compressed; `identity` if it is not."""
    return request.headers.get("content-encoding", "identity").strip().lower()


def _inflated(inflating: "zlib._Decompress", piece: bytes, most_bytes: int) -> bytes:
    try:
        found = inflating.decompress(piece, most_bytes)
    except zlib.error:
        raise _not_gzip() from None
    if inflating.unused_data:
        raise _not_gzip()
    return found


def _too_long(most_bytes: int) -> Refused:
    # What was not read is still to come, so nothing more can be asked on this connection.
    return Refused(413, f"longer than {most_bytes:,} bytes", {"Connection": "close"})


def _not_gzip() -> Refused:
    return Refused(422, "not one whole gzip stream", {"Connection": "close"})
