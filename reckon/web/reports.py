"""`GET /api/v1/...`: the documents that the commands print with `--json`, asked for by the same parameters."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from reckon.app import App
from reckon.core.reports import Dimension, whole_span
from reckon.core.windows import Window
from reckon.documents import versioned
from reckon.documents.alerts import alerts_document, shown_alerts
from reckon.documents.books import books_document
from reckon.documents.calls import calls_document
from reckon.documents.keys import keys_document
from reckon.documents.parameters import Unaccepted, day_of, dimensions_of, limit_of, span_of, zone_of
from reckon.documents.spend import spend_document
from reckon.web.bearer import require_to_read
from reckon.web.refusals import Refused

_PATIENCE_SECONDS: Final = 20.0
_SPAN: Final = ("since", "until", "last")


@dataclass(frozen=True, slots=True)
class Report:
    """One document, and what it may be asked for."""

    document: Callable[[App, QueryParams], Mapping[str, Any]]
    """Raises `Unaccepted`, and `StoreError`."""
    accepts: tuple[str, ...]


def routes() -> list[Route]:
    """Return a route for each report."""
    return [Route(f"/api/v1/{name}", partial(_answer, report), methods=["GET"]) for name, report in REPORTS.items()]


async def _answer(report: Report, request: Request) -> Response:
    """200 with the document; 401 without the token, where there is one; 422 naming the parameter at fault; 503."""
    require_to_read(request)
    app: App = request.app.state.app()
    asked = request.query_params
    _require_known(report, asked)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            document = await loop.run_in_executor(app.store.reporters, report.document, app, asked)
    except TimeoutError:
        raise Refused(503, f"the ledger gave no answer within {_PATIENCE_SECONDS:g} s") from None
    return JSONResponse(versioned(document))


def _spend(app: App, asked: QueryParams) -> Mapping[str, Any]:
    app = _in_zone(app, asked)
    return spend_document(app.spend(dimensions_of(asked.getlist("by") or [Dimension.OWNER]), _span(app, asked)))


def _alerts(app: App, asked: QueryParams) -> Mapping[str, Any]:
    app = _in_zone(app, asked)
    span = _span(app, asked)
    shown = shown_alerts(app.alerts(), span.start if span else None)
    return alerts_document(shown, app.last_transitions(shown.alerts))


def _keys(app: App, _asked: QueryParams) -> Mapping[str, Any]:
    return keys_document(app.key_outlooks())


def _calls(app: App, asked: QueryParams) -> Mapping[str, Any]:
    app = _in_zone(app, asked)
    return calls_document(app.calls(_span(app, asked), limit_of(asked.get("limit"), MOST_CALLS)))


def _books(app: App, asked: QueryParams) -> Mapping[str, Any]:
    app = _in_zone(app, asked)
    return books_document(app.books(day_of(asked["day"]) if "day" in asked else None))


MOST_CALLS: Final = 10_000
"""More rows than this no answer holds."""

REPORTS: Final[Mapping[str, Report]] = {
    "spend": Report(_spend, ("by", *_SPAN, "timezone")),
    "calls": Report(_calls, (*_SPAN, "limit", "timezone")),
    "books": Report(_books, ("day", "timezone")),
    "alerts": Report(_alerts, ("last", "timezone")),
    "keys": Report(_keys, ()),
}


def _require_known(report: Report, asked: QueryParams) -> None:
    for name, _ in asked.multi_items():
        if name not in report.accepts:
            accepted = f"accepts {', '.join(report.accepts)}" if report.accepts else "accepts no parameter"
            raise Unaccepted(accepted, "the query")
        if name != "by" and len(asked.getlist(name)) > 1:
            raise Unaccepted("accepts one value", name)


def _in_zone(app: App, asked: QueryParams) -> App:
    """Return the same questions, as if the configuration named the zone that is asked for."""
    if "timezone" not in asked:
        return app
    settings = app.settings.model_copy(update={"timezone": zone_of(asked["timezone"])})
    return App(settings, app.store, clock=app.clock)


def _span(app: App, asked: QueryParams) -> Window | None:
    """Return the span that is asked for, or None for everything there is."""
    edges = [asked.get(name) for name in _SPAN]
    if edges == [None] * len(_SPAN):
        return None
    now = app.clock()
    return span_of(*edges, zone=app.settings.timezone, now=now, opening=whole_span(app.keys(), now).start)
