"""`POST /v1/traces`: what OpenRouter's Broadcast delivers, and that nothing of its content is ever seen again."""

import asyncio
import gzip
import json
from dataclasses import replace

import pytest

from reckon.core.generations import Facts
from reckon.core.records import UNOWNED
from reckon.core.tokens import UNKNOWN, TokenPools
from reckon.web.server import served
from tests.builders import at, key_hash, usd
from tests.canary import CANARIES
from tests.store.faults import failing, lost_connection
from tests.web.deliveries import (
    COUNTED,
    DOCUMENTED,
    ID,
    as_body,
    connection_test,
    delivery,
    span,
    whole_delivery,
)
from tests.web.house import TOKEN
from tests.web.raw import answer_to, free_address

PATH = "/v1/traces"
CHARGED = "metadata.openrouter_generation."


def deliver(house, body, *, method="POST", token=TOKEN, **headers):
    content = body if isinstance(body, bytes) else as_body(body)
    headers = {"Content-Type": "application/json", **headers}
    return house.ask(method, PATH, token=token, content=content, headers=headers)


def delivered(house, told):
    """Return the one call that the ledger holds after a delivery."""
    assert deliver(house, delivery(span(told))).json() == {}
    [call] = house.calls().values()
    return call


# --- Taken -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_of_a_delivery_the_root_tells_everything(house, method):
    answer = deliver(house, whole_delivery(), method=method)

    [call] = house.calls().values()
    assert (answer.status_code, answer.json(), house.knocks) == (200, {}, 1)
    assert (call.id, call.owner, call.key_hash) == (ID, "ana", key_hash("laptop"))
    assert call.facts == Facts(
        created_at=at("2026-11-21 22:26:40"),
        model="anthropic/claude-haiku-4.5",
        requested_model="openrouter/auto",
        provider="Amazon Bedrock",
        session="session_abc",
        credits_nanos=usd("0.06507625"),
        pools=TokenPools(input=1_000, output=324, cache_read=5, cache_write=47_889, audio_input=0, reasoning=518),
    )


def test_the_documented_dialect_is_understood_and_what_it_does_not_tell_is_unknown(house):
    call = delivered(house, DOCUMENTED)

    assert call.facts == Facts(
        created_at=at("2026-11-21 22:26:40"),
        requested_model="openai/gpt-4",
        pools=replace(UNKNOWN, input=100, output=50),
    )


@pytest.mark.parametrize(
    "cost",
    [{"doubleValue": 0.25}, {"intValue": "1"}, {"intValue": 0}, {"stringValue": "0.25"}, {"doubleValue": "2.5e-1"}],
)
def test_a_number_may_be_spelt_in_any_way(house, cost):
    [value] = cost.values()

    assert delivered(house, {**COUNTED, "gen_ai.usage.total_cost": cost}).facts.credits_nanos == usd(str(float(value)))


@pytest.mark.parametrize("place", ["trace.", "span."])
def test_the_net_charge_is_the_cost_where_it_is_told(house, place):
    call = delivered(house, {**COUNTED, f"{place}{CHARGED}usage": 0.06, f"{place}{CHARGED}is_byok": False})

    assert (call.facts.credits_nanos, call.facts.byok_nanos) == (usd("0.06"), None)


@pytest.mark.parametrize("is_byok", [True, "true"])
def test_what_went_through_the_teams_own_key_is_told_apart(house, is_byok):
    charged = {"usage": 0, "is_byok": is_byok, "byok_usage_inference": 1.5}
    call = delivered(house, {**COUNTED, **{f"trace.{CHARGED}{name}": value for name, value in charged.items()}})

    assert (call.facts.credits_nanos, call.facts.byok_nanos) == (0, usd("1.5"))


def test_what_went_upstream_counts_only_where_the_key_was_the_teams_own(house):
    assert delivered(house, {**COUNTED, f"trace.{CHARGED}byok_usage_inference": 1.5}).facts.byok_nanos is None


def test_a_request_that_failed_is_handed_in_without_a_cost(house):
    failed = span({"gen_ai.response.id": ID}, status={"code": 2, "message": "The client has disconnected"})

    assert deliver(house, delivery(failed)).status_code == 200
    assert house.calls()[ID].facts == Facts(created_at=at("2026-11-21 22:26:40"))


@pytest.mark.parametrize("key", ["desktop", "ci", None])
def test_a_key_that_is_not_known_by_its_name_alone_is_nobodys_and_no_refusal(house, key):
    told = {**COUNTED, "trace.metadata.openrouter.api_key_name": key or "x" * 300}

    assert (delivered(house, told).owner, house.calls()[ID].key_hash) == (UNOWNED, None)


