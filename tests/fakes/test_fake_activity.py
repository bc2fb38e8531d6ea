"""The completed days: what is told of them, to whom, and that it adds up to what the counters say."""

from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest
from openrouter import errors

from reckon.fakes.generations import Tokens
from reckon.fakes.journal import UNEXPLAINED_MODEL
from reckon.fakes.openrouter import ACTIVITY
from reckon.fakes.world import DEFAULT_WORKSPACE, METERS, World
from tests.fakes.asking import ask, data_of, nanos
from tests.fakes.reading import sdks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
MIDNIGHT = NOON.replace(hour=0)
DAY = timedelta(days=1)
USD = 1_000_000_000


@pytest.fixture
def world():
    return World(NOON, purchased_nanos=100 * USD)


@pytest.fixture
def manager(world):
    return world.make_key("manager", is_management_key=True)


@pytest.fixture
def key(world):
    return world.make_key("laptop", created_at=NOON - 90 * DAY)


def told(world, manager, query=""):
    return data_of(ask(world, ACTIVITY + query, manager))


def assert_refused(response, status, message):
    assert response.status_code == status
    assert response.json() == {"error": {"code": status, "message": message}}


def test_a_day_is_told_by_model_and_endpoint_with_its_tokens(world, manager, key):
    tokens = Tokens(prompt=10, completion=5, cached=3, reasoning=2)
    for provider in ("OpenAI", "Azure", "OpenAI"):
        world.call(
            key,
            cost_nanos=7,
            byok_nanos=2,
            model="openai/gpt-5.1",
            provider=provider,
            tokens=tokens,
            at=MIDNIGHT - DAY,
        )

    azure, openai = told(world, manager)

    assert azure["endpoint_id"] != openai["endpoint_id"]
    assert (azure["provider_name"], azure["requests"], nanos(azure["usage"])) == ("Azure", 1, 7)
    assert (openai["date"], openai["model"]) == ("2026-11-19", "openai/gpt-5.1")
    assert (openai["requests"], nanos(openai["usage"]), nanos(openai["byok_usage_inference"])) == (2, 14, 4)
    counts = ["prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens"]
    assert [openai[name] for name in counts] == [20, 10, 4, 6]


def test_only_the_last_thirty_completed_days_are_told(world, manager, key):
    for at in (NOON, MIDNIGHT, MIDNIGHT - DAY / 24, MIDNIGHT - 30 * DAY, MIDNIGHT - 30 * DAY - DAY / 24):
        world.spend(key, USD, at=at)
    assert [row["date"] for row in told(world, manager)] == ["2026-11-19", "2026-10-21"]
    world.move_to(MIDNIGHT + DAY)
    assert [row["date"] for row in told(world, manager)] == ["2026-11-20", "2026-11-19"]


@pytest.mark.parametrize("day", ["2026-11-20", "2026-10-20", "2027-01-01"])
def test_a_day_outside_of_these_is_refused(world, manager, day):
    response = ask(world, f"{ACTIVITY}?date={day}", manager)
    assert_refused(response, 400, "Date must be within the last 30 (completed) UTC days")


def test_one_day_can_be_asked_for(world, manager, key):
    for days_ago in (1, 2, 3):
        world.spend(key, days_ago * USD, at=MIDNIGHT - days_ago * DAY)
    assert [row["usage"] for row in told(world, manager, "?date=2026-11-18")] == [2]


def test_one_key_can_be_asked_for_and_a_deleted_one_still(world, manager, key):
    other = world.make_key("other")
    world.spend(key, USD, at=NOON - DAY)
    world.spend(other, 2 * USD, at=NOON - DAY)
    world.delete(other)
    assert [row["usage"] for row in told(world, manager, f"?api_key_hash={other.hash}")] == [2]
    assert [row["usage"] for row in told(world, manager)] == [3]
    assert told(world, manager, f"?api_key_hash={'0' * 64}") == []


def test_one_user_can_be_asked_for(world, manager):
    for creator, usd in (("user_a", 1), ("user_b", 2)):
        world.spend(world.make_key(creator, creator=creator), usd * USD, at=NOON - DAY)
    world.chatroom(4 * USD, at=NOON - DAY)
    assert [row["usage"] for row in told(world, manager, "?user_id=user_b")] == [2]


