"""The way into a daemon that holds the ledger: its own HTTP surface, asked from the same machine.

A SQLite file has one writing process. A command that writes hands its work to the daemon that has the file, with the
same bearer token as anybody else.
"""

import json
import os
from typing import TYPE_CHECKING, Any, Final

from reckon.errors import ReckonError

if TYPE_CHECKING:
    from reckon.config import Settings

_PATIENCE_SECONDS: Final = 120.0
_LONGEST_ANSWER_BYTES: Final = 16 << 20


class NoDoor(ReckonError):
    """A daemon holds the ledger and cannot be asked to write to it."""


def ask_daemon(settings: "Settings", path: str, body: bytes, content_type: str) -> dict[str, Any]:
    """Return the document that the daemon answers to a POST of *body*.

    Raises:
        NoDoor: there is no way to ask it, or it did not do it. Says what to do.
    """
    from http.client import HTTPConnection, HTTPException

    from reckon.cli.health import reachable
    from reckon.references import Unreadable

    listen, reference = settings.http.listen, settings.http.token
    if listen is None or not listen.port:
        raise NoDoor("A daemon holds the database, and http.listen is off, so it cannot be asked. Stop it first.")
    if reference is None:
        raise NoDoor("A daemon holds the database, and takes nothing without http.token. Set it, or stop the daemon.")
    try:
        token = reference.open(os.environ)
    except Unreadable as reason:
        raise NoDoor(f"http.token: {reason}") from None
    headers = {"Content-Type": content_type, "Authorization": f"Bearer {token.get_secret_value()}"}
    connection = HTTPConnection(reachable(listen.host), listen.port, timeout=_PATIENCE_SECONDS)
    try:
        connection.request("POST", path, body, {**headers, "Connection": "close"})
        answer = connection.getresponse()
        said = answer.read(_LONGEST_ANSWER_BYTES)
    except (OSError, HTTPException) as error:
        raise NoDoor(
            f"A daemon holds the database, and at {listen} nobody answered ({type(error).__name__})."
        ) from None
    finally:
        connection.close()
    try:
        document = json.loads(said)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise NoDoor(f"What answers at {listen} is not Reckon (HTTP {answer.status}).")
    if "error" in document:
        raise NoDoor(f"The daemon at {listen} refused: {document['error']} (HTTP {answer.status}).")
    return document
