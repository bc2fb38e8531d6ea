"""Every answer that is wrong on purpose is wrong in the way its name says, and in no other."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime

import pytest

from reckon.fakes.answers import ODD, WRONG, rate_limited
from reckon.fakes.openrouter import KEY
from reckon.fakes.world import World
from tests.fakes.asking import ask, data_of

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USD = 1_000_000_000


@pytest.fixture
def world():
    return World(NOW, purchased_nanos=100 * USD)


@pytest.fixture
def key(world):
    key = world.make_key("laptop")
    world.spend(key, 25_500_000_000)
    return key


@pytest.fixture
def right(world, key):
    return data_of(ask(world, KEY, key))


def sent(world, key, name):
    world.answer_with(key, (WRONG | ODD)[name], times=1)
    response = ask(world, KEY, key)
    assert data_of(ask(world, KEY, key))["usage"] == Decimal("25.5"), "the next answer is right again"
    return response


def names(*, starting):
    return [name for name in WRONG if name.startswith(starting)]


def strictly(text):
    """Read JSON as it is specified: no constants beyond it, no name twice."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    def once(members):
        if len(dict(members)) != len(members):
            raise ValueError("a name stands twice")
        return dict(members)

    return json.loads(text, parse_constant=refuse, parse_float=Decimal, object_pairs_hook=once)


REFUSALS = {
    "401_user_not_found": "User not found.",
    "401_no_cookie": "No cookie auth credentials found",
    "402_needs_credits": "This request requires more credits, or fewer max_tokens.",
    "403_key_limit": "Key limit exceeded (total limit).",
    "403_management_only": "Only management keys can perform this operation",
    "500_json": "Internal Server Error",
    "503_json": "Service temporarily unavailable",
    "524_json": "Request timed out at the edge",
    "529_json": "Provider overloaded",
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_has_its_status_twice_and_its_message(world, key, name):
    response = sent(world, key, name)
    assert response.status_code == int(name[:3])
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"error": {"message": REFUSALS[name], "code": int(name[:3])}}


WAITS = {
    "429_wait_seconds": "30",
    "429_wait_until_a_date": "Fri, 31 Dec 2038 23:59:59 GMT",
    "429_wait_until_the_past": "Sun, 06 Nov 1994 08:49:37 GMT",
    "429_wait_unreadable": "a little longer",
    "429_wait_negative": "-30",
    "429_wait_for_decades": "1000000000",
    "429_wait_unsaid": None,
}


@pytest.mark.parametrize("name", WAITS)
def test_a_rate_limit_names_a_wait_or_does_not(world, key, name):
    response = sent(world, key, name)
    assert response.status_code == 429
    assert response.headers.get("retry-after") == WAITS[name]
    assert response.json()["error"] == {
        "message": "Rate limit exceeded",
        "code": 429,
        "metadata": {"error_type": "rate_limit_exceeded"},
    }
    assert {header for header in response.headers if header.startswith("x-ratelimit-")} == {
        "x-ratelimit-limit",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
    }


def test_the_dates_to_wait_for_are_dates_one_ahead_and_one_gone():
    assert parsedate_to_datetime(WAITS["429_wait_until_a_date"]) - NOW > timedelta(days=365)
    assert parsedate_to_datetime(WAITS["429_wait_until_the_past"]) < NOW


def test_any_other_wait_can_be_asked_for(world, key):
    world.answer_with(key, rate_limited("7"))
    assert ask(world, KEY, key).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("name", "status", "content_type"),
    [
        ("502_html", 502, "text/html; charset=UTF-8"),
        ("200_html", 200, "text/html; charset=UTF-8"),
        ("200_html_called_json", 200, "application/json"),
    ],
)
def test_a_page_is_a_page_whatever_it_is_called(world, key, name, status, content_type):
    response = sent(world, key, name)
    assert (response.status_code, response.headers["content-type"]) == (status, content_type)
    assert response.content.startswith(b"<!DOCTYPE html>")


def test_nothing_is_nothing(world, key):
    nothing, empty = sent(world, key, "204_nothing"), sent(world, key, "empty")
    assert (nothing.status_code, nothing.content, "content-type" in nothing.headers) == (204, b"", False)
    assert (empty.status_code, empty.content) == (200, b"")


WITHOUT_COUNTERS = {
    "null": None,
    "list": [],
    "string": "",
    "true": True,
    "number": 25.5,
    "data_missing": {},
    "data_null": {"data": None},
    "data_list": {"data": []},
    "data_string": {"data": "25.5"},
    "data_empty": {"data": {}},
    "error_with_200": {"error": {"message": "Internal Server Error", "code": 500}},
}


@pytest.mark.parametrize("name", WITHOUT_COUNTERS)
def test_json_without_counters_is_still_json(world, key, name):
    response = sent(world, key, name)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == WITHOUT_COUNTERS[name]


