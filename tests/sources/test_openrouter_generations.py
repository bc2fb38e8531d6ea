"""What `/generation` may answer, and what each answer means for the cost of the generation."""

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal

import httpx
import pytest

from reckon.core.generations import Found, NotFound, Unfound
from reckon.core.tokens import TokenPools
from tests.sources.asking import (
    KEY,
    OTHER_KEY,
    THIRD_KEY,
    Upstream,
    body_answer,
    hash_of,
    json_answer,
    key_of,
    source_over,
)

ID = "gen-3bhGkxlo4XFrqiabUM7NDtwDzWwG"
NOT_WRITTEN = {
    "total_cost": 0,
    "tokens_prompt": 0,
    "tokens_completion": 0,
    "native_tokens_prompt": 0,
    "native_tokens_completion": 0,
}


def record(**changes):
    """Return a sound record of generation `ID`, with *changes*; a change to ... leaves the member out."""
    told = {
        "id": ID,
        "total_cost": 0.0015,
        "usage": 0.0015,
        "is_byok": False,
        "upstream_inference_cost": 0.0012,
        "created_at": "2024-07-15T23:33:19.433273+00:00",
        "model": "sao10k/l3-stheno-8b",
        "router": "openrouter/auto",
        "provider_name": "Infermatic",
        "origin": "https://openrouter.ai/",
        "http_referer": "https://shop.example:8443/cart?user=ada#top",
        "app_id": 12345,
        "session_id": "nightly",
        "native_tokens_prompt": 10,
        "native_tokens_completion": 25,
        "native_tokens_cached": 3,
        "native_tokens_reasoning": 5,
        "tokens_prompt": 11,
        "tokens_completion": 26,
        "num_input_audio_prompt": 0,
        "cancelled": False,
        "finish_reason": "stop",
        "response_cache_source_id": None,
        "provider_responses": None,
    }
    return {"data": {name: value for name, value in (told | changes).items() if value is not ...}}


def lookup(answer, *, generation_id=ID, asker=KEY, **options):
    source, _ = source_over(answer if isinstance(answer, Upstream) else Upstream(answer), **options)
    return asyncio.run(source.lookup(generation_id, hash_of(asker)))


def found(**changes):
    learnt = lookup(lambda *_: json_answer(record(**changes)))
    assert isinstance(learnt, Found), learnt
    return learnt


def facts(**changes):
    return found(**changes).facts


# --- A record ------------------------------------------------------------------------------------------------------


def test_a_record_tells_what_it_cost_who_served_it_and_who_asked():
    learnt = found()
    assert learnt.is_finished
    told = learnt.facts
    assert (told.credits_nanos, told.byok_nanos) == (1_500_000, 0)
    assert (told.model, told.requested_model, told.provider) == ("sao10k/l3-stheno-8b", "openrouter/auto", "Infermatic")
    assert (told.app, told.session) == ("shop.example", "nightly")
    assert told.created_at == datetime(2024, 7, 15, 23, 33, 19, tzinfo=UTC)
    assert told.pools == TokenPools(input=7, output=20, cache_read=3, cache_write=None, audio_input=0, reasoning=5)


def test_the_record_is_asked_for_by_its_id_with_the_key_that_was_named():
    upstream = Upstream(lambda *_: json_answer(record()))
    source, client = source_over(upstream, KEY, OTHER_KEY, management_key=THIRD_KEY)
    for asker in (KEY, OTHER_KEY, THIRD_KEY):
        assert isinstance(asyncio.run(source.lookup(ID, hash_of(asker))), Found)
    assert [key_of(request) for request in upstream.requests] == [KEY, OTHER_KEY, THIRD_KEY]
    assert {str(request.url) for request in upstream.requests} == {f"https://openrouter.test/api/v1/generation?id={ID}"}
    assert +client.asked == {("GET", "/generation"): 3}


def test_a_key_that_nobody_has_told_us_is_refused_and_nothing_is_asked():
    upstream = Upstream(lambda *_: json_answer(record()))
    learnt = lookup(upstream, asker=OTHER_KEY)
    assert learnt == NotFound(Unfound.KEY_REFUSED, "nobody has told the secret of this key")
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("is_byok", "upstream_cost", "byok_nanos"),
    [(True, 0.0012, 1_200_000), (True, 0, 0), (True, None, None), (False, 0.0012, 0), (False, None, 0)],
)
def test_the_upstream_cost_counts_only_when_the_upstream_key_was_the_teams_own(is_byok, upstream_cost, byok_nanos):
    told = facts(is_byok=is_byok, upstream_inference_cost=upstream_cost)
    assert (told.credits_nanos, told.byok_nanos) == (1_500_000, byok_nanos)


