"""`POST /v1/generations`: generation ids, and what is known of each. See `reckon.handing_in`.

202 says that what was accepted is in the ledger for good: it is said after the commit. Whoever is not told so may send
the same again, for an id counts once however often it is handed in.
"""

import asyncio
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reckon.app import App
from reckon.core.generations import Handed
from reckon.documents import versioned
from reckon.documents.calls import settled_document
from reckon.handing_in import Rejected, read_body
from reckon.web.bearer import require_to_hand_in
from reckon.web.bodies import body_of, content_encoding_of, content_type_of
from reckon.web.intake_queue import IntakeQueue, WaysIn
from reckon.web.refusals import Refused

MOST_BYTES: Final = 65_536
CONTENT_TYPES: Final = ("application/json", "application/x-ndjson", "application/jsonl", "text/plain")


async def generations(request: Request) -> Response:
    """Take the generations of one request."""
    require_to_hand_in(request)
    if content_type_of(request) not in CONTENT_TYPES:
        raise Refused(415, f"accepts {', '.join(CONTENT_TYPES)}")
    if content_encoding_of(request) != "identity":
        raise Refused(415, "accepts bodies that are not compressed")
    ways_in: WaysIn = request.app.state.ways_in
    queue: IntakeQueue = request.app.state.intake_queue
    entries = [*read_body(await body_of(request, MOST_BYTES), ways_in.names())]
    intake = await queue.hand_in([entry for entry in entries if isinstance(entry, Handed)])
    rejected = [{"id": entry.id, "reason": entry.reason} for entry in entries if isinstance(entry, Rejected)]
    answer = {"accepted": intake.accepted, "duplicates": intake.duplicates, "rejected": rejected}
    return JSONResponse(versioned(answer), 202 if len(rejected) < len(entries) else 422)


async def settle(request: Request) -> Response:
    """Look up what is due, for the command of that name: it may not write to a ledger that we hold."""
    require_to_hand_in(request)
    body = await body_of(request, MOST_BYTES)
    ways_in: WaysIn = request.app.state.ways_in
    app: App = request.app.state.app()
    tally = await ways_in.settle(expired=body == b'{"expired": true}')
    unsettled = await asyncio.get_running_loop().run_in_executor(app.store.thread, app.pending_counts)
    return JSONResponse(versioned(settled_document(tally.settled, unsettled)))
