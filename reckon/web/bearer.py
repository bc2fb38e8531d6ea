"""Who may ask: whoever shows `http.token`. It is compared in a time that tells nothing of it."""

import hmac
from typing import Final

from pydantic import SecretStr
from starlette.requests import Request

from reckon.web.refusals import Refused

ASKED_FOR: Final = {"WWW-Authenticate": "Bearer"}
"""What a refusal says besides."""


def may_read(request: Request) -> bool:
    """Return whether who sent *request* may see figures: anybody, where no token is set."""
    token: SecretStr | None = request.app.state.token
    return token is None or _shows(request, token)


def require_to_read(request: Request) -> None:
    """Let nobody pass who may not see figures.

    Raises:
        Refused: 401.
    """
    if not may_read(request):
        raise Refused(401, "http.token is asked for, as a bearer", ASKED_FOR)


def require_to_hand_in(request: Request, *, or_header: str | None = None) -> None:
    """Let nobody pass who does not show the token, as a bearer or in a header of its own; nobody at all without one.

    Raises:
        Refused: 401.
    """
    token: SecretStr | None = request.app.state.token
    if token is None:
        raise Refused(401, "http.token is not set, and without it nothing is taken", ASKED_FOR)
    if not (_shows(request, token) or (or_header and _shows(request, token, header=or_header, scheme=""))):
        raise Refused(401, "http.token is asked for, as a bearer", ASKED_FOR)


def _shows(request: Request, token: SecretStr, *, header: str = "authorization", scheme: str = "Bearer ") -> bool:
    expected = f"{scheme}{token.get_secret_value()}"
    return hmac.compare_digest(request.headers.get(header, "").encode(), expected.encode())
