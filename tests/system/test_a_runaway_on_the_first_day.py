"""History on day one: an account that has spent for a month, a ledger that has just begun, and no day to lose.

What Reckon does is driven as the daemon drives it, poll by poll, by a clock that stands in the account.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path

import pytest
import structlog
from httpx import ASGITransport

from reckon.config import Settings, load
from reckon.core.activity_days import ActivityTally
from reckon.core.alerts import AlertState, Rule
from reckon.core.records import Amounts
from reckon.core.windows import dates, local_date
from reckon.errors import SourceUnavailable
from reckon.fakes import openrouter
from reckon.fakes.answers import refusal
from reckon.fakes.world import Key, World
from reckon.jobs.activity import Meanwhile
from reckon.watch import Watcher, open_watcher
from tests.builders import DAY, HOUR, at, usd
from tests.canary import CANARIES, inference_key

MIDNIGHT = at("2026-11-20 00:00")
TODAY = MIDNIGHT.date()
OWNERS = {"ana": 2, "ben": 1, "cleo": 3}
ACTIVITY = "/api/v1/activity"


class Team:
    """Owners by the names of their keys, whose past is thirty days of about three dollars each."""

    def __init__(self, write: Callable[..., Path], store_url: str, *, zone: str = "UTC", sweeps: bool = True) -> None:
        self.world = World(MIDNIGHT - 40 * DAY, purchased_nanos=usd(10**6))
        self.keys: dict[str, list[Key]] = {}
        number = 700
        for owner, count in OWNERS.items():
            for n in range(count):
                number += 1
                key = self.world.make_key(f"{owner}-{n}", secret=inference_key(number))
                self.keys.setdefault(owner, []).append(key)
                for days_ago in range(1, 40):
                    spent_at = MIDNIGHT - days_ago * DAY + (9 + n) * HOUR
                    self.world.spend(key, usd(3) + number * days_ago % 97, at=spent_at)
        self.manager = self.world.make_key("manager", secret=CANARIES["management_key"], is_management_key=True)
        self.world.move_to(MIDNIGHT + HOUR)
        self._write = write
        self._store_url = store_url
        self._sweeps = sweeps
        self.zone = zone

    def settings(self) -> Settings:
        lines = [f'timezone = "{self.zone}"', f'store.url = "{self._store_url}"', 'log.level = "error"']
        if self._sweeps:
            lines.append(f'openrouter.management_key = "{self.manager.secret}"')
            lines += [f'owners.{owner}.match.name = "{owner}-*"' for owner in OWNERS]
        else:
            for owner, keys in self.keys.items():
                named = ", ".join(f'{{ name = "{key.name}", key = "{key.secret}" }}' for key in keys)
                lines.append(f"owners.{owner}.keys = [{named}]")
        return load(self._write("reckon.toml", "\n".join(lines) + "\n"), {})

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watcher]:
        transport = ASGITransport(app=openrouter.app(self.world))
        async with open_watcher(self.settings(), {}, clock=lambda: self.world.now, transport=transport) as watcher:
            yield watcher

    def asked_for_activity(self) -> int:
        return sum(request.path == ACTIVITY for request in self.world.requests)

    def spent(self, owner: str, day: date) -> Amounts:
        """Return what the keys of *owner* spent on a UTC day."""
        since = at(f"{day} 00:00")
        spent = {
            meter: sum(self.world.spent(key, since, since + DAY, meter) for key in self.keys[owner])
            for meter in ("credits", "byok")
        }
        return Amounts(spend_nanos=spent["credits"], byok_nanos=spent["byok"])


@pytest.fixture(autouse=True)
def _log_as_before():
    """A watcher sets up the log of its process; a test's process goes on."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def team(secret_file, database_url) -> Team:
    return Team(secret_file, database_url)


def derived(watcher: Watcher) -> Mapping[tuple[str, date], Amounts]:
    with watcher.app.store.reading() as ledger:
        counted = {(day.owner, day.day) for day in ledger.owner_days(counted_only=True)}
        return {(day.owner, day.day): day.amounts for day in ledger.owner_days() if (day.owner, day.day) not in counted}