@pytest.mark.parametrize(
    ("written", "nanos"),
    [("1.23e-7", 123), ("0.30000000000000004", 300_000_000), ("5e-10", 0), ("15e-10", 2), ("2", 2 * 10**9)],
)
def test_a_cost_is_exact_to_the_nano_dollar(written, nanos):
    body = json.dumps(record(total_cost="@")).replace('"@"', written).encode()
    assert lookup(lambda *_: body_answer(body)).facts.credits_nanos == nanos == round(Decimal(written) * 10**9)


@pytest.mark.parametrize(
    ("changes", "pools"),
    [
        (
            {"native_tokens_prompt": None, "native_tokens_completion": None, "native_tokens_cached": None},
            TokenPools(input=11, output=21, cache_read=None, audio_input=0, reasoning=5),
        ),
        ({"native_tokens_cached": 12}, TokenPools(input=0, output=20, cache_read=12, audio_input=0, reasoning=5)),
        ({"num_input_audio_prompt": 2}, TokenPools(input=7, output=20, cache_read=3, reasoning=5)),
        ({"num_input_audio_prompt": None}, TokenPools(input=7, output=20, cache_read=3, reasoning=5)),
        ({"native_tokens_prompt": "10"}, TokenPools(input=7, output=20, cache_read=3, audio_input=0, reasoning=5)),
        ({"native_tokens_reasoning": -1}, TokenPools(input=7, output=25, cache_read=3, audio_input=0)),
        (
            dict.fromkeys(
                ("native_tokens_prompt", "tokens_prompt", "native_tokens_completion", "tokens_completion"), ...
            ),
            TokenPools(cache_read=3, audio_input=0, reasoning=5),
        ),
    ],
    ids=[
        "no native counts",
        "more cached than asked",
        "audio",
        "audio not told",
        "in a string",
        "below zero",
        "no counts",
    ],
)
def test_tokens_are_the_providers_own_and_what_is_not_told_is_not_zero(changes, pools):
    assert facts(**changes).pools == pools


@pytest.mark.parametrize(
    ("changes", "app"),
    [
        ({"http_referer": None}, "openrouter.ai"),
        ({"http_referer": None, "origin": ""}, "app 12345"),
        ({"http_referer": None, "origin": "", "app_id": None}, None),
        ({"http_referer": "https://ada:secret@Shop.Example/x"}, "shop.example"),
        ({"http_referer": "not a url"}, "openrouter.ai"),
        ({"http_referer": "https://tell me about your day/"}, "openrouter.ai"),
        ({"http_referer": "http://[::1/"}, "openrouter.ai"),
        ({"http_referer": "http://[::1]:3000/"}, "::1"),
        ({"http_referer": 5, "origin": ["x"], "app_id": 7}, "app 7"),
        ({"http_referer": "https://" + "a" * 254, "origin": None}, "app 12345"),
    ],
)
def test_an_app_is_known_by_its_host_alone(changes, app):
    assert facts(**changes).app == app


@pytest.mark.parametrize(
    ("name", "member"),
    [("model", "model"), ("requested_model", "router"), ("provider", "provider_name"), ("session", "session_id")],
)
@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("a\x00b\x1b[31m\u202e", "a�b�[31m�"),
        ("\ud800", "�"),
        ("", None),
        (None, None),
        (..., None),
        (5, None),
        (f"my {KEY}", None),
    ],
    ids=range(7),
)
def test_a_name_is_made_presentable_and_one_that_cannot_be_read_is_unknown(name, member, told, shown):
    learnt = found(**{member: told})
    assert getattr(learnt.facts, name) == shown
    assert learnt.facts.credits_nanos == 1_500_000


@pytest.mark.parametrize(("name", "member", "most"), [("session", "session_id", 128), ("model", "model", 200)])
def test_a_long_name_is_cut(name, member, most):
    assert getattr(facts(**{member: "x" * 5000}), name) == "x" * most


@pytest.mark.parametrize(
    "told",
    [
        None,
        ...,
        "",
        "yesterday",
        20240715,
        "9999-12-31T23:59:59-12:00",
        "0001-01-01T00:00:00+05:00",
        "9999-12-31",
        "1970-01-01",
    ],
)
def test_a_date_that_cannot_be_read_is_unknown_and_costs_nothing(told):
    learnt = found(created_at=told)
    assert (learnt.facts.created_at, learnt.facts.credits_nanos) == (None, 1_500_000)


