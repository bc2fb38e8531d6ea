"""An answer's body, whole and decoded, and never more of it than was agreed.

Every chunk is counted after decoding. A gzip bomb is unpacked no further than the limit, so its cost is the limit's
and not its own.
"""

import zlib
from collections.abc import AsyncIterator
from typing import Final, cast

import httpx

from reckon.core.records import FailureReason
from reckon.sources.openrouter.trouble import NoAnswer

_GZIP: Final = 16 + zlib.MAX_WBITS


async def read_body(response: httpx.Response, limit_bytes: int) -> bytes:
    """Return the body of *response*, read from its stream.

    Raises:
        NoAnswer: it is longer than *limit_bytes*, or encoded in a way that nobody asked for or that is not kept to.
    """
    chunks = aiter(cast(httpx.AsyncByteStream, response.stream))
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding == "identity":
        return await _gathered(chunks, limit_bytes)
    if encoding in {"gzip", "x-gzip"}:
        return await _gunzipped(chunks, limit_bytes)
    raise NoAnswer(FailureReason.UNEXPECTED_ANSWER, "encoded in a way that was not asked for")


async def _gathered(chunks: AsyncIterator[bytes], limit_bytes: int) -> bytes:
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
    return bytes(body)


async def _gunzipped(chunks: AsyncIterator[bytes], limit_bytes: int) -> bytes:
    body = bytearray()
    gunzip = zlib.decompressobj(_GZIP)
    async for chunk in chunks:
        try:
            body += gunzip.decompress(chunk, limit_bytes + 1 - len(body))
        except zlib.error:
            raise NoAnswer(FailureReason.NOT_JSON, "not the gzip it says it is") from None
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        if gunzip.unused_data:
            raise NoAnswer(FailureReason.NOT_JSON, "more bytes after the end of the gzip")
    if not gunzip.eof:
        raise NoAnswer(FailureReason.UNAVAILABLE, "the gzip broke off")
    return bytes(body)


def _too_large(limit_bytes: int) -> NoAnswer:
    return NoAnswer(FailureReason.TOO_LARGE, f"more than {limit_bytes} bytes")
