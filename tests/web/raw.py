"""HTTP by the byte, for requests that no client would send."""

import asyncio
import socket
from contextlib import suppress

from reckon.config import Listen

_DEADLINE_SECONDS = 20


def free_address() -> Listen:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return Listen("127.0.0.1", found.getsockname()[1])


async def answer_to(listen: Listen, head: bytes, piece: bytes, most_pieces: int) -> tuple[bytes, int]:
    """Send *head* and then *piece* again and again until the other side has had enough.

    Returns its answer, and how many pieces were sent.
    """
    async with asyncio.timeout(_DEADLINE_SECONDS):
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        answering = asyncio.create_task(_all_of(reader))
        sent = 0
        with suppress(ConnectionError):
            writer.write(head)
            while sent < most_pieces and not answering.done():
                writer.write(piece)
                await writer.drain()
                sent += 1
            if not most_pieces:
                writer.write_eof()
        answer = await answering
        writer.close()
        return answer, sent


async def _all_of(reader: asyncio.StreamReader) -> bytes:
    answer = b""
    with suppress(ConnectionError):
        while piece := await reader.read(65_536):
            answer += piece
    return answer
