"""`POST /v1/traces`, and `PUT`: what OpenRouter's Broadcast delivers. See `reckon.web.broadcast`.

A delivery carries the text of its request, so it may be long; few are read at once, and the others wait unread.
"""

import asyncio
from functools import partial
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reckon.web.bearer import require_to_hand_in
from reckon.web.bodies import body_of, content_encoding_of, content_type_of
from reckon.web.broadcast import NotTraces, generations_in
from reckon.web.intake_queue import IntakeQueue, WaysIn
from reckon.web.refusals import Refused

MOST_BYTES: Final = 16 * 1024 * 1024
MOST_AT_ONCE: Final = 4
TOKEN_HEADER: Final = "x-reckon-token"  # noqa: S105 - where the token stands, not what it is


async def traces(request: Request) -> Response:
    """Take the generations that one delivery tells of."""
    require_to_hand_in(request, or_header=TOKEN_HEADER)
    if content_type_of(request) != "application/json":
        raise Refused(415, "accepts OTLP over HTTP as application/json")
    if content_encoding_of(request) not in {"identity", "gzip"}:
        raise Refused(415, "accepts bodies that are not compressed, or with gzip")
    if request.headers.get("x-test-connection", "").lower() == "true":
        return JSONResponse({})
    ways_in: WaysIn = request.app.state.ways_in
    queue: IntakeQueue = request.app.state.intake_queue
    room: asyncio.Semaphore = request.app.state.room_for_traces
    async with room:
        body = await body_of(request, MOST_BYTES, is_gzip=content_encoding_of(request) == "gzip")
        try:
            # Beside the loop, and not on the ledger's thread: sixteen megabytes take a while.
            handed = await asyncio.to_thread(partial(generations_in, body, ways_in.names()))
        except NotTraces as refusal:
            raise Refused(422, str(refusal)) from None
        finally:
            del body
    await queue.hand_in(handed)
    return JSONResponse({})
