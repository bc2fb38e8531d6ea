"""What is made of an entry that is handed in, by whichever way."""

import json

import pytest

from reckon.core.generations import Facts, Handed
from reckon.core.records import UNOWNED
from reckon.core.tokens import UNKNOWN, TokenPools
from reckon.handing_in import Names, Rejected, read_body, read_line
from tests.builders import at, key_hash, usd, watched
from tests.canary import CANARIES

ID = "gen-1795300000-SampleGenerationId01"
NAMES = Names([watched("laptop", "ana"), watched("ci", "ana"), watched("ci", "ben")], {"ana", "ben", "cleo"})
POOLS = TokenPools(input=82, output=37, cache_read=15, cache_write=2, reasoning=3, audio_input=1)
SNAKE = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "prompt_tokens_details": {"cached_tokens": 15, "cache_write_tokens": 2, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3},
    "cost": 0.0015,
}
CAMEL = {
    "inputTokens": 100,
    "outputTokens": 40,
    "inputTokensDetails": {"cachedTokens": 15, "cacheWriteTokens": 2, "audioTokens": 1},
    "outputTokensDetails": {"reasoningTokens": 3},
    "cost": 0.0015,
}


def entry(**members):
    [found] = read_body(json.dumps({"id": ID, **members}).encode(), NAMES)
    return found


def facts(**members):
    return entry(**members).facts


# --- Forms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        ID,
        f'"{ID}"',
        f'["{ID}"]',
        f'{{"id": "{ID}"}}',
        f'[{{"id": "{ID}"}}]',
        f'\ufeff{{"id": "{ID}"}}',
        f"\r\n\r\n  {ID}\t\r\n",
        f'{{\n  "id":\n  "{ID}"\n}}',
    ],
)
def test_an_id_may_be_handed_in_in_any_form(body):
    assert [*read_body(body.encode(), NAMES)] == [Handed(ID, UNOWNED, None)]


def test_lines_may_be_of_different_forms_and_one_bad_line_costs_no_other():
    found = [*read_body(b'gen-1\n\n{"id": "gen-2"}\nwhat is this\n{"id": "gen-3"\n"gen-4"', NAMES)]

    assert [each.id for each in found] == ["gen-1", "gen-2", None, None, "gen-4"]
    assert found[2] == Rejected(None, "neither a generation id nor JSON")
    assert found[3] == Rejected(None, "not JSON at character 14")


@pytest.mark.parametrize("body", [b"", b"\n \r\n", b"[]"])
def test_nothing_is_nothing(body):
    assert [*read_body(body, NAMES)] == []


def test_an_empty_line_is_no_entry():
    assert read_line(b" \r\n", NAMES) is None


def test_the_body_of_a_completion_may_be_handed_in_as_it_is():
    body = {
        "id": ID,
        "object": "chat.completion",
        "created": 1_795_300_000,
        "model": "anthropic/claude-haiku-4.5",
        "provider": "Amazon Bedrock",
        "system_fingerprint": None,
        "choices": [{"message": {"content": CANARIES["prompt"]}}],
        "usage": SNAKE,
    }

    [found] = read_body(json.dumps(body).encode(), NAMES)

    assert found.facts == Facts(
        created_at=at("2026-11-21 22:26:40"),
        model="anthropic/claude-haiku-4.5",
        provider="Amazon Bedrock",
        credits_nanos=usd("0.0015"),
        pools=POOLS,
    )
    assert CANARIES["prompt"] not in repr(found)


# --- Members ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"model": "openai/gpt-4o:free"}, Facts(model="openai/gpt-4o:free")),
        ({"requested_model": "openrouter/auto"}, Facts(requested_model="openrouter/auto")),
        ({"session": "nightly run 7"}, Facts(session="nightly run 7")),
        ({"session": None, "usage": None, "key": None}, Facts()),
        ({"created_at": "2026-11-20T12:15:00.9+01:00"}, Facts(created_at=at("2026-11-20 11:15"))),
        ({"created_at": "2026-11-20T12:15:00"}, Facts(created_at=at("2026-11-20 12:15"))),
        ({"created_at": 1_795_300_000}, Facts(created_at=at("2026-11-21 22:26:40"))),
        ({"created_at": 1_795_300_000.75}, Facts(created_at=at("2026-11-21 22:26:40"))),
        ({"usage": SNAKE}, Facts(credits_nanos=usd("0.0015"), pools=POOLS)),
        ({"usage": CAMEL}, Facts(credits_nanos=usd("0.0015"), pools=POOLS)),
    ],
)
def test_what_is_said_of_a_generation_is_kept(said, told):
    assert facts(**said) == told


