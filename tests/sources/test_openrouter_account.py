"""What the account says of its finished days, and what analytics answer to a question."""

import asyncio
import json
from datetime import UTC, date, datetime

import pytest
from pydantic import SecretStr

from reckon.core.account import (
    ActivityRow,
    AnalyticsAnswer,
    AnalyticsRow,
    Capabilities,
    CountColumn,
    Dimension,
    Filter,
    Granularity,
    MoneyColumn,
    Question,
)
from reckon.core.records import FailureReason
from reckon.core.tokens import TokenPools
from reckon.core.windows import Window
from reckon.sources.openrouter import Analytics, OpenRouterClient
from reckon.sources.openrouter.activity import activity
from reckon.sources.openrouter.trouble import NoAnswer
from tests.canary import CANARIES
from tests.sources.asking import BASE_URL, Clock, Upstream, hash_of, json_answer, key_of

MANAGEMENT_KEY = CANARIES["management_key"]
DAY = Window(datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC))
TODAY_BY_MODEL = Question(
    DAY,
    money=(MoneyColumn.TOTAL, MoneyColumn.BYOK),
    counts=(CountColumn.REQUESTS,),
    by=(Dimension.MODEL, Dimension.KEY),
    granularity=Granularity.HOUR,
)


def client_over(upstream):
    return OpenRouterClient(BASE_URL, timeout_seconds=5, clock=Clock(), transport=upstream)


# --- Activity ------------------------------------------------------------------------------------------------------


def day_row(**changes):
    told = {
        "byok_usage_inference": 0.012,
        "completion_tokens": 125,
        "date": "2025-08-24",
        "endpoint_id": "550e8400-e29b-41d4-a716-446655440000",
        "model": "openai/gpt-4.1",
        "model_permaslug": "openai/gpt-4.1-2025-04-14",
        "prompt_tokens": 50,
        "provider_name": "OpenAI",
        "reasoning_tokens": 25,
        "requests": 5,
        "usage": 0.015,
        "cached_tokens": 10,
    }
    return {name: value for name, value in (told | changes).items() if value is not ...}


def days(answer, **options):
    upstream = answer if isinstance(answer, Upstream) else Upstream(lambda *_: json_answer(answer))
    return asyncio.run(activity(client_over(upstream), SecretStr(MANAGEMENT_KEY), **options))


def test_a_finished_day_is_told_by_model_and_provider():
    assert days({"data": [day_row(), day_row(date="2025-08-25", usage=0, byok_usage_inference=0)]}) == (
        ActivityRow(
            date=date(2025, 8, 24),
            model="openai/gpt-4.1",
            provider="OpenAI",
            credits_nanos=15_000_000,
            byok_nanos=12_000_000,
            requests=5,
            pools=TokenPools(input=40, output=100, cache_read=10, reasoning=25),
        ),
        ActivityRow(
            date=date(2025, 8, 25),
            model="openai/gpt-4.1",
            provider="OpenAI",
            credits_nanos=0,
            byok_nanos=0,
            requests=5,
            pools=TokenPools(input=40, output=100, cache_read=10, reasoning=25),
        ),
    )


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({}, {}),
        ({"day": date(2026, 11, 1)}, {"date": "2026-11-01"}),
        ({"api_key_hash": hash_of("x")}, {"api_key_hash": hash_of("x")}),
        (
            {"day": date(2026, 11, 1), "api_key_hash": hash_of("x")},
            {"date": "2026-11-01", "api_key_hash": hash_of("x")},
        ),
    ],
)
def test_one_day_or_all_of_one_key_or_of_all_are_asked_for(options, params):
    upstream = Upstream(lambda *_: json_answer({"data": []}))
    assert days(upstream, **options) == ()
    (request,) = upstream.requests
    assert (request.url.path, dict(request.url.params)) == ("/api/v1/activity", params)
    assert key_of(request) == MANAGEMENT_KEY


@pytest.mark.parametrize("told", ["2025-08-24", "2025-08-24T00:00:00Z", "2025-08-24 00:00:00", "20250824"])
def test_a_date_is_read_in_more_ways_than_one(told):
    assert days({"data": [day_row(date=told)]})[0].date == date(2025, 8, 24)


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({"cached_tokens": ...}, "pools", TokenPools(input=50, output=100, reasoning=25)),
        ({"cached_tokens": 60}, "pools", TokenPools(input=0, output=100, cache_read=60, reasoning=25)),
        ({"prompt_tokens": "50"}, "pools", TokenPools(input=40, output=100, cache_read=10, reasoning=25)),
        ({"requests": -1}, "requests", None),
        ({"requests": "5"}, "requests", 5),
        ({"requests": 5.0}, "requests", 5),
        ({"requests": 5.5}, "requests", None),
        ({"model": "a\x1bb"}, "model", "a\N{REPLACEMENT CHARACTER}b"),
        ({"model": None}, "model", None),
        ({"provider_name": ...}, "provider", None),
    ],
)
def test_what_is_only_shown_of_a_day_may_be_missing(changes, field, expected):
    (row,) = days({"data": [day_row(**changes)]})
    assert getattr(row, field) == expected
    assert (row.credits_nanos, row.byok_nanos) == (15_000_000, 12_000_000)


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"usage": -1}, FailureReason.IMPLAUSIBLE, "data.1.usage: negative money"),
        ({"usage": ...}, FailureReason.UNEXPECTED_ANSWER, "data.1.usage: missing"),
        ({"byok_usage_inference": None}, FailureReason.UNEXPECTED_ANSWER, "data.1.byok_usage_inference: not a number"),
        ({"date": "yesterday"}, FailureReason.UNEXPECTED_ANSWER, "data.1.date: not a date"),
        ({"date": 20250824}, FailureReason.UNEXPECTED_ANSWER, "data.1.date: not a date"),
    ],
)
def test_one_row_that_cannot_be_believed_makes_the_whole_answer_none(changes, reason, detail):
    with pytest.raises(NoAnswer) as refused:
        days({"data": [day_row(), day_row(**changes)]})
    assert (refused.value.reason, refused.value.detail) == (reason, detail)