NOT_MONEY = {
    "usage_null": None,
    "usage_string": "1.23",
    "usage_bool": True,
    "usage_object": {"usd": Decimal("1.23")},
    "usage_list": [Decimal("1.23")],
    "usage_1e400": Decimal("1e400"),
    "usage_1e999999999": Decimal("1e999999999"),
    "usage_negative": Decimal("-0.5"),
    "usage_1e15": Decimal("1e15"),
}


@pytest.mark.parametrize("name", NOT_MONEY)
def test_one_counter_that_is_no_money_stands_among_right_ones(world, key, right, name):
    response = sent(world, key, name)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert strictly(response.content)["data"] == right | {"usage": NOT_MONEY[name]}
    assert type(strictly(response.content)["data"]["usage"]) is type(NOT_MONEY[name])


def test_a_counter_may_be_missing_among_right_ones(world, key, right):
    del right["usage"]
    assert strictly(sent(world, key, "usage_missing").content)["data"] == right


TEXTS = {
    "usage_nan": b'"usage":NaN,',
    "usage_infinity": b'"usage":Infinity,',
    "usage_minus_infinity": b'"usage":-Infinity,',
    "usage_hexadecimal": b'"usage":0x10,',
    "usage_leading_zero": b'"usage":007,',
    "usage_twice": b'"usage":25.5,"usage":0,',
}


@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_json_is_so_by_its_counter_alone(world, key, right, name):
    content = sent(world, key, name).content
    assert content.count(TEXTS[name]) == 1
    with pytest.raises(ValueError):
        strictly(content)
    assert strictly(content.replace(TEXTS[name], b'"usage":25.5,'))["data"] == right


def test_a_number_has_more_digits_than_python_converts(world, key):
    content = sent(world, key, "usage_4301_digits").content
    with pytest.raises(ValueError, match="4300 digits"):
        json.loads(content)
    assert content.count(b"0" * 4300) == 1


def test_the_data_may_stand_twice(world, key, right):
    content = sent(world, key, "data_twice").content
    with pytest.raises(ValueError, match="twice"):
        strictly(content)
    assert json.loads(content, parse_float=Decimal) == {"data": right}


@pytest.mark.parametrize("name", ["200000_deep", "200000_deep_in_usage", "500000_opened"])
def test_a_body_may_be_deeper_than_a_reader_is_patient(world, key, name):
    content = sent(world, key, name).content
    assert content.count(b"[") >= 200_000
    assert (content.count(b"]") >= 200_000) == (name != "500000_opened")
    assert len(content) < 512 * 1024
    with pytest.raises(RecursionError):
        json.loads(content)


@pytest.mark.parametrize("name", ["cut_short", "two_documents"])
def test_a_document_may_end_early_or_late(world, key, name):
    content = sent(world, key, name).content
    with pytest.raises(ValueError):
        strictly(content)
    whole = ask(world, KEY, key).content
    assert content in {whole[: len(whole) // 2], whole * 2}


@pytest.mark.parametrize("name", ["utf16", "utf32", "invalid_utf8", "surrogate_in_utf8"])
def test_bytes_may_not_be_utf8(world, key, name):
    content = sent(world, key, name).content
    with pytest.raises(UnicodeDecodeError):
        content.decode("utf-8")
    if name in {"utf16", "utf32"}:
        assert content.decode(name) == ask(world, KEY, key).text


def test_every_wrong_answer_is_proven_wrong_above():
    proven = [*REFUSALS, *WAITS, *WITHOUT_COUNTERS, *NOT_MONEY, *TEXTS]
    proven += ["502_html", "200_html", "200_html_called_json", "204_nothing", "empty", "usage_missing"]
    proven += ["usage_4301_digits", "data_twice", "200000_deep", "200000_deep_in_usage", "500000_opened"]
    proven += ["cut_short", "two_documents", "utf16", "utf32", "invalid_utf8", "surrogate_in_utf8"]
    assert sorted(proven) == sorted(WRONG)


LABELS = {"lone_surrogate_in_label": "\ud800", "nul_in_label": "\x00"}


@pytest.mark.parametrize("name", ODD)
def test_an_odd_answer_is_right_however_it_is_written(world, key, right, name):
    response = sent(world, key, name)
    plain = ask(world, KEY, key)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("application/json")
    assert (response.content, response.headers["content-type"]) != (plain.content, plain.headers["content-type"])
    data = strictly(response.content.decode("utf-8-sig"))["data"]
    if name in LABELS:
        right["label"] = LABELS[name] + right["label"]
    assert {field: data[field] for field in right} == right
    assert (set(data) == set(right)) == (name != "unknown_fields")


def test_minus_zero_is_only_where_zero_was(world, key):
    content = sent(world, key, "minus_zero").content
    assert b'"byok_usage":-0.0,' in content
    assert b'"usage":25.5,' in content
