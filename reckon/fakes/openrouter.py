"""OpenRouter's HTTP API over a `World`: what the documents say it answers, unless the world was told otherwise.

Every request is recorded before it is answered. `Date` is the world's clock; serve the app with a server that adds
none of its own. Errors, 404 for everything not built here included, come in OpenRouter's JSON envelope.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from email.utils import format_datetime
from itertools import cycle
from types import MappingProxyType
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from reckon.fakes.answers import Answer, refusal
from reckon.fakes.counters import start_of_day, start_of_month, start_of_week
from reckon.fakes.world import Body, CreditsPolicy, Figures, Interval, Key, Request, World

AUTH_KEY: Final = "/api/v1/auth/key"
KEY: Final = "/api/v1/key"
CREDITS: Final = "/api/v1/credits"


def app(world: World) -> Starlette:
    """Return the API as an ASGI app; *world* may be changed while it is served."""
    noise = cycle((math.inf, 0.0))

    async def answer(http: HttpRequest) -> Response:
        request = Request(
            method=http.method,
            path=http.url.path,
            query=http.url.query,
            headers=tuple(http.headers.items()),
            body=await http.body(),
        )
        world.record(request)
        said = _answer(world, request, http.headers.get("authorization", ""), noise)
        return Response(said.body, said.status, {"date": format_datetime(world.now, usegmt=True), **said.headers})

    return Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])


def number(nanos: int, figures: Figures = Figures.SHORTEST, towards: float = math.inf) -> str:
    """Return *nanos* as a JSON number of dollars, *towards* saying on which side of the truth noise lies.

    Raises:
        OverflowError: a double cannot hold the amount to the nano-dollar, which begins at some millions of dollars.
    """
    if figures is Figures.EXACT:
        return f"{Decimal(nanos).scaleb(-9):.9f}"
    double = nanos / 1_000_000_000
    if figures is Figures.NOISY and nanos:
        double = math.nextafter(double, towards)
    text = str(int(double)) if double.is_integer() else repr(double)
    if Decimal(text).scaleb(9).to_integral_value(ROUND_HALF_EVEN) != nanos:
        raise OverflowError(f"no double is {nanos} nano-dollars")
    return text


# --- Which answer -----------------------------------------------------------------------------------------------------

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _answer(world: World, request: Request, authorization: str, noise: Iterator[float]) -> Answer:
    scheme, _, secret = authorization.partition(" ")
    has_bearer = scheme.lower() == "bearer"
    key = world.key_with(secret.strip()) if has_bearer else None

    def right(key: Key | None) -> Answer:
        tell = _TELLERS.get((request.method, request.path))
        if tell is None or (request.path == AUTH_KEY and world.auth_key_retired):
            return refusal(404, "Resource not found")
        if not has_bearer:
            return refusal(401, "Missing Authentication header")
        if key is None or not world.accepts(key):
            return refusal(401, "User not found.")
        return tell(world, key, next(noise))

    ordered = world.next_ordered(key, request.path)
    if ordered is None:
        return right(key)
    if isinstance(ordered, Key):
        return right(ordered)
    if ordered.edit is None:
        return ordered
    # Only a right answer can be edited; a refusal stays what it is.
    unedited = right(key)
    return ordered.over(unedited.body) if unedited.status == 200 else unedited


def _tell_key(world: World, key: Key, towards: float) -> Answer:
    at = world.instant_told(key)
    usage, byok = world.totals(key, "credits", at=at), world.totals(key, "byok", at=at)

    def usd(nanos: int) -> _Written:
        return _Written(number(nanos, world.figures, towards))

    limit = _key_limit(world, key, at, usd)
    data: dict[str, object] = {
        "label": key.label,
        "is_management_key": key.is_management_key,
        "is_provisioning_key": key.is_management_key,
        "limit": limit["limit_usd"] if limit else None,
        "limit_reset": key.limit_reset,
        "limit_remaining": limit["remaining_usd"] if limit else None,
        "include_byok_in_limit": key.include_byok_in_limit,
        "usage": usd(usage.lifetime_nanos),
        "usage_daily": usd(usage.day_nanos),
        "usage_weekly": usd(usage.week_nanos),
        "usage_monthly": usd(usage.month_nanos),
        "byok_usage": usd(byok.lifetime_nanos),
        "byok_usage_daily": usd(byok.day_nanos),
        "byok_usage_weekly": usd(byok.week_nanos),
        "byok_usage_monthly": usd(byok.month_nanos),
        "is_free_tier": world.purchased_nanos == 0,
        "creator_user_id": key.creator,
        "expires_at": _timestamp(key.expires_at),
        "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
    }
    if world.body is Body.SDK:
        data |= {
            "allowed_data_regions": ["global"],
            "budgets": [limit] if limit else [],
            "effective_budget": limit,
            "free_model_daily_requests": {"limit": 1000, "remaining": 1000, "used": 0},
            "organization_id": None,
            "workspace_id": key.workspace,
        }
    return _found(data)


def _tell_credits(world: World, key: Key, towards: float) -> Answer:
    if not key.is_management_key and world.credits_policy is CreditsPolicy.FORBIDDEN:
        return refusal(403, "Only management keys can perform this operation")
    is_hidden = not key.is_management_key and world.credits_policy is CreditsPolicy.ZEROS
    credits_nanos, usage_nanos = (0, 0) if is_hidden else (world.purchased_nanos, world.account_spent_nanos())
    return _found(
        {
            "total_credits": _Written(number(credits_nanos, world.figures, towards)),
            "total_usage": _Written(number(usage_nanos, world.figures, towards)),
        }
    )


_TELLERS: Final[Mapping[tuple[str, str], Callable[[World, Key, float], Answer]]] = MappingProxyType(
    {("GET", AUTH_KEY): _tell_key, ("GET", KEY): _tell_key, ("GET", CREDITS): _tell_credits}
)


# --- The parts of a body ----------------------------------------------------------------------------------------------


class _Written(str):
    """JSON text that stands as it is."""

    __slots__ = ()


def _found(data: Mapping[str, object]) -> Answer:
    return Answer(_json({"data": data}).encode())


def _json(value: object) -> str:
    match value:
        case _Written():
            return value
        case Mapping():
            return "{" + ",".join(f"{json.dumps(name)}:{_json(member)}" for name, member in value.items()) + "}"
        case list():
            return "[" + ",".join(map(_json, value)) + "]"
        case _:
            return json.dumps(value)


def _key_limit(world: World, key: Key, at: datetime, usd: Callable[[int], _Written]) -> Mapping[str, object] | None:
    """Return the key's own limit as the API tells a budget; None where there is none.

    What is left goes below zero when more was spent, as the documents say of budgets and leave open of keys.
    """
    if key.limit_nanos is None:
        return None
    begins, resets_at = _window(key.limit_reset, at)
    spent = world.shown_since(key, begins, "credits", at=at)
    if key.include_byok_in_limit:
        spent += world.shown_since(key, begins, "byok", at=at)
    return {
        "scope": "key_limit",
        "limit_usd": usd(key.limit_nanos),
        "spend_usd": usd(spent),
        "remaining_usd": usd(key.limit_nanos - spent),
        "reset_interval": key.limit_reset,
        "resets_at": _timestamp(resets_at),
        "include_byok": key.include_byok_in_limit,
        "guardrail_id": None,
        "budget_id": None,
    }


def _window(interval: Interval | None, at: datetime) -> tuple[datetime | None, datetime | None]:
    """Return when the window of a limit began and when the next one does; neither for a limit that never resets."""
    match interval:
        case None:
            return None, None
        case "daily":
            return start_of_day(at), start_of_day(at) + timedelta(days=1)
        case "weekly":
            return start_of_week(at), start_of_week(at) + timedelta(days=7)
        case "monthly":
            return start_of_month(at), start_of_month(start_of_month(at) + timedelta(days=31))


def _timestamp(at: datetime | None) -> str | None:
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
