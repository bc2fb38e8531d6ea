"""`POST /v1/sweep` and `POST /v1/backfill`: reading everything now, for commands that may not write to our ledger.

Either may take longer than a connection lasts. So an answer tells what was done within a moment, how much is left, and
since when whatever was read need not be read again; whoever wants the rest asks once more, with that instant.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from reckon.core.activity_days import MOST_DAYS
from reckon.documents import versioned
from reckon.errors import SourceError
from reckon.strict_json import NotStrictJson, read_json
from reckon.web.bearer import require_to_hand_in
from reckon.web.bodies import body_of
from reckon.web.refusals import Refused

_MOST_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class CatchingUp:
    """Who does it. Each returns its document, and raises `SourceError` where there is nobody to ask."""

    sweep: Callable[[datetime | None], Awaitable[dict[str, Any]]]
    backfill: Callable[[int, datetime | None], Awaitable[dict[str, Any]]]


async def sweep(request: Request) -> Response:
    """Poll every key, and read the days gone by; with `since`, go on with the days."""
    require_to_hand_in(request)
    wanted = await _wanted(request)
    return await _answer(_of(request).sweep(_since(wanted)))


async def backfill(request: Request) -> Response:
    """Read the last `days` days; with `since`, go on with them."""
    require_to_hand_in(request)
    wanted = await _wanted(request)
    days = wanted.get("days")
    if type(days) is not int or not 1 <= days <= MOST_DAYS:
        raise Refused(422, f"days: accepts 1 to {MOST_DAYS}")
    return await _answer(_of(request).backfill(days, _since(wanted)))


def _of(request: Request) -> CatchingUp:
    catching_up: CatchingUp = request.app.state.ways_in.catching_up
    return catching_up


async def _wanted(request: Request) -> dict[str, Any]:
    try:
        wanted = read_json(bytes(await body_of(request, _MOST_BYTES)))
    except NotStrictJson as refusal:
        raise Refused(422, str(refusal)) from None
    if not isinstance(wanted, dict):
        raise Refused(422, "not an object")
    return wanted


def _since(wanted: dict[str, Any]) -> datetime | None:
    text = wanted.get("since")
    if text is None:
        return None
    try:
        since = datetime.fromisoformat(text if isinstance(text, str) else "")
    except ValueError:
        since = None
    if since is None or since.tzinfo is None:
        raise Refused(422, "since: accepts an instant, as an answer before told it")
    return since


async def _answer(doing: Awaitable[dict[str, Any]]) -> Response:
    try:
        return JSONResponse(versioned(await doing))
    except SourceError as trouble:
        raise Refused(503, str(trouble)) from None
