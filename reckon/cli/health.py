"""`reckon health`: one question and one line, for whoever starts and ends processes.

Little is imported: a container asks every few seconds. What is asked is this machine, so no proxy has a say in it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from reckon.config import Listen, Settings

PATIENCE_SECONDS: Final = 5.0
_LONGEST_ANSWER_BYTES: Final = 65_536
_SHORTEST_SILENCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Reply:
    """What `/healthz` came to."""

    is_well: bool
    text: str
    """One line for a person."""
    detail: Mapping[str, Any] = field(default_factory=dict)
    """What a daemon tells of itself; empty where none answered."""


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("health")(health)


def health(context: typer.Context) -> None:
    """Whether the daemon gets on; for containers.

    Exits with 0 when its last poll made progress, and with 1 when it did not or nobody answers at http.listen. Without
    that the ledger is asked: its last poll is to be no older than three polls, or five minutes.
    """
    import os

    from reckon.cli.printing import clean
    from reckon.config import load

    settings = load(context.obj, os.environ)
    listen = settings.http.listen
    reply = ask(listen) if listen and listen.port else _by_the_ledger(settings)
    print(clean(reply.text, 300))
    if not reply.is_well:
        raise typer.Exit(1)


def ask(listen: "Listen", *, patience_seconds: float = PATIENCE_SECONDS) -> Reply:
    """Return what the daemon that listens there says of itself, within *patience_seconds* in all."""
    answers: SimpleQueue[Reply] = SimpleQueue()
    # A thread, because a time-out on a socket is for each of its operations, and a slow answer has any number.
    Thread(target=lambda: answers.put(_asked(listen, patience_seconds)), daemon=True).start()
    try:
        return answers.get(timeout=patience_seconds)
    except Empty:
        return Reply(is_well=False, text=f"no answer from {listen} within {patience_seconds:g} s")


def _asked(listen: "Listen", patience_seconds: float) -> Reply:
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection(reachable(listen.host), listen.port, timeout=patience_seconds)
    try:
        connection.request("GET", "/healthz", headers={"Connection": "close"})
        answer = connection.getresponse()
        body = answer.read(_LONGEST_ANSWER_BYTES)
    except TimeoutError:
        return Reply(is_well=False, text=f"no answer from {listen} within {patience_seconds:g} s")
    except OSError as error:
        return Reply(is_well=False, text=f"nobody answers at {listen}: {error.strerror or type(error).__name__}")
    except HTTPException:
        return Reply(is_well=False, text=f"what answers at {listen} does not speak HTTP")
    finally:
        connection.close()
    return _read(listen, answer.status, body)


def _read(listen: "Listen", status: int, body: bytes) -> Reply:
    import json

    try:
        detail = json.loads(body)
    except (ValueError, RecursionError):
        detail = None
    if not isinstance(detail, dict) or not {"status", "last_poll_at"} <= set(detail):
        return Reply(is_well=False, text=f"what answers at {listen} is not Reckon (HTTP {status})")
    said = f"{detail['status']}; last poll {detail['last_poll_at'] or 'not yet'}"
    return Reply(is_well=status == 200, text=said, detail=detail)


def reachable(host: str) -> str:
    """Return where to ask whoever listens on *host*: of every address, the one within this machine."""
    from ipaddress import ip_address

    try:
        address = ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _by_the_ledger(settings: "Settings") -> Reply:
    from reckon.app import open_app
    from reckon.documents import instant

    with open_app(settings) as app:
        polled_at, now = app.polled_at(), app.clock()
    if polled_at is None:
        return Reply(is_well=False, text="nothing was ever polled")
    is_well = now - polled_at <= longest_silence(settings)
    return Reply(
        is_well, f"{'alive' if is_well else 'no poll was committed for too long'}; last poll {instant(polled_at)}"
    )


def longest_silence(settings: "Settings") -> timedelta:
    """Return how old the last poll may be while all is well."""
    return max(3 * settings.polls_every, _SHORTEST_SILENCE)
