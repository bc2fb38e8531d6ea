"""A whole account through one management key: every key counted to the nano-dollar, those of nobody named.

Driven poll by poll, on a clock of the account's own, against the fake.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from httpx import ASGITransport

from reckon.app import open_app
from reckon.config import load
from reckon.core.outbox import DeliveryState
from reckon.core.records import UNOWNED
from reckon.core.reports import Dimension
from reckon.fakes import openrouter
from reckon.fakes.answers import Answer, rate_limited, refusal
from reckon.fakes.world import DEFAULT_WORKSPACE, Key, World
from reckon.watch import Watcher, open_watcher
from tests.canary import CANARIES, inference_key

USD = 10**9
MINUTE = timedelta(minutes=1)
BEGIN = datetime(2026, 11, 20, 8, tzinfo=UTC)
OWNERS = """
[owners.ana]
match = { name = "ana-*" }
[owners.ci]
match = { workspace = "builds" }
[owners.dana]
keys = [{ name = "laptop", hash = "%s" }]
"""


class Account:
    """Two hundred and thirty keys in three workspaces, some disabled, and what Reckon says of them."""

    def __init__(self, write, store_url, *, owners: str = OWNERS):
        self.random = Random(5)  # noqa: S311 - amounts, not secrets
        self.world = World(BEGIN, purchased_nanos=10**6 * USD)
        builds, research = (self.world.make_workspace(name).id for name in ("builds", "research"))
        self.manager = self.world.make_key("manager", secret=CANARIES["management_key"], is_management_key=True)
        places = [DEFAULT_WORKSPACE] * 120 + [builds] * 60 + [research] * 50
        self.keys: list[Key] = []
        for number, place in enumerate(places):
            name = f"{('ana', 'ben', 'cleo')[number % 3]}-{number}"
            self.make(name, place, secret=inference_key(2_000 + number))
        for key in self.keys[::10]:
            self.world.disable(key)
        self.opened = {key.hash: self.world.spent(key) for key in self.keys}
        self.config = write(
            "reckon.toml",
            f'openrouter.management_key = "{self.manager.secret}"\nstore.url = "{store_url}"\nlog.level = "error"\n'
            + (owners % self.keys[4].hash if "%s" in owners else owners),
        )

    def make(self, name: str, place: str = DEFAULT_WORKSPACE, *, secret: str) -> Key:
        key = self.world.make_key(name, secret=secret, workspace=place)
        self.keys.append(key)
        return key

    def spend(self, *keys: Key) -> None:
        for key in keys or self.random.sample(self.keys, 60):
            if self.world.accepts(key):
                self.world.spend(key, self.random.choice([1, 7_001, 123_456_789, 2 * USD + 3]))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watcher]:
        transport = ASGITransport(app=openrouter.app(self.world))
        async with open_watcher(load(self.config, {}), {}, clock=lambda: self.world.now, transport=transport) as found:
            yield found

    def app(self):
        return open_app(load(self.config, {}), clock=lambda: self.world.now)

    def counted(self) -> dict[str, int]:
        with self.app() as app:
            rows = app.spend([Dimension.KEY]).rows
            assert app.verify().differences == []
        return {row.key_hash: row.amounts.spend_nanos for row in rows if row.amounts.spend_nanos}

    def spent(self) -> dict[str, int]:
        """What each key that was ever seen has spent since it was, or since it was made, if anything."""
        since = {key.hash: self.world.spent(key) - self.opened.get(key.hash, 0) for key in self.keys}
        return {key_hash: nanos for key_hash, nanos in since.items() if nanos}

    def asked(self, path: str) -> int:
        return sum(request.path == path for request in self.world.requests)

    def said(self) -> list[str]:
        with self.app() as app, app.store.reading() as ledger:
            assert ledger.outbox_counts()[DeliveryState.DEAD] == 0
            return [delivery.message.headline for delivery in ledger.outbox()]


@pytest.fixture
def account(secret_file, database_url, canary):
    account = Account(secret_file, database_url)
    canary.watch_requests(account.world.requests)
    return account


def test_every_key_is_counted_to_the_nano_dollar_and_no_page_is_asked_for_twice(account):
    async def live():
        async with account.watched() as watcher:
            for _ in range(5):
                (plan,) = await watcher.poll_everything(account.world.now)
                assert (plan.polled, plan.failures) == (230, ())
                account.spend()
                account.world.advance(MINUTE)
            await watcher.poll_everything(account.world.now)
            # Whoever hands in a generation may name a key that only sweeps show.
            assert watcher.names().meant(None, "ana-3") == ("ana", account.keys[3].hash)
            assert watcher.names().meant("dana", "laptop") == ("dana", account.keys[4].hash)

    asyncio.run(live())

    assert account.counted() == account.spent()
    assert account.asked(openrouter.KEYS) == 6 * (2 + 1 + 1)
    assert account.asked(openrouter.WORKSPACES) == 1
    assert account.asked(openrouter.AUTH_KEY) == 0
    with account.app() as app:
        owners = Counter(key.owner for key in app.watched_keys())
    assert owners == {"ana": 77, "ci": 40, "dana": 1, UNOWNED: 112}  # the first rule that claims one has it


def test_a_key_made_between_two_sweeps_counts_in_full_and_a_deleted_one_keeps_what_it_spent(account):
    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            account.spend()
            account.world.advance(MINUTE)
            new = account.make("ana-new", secret=inference_key(2_500))
            account.spend(new)
            await watcher.poll_everything(account.world.now)
            account.world.delete(account.keys[0])
            for _ in range(3):
                account.spend(*account.keys[1:40])
                account.world.advance(MINUTE)
                await watcher.poll_everything(account.world.now)

    asyncio.run(live())

    assert account.counted() == account.spent()
    with account.app() as app:
        known = app.keys()
    keys = {key.hash: key for key in known}
    assert not keys[account.keys[0].hash].watched
    assert keys[account.keys[-1].hash].owner == "ana"
    said = account.said()
    assert [text for text in said if text.startswith("New key: ana-new of ana")]
    assert [text for text in said if text.startswith("Gone: ana-0 of ana")]
    assert len(said) == 2


def test_a_key_that_takes_anothers_place_goes_on_with_the_history_of_its_owner(account):
    old = account.keys[3]

    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            account.spend(old)
            account.world.advance(MINUTE)
            await watcher.poll_everything(account.world.now)
            account.world.delete(old)
            account.spend(account.make(old.name, secret=inference_key(2_501)))
            for _ in range(2):
                account.world.advance(MINUTE)
                await watcher.poll_everything(account.world.now)

    asyncio.run(live())

    with account.app() as app:
        (ana,) = [row for row in app.spend([Dimension.OWNER]).rows if row.place[Dimension.OWNER] == "ana"]
    assert ana.amounts.spend_nanos == sum(account.spent().values())


def test_an_account_that_shows_no_key_any_more_has_not_lost_them(account):
    nothing = openrouter.KEYS

    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            account.spend()
            account.world.answer_with(nothing, Answer(b'{"data":[]}'))
            for _ in range(3):
                account.world.advance(MINUTE)
                (plan,) = await watcher.poll_everything(account.world.now)
                assert len(plan.failures) == 230
            account.world.answer_rightly()
            account.world.advance(MINUTE)
            (plan,) = await watcher.poll_everything(account.world.now)
            assert plan.failures == ()

    asyncio.run(live())

    assert account.counted() == account.spent()
    with account.app() as app:
        assert len(app.watched_keys()) == 230


def test_keys_of_another_account_are_asked_about_themselves_and_ours_once_sweeps_have_failed(secret_file, sqlite_url):
    account = Account(secret_file, sqlite_url, owners="")
    mine = account.keys[1]
    account.config = secret_file(
        "reckon.toml",
        account.config.read_text() + f'[owners.ana]\nkeys = [{{ name = "mine", key = "{mine.secret}" }}]\n',
    )

    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            assert account.asked(openrouter.AUTH_KEY) == 0
            account.world.answer_with(openrouter.KEYS, refusal(503, "Service unavailable"))
            for failures in (1, 2, 3, 4):
                account.spend(mine)
                account.world.advance(MINUTE)
                (plan,) = await watcher.poll_everything(account.world.now)
                assert account.asked(openrouter.AUTH_KEY) == max(0, failures - 2)
                assert len(plan.failures) == (230 if failures < 3 else 229)
            account.world.answer_rightly()
            account.world.advance(MINUTE)
            await watcher.poll_everything(account.world.now)

    asyncio.run(live())

    assert account.counted() == account.spent()


def test_a_key_that_is_named_by_its_hash_and_deleted_is_gone_like_any_other(account):
    laptop = account.keys[4]

    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            account.world.delete(laptop)
            changed = []
            for _ in range(5):
                account.world.advance(MINUTE)
                (plan,) = await watcher.poll_everything(account.world.now)
                changed.append(laptop.hash in {key.hash for key in plan.keys})
            return changed

    assert asyncio.run(live()) == [True, True, False, False, False]
    with account.app() as app:
        known = app.keys()
    (found,) = [key for key in known if key.hash == laptop.hash]
    assert (found.watched, found.failing_since) == (False, None)
    assert [text for text in account.said() if text.startswith("Gone: laptop of dana")]


def test_a_wait_that_the_management_key_is_asked_for_is_no_single_keys(account):
    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            account.world.answer_with(openrouter.KEYS, rate_limited("600"), times=1)
            for _ in range(3):
                account.world.advance(MINUTE)
                await watcher.poll_everything(account.world.now)

    asyncio.run(live())

    assert account.asked(openrouter.KEYS) == 4 + 1  # and then nothing until the wait is over
    with account.app() as app:
        assert {key.retry_at for key in app.watched_keys()} == {None}
        assert app.sweep_trouble() == (BEGIN + MINUTE, "HTTP 429")


def test_a_workspace_whose_keys_are_all_deleted_is_empty_after_an_hour(account):
    ci = [key for key in account.keys if key.workspace != account.keys[0].workspace][:60]

    async def live():
        async with account.watched() as watcher:
            await watcher.poll_everything(account.world.now)
            for key in ci:
                account.world.delete(key)
            failing = []
            for _ in range(8):
                account.world.advance(10 * MINUTE)
                (plan,) = await watcher.poll_everything(account.world.now)
                failing.append(len(plan.failures))
            return failing

    assert asyncio.run(live()) == [60] * 6 + [0, 0]
    with account.app() as app:
        assert {key.hash for key in app.watched_keys()}.isdisjoint(key.hash for key in ci)
        assert len(app.watched_keys()) == 170


def test_a_long_sweep_is_seen_to_move_page_by_page(account):
    async def live():
        async with account.watched() as watcher:
            before = watcher.source.asked
            await watcher.poll_everything(account.world.now)
            return watcher.source.asked - before

    assert asyncio.run(live()) == 1 + 4