# --- Whether it is finished ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict.fromkeys(("native_tokens_prompt", "native_tokens_completion", "tokens_prompt", "tokens_completion")),
        {"provider_responses": []},
        {"provider_responses": [{"status": 503}, {"status": 200}]},
        {"provider_responses": [{"status": 503}, {"status": None}]},
        {"provider_responses": "?"},
        {"finish_reason": None},
        {"cancelled": None},
        {"upstream_inference_cost": 0.5},
    ],
)
def test_no_tokens_and_no_cost_without_a_reason_is_not_finished(changes):
    learnt = found(**(NOT_WRITTEN | changes))
    assert not learnt.is_finished
    assert learnt.facts.credits_nanos == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"cancelled": True},
        {"response_cache_source_id": "gen-earlier"},
        {"finish_reason": "error"},
        {"provider_responses": [{"status": 503}, {"status": 429}]},
        {"total_cost": 1e-9},
        {"is_byok": True, "upstream_inference_cost": 0.5},
        {"native_tokens_prompt": 1},
        {"native_tokens_completion": 1},
        {"tokens_prompt": 1},
        {"tokens_completion": 1},
    ],
    ids="+".join,
)
def test_what_explains_a_zero_finishes_it(changes):
    assert found(**(NOT_WRITTEN | changes)).is_finished


# --- No record -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"total_cost": -0.001}, "data.total_cost: negative money"),
        ({"total_cost": 1e15}, "data.total_cost: more than $1,000,000,000"),
        ({"total_cost": None}, "data.total_cost: not a number"),
        ({"total_cost": "0.0015"}, "data.total_cost: not a number"),
        ({"total_cost": ...}, "data.total_cost: missing"),
        ({"is_byok": ...}, "data.is_byok: missing"),
        ({"is_byok": 1}, "data.is_byok: not true or false"),
        ({"upstream_inference_cost": -1}, "data.upstream_inference_cost: negative money"),
        ({"id": "gen-other"}, "data.id: another generation's"),
        ({"id": ID.upper()}, "data.id: another generation's"),
        ({"id": ...}, "data.id: missing"),
        ({"id": None}, "data.id: not a string"),
    ],
)
def test_a_record_whose_money_or_id_cannot_be_believed_is_unreadable(changes, detail):
    assert lookup(lambda *_: json_answer(record(**changes))) == NotFound(Unfound.UNREADABLE, detail)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b"null", b'{"data": null}', b'{"data": []}', b'{"data": NaN}']
)
def test_an_answer_that_is_no_record_is_unreadable(body):
    learnt = lookup(lambda *_: body_answer(body))
    assert isinstance(learnt, NotFound)
    assert learnt.reason is Unfound.UNREADABLE


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (404, Unfound.NOT_YET),
        (403, Unfound.NOT_OURS),
        (401, Unfound.KEY_REFUSED),
        *dict.fromkeys((400, 405, 410, 422, 302, 307, 204), Unfound.UNREADABLE).items(),
        *dict.fromkeys((402, 408, 429, 500, 502, 503, 504, 524, 529), Unfound.BUSY).items(),
    ],
)
@pytest.mark.parametrize("media_type", ["application/json", "text/html"])
def test_each_status_has_its_own_meaning_whatever_the_body_says(status, reason, media_type):
    def answer(*_):
        return httpx.Response(status, content=b'{"error": {"code": 404}}', headers={"Content-Type": media_type})

    assert lookup(answer) == NotFound(reason, f"HTTP {status}")


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_that_was_asked_for_is_told(status):
    learnt = lookup(lambda *_: json_answer({}, status, [("Retry-After", "17")]))
    assert learnt == NotFound(Unfound.BUSY, f"HTTP {status}", retry_after_seconds=17)


def test_html_where_a_record_should_be_is_unreadable():
    learnt = lookup(lambda *_: httpx.Response(200, content=b"<html>", headers={"Content-Type": "text/html"}))
    assert learnt == NotFound(Unfound.UNREADABLE, "HTML where JSON was asked for")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx.ReadTimeout(KEY), Unfound.BUSY),
        (httpx.ConnectError(KEY), Unfound.BUSY),
        (ConnectionResetError(KEY), Unfound.BUSY),
        (RuntimeError(KEY), Unfound.UNREADABLE),
    ],
    ids=range(4),
)
def test_trouble_on_the_way_is_an_outcome_that_tells_no_secret(error, reason):
    def fail(*_):
        raise error

    learnt = lookup(fail)
    assert isinstance(learnt, NotFound)
    assert learnt.reason is reason
    assert KEY not in repr(learnt)


def test_a_cancelled_lookup_ends():
    class Never(Upstream):
        async def handle_async_request(self, _):
            arrived.set()
            await asyncio.Event().wait()

    arrived = asyncio.Event()

    async def scenario():
        source, _ = source_over(Never(None))
        asking = asyncio.create_task(source.lookup(ID, hash_of(KEY)))
        async with asyncio.timeout(5):
            await arrived.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(scenario())
