"""Finished days of single keys, told by activity and by analytics: silence is believed only where it was asked for."""

import asyncio
import json
from datetime import UTC, date, datetime

import httpx
import pytest
from pydantic import SecretStr

from reckon.core.activity_days import DaySpan, DaysTold, NotTold
from reckon.core.records import FailureReason
from reckon.sources.openrouter import Analytics, DaySource, OpenRouterClient
from tests.canary import CANARIES
from tests.sources.asking import BASE_URL, Clock, Upstream, json_answer

BEFORE_MIDNIGHT = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
AFTER_MIDNIGHT = datetime(2026, 11, 22, 0, 0, 1, tzinfo=UTC)
YEAR = DaySpan(date(2026, 1, 1), date(2026, 10, 1))


def source_over(upstream, clock=None):
    clock = clock or Clock(AFTER_MIDNIGHT)
    client = OpenRouterClient(BASE_URL, timeout_seconds=5, clock=clock, transport=upstream)
    secret = SecretStr(CANARIES["management_key"])
    return DaySource(client, secret, Analytics(client, secret), clock=clock)


def activity_row(day, usage=1.5):
    return {"date": day, "usage": usage, "byok_usage_inference": 0, "model": "maker/small", "provider_name": "Maker"}


def last_days(answer, clock=None):
    return asyncio.run(source_over(Upstream(lambda *_: answer()), clock).last_days("ab" * 32))


def older_days(document):
    return asyncio.run(source_over(Upstream(lambda *_: json_answer(document))).older_days("ab" * 32, YEAR))


def test_an_answer_tells_the_thirty_days_that_were_over():
    told = last_days(lambda: json_answer({"data": [activity_row("2026-11-21")]}))

    assert told.days == DaySpan(date(2026, 10, 23), date(2026, 11, 22))
    assert [(row.date, row.credits_nanos) for row in told.rows] == [(date(2026, 11, 21), 1_500_000_000)]


def test_an_ask_on_its_way_at_midnight_tells_only_of_the_days_on_offer_before_and_after_it():
    clock = Clock(BEFORE_MIDNIGHT)

    def answer():
        clock.now = AFTER_MIDNIGHT
        return json_answer({"data": [activity_row("2026-11-21"), activity_row("2026-11-20")]})

    told = last_days(answer, clock)

    assert told.days == DaySpan(date(2026, 10, 23), date(2026, 11, 21))
    assert [row.date for row in told.rows] == [date(2026, 11, 20)]


@pytest.mark.parametrize(("status", "is_closed"), [(401, True), (403, True), (404, True), (400, False), (502, False)])
def test_a_refusal_of_the_key_is_told_from_trouble(status, is_closed):
    told = last_days(lambda: httpx.Response(status))

    assert isinstance(told, NotTold)
    assert (told.is_closed, told.detail) == (is_closed, f"HTTP {status}")


def answer_of(rows, *, truncated=False, warnings=()):
    return {"data": {"data": rows, "metadata": {"truncated": truncated}, "warnings": [*warnings]}}


def test_analytics_tells_a_day_a_row_without_model():
    told = older_days(
        answer_of(
            [
                {"date__day": "2026-02-01T00:00:00Z", "credits_usage": 2.5, "byok_usage": None},
                {"date__day": "2026-02-03T00:00:00Z", "credits_usage": 0, "byok_usage": 1},
            ]
        )
    )

    assert isinstance(told, DaysTold)
    assert told.days == YEAR
    assert [(row.date.day, row.credits_nanos, row.byok_nanos, row.model) for row in told.rows] == [
        (1, 2_500_000_000, 0, None),
        (3, 0, 10**9, None),
    ]


def test_analytics_is_asked_for_one_key_by_the_day():
    upstream = Upstream(lambda *_: json_answer(answer_of([])))
    asyncio.run(source_over(upstream).older_days("ab" * 32, YEAR))
    [request] = upstream.requests

    asked = json.loads(b"".join(request.stream))

    assert asked["metrics"] == ["credits_usage", "byok_usage"]
    assert asked["filters"] == [{"field": "api_key_id", "operator": "eq", "value": "ab" * 32}]
    assert (asked["granularity"], asked["time_range"]) == (
        "day",
        {"start": "2026-01-01T00:00:00Z", "end": "2026-10-01T00:00:00Z"},
    )


@pytest.mark.parametrize(
    "document",
    [answer_of([], warnings=["No key with this hash"]), answer_of([], truncated=True)],
    ids=["warned", "cut"],
)
def test_a_silence_that_analytics_warns_of_is_no_zero(document):
    told = older_days(document)

    assert isinstance(told, NotTold)
    assert (told.reason, told.is_closed) == (FailureReason.UNEXPECTED_ANSWER, False)
