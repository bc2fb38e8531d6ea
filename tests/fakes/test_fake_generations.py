"""One completion: what it does to every total, and what `/generation` tells of it, to whom and from when."""

from datetime import UTC, datetime, timedelta

import pytest
from openrouter import errors
from openrouter.components import GenerationResponseData

from reckon.fakes.generations import Tokens, Unsettled
from reckon.fakes.openrouter import CREDITS, GENERATION, KEY
from reckon.fakes.world import World
from tests.fakes.asking import ask, data_of, nanos
from tests.fakes.reading import sdks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
USD = 1_000_000_000


@pytest.fixture
def world():
    return World(NOON, purchased_nanos=100 * USD)


@pytest.fixture
def key(world):
    return world.make_key("laptop")


def told(world, key, generation_id):
    return ask(world, f"{GENERATION}?id={generation_id}", key)


def shown(world, key):
    data = data_of(ask(world, KEY, key))
    return nanos(data["usage"]), nanos(data["byok_usage"])


def assert_refused(response, status, message):
    assert response.status_code == status
    assert response.json() == {"error": {"code": status, "message": message}}


# --- Money ---------------------------------------------------------------------------------------------------------


def test_a_completion_costs_its_key_what_it_cost(world, key):
    other = world.make_key("other")
    generation = world.call(key, cost_nanos=1_500_001, byok_nanos=250, model="openai/gpt-5.1")
    assert shown(world, key) == (1_500_001, 250)
    assert shown(world, other) == (0, 0)
    assert world.account_spent_nanos() == 1_500_001
    assert world.generation(generation.id) == generation
    assert world.generations == (generation,)


def test_a_completion_ahead_of_the_clock_is_charged_and_told_once_the_clock_has_reached_it(world, key):
    generation = world.call(
        key, cost_nanos=USD, model="openai/gpt-5.1", at=NOON + SECOND, until_settled=Unsettled.ZEROS
    )
    assert list(world.entries(NOON, NOON + 2 * SECOND)) == []
    assert (shown(world, key), told(world, key, generation.id).status_code) == ((0, 0), 404)
    world.advance(SECOND)
    assert (shown(world, key), told(world, key, generation.id).status_code) == ((USD, 0), 200)


def test_a_lower_price_and_a_higher_one_are_charged_when_they_are_changed(world, key):
    generation = world.call(key, cost_nanos=5 * USD, model="openai/gpt-5.1")
    world.advance(SECOND)
    cheaper = world.reprice(generation, 2 * USD)
    assert (cheaper.cost_nanos, shown(world, key)) == (2 * USD, (2 * USD, 0))
    world.reprice(generation, 3 * USD, byok_nanos=7)
    assert shown(world, key) == (3 * USD, 7)
    assert data_of(told(world, key, generation.id))["total_cost"] == 3
    assert world.spent(key, until=NOON + SECOND) == 5 * USD


def test_a_price_changed_before_the_completion_ran_is_charged_with_it(world, key):
    generation = world.call(key, cost_nanos=5 * USD, model="openai/gpt-5.1", at=NOON + SECOND)
    world.reprice(generation, 8 * USD)
    assert shown(world, key) == (0, 0)
    world.advance(SECOND)
    assert shown(world, key) == (8 * USD, 0)


def test_money_of_the_account_is_no_keys(world, key):
    manager = world.make_key("manager", is_management_key=True)
    world.spend(key, USD)
    world.chatroom(2 * USD)
    assert shown(world, key) == (USD, 0)
    assert data_of(ask(world, CREDITS, manager))["total_usage"] == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"cost_nanos": -1}, "not negative"),
        ({"cost_nanos": 0, "byok_nanos": -1}, "not negative"),
        ({"cost_nanos": 1, "from_cache_of": "gen-1-x"}, "cache costs nothing"),
        ({"cost_nanos": 1, "id": "gen-1-taken"}, "already"),
        ({"cost_nanos": 1, "id": "gen-1-foreign"}, "already"),
    ],
)
def test_a_completion_that_cannot_be_is_refused_and_charges_nothing(world, key, wrong, why):
    world.call(key, cost_nanos=USD, model="openai/gpt-5.1", id="gen-1-taken")
    world.foreign_generation("gen-1-foreign")
    with pytest.raises(ValueError, match=why):
        world.call(key, model="openai/gpt-5.1", **wrong)
    assert (shown(world, key), len(world.generations)) == ((USD, 0), 1)


def test_a_management_key_runs_no_completion_and_no_price_is_negative(world, key):
    generation = world.call(key, cost_nanos=USD, model="openai/gpt-5.1")
    with pytest.raises(ValueError, match="no inference"):
        world.call(world.make_key("manager", is_management_key=True), cost_nanos=1, model="openai/gpt-5.1")
    with pytest.raises(ValueError, match="not negative"):
        world.reprice(generation, -1)
    with pytest.raises(ValueError, match="not negative"):
        world.chatroom(-1)
    assert (world.generation(generation.id), world.account_spent_nanos()) == (generation, USD)


# --- Settling ------------------------------------------------------------------------------------------------------


def test_nothing_is_known_of_a_completion_before_its_cost_is_written_down(world, key):
    generation = world.call(key, cost_nanos=USD, model="openai/gpt-5.1", settles_after=3 * SECOND)
    assert shown(world, key) == (USD, 0)
    world.advance(2 * SECOND)
    assert_refused(told(world, key, generation.id), 404, "Resource not found")
    world.advance(SECOND)
    assert data_of(told(world, key, generation.id))["total_cost"] == 1