def test_several_requests_in_one_delivery_are_all_taken(house):
    several = delivery(*(span({**COUNTED, "gen_ai.response.id": f"gen-{n}"}) for n in range(50)))

    assert deliver(house, several).status_code == 200
    assert len(house.calls()) == 50
    assert house.commits == [50]


def test_what_is_delivered_twice_counts_once(house):
    assert [deliver(house, whole_delivery()).status_code for _ in range(2)] == [200, 200]
    assert len(house.calls()) == 1


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("gen_ai.response.model", "m" * 201),
        ("session.id", "s\a"),
        ("gen_ai.usage.total_cost", -1.0),
        ("gen_ai.usage.total_cost", {"doubleValue": "NaN"}),
        ("gen_ai.usage.total_cost", {"arrayValue": {"values": []}}),
        ("gen_ai.usage.total_cost", {"boolValue": True}),
        ("gen_ai.usage.input_tokens", 1.5),
        ("gen_ai.usage.input_tokens", {"stringValue": "1e999999"}),
    ],
)
def test_what_cannot_be_believed_of_a_generation_is_left_out(house, attribute, value):
    kept = delivered(house, {**COUNTED, attribute: value}).facts

    whole = {"gen_ai.response.model": "model", "session.id": "session", "gen_ai.usage.total_cost": "credits_nanos"}
    assert getattr(kept, whole.get(attribute, "pools")) in {None, UNKNOWN}
    assert kept.requested_model == "openrouter/auto"


@pytest.mark.parametrize("began", ["0", "-1", "1e999999", "1e-999999", "soon", {}, None, True])
def test_a_beginning_that_cannot_be_is_left_out(house, began):
    assert deliver(house, delivery(span(COUNTED, startTimeUnixNano=began))).status_code == 200
    assert house.calls()[ID].facts.created_at is None


# --- Not counted -----------------------------------------------------------------------------------------------------

SENT_BY_THE_BUTTON = {**COUNTED, "trace.name": "Test Trace - OpenRouter Observability"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        {"resourceSpans": []},
        {"resourceSpans": [{}]},
        {"resourceSpans": None},
        connection_test(),
        delivery(span(COUNTED, name="openrouter-connection-test")),
        delivery(span(COUNTED, name="Test Generation")),
        delivery(span(SENT_BY_THE_BUTTON)),
        delivery(span({**COUNTED, "gen_ai.response.id": "gen-a:generation"})),
        delivery(span({**COUNTED, "gen_ai.response.id": 7})),
        delivery(span(COUNTED, parent="4355de9cc72b4839")),
        delivery(span({"gen_ai.usage.total_cost": 0.5})),
    ],
)
def test_a_test_and_what_names_no_generation_are_welcome_and_not_counted(house, body):
    answer = deliver(house, body)

    assert (answer.status_code, answer.json()) == (200, {})
    assert (house.calls(), house.commits) == ({}, [])


def test_a_root_below_a_span_of_the_callers_own_counts_like_any_other(house):
    deliver(house, delivery(span(COUNTED, parent="00f067aa0ba902b7")))

    assert len(house.calls()) == 1


def test_a_delivery_that_says_it_is_a_test_is_not_counted_whatever_it_holds(house):
    answer = deliver(house, whole_delivery(), **{"X-Test-Connection": "true"})

    assert (answer.status_code, answer.json(), house.calls()) == (200, {}, {})


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"X-Reckon-Token": "wrong"}, {"X-Reckon-Token": f"Bearer {TOKEN}"}])
@pytest.mark.parametrize("more", [{}, {"X-Test-Connection": "true"}])
def test_without_the_token_nothing_is_taken_not_even_a_test(house, headers, more):
    answer = deliver(house, whole_delivery(), token=None, **headers, **more)

    assert (answer.status_code, house.calls()) == (401, {})


def test_the_token_may_stand_in_a_header_of_its_own(house):
    assert deliver(house, whole_delivery(), token=None, **{"X-Reckon-Token": TOKEN}).status_code == 200
    assert set(house.calls()) == {ID}


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/x-protobuf"},
        {"Content-Type": "text/plain"},
        {"Content-Encoding": "br"},
        {"Content-Encoding": "gzip, gzip"},
    ],
)
def test_another_type_is_refused(house, headers):
    assert deliver(house, whole_delivery(), **headers).status_code == 415
    assert house.calls() == {}