def test_a_runaway_on_the_first_day_raises_an_alert_on_the_first_day(team):
    async def live() -> None:
        async with team.watched() as watcher:
            await watcher.poll_everything(team.world.now)
            await watcher.activity(team.world.now)
            for _ in range(20):
                team.world.advance(HOUR)
                for owner in OWNERS:
                    team.world.spend(team.keys[owner][0], usd(9) if owner == "ben" else usd("0.15"))
                await watcher.poll_everything(team.world.now)
                if watcher.app.alerts():
                    break
            [alert] = watcher.app.alerts()
            assert (alert.finding.rule, alert.finding.owner, alert.finding.day) == (Rule.SIGMA, "ben", TODAY)
            assert (alert.state, alert.finding.history_days) == (AlertState.FIRING, 30)
            assert team.world.now == MIDNIGHT + 2 * HOUR
            assert watcher.app.verify().differences == []

    asyncio.run(live())


def test_without_the_days_before_nobody_would_have_noticed(team):
    async def live() -> None:
        async with team.watched() as watcher:
            await watcher.poll_everything(team.world.now)
            for _ in range(20):
                team.world.advance(HOUR)
                team.world.spend(team.keys["ben"][0], usd(9))
                await watcher.poll_everything(team.world.now)
            assert watcher.app.alerts() == []

    asyncio.run(live())


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles"])
def test_every_day_of_every_owner_came_to_what_their_keys_spent(secret_file, sqlite_url, zone):
    team = Team(secret_file, sqlite_url, zone=zone)
    team.world.spend(team.keys["cleo"][0], usd("0.75"), at=MIDNIGHT - 5 * DAY, meter="byok")

    async def live() -> None:
        async with team.watched() as watcher:
            await watcher.poll_everything(team.world.now)
            tally = await watcher.activity(team.world.now)
            assert (tally.read, tally.failures) == (6, [])
            first = local_date(team.world.now, watcher.app.settings.timezone)
            on_offer = [TODAY - n * DAY for n in range(1, 31) if TODAY - n * DAY < first]
            assert derived(watcher) == {(owner, day): team.spent(owner, day) for owner in OWNERS for day in on_offer}

    asyncio.run(live())
    assert team.asked_for_activity() == 7  # the account, and each key


def test_a_year_is_read_through_analytics_a_question_a_key(team):
    async def live() -> None:
        async with team.watched() as watcher:
            await watcher.poll_everything(team.world.now)
            tally = await watcher.backfill(100, team.world.now, Meanwhile())
            assert (tally.read, tally.left, tally.failures) == (12, 0, [])
            since = MIDNIGHT - 40 * DAY  # when the keys were made
            assert derived(watcher) == {
                (owner, day): team.spent(owner, day) for owner in OWNERS for day in dates(since.date(), TODAY)
            }

    asyncio.run(live())
    assert sum(request.path.endswith("/analytics/query") for request in team.world.requests) == 6


def test_with_inference_keys_alone_nothing_fails_and_nothing_is_asked(secret_file, database_url):
    team = Team(secret_file, database_url, sweeps=False)

    async def live() -> None:
        async with team.watched() as watcher:
            [plan] = await watcher.poll_everything(team.world.now)
            assert await watcher.activity(team.world.now) == ActivityTally()
            assert (plan.polled, plan.failures) == (6, ())
            with pytest.raises(SourceUnavailable, match="management key"):
                await watcher.backfill(90, team.world.now, Meanwhile())
            assert derived(watcher) == {}

    asyncio.run(live())
    assert {request.path for request in team.world.requests} <= {"/api/v1/key", "/api/v1/auth/key", "/api/v1/credits"}


def test_an_account_that_tells_no_days_is_watched_all_the_same(team):
    team.world.answer_with(ACTIVITY, refusal(404, "Not found"))

    async def live() -> None:
        async with team.watched() as watcher:
            await watcher.poll_everything(team.world.now)
            tally = await watcher.activity(team.world.now)
            assert (tally.read, tally.closed and tally.closed.detail) == (0, "HTTP 404")
            team.world.advance(HOUR)
            team.world.spend(team.keys["ben"][0], usd(2))
            [plan] = await watcher.poll_everything(team.world.now)
            assert plan.spend_nanos == usd(2)

    asyncio.run(live())
    assert team.asked_for_activity() == 1
