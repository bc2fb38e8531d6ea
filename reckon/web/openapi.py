"""`/openapi.json`: this surface, described for machines, as OpenAPI 3.1 has it."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import JSONResponse

from reckon import __version__
from reckon.core.reports import Dimension
from reckon.web import ingest, shapes, traces
from reckon.web.reports import MOST_CALLS, REPORTS

_Schema = Mapping[str, Any]


async def openapi(request: Request) -> JSONResponse:
    """Describe what this process serves, as it is configured."""
    state = request.app.state
    return JSONResponse(description(asks_token=state.token is not None, takes=hasattr(state, "ways_in")))


def description(*, asks_token: bool, takes: bool) -> dict[str, Any]:
    """Return the document.

    Args:
        asks_token: whether figures are for those alone who hold `http.token`.
        takes: whether anything can be handed in.
    """
    _, schemas = models_json_schema(
        [(shape, "validation") for shape in shapes.SHAPES], ref_template=f"{_SCHEMAS}{{model}}"
    )
    figures: _Schema = {"security": [{"bearer": []}]} if asks_token else {}
    paths: dict[str, Any] = {
        "/healthz": {"get": _operation("Whether this process lives", {200: "Health", 503: "Health"})},
        "/readyz": {"get": _operation("Whether it is ready", {200: "Readiness", 503: "Readiness"})},
        "/metrics": {"get": {**_operation("The figures, for Prometheus", dict.fromkeys((200, 401, 503))), **figures}},
        "/openapi.json": {"get": _operation("This document", {200: {"type": "object"}})},
        **{f"/api/v1/{name}": {"get": {**_report(name), **figures}} for name in REPORTS},
    }
    if takes:
        paths |= {"/v1/generations": {"post": _GENERATIONS}, "/v1/traces": {"post": _TRACES, "put": _TRACES}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Reckon", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "`http.token`"},
                "header": {"type": "apiKey", "in": "header", "name": traces.TOKEN_HEADER},
            },
        },
    }


# --- Operations ------------------------------------------------------------------------------------------------------

_SCHEMAS: Final = "#/components/schemas/"
_MEANINGS: Final = {
    200: "As asked",
    202: "Something was accepted, and is in the ledger for good",
    400: "The request broke off",
    401: "`http.token` is not set, or was not shown",
    413: "The body is too long",
    415: "The body is of another type, or compressed",
    421: "Another host was asked for",
    422: "Nothing in it could be accepted",
    503: "The ledger cannot be used now",
}


def _operation(
    summary: str, answers: Mapping[int, str | _Schema | None], *, body: _Schema | None = None, **more: Any
) -> dict[str, Any]:
    """Return an operation. An answer is the name of a shape or a schema, or None for a text."""
    responses = {str(status): _answer(status, shape) for status, shape in {**answers, 421: None}.items()}
    return {
        "summary": summary,
        "responses": responses,
        **({"requestBody": {"required": True, "content": body}} if body else {}),
        **more,
    }


def _answer(status: int, shape: str | _Schema | None) -> dict[str, Any]:
    if shape is None:
        content: _Schema = {"text/plain": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": _ref(shape) if isinstance(shape, str) else shape}}
    return {"description": _MEANINGS[status], "content": content}


def _ref(shape: str) -> dict[str, str]:
    return {"$ref": f"{_SCHEMAS}{shape}"}


def _errors(*statuses: int) -> dict[int, str | _Schema | None]:
    return dict.fromkeys(statuses, "Error")


def _report(name: str) -> dict[str, Any]:
    summary, shape = _REPORTS[name]
    parameters = [{"name": each, "in": "query", **_PARAMETERS[each]} for each in REPORTS[name].accepts]
    return _operation(summary, {200: shape, **_errors(401, 422, 503)}, parameters=parameters)


def _lines(types: Iterable[str]) -> dict[str, Any]:
    return {each: {"schema": {"type": "string", "description": "An entry a line."}} for each in types}


_REPORTS: Final = {
    "spend": ("Who spent how much", "Spend"),
    "calls": ("Single generations, dearest first", "Calls"),
    "books": ("Whether a day's books balance", "Books"),
    "alerts": ("What fires, and what has fired", "Alerts"),
    "keys": ("What is watched, and how fresh it is", "Keys"),
}
_WHEN: Final = {"type": "string", "examples": ["2026-11-20", "2026-11-20T12:15:00Z"]}
_PARAMETERS: Final[Mapping[str, _Schema]] = {
    "by": {
        "schema": {"type": "array", "items": {"enum": [dimension.value for dimension in Dimension]}},
        "description": "What to divide it by; at most one of hour, day, week and month.",
    },
    "since": {"schema": _WHEN, "description": "From this date or instant on, a quarter of an hour."},
    "until": {"schema": _WHEN, "description": "Up to this date or instant, which is not in it."},
    "last": {"schema": {"type": "string", "pattern": r"^[1-9]\d{0,4}[dh]$"}, "description": "Such as 7d or 24h."},
    "day": {"schema": {"type": "string", "format": "date"}, "description": "Which local day; today if left out."},
    "limit": {
        "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CALLS, "default": MOST_CALLS},
        "description": "At most so many rows.",
    },
    "timezone": {"schema": {"type": "string", "examples": ["Europe/Paris"]}, "description": "Whose days are meant."},
}
_GENERATIONS: Final = _operation(
    "Hand in generations",
    {202: "Intake", 422: "Intake", **_errors(400, 401, 413, 415, 503)},
    body={
        "application/json": {"schema": {"anyOf": [_ref("Generation"), {"type": "array", "items": _ref("Generation")}]}},
        **_lines(each for each in ingest.CONTENT_TYPES if each != "application/json"),
    },
    security=[{"bearer": []}],
)
_TRACES: Final = _operation(
    "Take what OpenRouter's Broadcast delivers",
    {200: "Empty", **_errors(400, 401, 413, 415, 422, 503)},
    body={
        "application/json": {
            "schema": {"type": "object", "description": "A trace export of OTLP over HTTP; gzip is understood."}
        }
    },
    security=[{"bearer": []}, {"header": []}],
)
