"""Token pools: whoever counted and however the counts are spelt, no token stands in two pools, and none is invented."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core.tokens import UNKNOWN, TokenPools, UnreadableUsage, from_usage, pools

# One answer, in the words of each API and each of its SDKs.
CHAT_SNAKE = {
    "prompt_tokens": 100,
    "completion_tokens": 40,
    "total_tokens": 140,
    "prompt_tokens_details": {"cached_tokens": 15, "cache_write_tokens": 2, "audio_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3},
    "cost": 0.0015,
    "cost_details": {"upstream_inference_cost": None},
    "is_byok": False,
}
CHAT_CAMEL = {
    "promptTokens": 100,
    "completionTokens": 40,
    "promptTokensDetails": {"cachedTokens": 15, "cacheWriteTokens": 2, "audioTokens": 1},
    "completionTokensDetails": {"reasoningTokens": 3},
    "cost": 0.0015,
}
RESPONSES_SNAKE = {
    "input_tokens": 100,
    "output_tokens": 40,
    "input_tokens_details": {"cached_tokens": 15, "cache_write_tokens": 2, "audio_tokens": 1},
    "output_tokens_details": {"reasoning_tokens": 3},
    "cost": 0.0015,
}
RESPONSES_CAMEL = {
    "inputTokens": 100,
    "outputTokens": 40,
    "inputTokensDetails": {"cachedTokens": 15, "cacheWriteTokens": 2, "audioTokens": 1},
    "outputTokensDetails": {"reasoningTokens": 3},
    "cost": 0.0015,
}
DIALECTS = {
    "chat, snake": CHAT_SNAKE,
    "chat, camel": CHAT_CAMEL,
    "responses, snake": RESPONSES_SNAKE,
    "responses, camel": RESPONSES_CAMEL,
}
in_every_dialect = pytest.mark.parametrize("usage", DIALECTS.values(), ids=DIALECTS)


def wholes(usage):
    """Return *usage* without its details."""
    return {name: value for name, value in usage.items() if not name.lower().endswith("details")}


# --- What a usage object says ----------------------------------------------------------------------------------------


@in_every_dialect
def test_every_dialect_comes_apart_into_the_same_pools(usage):
    assert from_usage(usage) == TokenPools(
        input=82, output=37, cache_read=15, cache_write=2, audio_input=1, reasoning=3
    )


@in_every_dialect
def test_parts_that_a_usage_object_does_not_name_are_zero(usage):
    all_text = TokenPools(input=100, output=40, cache_read=0, cache_write=0, audio_input=0, reasoning=0)
    assert from_usage(wholes(usage)) == all_text
    without_values = wholes(usage) | {name: None for name in usage if name.lower().endswith("details")}
    assert from_usage(without_values) == all_text
    empty = {name: dict.fromkeys(value) if isinstance(value, dict) else value for name, value in usage.items()}
    assert from_usage(empty) == all_text
    assert from_usage(wholes(usage) | {name: {} for name in usage if name.lower().endswith("details")}) == all_text


@pytest.mark.parametrize(
    ("details", "input_pool"),
    [
        ({"cached_tokens": 100}, 0),
        ({"cached_tokens": 101}, 0),  # seen with answers that were replayed
        ({"cached_tokens": 90, "cache_write_tokens": 20}, 0),
        ({"cached_tokens": 60, "cache_write_tokens": 30, "audio_tokens": 9}, 1),
    ],
)
def test_parts_larger_than_their_whole_stand_as_told_and_leave_no_text(details, input_pool):
    found = from_usage({"prompt_tokens": 100, "completion_tokens": 1, "prompt_tokens_details": details})
    assert found.input == input_pool
    assert (found.cache_read, found.cache_write, found.audio_input) == (
        details.get("cached_tokens", 0),
        details.get("cache_write_tokens", 0),
        details.get("audio_tokens", 0),
    )


def test_reasoning_larger_than_the_completion_stands_as_told_and_leaves_no_text():
    usage = {"prompt_tokens": 1, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 8}}
    assert (from_usage(usage).output, from_usage(usage).reasoning) == (0, 8)


def test_a_null_gives_way_to_the_same_count_in_another_spelling():
    usage = {"promptTokens": None, "prompt_tokens": 7, "output_tokens": 2, "inputTokensDetails": {"cachedTokens": 3}}
    assert from_usage(usage) == TokenPools(4, 2, 3, 0, 0, 0)


@pytest.mark.parametrize(
    ("usage", "member"),
    [
        ({}, "prompt_tokens"),
        ({"completion_tokens": 1}, "prompt_tokens"),
        ({"prompt_tokens": None, "completion_tokens": 1}, "prompt_tokens"),
        ({"prompt_tokens": 1}, "completion_tokens"),
        ({"inputTokens": 1, "outputTokens": None}, "completion_tokens"),
    ],
)
def test_a_usage_object_without_its_wholes_is_refused(usage, member):
    with pytest.raises(UnreadableUsage, match=rf"^{member}: missing$"):
        from_usage(usage)


NO_COUNTS = [True, False, 1.0, 0.5, -1, 10**12 + 1, float("nan"), "7919", "", [], {}]


@pytest.mark.parametrize("count", NO_COUNTS, ids=repr)
@pytest.mark.parametrize("member", ["promptTokens", "prompt_tokens", "inputTokens", "input_tokens"])
def test_a_prompt_that_is_no_count_is_refused_by_name_and_not_repeated(member, count):
    with pytest.raises(UnreadableUsage) as refusal:
        from_usage({member: count, "completion_tokens": 1})
    assert str(refusal.value) == f"{member}: not a count of tokens"


@pytest.mark.parametrize("count", NO_COUNTS, ids=repr)
@in_every_dialect
def test_a_part_that_is_no_count_is_refused_by_name(usage, count):
    for details, parts in usage.items():
        for part in parts if "etails" in details and details != "cost_details" else ():
            with pytest.raises(UnreadableUsage) as refusal:
                from_usage(usage | {details: parts | {part: count}})
            assert str(refusal.value) == f"{part}: not a count of tokens"


@pytest.mark.parametrize("value", ["a text that stays where it is", 3, True, [], [{"cached_tokens": 1}]], ids=repr)
@in_every_dialect
def test_details_that_are_no_object_are_refused_by_name_and_not_repeated(usage, value):
    for details in usage:
        if "etails" in details and details != "cost_details":
            with pytest.raises(UnreadableUsage) as refusal:
                from_usage(usage | {details: value})
            assert str(refusal.value) == f"{details}: not an object"


@pytest.mark.parametrize("count", [0, 1, 10**12])
def test_the_smallest_and_the_largest_counts_are_taken(count):
    assert from_usage({"prompt_tokens": count, "completion_tokens": count}) == TokenPools(count, count, 0, 0, 0, 0)


# --- Taking wholes apart ---------------------------------------------------------------------------------------------

COUNTS = st.integers(0, 10**6)
MAYBE = st.none() | COUNTS
POOLS = st.builds(TokenPools, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE, MAYBE)
WHOLES = st.fixed_dictionaries(
    dict.fromkeys(("prompt", "completion", "cache_read", "cache_write", "audio_input", "reasoning"), MAYBE)
)


@given(WHOLES)
def test_no_pool_is_ever_below_zero_and_what_was_not_told_stays_unknown(told):
    found = pools(**told)
    assert all(count is None or count >= 0 for count in astuple(found))
    assert {name for name in told if told[name] is None} == {
        {"input": "prompt", "output": "completion"}.get(name, name)
        for name in TokenPools.__slots__
        if getattr(found, name) is None
    }


@given(st.lists(COUNTS, min_size=6, max_size=6))
def test_pools_add_up_to_prompt_and_completion_where_no_parts_exceed_their_whole(counts):
    text, answer, cached, written, audio, reasoned = counts
    usage = {
        "prompt_tokens": text + cached + written + audio,
        "completion_tokens": answer + reasoned,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio},
        "completion_tokens_details": {"reasoning_tokens": reasoned},
    }
    assert from_usage(usage) == TokenPools(*counts)
    assert sum(astuple(from_usage(usage))) == usage["prompt_tokens"] + usage["completion_tokens"]


# --- Two tellings of one generation, and many generations together ---------------------------------------------------


@given(POOLS)
def test_who_knows_nothing_is_overruled_and_overrules_nobody(known):
    assert UNKNOWN.over(known) == known
    assert known.over(UNKNOWN) == known


def test_pools_of_two_tellers_are_not_mixed():
    first = TokenPools(input=10, output=5, cache_read=1, cache_write=0, audio_input=0, reasoning=None)
    assert first.over(TokenPools(99, 98, 97, 96, 95, 94)) == first


def test_what_only_the_other_can_tell_of_the_prompt_is_taken_out_of_the_input():
    # As `/generation` tells it: neither what was written to the cache nor what was audio.
    asked = pools(prompt=100, completion=40, cache_read=15, cache_write=None, audio_input=None, reasoning=3)
    told = from_usage(CHAT_SNAKE)
    assert asked.over(told) == told
    # Where the teller did know the audio, its own count stands.
    heard = pools(prompt=100, completion=40, cache_read=15, cache_write=None, audio_input=4, reasoning=3)
    assert heard.over(told) == TokenPools(79, 37, 15, 2, 4, 3)


def test_input_never_falls_below_zero_for_what_another_tells():
    asked = TokenPools(input=1, output=0, cache_read=0, cache_write=None, audio_input=None, reasoning=0)
    assert asked.over(TokenPools(0, 0, 0, 5, 5, 0)).input == 0


def test_a_teller_that_does_not_know_the_input_gives_nothing_up():
    asked = TokenPools(output=4)
    assert asked.over(TokenPools(1, 2, 3, 4, 5, 6)) == asked


@given(WHOLES, WHOLES)
def test_putting_two_tellings_together_never_makes_a_prompt_larger(one, other):
    found, together = pools(**one), pools(**one).over(pools(**other))
    if found != UNKNOWN and None not in {found.input, found.cache_read}:
        prompt = sum(getattr(found, name) or 0 for name in ("input", "cache_read", "cache_write", "audio_input"))
        parts = (together.cache_read, together.cache_write or 0, together.audio_input or 0)
        assert together.input in {prompt - sum(parts), 0} or together == found


@given(st.lists(POOLS, min_size=1, max_size=5))
def test_a_sum_is_the_sum_of_each_pool_and_unknown_where_one_part_is(parts):
    total = parts[0]
    for part in parts[1:]:
        total += part
    for name in TokenPools.__slots__:
        counts = [getattr(part, name) for part in parts]
        assert getattr(total, name) == (None if None in counts else sum(counts))