@pytest.mark.parametrize(
    ("is_byok", "byok_nanos"),
    [(True, usd("0.25")), (False, 0), (None, None)],
)
def test_what_went_upstream_counts_only_where_the_key_was_the_teams_own(is_byok, byok_nanos):
    usage = {**SNAKE, "is_byok": is_byok, "cost_details": {"upstream_inference_cost": 0.25}}

    assert (facts(usage=usage).credits_nanos, facts(usage=usage).byok_nanos) == (usd("0.0015"), byok_nanos)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"id": "gen-"}, "id: accepts gen- and at most 128 characters"),
        ({"id": "gen-" + "x" * 125}, "id: accepts gen- and at most 128 characters"),
        ({"id": "gen-a:attempt-0"}, "id: accepts gen- and at most 128 characters"),
        ({"id": 7}, "id: accepts gen- and at most 128 characters"),
        ({"id": None}, "id: missing"),
        ({"id": CANARIES["inference_key"]}, "id: accepts gen- and at most 128 characters"),
        ({"model": ""}, "model: accepts a model's name of at most 200 characters, without spaces"),
        ({"model": CANARIES["prompt"]}, "model: accepts a model's name of at most 200 characters, without spaces"),
        ({"model": "m" * 201}, "model: accepts a model's name of at most 200 characters, without spaces"),
        ({"session": "s" * 129}, "session: accepts 1 to 128 printable characters"),
        ({"session": "bell\a"}, "session: accepts 1 to 128 printable characters"),
        ({"session": "\ud800"}, "session: accepts 1 to 128 printable characters"),
        ({"session": ["x"]}, "session: accepts 1 to 128 printable characters"),
        ({"created_at": "yesterday"}, "created_at: accepts an instant from 2020 on: RFC 3339, or seconds since 1970"),
        ({"created_at": True}, "created_at: accepts an instant from 2020 on: RFC 3339, or seconds since 1970"),
        ({"created_at": "0001-01-01T00:00+14:00"}, "created_at: accepts an instant from 2020 on: RFC 3339, or seconds"),
        ({"created_at": 1e300}, "created_at: accepts an instant from 2020 on: RFC 3339, or seconds since 1970"),
        ({"usage": []}, "usage: not an object"),
        ({"usage": {"prompt_tokens": -1, "completion_tokens": 0}}, "usage: prompt_tokens: not a count of tokens"),
        ({"usage": {**SNAKE, "cost": -1}}, "usage.cost: negative money"),
        ({"usage": {**SNAKE, "cost": "1"}}, "usage.cost: not a number"),
        ({"usage": {**SNAKE, "cost_details": [1]}}, "usage.cost_details: not an object"),
        ({"modle": "x"}, "an unknown member: perhaps model is meant"),
        ({CANARIES["prompt"]: 1}, "an unknown member: accepts id, key, owner, model, requested_model, usage, session"),
    ],
)
def test_what_cannot_be_believed_is_refused_by_name_and_never_repeated(said, reason):
    found = entry(**said)

    assert isinstance(found, Rejected)
    assert found.reason.startswith(reason)
    assert found.id == (None if "id" in said else ID)
    assert CANARIES["prompt"] not in repr(found)
    assert CANARIES["inference_key"] not in repr(found)


@pytest.mark.parametrize("body", [b"1", b"true", b'[["gen-1"]]', b"[null]"])
def test_what_is_no_entry_at_all_is_refused(body):
    assert [*read_body(body, NAMES)] == [Rejected(None, "neither a generation id nor an object with one")]


def test_a_member_that_stands_twice_is_refused():
    assert [*read_body(b'{"id": "gen-1", "id": "gen-2"}', NAMES)] == [
        Rejected(None, "an object holds the same key twice")
    ]


# --- Whose it is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "owner", "key"),
    [
        ({}, UNOWNED, None),
        ({"owner": "cleo"}, "cleo", None),
        ({"key": "laptop"}, "ana", "laptop"),
        ({"key": "laptop", "owner": "ana"}, "ana", "laptop"),
        ({"key": "ci", "owner": "ben"}, "ben", "ci"),
    ],
)
def test_owner_and_key_are_those_of_the_owner_map(said, owner, key):
    assert (entry(**said).owner, entry(**said).key_hash) == (owner, key and key_hash(key))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"owner": "dan"}, "owner: not in the owner map; accepts one of 3: ana, ben, cleo"),
        ({"key": "desktop"}, "key: not in the owner map; accepts one of 2: ci, laptop"),
        ({"key": "laptop", "owner": "ben"}, "key: not in the owner map; accepts one of 1: ci"),
        ({"key": "laptop", "owner": "cleo"}, "key: not in the owner map; accepts one of 0 names"),
        ({"key": "ci"}, "key: 2 keys have this name; say owner as well"),
    ],
)
def test_a_name_that_is_not_in_the_owner_map_or_stands_there_twice_is_refused(said, reason):
    assert entry(**said) == Rejected(ID, reason)


def test_of_a_large_owner_map_only_the_number_of_names_is_told():
    names = Names([], {f"owner-{n}" for n in range(11)})

    assert read_line(b'{"id": "gen-1", "owner": "x"}', names) == Rejected(
        "gen-1", "owner: not in the owner map; accepts one of 11 names"
    )


@pytest.mark.parametrize(
    ("key", "whose"),
    [(None, (UNOWNED, None)), ("desktop", (UNOWNED, None)), ("ci", (UNOWNED, None)), ("laptop", ("ana", "laptop"))],
)
def test_of_a_key_that_is_told_by_its_name_alone_as_much_is_believed_as_can_be(key, whose):
    owner, name = whose

    assert NAMES.guessed(key) == (owner, name and key_hash(name))


def test_of_several_keys_of_one_name_and_one_owner_the_owner_is_believed():
    keys = [watched("old", "ana"), watched("new", "ana")]
    names = Names([type(key)(key.hash, key.owner, "rotated") for key in keys], {"ana"})

    assert names.guessed("rotated") == ("ana", None)


def test_nothing_told_is_nothing_known():
    assert entry().facts == Facts(pools=UNKNOWN)
