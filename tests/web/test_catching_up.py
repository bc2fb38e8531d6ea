"""`POST /v1/sweep` and `POST /v1/backfill`: for commands that may not write to a ledger that somebody holds."""

import asyncio

import httpx
import pytest
from pydantic import SecretStr

from reckon.app import App
from reckon.config import Settings
from reckon.errors import SourceUnavailable
from reckon.handing_in import Names
from reckon.pulse import Pulse
from reckon.store import open_store
from reckon.web.catching_up import CatchingUp
from reckon.web.intake_queue import WaysIn
from reckon.web.server import surface
from tests.builders import at
from tests.web.house import NOON, TOKEN

SINCE = "2026-11-20T12:00:00Z"


class Door:
    """A surface at which somebody catches up, and what they were asked to do."""

    def __init__(self, store):
        self.done = []
        self.trouble = None
        ways_in = WaysIn(lambda: Names((), ()), None, store.thread, None, None, CatchingUp(self._sweep, self._backfill))
        self._web = surface(
            lambda: App(Settings(), store, clock=lambda: NOON), Pulse(NOON), SecretStr(TOKEN), None, ways_in
        )

    async def _sweep(self, since):
        return self._note("sweep", since)

    async def _backfill(self, days, since):
        return self._note("backfill", days, since)

    def _note(self, *what):
        if self.trouble:
            raise self.trouble
        self.done.append(what)
        return {"keys_left": 0}

    async def ask(self, path, body, token=TOKEN):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=self._web), base_url="http://reckon") as client:
            return await client.post(path, content=body, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture
def door(sqlite_url):
    with open_store(sqlite_url, writes=True) as store:
        yield Door(store)


def ask(door, path, body, **how):
    return asyncio.run(door.ask(path, body, **how))


def test_what_is_asked_for_is_done_and_told(door):
    answers = [
        ask(door, "/v1/sweep", "{}"),
        ask(door, "/v1/sweep", f'{{"since": "{SINCE}"}}'),
        ask(door, "/v1/backfill", '{"days": 365}'),
        ask(door, "/v1/backfill", f'{{"days": 1, "since": "{SINCE}"}}'),
    ]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"schema_version": 1, "keys_left": 0})
    ] * 4
    since = at("2026-11-20 12:00")
    assert door.done == [("sweep", None), ("sweep", since), ("backfill", 365, None), ("backfill", 1, since)]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/sweep", "[]"),
        ("/v1/sweep", "{"),
        ("/v1/sweep", '{"since": "noon"}'),
        ("/v1/sweep", '{"since": "2026-11-20T12:00:00"}'),
        ("/v1/sweep", '{"since": 5}'),
        ("/v1/backfill", "{}"),
        ("/v1/backfill", '{"days": 0}'),
        ("/v1/backfill", '{"days": 366}'),
        ("/v1/backfill", '{"days": true}'),
        ("/v1/backfill", '{"days": "30"}'),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_done(door, path, body):
    answer = ask(door, path, body)

    assert (answer.status_code, set(answer.json())) == (422, {"schema_version", "error"})
    assert door.done == []


@pytest.mark.parametrize("path", ["/v1/sweep", "/v1/backfill"])
def test_whoever_has_no_token_has_nothing_done(door, path):
    assert ask(door, path, '{"days": 3}', token="another").status_code == 401
    assert door.done == []


def test_where_there_is_nobody_to_ask_the_answer_says_what_it_would_take(door):
    door.trouble = SourceUnavailable("It takes a management key.")

    answer = ask(door, "/v1/backfill", '{"days": 90}')

    assert (answer.status_code, answer.json()["error"]) == (503, "It takes a management key.")
