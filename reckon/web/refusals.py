"""Why a request is not answered as it would like to be, in one line of JSON and a status."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from reckon.documents import versioned
from reckon.documents.parameters import Unaccepted
from reckon.errors import StoreError

RETRY_AFTER_SECONDS: Final = 5


class Refused(Exception):
    """The answer to a request, in place of any other. Its text is meant for whoever sent it, and repeats nothing."""

    def __init__(self, status: int, why: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


async def _refused(_request: Request, refusal: Any) -> Response:
    return _answer(refusal.status, str(refusal), refusal.headers)


async def _not_accepted(_request: Request, refusal: Any) -> Response:
    return _answer(422, str(refusal))


async def _no_ledger(_request: Request, error: Any) -> Response:
    return _answer(503, str(error), {"Retry-After": str(RETRY_AFTER_SECONDS)})


async def _nobody_listens(_request: Request, _error: Any) -> Response:
    return _answer(400, "the request broke off")


HANDLERS: Final[Mapping[type[Exception], Callable[[Request, Any], Awaitable[Response]]]] = {
    Refused: _refused,
    Unaccepted: _not_accepted,
    StoreError: _no_ledger,
    ClientDisconnect: _nobody_listens,
}


def _answer(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse(versioned({"error": why}), status, headers)