def test_a_completion_may_be_told_without_tokens_and_cost_before_it_has_settled(world, key):
    generation = world.call(
        key,
        cost_nanos=USD,
        byok_nanos=5,
        model="openai/gpt-5.1",
        settles_after=SECOND,
        until_settled=Unsettled.ZEROS,
    )
    before = data_of(told(world, key, generation.id))
    world.advance(SECOND)
    after = data_of(told(world, key, generation.id))
    names = ["total_cost", "usage", "native_tokens_prompt", "native_tokens_completion", "tokens_prompt"]
    assert [before[name] for name in names] == [0] * 5
    assert (before["is_byok"], before["upstream_inference_cost"], before["finish_reason"]) == (False, None, None)
    assert all(after[name] > 0 for name in names)
    assert (after["is_byok"], after["finish_reason"]) == (True, "stop")


# --- What is told, and to whom -------------------------------------------------------------------------------------


def test_every_field_the_sdk_knows_is_told_and_nothing_that_names_the_key(world, key):
    generation = world.call(key, cost_nanos=USD, model="openai/gpt-5.1")
    response = told(world, key, generation.id)
    data = data_of(response)
    assert list(data) == sorted(GenerationResponseData.model_fields)
    for secret in (key.hash, key.label, key.name, key.secret, key.creator):
        assert secret not in response.text


def test_any_key_of_the_account_may_ask_and_the_management_key_too(world, key):
    generation = world.call(key, cost_nanos=USD, model="openai/gpt-5.1")
    for asker in (world.make_key("other"), world.make_key("manager", is_management_key=True)):
        assert told(world, asker, generation.id).content == told(world, key, generation.id).content


def test_a_request_for_what_is_unknown_or_anothers_or_nothing_is_refused(world, key):
    assert_refused(told(world, key, "gen-1-never"), 404, "Resource not found")
    assert_refused(told(world, key, world.foreign_generation()), 403, "You do not have access to this generation")
    for path in (GENERATION, f"{GENERATION}?id="):
        assert_refused(ask(world, path, key), 400, "Invalid request parameters")
    world.delete(key)
    assert_refused(told(world, key, "gen-1-never"), 401, "User not found.")


def test_the_workspace_is_the_one_the_key_was_in_when_it_ran(world, key):
    lab = world.make_workspace("Lab")
    before = world.call(key, cost_nanos=1, model="openai/gpt-5.1")
    ahead = world.call(key, cost_nanos=1, model="openai/gpt-5.1", at=NOON + 2 * SECOND)
    world.advance(SECOND)
    world.move_key(key, lab.id)
    world.advance(SECOND)
    told_of = [data_of(told(world, key, generation.id))["workspace_id"] for generation in (before, ahead)]
    assert told_of == [key.workspace, lab.id]


# --- The official SDK ----------------------------------------------------------------------------------------------


@pytest.fixture
def sdk_of(world):
    with sdks(world) as sdk_of:
        yield sdk_of


def test_the_sdk_reads_what_a_router_chose_and_what_it_cost(world, key, sdk_of):
    generation = world.call(
        key,
        cost_nanos=1_500_001,
        byok_nanos=20_000_003,
        model="anthropic/claude-haiku-4.5",
        asked="openrouter/auto",
        provider="Amazon Bedrock",
        tokens=Tokens(prompt=100, completion=40, cached=15, cache_write=2, audio_input=1, reasoning=3),
        session="session_abc",
        app_id=12345,
        failed_providers=("Google",),
    )
    data = sdk_of(key).generations.get_generation(id=generation.id).data
    assert (data.id, data.model, data.router) == (generation.id, "anthropic/claude-haiku-4.5", "openrouter/auto")
    assert (nanos(data.total_cost), nanos(data.usage), nanos(data.upstream_inference_cost)) == (
        1_500_001,
        1_500_001,
        20_000_003,
    )
    assert (data.is_byok, data.session_id, data.app_id) == (True, "session_abc", 12345)
    assert (data.native_tokens_prompt, data.native_tokens_completion) == (100, 40)
    assert (data.native_tokens_cached, data.native_tokens_reasoning, data.num_input_audio_prompt) == (15, 3, 1)
    assert (data.tokens_prompt, data.tokens_completion) == (98, 39)
    assert [(attempt.provider_name, attempt.status) for attempt in data.provider_responses] == [
        ("Google", 503),
        ("Amazon Bedrock", 200),
    ]


def test_the_sdk_reads_a_model_asked_for_by_name_a_cancelled_stream_and_an_answer_out_of_the_cache(world, key, sdk_of):
    plain = world.call(key, cost_nanos=7, model="openai/gpt-5.1", upstream_nanos=6)
    cancelled = world.call(key, cost_nanos=0, model="openai/gpt-5.1", tokens=Tokens(), cancelled=True)
    repeated = world.call(key, cost_nanos=0, model="openai/gpt-5.1", from_cache_of=plain.id)
    get = sdk_of(key).generations.get_generation
    first, second, third = (get(id=generation.id).data for generation in (plain, cancelled, repeated))
    assert (first.router, first.is_byok, nanos(first.upstream_inference_cost)) == (None, False, 6)
    assert (second.cancelled, second.finish_reason, second.total_cost) == (True, None, 0)
    assert (third.response_cache_source_id, third.total_cost) == (plain.id, 0)


def test_the_sdk_knows_the_refusals_of_generations_by_type(world, key, sdk_of):
    get = sdk_of(key).generations.get_generation
    with pytest.raises(errors.NotFoundResponseError):
        get(id="gen-1-never")
    with pytest.raises(errors.ForbiddenResponseError):
        get(id=world.foreign_generation())
    with pytest.raises(errors.BadRequestResponseError):
        get(id="")