@pytest.mark.parametrize(
    "body",
    [
        b"nonsense",
        b"[]",
        b'"gen-1"',
        b"\xff",
        b'{"resourceSpans": {}}',
        b'{"resourceSpans": [1]}',
        b'{"resourceSpans": [{"scopeSpans": 1}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": "x"}]}]}',
        b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": "x"}]}]}]}',
        b'{"resourceSpans": [], "resourceSpans": []}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_delivery_of_traces_is_refused(house, body):
    answer = deliver(house, body)

    assert (answer.status_code, set(answer.json())) == (422, {"schema_version", "error"})
    assert house.calls() == {}


@pytest.mark.parametrize(
    "attributes",
    [
        [{"key": ["gen_ai.response.id"], "value": {"stringValue": ID}}],
        [{"key": {"gen_ai.response.id": 1}, "value": 1}, {"key": "gen_ai.response.id", "value": ID}],
        [{"key": "gen_ai.response.id"}, {"value": {"stringValue": ID}}, {}],
        [{"key": "gen_ai.response.id", "value": {"stringValue": {"key": "gen_ai.response.id"}}}],
        [{"key": "trace.name", "value": {"stringValue": {}}}, {"key": "gen_ai.response.id", "value": {}}],
    ],
)
def test_odd_attributes_are_no_fault_of_ours(house, attributes):
    assert deliver(house, delivery({"name": {}, "attributes": attributes})).status_code == 200
    assert house.calls() == {}


def test_while_the_ledger_cannot_be_written_it_is_to_be_delivered_again(house):
    with failing("before_cursor_execute", 0, lost_connection(), times=100):
        refused = deliver(house, whole_delivery())

    assert (refused.status_code, refused.headers["retry-after"], house.calls()) == (503, "5", {})
    assert deliver(house, whole_delivery()).status_code == 200


# --- Size ------------------------------------------------------------------------------------------------------------

MOST = 16 * 1024 * 1024


def of_length(length):
    empty = as_body(whole_delivery(text="?"))
    return as_body(whole_delivery(text="?")) + b" " * (length - len(empty))


def test_a_delivery_of_sixteen_mebibytes_is_taken_and_one_byte_more_is_not(house):
    assert deliver(house, of_length(MOST + 1)).status_code == 413
    assert house.calls() == {}
    assert deliver(house, of_length(MOST)).status_code == 200
    assert set(house.calls()) == {ID}


def test_what_is_compressed_is_taken_as_far_as_it_is_not_too_long_for_that(house):
    gzipped = {"Content-Encoding": "gzip"}

    assert deliver(house, gzip.compress(of_length(MOST + 1)), **gzipped).status_code == 413
    assert house.calls() == {}
    assert deliver(house, gzip.compress(of_length(MOST)), **gzipped).status_code == 200
    assert set(house.calls()) == {ID}


@pytest.mark.parametrize(
    "spoil",
    [lambda whole: whole[:-1], lambda whole: whole + b"x", lambda whole: whole + whole, lambda _: b"{}", lambda _: b""],
)
def test_what_is_not_one_whole_gzip_stream_is_refused(house, spoil):
    answer = deliver(house, spoil(gzip.compress(as_body(whole_delivery()))), **{"Content-Encoding": "gzip"})

    assert (answer.status_code, house.calls()) == (422, {})


def test_a_delivery_that_goes_on_is_refused_without_being_read_to_its_end(house):
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Reckon-Token: {TOKEN}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    ).encode()
    chunk = b"100000\r\n" + b" " * (1 << 20) + b"\r\n"

    async def on_a_socket():
        listen = free_address()
        async with served(house.web, listen):
            return await answer_to(listen, head, chunk, 1_000)

    answer, sent = asyncio.run(on_a_socket())

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert sent < 200
    assert house.calls() == {}


# --- Content ---------------------------------------------------------------------------------------------------------


def test_a_prompt_in_every_place_that_can_hold_one_is_seen_nowhere(house, canary):
    prompt = CANARIES["prompt"]
    body = whole_delivery(text=json.dumps({"messages": [{"role": "user", "content": prompt}]}))
    assert as_body(body).count(b"Dear diary") > 25

    for delivery_of_it in (body, {**body, "resourceSpans": [*body["resourceSpans"], prompt]}, {prompt: prompt}):
        answer = deliver(house, delivery_of_it)
        canary.look_at("the answer", answer.text)
        canary.look_at("the headers", answer.headers)
    with failing("before_cursor_execute", 0, lost_connection(), times=100):
        canary.look_at("the answer", deliver(house, body).text)
    for path in ("/metrics", "/api/v1/spend?by=model&by=session", "/api/v1/keys", "/healthz"):
        canary.look_at(path, house.ask("GET", path).text)

    assert set(house.calls()) == {ID}
    canary.look_at("what the ledger holds", house.calls())
    # The files, the log and the rest are looked at when this is over.