def test_a_day_that_has_not_finished_is_refused_with_its_status():
    with pytest.raises(NoAnswer) as refused:
        days(Upstream(lambda *_: json_answer({"error": {"code": 400}}, 400)), day=date(2026, 11, 22))
    assert refused.value.status == 400


# --- Questions -----------------------------------------------------------------------------------------------------


def answer_of(rows, metadata=..., **more):
    told = {"query_time_ms": 1, "row_count": len(rows), "truncated": False} if metadata is ... else metadata
    return {"data": {"data": rows, "metadata": told} | more}


def query(value, question=TODAY_BY_MODEL):
    upstream = value if isinstance(value, Upstream) else Upstream(lambda *_: json_answer(value))
    return asyncio.run(Analytics(client_over(upstream), SecretStr(MANAGEMENT_KEY)).query(question))


def hour_row(**changes):
    told = {
        "date__hour": "2026-11-21T13:00:00.000Z",
        "model": "openai/gpt-4o",
        "api_key_id": "ci",
        "total_usage": 4.27,
        "byok_usage": None,
        "request_count": "1523",
    }
    return {name: value for name, value in (told | changes).items() if value is not ...}


def test_a_question_is_put_in_openrouters_words():
    asked = Question(
        Window(datetime(2026, 11, 21, 13, 0, 0, 500_000, tzinfo=UTC), DAY.end),
        money=(MoneyColumn.CREDITS,),
        counts=(CountColumn.TOKENS, CountColumn.REQUESTS),
        by=(Dimension.GENERATION,),
        granularity=Granularity.MINUTE,
        filters=(Filter(Dimension.KEY, ("a",)), Filter(Dimension.MODEL, ("x/1", "x/2"))),
        dearest_by=MoneyColumn.CREDITS,
        most_rows=50,
    )
    upstream = Upstream(lambda *_: json_answer(answer_of([])))
    query(upstream, asked)
    (request,) = upstream.requests
    assert json.loads(asyncio.run(request.aread())) == {
        "metrics": ["credits_usage", "tokens_total", "request_count"],
        "dimensions": ["generation_id"],
        "granularity": "minute",
        "filters": [
            {"field": "api_key_id", "operator": "eq", "value": "a"},
            {"field": "model", "operator": "in", "value": ["x/1", "x/2"]},
        ],
        "time_range": {"start": "2026-11-21T13:00:00Z", "end": "2026-11-22T00:00:00Z"},
        "order_by": {"field": "credits_usage", "direction": "desc"},
        "limit": 50,
    }


def test_a_plain_question_says_nothing_of_what_it_does_not_ask():
    upstream = Upstream(lambda *_: json_answer(answer_of([{"total_usage": 1}])))
    (row,) = query(upstream, Question(DAY, money=(MoneyColumn.TOTAL,))).rows
    assert row == AnalyticsRow(start=None, names={}, nanos={MoneyColumn.TOTAL: 10**9}, counts={})
    (request,) = upstream.requests
    assert json.loads(asyncio.run(request.aread())) == {
        "metrics": ["total_usage"],
        "time_range": {"start": "2026-11-21T00:00:00Z", "end": "2026-11-22T00:00:00Z"},
        "limit": 10_000,
    }


