"""A delivery of Broadcast: what its root tells of a completion, in both dialects, and what it never tells."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import pytest

from reckon.fakes.broadcast import TEST_HEADERS, Dialect, broadcast, connection_test, empty_test, sent_trace
from reckon.fakes.generations import Tokens
from reckon.fakes.world import World

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
CANARY = "a canary sang of prompts"
CONTENT = {"gen_ai.prompt", "gen_ai.completion", "span.input", "span.output", "trace.input", "trace.output"}
CONTENT |= {"gen_ai.completion.tools", "gen_ai.prompt.truncated"}


@pytest.fixture
def world():
    return World(NOON)


@pytest.fixture
def generation(world):
    return world.call(
        world.make_key("agents-prod"),
        cost_nanos=65_076_250,
        byok_nanos=3,
        model="anthropic/claude-haiku-4.5:nitro",
        asked="openrouter/auto",
        provider="Amazon Bedrock",
        failed_providers=("Google",),
        tokens=Tokens(prompt=100, completion=40, cached=15, cache_write=2, audio_input=1, reasoning=3),
        session="session_abc",
    )


def spans(delivery):
    return [span for each in delivery["resourceSpans"] for scope in each["scopeSpans"] for span in scope["spans"]]


def told(span):
    """Return the attributes of *span*, each with the one value it has."""
    values = {attribute["key"]: attribute["value"] for attribute in span["attributes"]}
    assert len(values) == len(span["attributes"])
    return {name: next(iter(value.values())) for name, value in values.items()}


def types(span):
    return {attribute["key"]: next(iter(attribute["value"])) for attribute in span["attributes"]}


def test_a_root_tells_everything_and_its_children_neither_tokens_nor_cost(world, generation):
    delivery = broadcast(world, generation)

    root, *children = spans(delivery)

    assert [len(spans({"resourceSpans": [each]})) for each in delivery["resourceSpans"]] == [1] * 4
    assert (root["name"], root["kind"], root["status"], "parentSpanId" in root) == (
        "LLM Generation",
        3,
        {"code": 1},
        False,
    )
    assert [child["name"] for child in children] == [
        "provider attempt 1: Google",
        "provider attempt 2: Amazon Bedrock",
        "generation",
    ]
    assert {child["parentSpanId"] for child in children} == {root["spanId"]}
    assert not any(name.startswith("gen_ai.usage") for child in children for name in told(child))
    assert [told(child).get("span.metadata.status_code") for child in children] == [503, 200, None]
    assert json.loads(json.dumps(delivery)) == delivery


def test_ids_are_made_from_the_generations(world, generation):
    delivery = broadcast(world, generation)
    root, attempt, *_ = spans(delivery)
    assert root["traceId"] == sha256(generation.id.encode()).hexdigest()[:32]
    assert root["spanId"] == root["traceId"][:16]
    assert attempt["spanId"] == sha256(f"{generation.id}:attempt-0".encode()).hexdigest()[:16]
    assert told(root)["gen_ai.response.id"] == generation.id
    assert {told(each["resource"])["openrouter.trace.id"] for each in delivery["resourceSpans"]} == {generation.id}
    assert told(attempt)["gen_ai.response.id"] == f"{generation.id}:attempt-0"


def test_a_real_delivery_has_counts_as_numbers_and_names_key_model_and_provider(world, generation):
    root = spans(broadcast(world, generation))[0]
    attributes = told(root)
    expected = {
        "session.id": "session_abc",
        "gen_ai.request.model": "openrouter/auto",
        "gen_ai.response.model": "anthropic/claude-haiku-4.5",
        "gen_ai.provider.name": "anthropic",
        "trace.metadata.openrouter.provider_name": "Amazon Bedrock",
        "trace.metadata.openrouter.api_key_name": "agents-prod",
        "gen_ai.usage.total_cost": 0.06507625,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 40,
        "gen_ai.usage.total_tokens": 140,
        "gen_ai.usage.input_tokens.cached": 15,
        "gen_ai.usage.input_tokens.cache_write": 2,
        "gen_ai.usage.input_tokens.audio": 1,
        "gen_ai.usage.output_tokens.reasoning": 3,
    }
    assert {name: attributes[name] for name in expected} == expected
    assert types(root)["gen_ai.usage.input_tokens"] == "intValue"
    assert types(root)["gen_ai.usage.total_cost"] == "doubleValue"
    assert "gen_ai.usage.prompt_tokens" not in attributes
    assert root["startTimeUnixNano"] == "1795176000000000000"


def test_the_documented_dialect_has_other_names_and_counts_as_text(world, generation):
    root = spans(broadcast(world, generation, dialect=Dialect.DOCUMENTED))[0]
    attributes = told(root)
    assert root["name"] == "chat"
    assert (attributes["gen_ai.usage.prompt_tokens"], attributes["gen_ai.usage.completion_tokens"]) == ("100", "40")
    assert types(root)["gen_ai.usage.prompt_tokens"] == "intValue"
    assert "gen_ai.usage.input_tokens" not in attributes
    assert attributes["gen_ai.response.id"] == generation.id
    assert attributes["gen_ai.usage.total_cost"] == 0.06507625


def test_a_cost_of_nothing_is_a_whole_number(world):
    free = world.call(world.make_key("laptop"), cost_nanos=0, model="openai/gpt-5.1")
    root = spans(broadcast(world, free))[0]
    assert (told(root)["gen_ai.usage.total_cost"], types(root)["gen_ai.usage.total_cost"]) == (0, "intValue")


@pytest.mark.parametrize("dialect", Dialect)
def test_content_stands_in_every_attribute_for_it_unless_privacy_is_asked_for(world, generation, dialect):
    open_, private = (
        broadcast(world, generation, dialect=dialect, content=CANARY, privacy_mode=privacy) for privacy in (False, True)
    )
    holding = {name for name, value in told(spans(open_)[0]).items() if CANARY in str(value)}
    assert holding == CONTENT
    assert CANARY not in json.dumps(private)
    assert private == broadcast(world, generation, dialect=dialect)


def test_a_failed_completion_tells_why_and_neither_tokens_nor_cost(world, generation):
    [root] = spans(broadcast(world, generation, error="The client has disconnected", cost_metadata=True))
    assert root["status"] == {"code": 2, "message": "The client has disconnected"}
    assert told(root)["span.level"] == "ERROR"
    assert told(root)["gen_ai.response.id"] == generation.id
    assert [name for name in told(root) if "usage" in name or "cost" in name] == []


def test_the_parts_of_a_charge_and_what_a_caller_sent_along_come_twice(world, generation):
    delivery = broadcast(world, generation, cost_metadata=True, metadata={"cost_center": "CC-1234"})
    attributes = told(spans(delivery)[0])
    for of in ("trace", "span"):
        assert attributes[f"{of}.metadata.cost_center"] == "CC-1234"
        assert attributes[f"{of}.metadata.openrouter_generation.usage"] == 0.06507625
        assert attributes[f"{of}.metadata.openrouter_generation.byok_usage_inference"] == 3e-9
        assert attributes[f"{of}.metadata.openrouter_generation.is_byok"] is True
        assert attributes[f"{of}.metadata.openrouter_generation.usage_cache"] == 0


def test_neither_the_hash_nor_the_secret_of_a_key_is_sent(world, generation):
    key = world.key_by_hash(generation.key_hash)
    sent = json.dumps(broadcast(world, generation, content=CANARY, cost_metadata=True))
    assert [secret for secret in (key.hash, key.secret, key.label) if secret in sent] == []


def test_a_test_of_the_connection_tells_of_no_completion():
    [span] = spans(connection_test(NOON))
    assert (span["name"], span["attributes"]) == ("openrouter-connection-test", [])
    assert (span["traceId"], span["spanId"]) == ("00000000000000000000000000000001", "0000000000000001")
    assert empty_test() == {"resourceSpans": []}
    assert TEST_HEADERS == {"x-test-connection": "true"}


def test_the_button_sends_tokens_and_a_cost_that_nobody_spent():
    [span] = spans(sent_trace(NOON))
    assert (span["name"], told(span)["trace.name"]) == ("Test Generation", "Test Trace - OpenRouter Observability")
    assert told(span)["gen_ai.usage.total_cost"] > 0
