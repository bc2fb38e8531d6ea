"""OpenRouter's HTTP API over a `World`: what the documents say it answers, unless the world was told otherwise.

Every request is recorded before it is answered. `Date` is the world's clock; serve the app with a server that adds
none of its own. Errors, 404 for everything not built here included, come in OpenRouter's JSON envelope.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.utils import format_datetime
from itertools import cycle
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from reckon.fakes.answers import Answer, refusal
from reckon.fakes.endpoints.activity import tell_activity
from reckon.fakes.endpoints.analytics import tell_meta, tell_query
from reckon.fakes.endpoints.asked import Asked, Refused
from reckon.fakes.endpoints.generations import tell_generation
from reckon.fakes.endpoints.keys import tell_credits, tell_key, tell_keys, tell_one_of_the_keys
from reckon.fakes.endpoints.workspaces import tell_one_of_the_workspaces, tell_workspaces
from reckon.fakes.world import CreditsPolicy, Key, Request, World

AUTH_KEY: Final = "/api/v1/auth/key"
KEY: Final = "/api/v1/key"
CREDITS: Final = "/api/v1/credits"
GENERATION: Final = "/api/v1/generation"
KEYS: Final = "/api/v1/keys"
WORKSPACES: Final = "/api/v1/workspaces"
ACTIVITY: Final = "/api/v1/activity"
ANALYTICS_META: Final = "/api/v1/analytics/meta"
ANALYTICS_QUERY: Final = "/api/v1/analytics/query"


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


# --- Which answer -----------------------------------------------------------------------------------------------------

_METHODS: Final = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def _answer(world: World, request: Request, authorization: str, noise: Iterator[float]) -> Answer:
    scheme, _, secret = authorization.partition(" ")
    has_bearer = scheme.lower() == "bearer"
    key = world.key_with(secret.strip()) if has_bearer else None

    def right(key: Key | None) -> Answer:
        endpoint, named = _endpoint(world, request)
        if endpoint is None:
            return refusal(404, "Resource not found")
        if not has_bearer:
            return refusal(401, "Missing Authentication header")
        if key is None or not world.accepts(key):
            return refusal(401, "User not found.")
        if not key.is_management_key and endpoint.is_refused_to_inference_keys(world):
            return refusal(403, "Only management keys can perform this operation")
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        try:
            return endpoint.tell(Asked(world, key, query, request.body, named, next(noise)))
        except Refused as refused:
            return refused.answer

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


def _endpoint(world: World, request: Request) -> tuple["_Endpoint | None", str]:
    """Return what answers *request*, and the name its path ends with, if it ends with one."""
    if request.path == AUTH_KEY and world.auth_key_retired:
        return None, ""
    if endpoint := _ENDPOINTS.get((request.method, request.path)):
        return endpoint, ""
    head, _, named = request.path.rpartition("/")
    return (_ENDPOINTS.get((request.method, head + "/{}")), named) if named else (None, "")


def _always(_world: World) -> bool:
    return True


def _never(_world: World) -> bool:
    return False


def _by_policy(world: World) -> bool:
    return world.credits_policy is CreditsPolicy.FORBIDDEN


@dataclass(frozen=True, slots=True)
class _Endpoint:
    tell: Callable[[Asked], Answer]
    is_refused_to_inference_keys: Callable[[World], bool] = _always


_ENDPOINTS: Final[Mapping[tuple[str, str], _Endpoint]] = MappingProxyType(
    {
        ("GET", AUTH_KEY): _Endpoint(tell_key, _never),
        ("GET", KEY): _Endpoint(tell_key, _never),
        ("GET", CREDITS): _Endpoint(tell_credits, _by_policy),
        ("GET", GENERATION): _Endpoint(tell_generation, _never),
        ("GET", KEYS): _Endpoint(tell_keys),
        ("GET", KEYS + "/{}"): _Endpoint(tell_one_of_the_keys),
        ("GET", WORKSPACES): _Endpoint(tell_workspaces),
        ("GET", WORKSPACES + "/{}"): _Endpoint(tell_one_of_the_workspaces),
        ("GET", ACTIVITY): _Endpoint(tell_activity),
        ("GET", ANALYTICS_META): _Endpoint(tell_meta),
        ("POST", ANALYTICS_QUERY): _Endpoint(tell_query),
    }
)
