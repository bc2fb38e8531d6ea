"""An account with every kind of money that goes through no key we read: its books balance, and each has its name."""

import asyncio
from collections.abc import Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from httpx import ASGITransport

from reckon.app import open_app
from reckon.config import load
from reckon.core.comparing import Teller
from reckon.core.generations import Facts, Handed
from reckon.core.reasons import Reason
from reckon.documents.books import books_document
from reckon.fakes import openrouter
from reckon.fakes.answers import refusal
from reckon.fakes.world import World
from reckon.store.rows import seconds
from reckon.store.tables import ACCOUNT_DAY, ACTIVITY, KEY
from reckon.store.writing import upsert_rows
from reckon.watch import open_watcher
from tests.canary import CANARIES, inference_key

USD = 10**9
FRIDAY = date(2026, 11, 20)
START = datetime(2026, 11, 20, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Account:
    """An account over one day: things happen at their times, and Reckon polls every half hour."""

    def __init__(self, write, store_url):
        self.world = World(START - HOUR, purchased_nanos=1_000 * USD)
        self.manager = self.world.make_key("manager", secret=CANARIES["management_key"], is_management_key=True)
        self.keys = {
            name: self.world.make_key(name, secret=inference_key(2_700 + n)) for n, name in enumerate(("ana", "bo"))
        }
        self._write = write
        self._store_url = store_url
        self.configure(f'openrouter.management_key = "{self.manager.secret}"\n[owners.ana]\nmatch = {{ name = "*" }}')

    def configure(self, text):
        first = f'store.url = "{self._store_url}"\nlog.level = "error"\n'
        self.config = self._write("reckon.toml", first + text)

    @asynccontextmanager
    async def watched(self):
        transport = ASGITransport(app=openrouter.app(self.world))
        async with open_watcher(load(self.config, {}), {}, clock=lambda: self.world.now, transport=transport) as found:
            yield found

    def lives(self, happenings: dict[datetime, Callable], until: datetime):
        async def live():
            async with self.watched() as watcher:
                while self.world.now < until:
                    await watcher.poll_everything(self.world.now)
                    ahead = self.world.now + 30 * MINUTE
                    for when in sorted(when for when in happenings if self.world.now < when <= ahead):
                        self.world.move_to(when)
                        happenings[when](watcher)
                    self.world.move_to(ahead)
                await watcher.poll_everything(self.world.now)

        asyncio.run(live())

    def app(self):
        return open_app(load(self.config, {}), clock=lambda: self.world.now)

    def books(self):
        with self.app() as app:
            return app.books(FRIDAY)

    async def tell_activity(self, besides=0):
        """Write down what the account's activity tells of Friday, but for so many nanos of the account's own."""
        entries = [entry for entry in self.world.entries(START, START + DAY) if entry.credits_nanos]
        async with self.watched() as watcher:
            store = watcher.app.store
            with store.reading() as ledger:
                ids = {row.hash: row.id for row in ledger.connection.execute(KEY.select())}
            account = [
                {
                    "source": "activity",
                    "day": FRIDAY.isoformat(),
                    "credits_nanos": sum(entry.credits_nanos for entry in entries) - besides,
                    "byok_nanos": 0,
                    "read_at": seconds(START + 4 * DAY),
                }
            ]
            of_keys = [
                {
                    "key_id": ids[key_hash],
                    "day": FRIDAY.isoformat(),
                    "model": "",
                    "provider": "",
                    "credits_nanos": sum(entry.credits_nanos for entry in entries if entry.key_hash == key_hash),
                    "byok_nanos": 0,
                    "requests": None,
                }
                for key_hash in sorted({entry.key_hash for entry in entries} & ids.keys())
            ]

            def write(connection, _):
                upsert_rows(connection, ACCOUNT_DAY, account, key=("source", "day"))
                upsert_rows(connection, ACTIVITY, of_keys, key=("key_id", "day", "model", "provider"))

            store.transact(lambda _: None, lambda _: None, write)


@pytest.fixture
def account(secret_file, database_url, canary):
    account = Account(secret_file, database_url)
    canary.watch_requests(account.world.requests)
    return account


def said(books, teller):
    (found,) = [each for each in books.compared if each.teller is teller]
    return dict(found.explained)


def test_every_kind_of_money_has_its_name_and_the_books_balance(account):
    world, ana, bo = account.world, account.keys["ana"], account.keys["bo"]

    def run_one(watcher):
        generation = world.call(ana, cost_nanos=USD, model="m", settles_after=3 * DAY)
        handed = Handed(generation.id, "ana", ana.hash, Facts(created_at=world.now, credits_nanos=USD))
        watcher.hand_in([handed], world.now)

    def delete(_):
        world.spend(bo, USD // 2)
        world.delete(bo)

    account.lives(
        {
            START + 9 * HOUR + MINUTE: run_one,
            START + 10 * HOUR + MINUTE: lambda _: world.chatroom(2 * USD),
            START + 11 * HOUR + MINUTE: lambda _: world.spend(bo, 3 * USD),
            START + 12 * HOUR + MINUTE: delete,
            START + 13 * HOUR + MINUTE: lambda _: world.spend(ana, 100 * USD, meter="byok"),
            START + 14 * HOUR + MINUTE: lambda _: world.chatroom(5 * USD),  # a fee: of no key, and in no activity
        },
        until=START + DAY + 7 * HOUR,
    )
    asyncio.run(account.tell_activity(besides=5 * USD))

    found = account.books()
    assert (found.counters_nanos, found.told_by(Teller.ACTIVITY)) == (4 * USD, 6 * USD + USD // 2)
    assert found.told_by(Teller.CREDITS) == 11 * USD + USD // 2
    assert dict(found.explained) == {Reason.PENDING: USD, Reason.NEVER_HANDED_IN: 3 * USD}
    beyond_keys = {Reason.CHATROOM: 2 * USD, Reason.DELETED_KEY: USD // 2}
    assert said(found, Teller.ACTIVITY) == beyond_keys
    assert said(found, Teller.CREDITS) == {**beyond_keys, Reason.FEES: 5 * USD}
    assert found.is_balanced
    assert books_document(found)["analytics_usd"] is None


def test_what_a_key_spent_that_no_sweep_ever_showed_lies_in_what_was_not_swept(account):
    world = account.world

    def fail(_):
        world.answer_with(openrouter.KEYS, refusal(503, "Service unavailable"))

    def make(_):
        world.spend(world.make_key("new", secret=inference_key(2_710)), 2 * USD)

    happenings = {
        START - 10 * MINUTE: fail,
        START + 9 * HOUR + MINUTE: make,
        START + 10 * HOUR + MINUTE: lambda _: world.spend(account.keys["ana"], 4 * USD),
    }
    account.lives(happenings, until=START + DAY + 7 * HOUR)
    asyncio.run(account.tell_activity())

    found = account.books()
    unseen = {Reason.SINCE_LAST_POLL: 4 * USD, Reason.UNSWEPT_WORKSPACE: 2 * USD}
    assert found.counters_nanos == 0
    assert said(found, Teller.ACTIVITY) == said(found, Teller.CREDITS) == unseen
    assert found.is_balanced


def test_without_a_management_key_the_books_are_made_of_what_there_is(account):
    ana = account.keys["ana"]
    account.configure(f'[owners.ana]\nkeys = [{{ name = "laptop", key = "{ana.secret}" }}]')
    happenings = {START + 9 * HOUR + MINUTE: lambda _: account.world.spend(ana, 3 * USD)}
    account.lives(happenings, until=START + DAY)

    async def look():
        async with account.watched() as watcher:
            return await watcher.watch_account(account.world.now)

    assert asyncio.run(look()) is False
    found = books_document(account.books())
    assert found["counters_usd"] == "3.000000000"
    assert [found[f"{teller}_usd"] for teller in Teller] == [None, None, None]
    assert (found["compared"], found["balanced"]) == ([], True)
    with account.app() as app:
        assert app.funds() is None
