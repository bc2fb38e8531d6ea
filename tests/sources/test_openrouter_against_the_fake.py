"""One account in a world of its own, asked in every way there is: what each way tells agrees with what was spent."""

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from pydantic import SecretStr

from reckon.core.account import CountColumn, Dimension, Filter, Granularity, MoneyColumn, Question
from reckon.core.generations import NotFound, Unfound
from reckon.core.windows import Window
from reckon.fakes.openrouter import app
from reckon.fakes.world import World
from reckon.sources.openrouter import Analytics, OpenRouterClient, OpenRouterSource, sweep
from reckon.sources.openrouter.activity import activity
from tests.sources.asking import BASE_URL, hash_of

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
DAY = Window(datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC))
USD = 10**9


class Team:
    """230 keys in three workspaces, some disabled, each with one generation of its own price; and who may see it."""

    def __init__(self):
        self.world = world = World(NOON)
        self.management = world.make_key("management", is_management_key=True)
        places = [world.workspaces[0], world.make_workspace("Side"), world.make_workspace("Empty")]
        self.keys = [world.make_key(f"key {n}", workspace=places[n % 2].id) for n in range(230)]
        self.calls = [
            world.call(key, cost_nanos=n * USD, byok_nanos=n, model=f"acme/model-{n % 3}", asked="openrouter/auto")
            for n, key in enumerate(self.keys)
        ]
        for key in self.keys[:7]:
            world.disable(key)
        self.client = OpenRouterClient(
            BASE_URL, timeout_seconds=30, clock=lambda: world.now, transport=httpx.ASGITransport(app(world))
        )
        self.management_key = SecretStr(self.management.secret)

    def asked(self, path):
        return sum(request.path.endswith(path) for request in self.world.requests)


@pytest.fixture(scope="module")
def team():
    return Team()


def test_a_sweep_counts_every_key_and_asks_only_for_as_many_pages_as_there_are(team):
    seen = asyncio.run(sweep(team.client, team.management_key, lambda: team.world.now, 4))
    assert (seen.trouble, seen.failures) == (None, ())
    assert {key.hash: key.snapshot.credits.total_nanos for key in seen.keys if key.name != "management"} == {
        key.hash: n * USD for n, key in enumerate(team.keys)
    }
    assert {key.name for key in seen.keys if key.disabled} == {f"key {n}" for n in range(7)}
    assert [each.workspace.name for each in seen.workspaces] == ["Default", "Side", "Empty"]
    assert (team.asked("/workspaces"), team.asked("/keys")) == (1, 2 + 2 + 1)


def test_a_lookup_tells_what_one_generation_cost(team):
    secrets = {key.hash: SecretStr(key.secret) for key in team.keys[8:10]}
    source = OpenRouterSource(team.client, secrets, clock=lambda: team.world.now, management_key=team.management_key)
    for asker in (*secrets, hash_of(team.management.secret)):
        learnt = asyncio.run(source.lookup(team.calls[9].id, asker))
        assert learnt.is_finished
        assert (learnt.facts.credits_nanos, learnt.facts.byok_nanos) == (9 * USD, 9)
        assert (learnt.facts.model, learnt.facts.requested_model) == ("acme/model-0", "openrouter/auto")
    missing = asyncio.run(source.lookup("gen-nobody-knows", team.keys[9].hash))
    assert missing == NotFound(Unfound.NOT_YET, "HTTP 404")
    foreign = asyncio.run(source.lookup(team.world.foreign_generation(), team.keys[9].hash))
    assert foreign == NotFound(Unfound.NOT_OURS, "HTTP 403")


@pytest.mark.parametrize("number", [0, 9, 229])
def test_analytics_know_today_by_key_and_model(team, number):
    analytics = Analytics(team.client, team.management_key)
    question = Question(
        DAY,
        money=(MoneyColumn.TOTAL, MoneyColumn.CREDITS, MoneyColumn.BYOK),
        counts=(CountColumn.REQUESTS,),
        by=(Dimension.MODEL,),
        granularity=Granularity.HOUR,
        filters=(Filter(Dimension.KEY, (team.keys[number].hash,)),),
        dearest_by=MoneyColumn.TOTAL,
    )
    assert asyncio.run(analytics.meta()).can_answer(question)
    answered = asyncio.run(analytics.query(question))
    assert (answered.is_truncated, answered.warnings) == (False, ())
    (row,) = answered.rows
    assert row.start == NOON
    assert row.names == {Dimension.MODEL: f"acme/model-{number % 3}"}
    assert row.nanos[MoneyColumn.CREDITS] == number * USD
    assert row.nanos[MoneyColumn.BYOK] == number
    assert row.counts == {CountColumn.REQUESTS: 1}


def test_analytics_list_the_generations_dearest_first(team):
    question = Question(
        DAY,
        money=(MoneyColumn.CREDITS,),
        by=(Dimension.GENERATION,),
        dearest_by=MoneyColumn.CREDITS,
        most_rows=3,
    )
    answered = asyncio.run(Analytics(team.client, team.management_key).query(question))
    assert answered.is_truncated
    assert [row.names[Dimension.GENERATION] for row in answered.rows] == [call.id for call in team.calls[:-4:-1]]


def test_activity_tells_the_day_once_it_has_finished():
    team = Team()
    team.world.advance(timedelta(days=1))
    whole = asyncio.run(activity(team.client, team.management_key, day=DAY.start.date()))
    assert sum(row.credits_nanos for row in whole) == sum(range(230)) * USD
    assert sum(row.byok_nanos for row in whole) == sum(range(230))
    assert {row.model for row in whole} == {f"acme/model-{n}" for n in range(3)}
    (row,) = asyncio.run(activity(team.client, team.management_key, api_key_hash=team.keys[9].hash))
    assert (row.date, row.credits_nanos, row.requests) == (DAY.start.date(), 9 * USD, 1)