@pytest.mark.parametrize("time_key", ["date__hour", "created_at__hour"])
@pytest.mark.parametrize("count", ["1523", 1523, 1523.0])
@pytest.mark.parametrize("time", ["2026-11-21T13:00:00.000Z", "2026-11-21T13:00:00", "2026-11-21 14:00:00+01:00"])
def test_an_answer_is_read_whichever_of_its_dialects_it_speaks(time_key, count, time):
    assert query(
        answer_of([hour_row(**{"date__hour": ..., time_key: time, "request_count": count})])
    ) == AnalyticsAnswer(
        rows=(
            AnalyticsRow(
                start=datetime(2026, 11, 21, 13, tzinfo=UTC),
                names={Dimension.MODEL: "openai/gpt-4o", Dimension.KEY: "ci"},
                nanos={MoneyColumn.TOTAL: 4_270_000_000, MoneyColumn.BYOK: None},
                counts={CountColumn.REQUESTS: 1523},
            ),
        ),
        is_truncated=False,
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"total_usage": -0.5}, -500_000_000),
        ({"total_usage": 0}, 0),
        ({"total_usage": None}, None),
        ({"total_usage": ...}, None),
    ],
)
def test_an_amount_may_be_negative_and_a_column_left_open_is_not_zero(changes, told):
    (row,) = query(answer_of([hour_row(**changes)])).rows
    assert row.nanos[MoneyColumn.TOTAL] == told


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"total_usage": "4.27"}, "rows.1.total_usage: not a number"),
        ({"total_usage": 1e300}, "rows.1.total_usage: more than $1,000,000,000"),
        ({"request_count": "many"}, "rows.1.request_count: not a count"),
        ({"request_count": -1}, "rows.1.request_count: not a count"),
        ({"date__hour": ...}, "rows.1.date__hour: missing"),
        ({"date__hour": "noon"}, "rows.1.date__hour: not an instant"),
    ],
)
def test_one_cell_that_cannot_be_read_makes_the_whole_answer_none(changes, detail):
    with pytest.raises(NoAnswer) as refused:
        query(answer_of([hour_row(), hour_row(**changes)]))
    assert refused.value.detail == detail


@pytest.mark.parametrize(
    ("metadata", "most_rows", "is_truncated"),
    [
        ({"truncated": True}, 10, True),
        ({"truncated": False}, 2, False),
        ({"truncated": None}, 2, True),
        ({}, 2, True),
        ({}, 3, False),
    ],
)
def test_an_answer_cut_short_says_so_or_is_taken_to_be(metadata, most_rows, is_truncated):
    asked = Question(DAY, money=(MoneyColumn.TOTAL,), most_rows=most_rows)
    answered = query(answer_of([{"total_usage": 1}, {"total_usage": 2}], metadata), asked)
    assert answered.is_truncated == is_truncated
    assert len(answered.rows) == 2


def test_warnings_are_passed_on_and_so_is_the_age_of_the_answer():
    answered = query(
        answer_of([], warnings=["Could not resolve api_key_id hash: abc\x1b", "x" * 900], cachedAt=1747699200000)
    )
    assert answered.warnings == ("Could not resolve api_key_id hash: abc\N{REPLACEMENT CHARACTER}", "x" * 200)
    assert answered.cached_at == datetime(2025, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize("told", [None, "1747699200000", 1e300, -5, 10**20, True])
def test_an_age_or_warnings_that_cannot_be_read_are_left_out(told):
    answered = query(answer_of([hour_row()], warnings=told, cachedAt=told))
    assert (answered.cached_at, answered.warnings, len(answered.rows)) == (None, (), 1)


@pytest.mark.parametrize("value", [None, [], {}, {"data": []}, {"data": {"data": None}}, {"data": {"data": [5]}}])
def test_what_is_no_answer_is_none(value):
    with pytest.raises(NoAnswer) as refused:
        query(value)
    assert refused.value.reason is FailureReason.UNEXPECTED_ANSWER


# --- Capabilities --------------------------------------------------------------------------------------------------


def offers(*, metrics=("total_usage", "byok_usage", "request_count"), dimensions=("model", "api_key_id")):
    named = {"metrics": metrics, "dimensions": dimensions, "granularities": ("hour", "day"), "operators": ("eq",)}
    return {"data": {kind: [{"name": name, "display_label": "?"} for name in names] for kind, names in named.items()}}


def meta(value, status=200):
    upstream = Upstream(lambda *_: json_answer(value, status))
    return asyncio.run(Analytics(client_over(upstream), SecretStr(MANAGEMENT_KEY)).meta())


def test_what_can_be_asked_is_told_by_name():
    told = meta(offers())
    assert told == Capabilities(
        columns=frozenset({"total_usage", "byok_usage", "request_count"}),
        dimensions=frozenset({"model", "api_key_id"}),
        granularities=frozenset({"hour", "day"}),
        operators=frozenset({"eq"}),
    )
    assert told.can_answer(TODAY_BY_MODEL)


@pytest.mark.parametrize(
    "question",
    [
        Question(DAY, money=(MoneyColumn.BYOK_FEES,)),
        Question(DAY, counts=(CountColumn.TOKENS,)),
        Question(DAY, money=(MoneyColumn.TOTAL,), by=(Dimension.GENERATION,)),
        Question(DAY, money=(MoneyColumn.TOTAL,), granularity=Granularity.MINUTE),
        Question(DAY, money=(MoneyColumn.TOTAL,), filters=(Filter(Dimension.MODEL, ("a", "b")),)),
        Question(DAY, money=(MoneyColumn.TOTAL,), filters=(Filter(Dimension.APP, ("a",)),)),
    ],
    ids=["money", "count", "dimension", "granularity", "operator", "filter"],
)
def test_what_is_not_on_offer_cannot_be_answered(question):
    assert not meta(offers()).can_answer(question)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_account_without_analytics_says_so_by_its_status(status):
    with pytest.raises(NoAnswer) as refused:
        meta({}, status)
    assert refused.value.status == status