def test_days_can_be_split_by_workspace_or_told_of_one(world, manager, key):
    lab = world.make_workspace("Lab")
    world.spend(key, USD, at=NOON - DAY)
    world.spend(world.make_key("other", workspace=lab.id), 2 * USD, at=NOON - DAY)
    split = told(world, manager, "?group_by=workspace")
    assert {row["workspace_id"]: row["usage"] for row in split} == {DEFAULT_WORKSPACE: 1, lab.id: 2}
    [whole] = told(world, manager)
    assert (whole["usage"], "workspace_id" in whole) == (3, False)
    assert [row["usage"] for row in told(world, manager, f"?workspace_id={lab.id}")] == [2]


def test_what_a_key_spent_stays_with_the_workspace_it_was_in(world, manager, key):
    lab = world.make_workspace("Lab")
    world.spend(key, USD)
    world.move_to(MIDNIGHT + DAY)
    world.move_key(key, lab.id)
    world.spend(key, 2 * USD)
    world.move_to(MIDNIGHT + 2 * DAY)
    told_of = {row["date"]: row["workspace_id"] for row in told(world, manager, "?group_by=workspace")}
    assert told_of == {"2026-11-20": DEFAULT_WORKSPACE, "2026-11-21": lab.id}


@pytest.mark.parametrize("query", ["?date=today", "?date=2026-02-30", "?group_by=model", "?workspace_id=default"])
def test_a_parameter_that_makes_no_sense_is_refused(world, manager, query):
    assert_refused(ask(world, ACTIVITY + query, manager), 400, "Invalid request parameters")


def test_only_a_management_key_may_ask_for_activity(world, key):
    assert_refused(ask(world, ACTIVITY, key), 403, "Only management keys can perform this operation")


def test_every_day_adds_up_to_what_the_counters_grew_by(world, manager):
    """Whatever was done to the money: calls, other charges, refunds, other prices, money of no key, a deleted key."""
    random = Random(5)  # noqa: S311  the same days every time
    keys = [world.make_key(f"key-{n}") for n in range(3)]
    seen = {}
    for n in range(12):
        day = world.now.date()
        before = [world.spent(key, meter=meter) for key in keys for meter in METERS]
        for key in keys[: 3 if n < 6 else 2]:
            generation = world.call(
                key, cost_nanos=random.randrange(USD), byok_nanos=random.randrange(USD), model="openai/gpt-5.1"
            )
            world.spend(key, random.randrange(USD), meter=random.choice(METERS))
            world.refund(key, random.randrange(1000))
            world.reprice(generation, random.randrange(USD))
        world.chatroom(17)
        if n == 6:
            world.delete(keys[2])
        after = [world.spent(key, meter=meter) for key in keys for meter in METERS]
        grown = [later - earlier for later, earlier in zip(after, before, strict=True)]
        seen[day] = (sum(grown[::2]) + 17, sum(grown[1::2]))
        world.move_to(world.now + DAY)

    rows = told(world, manager)

    sums = dict.fromkeys(seen, (0, 0))
    for row in rows:
        day = date.fromisoformat(row["date"])
        credits_nanos, byok_nanos = sums[day]
        sums[day] = (credits_nanos + nanos(row["usage"]), byok_nanos + nanos(row["byok_usage_inference"]))
    assert sums == seen
    assert UNEXPLAINED_MODEL in {row["model"] for row in rows}


def test_the_sdk_reads_every_day(world, manager, key):
    lab = world.make_workspace("Lab")
    world.call(key, cost_nanos=1_000_000_001, byok_nanos=3, model="openai/gpt-5.1", at=NOON - DAY)
    world.spend(key, 5, at=NOON - 2 * DAY)
    with sdks(world) as sdk_of:
        activity = sdk_of(manager).analytics.get_user_activity
        first, second = activity().data
        [split] = activity(request={"date_": "2026-11-19", "api_key_hash": key.hash, "group_by": "workspace"}).data
        nothing = activity(request={"workspace_id": lab.id}).data
        with pytest.raises(errors.BadRequestResponseError):
            activity(request={"date_": "2026-11-20"})
        with pytest.raises(errors.NotFoundResponseError):
            activity(request={"workspace_id": "550e8400-e29b-41d4-a716-446655440000"})
    assert (first.date_, nanos(first.usage), nanos(first.byok_usage_inference)) == ("2026-11-19", 1_000_000_001, 3)
    assert (second.date_, second.model, nanos(second.usage)) == ("2026-11-18", UNEXPLAINED_MODEL, 5)
    assert (split.workspace_id, split.requests, nothing) == (DEFAULT_WORKSPACE, 1, [])
