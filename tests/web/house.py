"""A surface over a real ledger, with every way in, and somebody at its door who has the token."""

import asyncio
from collections.abc import Callable

import httpx
from pydantic import SecretStr

from reckon.app import App
from reckon.config import Settings
from reckon.core.generations import Call
from reckon.core.reports import ALWAYS
from reckon.core.settlement import SettlePolicy
from reckon.handing_in import Names
from reckon.jobs.settle import Tally
from reckon.pulse import Pulse
from reckon.store import Store
from reckon.web.intake_queue import WaysIn
from reckon.web.server import surface
from tests.builders import SECOND, at, watched
from tests.canary import CANARIES

NOON = at("2026-11-20 12:00")
TOKEN = CANARIES["http_token"]
WATCHED = (watched("laptop", "ana"), watched("ci", "ana"), watched("ci-nightly", "ben"), watched("ci", "ben"))
OWNERS = ("ana", "ben", "cleo")
NAMES = Names(WATCHED, OWNERS)


class House:
    """What is asked here is asked of a surface that serves on every address."""

    def __init__(self, store: Store, token: str | None = TOKEN) -> None:
        self.store = store
        self.knocks = 0
        self.commits: list[int] = []
        self.settled_with: list[bool] = []
        self.app = App(Settings(), store, clock=lambda: NOON)
        self.pulse = Pulse(NOON)
        ways_in = WaysIn(lambda: NAMES, self._hand_in, store.thread, self._knock, self._settle)
        self.web = surface(lambda: self.app, self.pulse, token and SecretStr(token), None, ways_in)

    def _hand_in(self, handed):
        self.commits.append(len(handed))
        return self.store.hand_in(handed, SettlePolicy([SECOND]), NOON, WATCHED)

    def _knock(self):
        self.knocks += 1

    async def _settle(self, *, expired):
        self.settled_with.append(expired)
        return Tally()

    def ask(self, method, path, *, token=TOKEN, **request) -> httpx.Response:
        """Ask once."""
        return self.talk(lambda client: client.request(method, path, **request), token=token)

    def talk(self, talking: Callable, *, token=TOKEN):
        """Ask as often as *talking* does with the client it is given, in one event loop."""

        async def once():
            transport = httpx.ASGITransport(app=self.web, raise_app_exceptions=False)
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            async with httpx.AsyncClient(transport=transport, base_url="http://reckon", headers=headers) as client:
                return await talking(client)

        return asyncio.run(once())

    def calls(self) -> dict[str, Call]:
        """Return every generation that the ledger holds."""
        with self.store.reading() as ledger:
            return {call.id: call for call in ledger.calls(ALWAYS)}
