"""Analytics: any sum of the account by anything, how it is written, and what it refuses."""

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from time import perf_counter

import pytest
from openrouter import errors

from reckon.fakes.analytics import AnalyticsDialect, Pace
from reckon.fakes.generations import Tokens
from reckon.fakes.journal import UNEXPLAINED_MODEL
from reckon.fakes.openrouter import ANALYTICS_META, ANALYTICS_QUERY
from reckon.fakes.world import DEFAULT_WORKSPACE, World
from tests.fakes.asking import ask, data_of, nanos
from tests.fakes.reading import sdks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
USD = 1_000_000_000
TODAY = {"start": "2026-11-20T00:00:00Z", "end": "2026-11-21T00:00:00Z"}


@pytest.fixture
def world():
    return World(NOON, purchased_nanos=100 * USD)


@pytest.fixture
def manager(world):
    return world.make_key("manager", is_management_key=True)


@pytest.fixture
def key(world):
    return world.make_key("laptop", created_at=NOON - 400 * DAY)


def asked(world, manager, **question):
    body = json.dumps({"metrics": ["total_usage"], "time_range": TODAY} | question).encode()
    return ask(world, ANALYTICS_QUERY, manager, method="POST", content=body)


def answered(world, manager, **question):
    return data_of(asked(world, manager, **question))


def rows(world, manager, **question):
    return answered(world, manager, **question)["data"]


def assert_refused(response, status, message):
    assert response.status_code == status
    error = response.json()["error"]
    assert (error["code"], error["message"]) == (status, message)


def where(field, operator, value, **rest):
    return {"filters": [{"field": field, "operator": operator, "value": value, **rest}]}


# --- Metrics -------------------------------------------------------------------------------------------------------


def test_every_metric_is_a_sum_over_what_was_charged(world, manager, key):
    tokens = Tokens(prompt=100, completion=40, cached=15, reasoning=3)
    world.call(key, cost_nanos=5 * USD, model="openai/gpt-5.1", tokens=tokens)
    upstream = world.call(key, cost_nanos=3 * USD, byok_nanos=20 * USD, model="openai/gpt-5.1", tokens=tokens)
    world.reprice(upstream, USD)
    metrics = {
        "total_usage": 26,
        "credits_usage": 6,
        "openrouter_usage": 5,
        "byok_usage": 20,
        "byok_fees": 1,
        "usage_cache": None,
        "usage_web": None,
        "request_count": 2,
        "byok_request_count": 1,
        "tokens_total": 280,
        "tokens_prompt": 200,
        "tokens_completion": 80,
        "reasoning_tokens": 6,
        "cached_tokens": 30,
    }
    assert rows(world, manager, metrics=[*metrics]) == [metrics]
    meta = data_of(ask(world, ANALYTICS_META, manager))
    assert {metric["name"] for metric in meta["metrics"]} == set(metrics)


def test_whatever_rows_are_told_apart_by_they_add_up_to_the_counters(world, manager, key):
    """Calls, charges nobody explains, refunds, other prices, money of no key and of a deleted one."""
    other = world.make_key("other", workspace=world.make_workspace("Lab").id)
    generation = world.call(key, cost_nanos=5 * USD, model="a/one", provider="Azure", at=NOON - HOUR, app_id=5)
    world.call(other, cost_nanos=7, byok_nanos=9, model="a/two")
    world.spend(key, USD)
    world.refund(key, 3)
    world.reprice(generation, 2 * USD)
    world.chatroom(11)
    world.delete(other)
    spent = world.account_spent_nanos()
    assert spent == 3 * USD + 7 - 3 + 11

    world.analytics_pace = Pace(1000)
    meta = data_of(ask(world, ANALYTICS_META, manager))
    names = [dimension["name"] for dimension in meta["dimensions"]]
    splits = [[], *([name] for name in names), *(list(pair) for pair in product(names, names) if pair[0] < pair[1])]
    assert len(splits) == 46
    for dimensions in splits:
        for granularity in (None, "hour"):
            more = {"granularity": granularity} if granularity else {}
            told = rows(world, manager, metrics=["credits_usage", "byok_usage"], dimensions=dimensions, **more)
            assert sum(nanos(row["credits_usage"]) for row in told) == spent
            assert sum(nanos(row["byok_usage"]) for row in told) == 9


def test_the_models_of_a_key_are_told_and_what_nobody_explains_under_a_model_of_its_own(world, manager, key):
    world.call(key, cost_nanos=5 * USD, model="openai/gpt-5.1", asked="openrouter/auto")
    world.spend(key, USD)
    told = rows(world, manager, dimensions=["api_key_id", "model"])
    assert told == [
        {"api_key_id": "laptop", "model": "openai/gpt-5.1", "total_usage": 5},
        {"api_key_id": "laptop", "model": UNEXPLAINED_MODEL, "total_usage": 1},
    ]


def test_completions_are_listed_by_id_and_a_changed_price_is_counted_in(world, manager, key):
    dear = world.call(key, cost_nanos=5 * USD, model="openai/gpt-5.1", at=NOON - HOUR)
    cheap = world.call(key, cost_nanos=USD, model="openai/gpt-5.1")
    world.reprice(cheap, 2 * USD)
    world.chatroom(7)
    told = rows(world, manager, metrics=["total_usage", "request_count"], dimensions=["generation_id"])
    assert [(row["generation_id"], nanos(row["total_usage"]), row["request_count"]) for row in told] == [
        (dear.id, 5 * USD, 1),
        (cheap.id, 2 * USD, 1),
        (None, 7, 1),
    ]


# --- How rows are written ------------------------------------------------------------------------------------------


def test_what_has_a_name_is_shown_by_it_and_never_by_its_id(world, manager):
    lab = world.make_workspace("Lab")
    key = world.make_key("laptop", workspace=lab.id, creator="user_abcd")
    world.call(key, cost_nanos=USD, model="openai/gpt-5.1", app_id=12345)
    shown = [{"api_key_id": "laptop"}, {"workspace": "Lab"}, {"app": "App 12345"}]
    shown.append({"user": "Member abcd", "user_email": "user_abcd@example.com"})
    for names in shown:
        response = asked(world, manager, dimensions=[next(iter(names))])
        assert data_of(response)["data"] == [names | {"total_usage": 1}]
        assert key.hash not in response.text
    world.analytics = AnalyticsDialect(key_shown_by="label")
    assert rows(world, manager, dimensions=["api_key_id"])[0]["api_key_id"] == key.label


def test_two_keys_of_one_name_are_two_rows_that_look_alike(world, manager):
    for usd in (1, 2):
        world.spend(world.make_key("agent"), usd * USD)
    told = rows(world, manager, dimensions=["api_key_id"])
    assert told == [{"api_key_id": "agent", "total_usage": 2}, {"api_key_id": "agent", "total_usage": 1}]


def test_a_renamed_key_is_shown_by_its_new_name(world, manager, key):
    world.spend(key, USD)
    world.rename(key, "desk")
    assert rows(world, manager, dimensions=["api_key_id"])[0]["api_key_id"] == "desk"


@pytest.mark.parametrize(
    ("granularity", "day", "time"),
    [
        ("minute", "2026-11-20", "T11:59:00.000Z"),
        ("hour", "2026-11-20", "T11:00:00.000Z"),
        ("day", "2026-11-20", "T00:00:00.000Z"),
        ("week", "2026-11-16", "T00:00:00.000Z"),
        ("month", "2026-11-01", "T00:00:00.000Z"),
    ],
)
def test_time_is_told_by_the_beginning_of_its_stretch_under_either_name(world, granularity, day, time):
    manager, key = world.make_key("manager", is_management_key=True), world.make_key("laptop")
    world.spend(key, USD, at=NOON - timedelta(seconds=1))
    span = {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T13:00:00Z"}
    question = {"granularity": granularity, "time_range": span}
    assert rows(world, manager, **question) == [{f"date__{granularity}": day + time, "total_usage": 1}]
    world.analytics = AnalyticsDialect(time_key="created_at", short_days=True)
    short = day + time if granularity in {"minute", "hour"} else day
    assert rows(world, manager, **question) == [{f"created_at__{granularity}": short, "total_usage": 1}]


def test_counts_may_be_written_as_text_and_money_never_is(world, manager, key):
    world.call(key, cost_nanos=USD, model="openai/gpt-5.1", tokens=Tokens(prompt=7))
    world.analytics = AnalyticsDialect(counts_as_text=True)
    metrics = ["request_count", "tokens_total", "total_usage", "usage_web"]
    assert rows(world, manager, metrics=metrics) == [
        {"request_count": "1", "tokens_total": "7", "total_usage": 1, "usage_web": None}
    ]


def test_the_newest_come_first_and_of_those_the_dearest_unless_told_otherwise(world, manager, key):
    for hours_ago, usd, model in [(2, 9, "a/one"), (1, 1, "a/one"), (1, 2, "a/two")]:
        world.call(key, cost_nanos=usd * USD, model=model, at=NOON - hours_ago * HOUR)
    question = {"dimensions": ["model"], "granularity": "hour"}

    def order(**more):
        return [row["total_usage"] for row in rows(world, manager, **question, **more)]

    assert order() == [2, 1, 9]
    assert order(order_by={"field": "total_usage", "direction": "desc"}) == [9, 2, 1]
    assert order(order_by={"field": "date", "direction": "asc"}) == [9, 2, 1]
    assert order(order_by={"field": "model", "direction": "asc"}) == [1, 9, 2]
    assert order(order_by={"field": "request_count", "direction": "asc"}) == [2, 1, 9]


def test_more_rows_than_asked_for_are_cut_off_and_it_is_said(world, manager, key):
    for n in range(1001):
        world.call(key, cost_nanos=n, model="openai/gpt-5.1")
    cut = answered(world, manager, dimensions=["generation_id"])
    assert (len(cut["data"]), cut["metadata"]["row_count"], cut["metadata"]["truncated"]) == (1000, 1000, True)
    whole = answered(world, manager, dimensions=["generation_id"], limit=1001)
    assert (len(whole["data"]), whole["metadata"]["truncated"]) == (1001, False)


def test_the_rows_of_each_group_can_be_limited(world, manager, key):
    for hours_ago, model in product((1, 2, 3), ("a/one", "a/two")):
        world.call(key, cost_nanos=USD, model=model, at=NOON - hours_ago * HOUR)
    told = rows(world, manager, dimensions=["model"], granularity="hour", group_limit=1)
    assert [(row["model"], row["date__hour"]) for row in told] == [
        ("a/one", "2026-11-20T11:00:00.000Z"),
        ("a/two", "2026-11-20T11:00:00.000Z"),
    ]


# --- Which entries count -------------------------------------------------------------------------------------------


def test_a_span_holds_its_beginning_and_not_its_end(world, manager, key):
    for hours_ago, usd in [(3, 1), (2, 2), (1, 4)]:
        world.spend(key, usd * USD, at=NOON - hours_ago * HOUR)
    span = {"start": "2026-11-20T09:00:00Z", "end": "2026-11-20T12:00:00+01:00"}
    assert rows(world, manager, time_range=span) == [{"total_usage": 3}]


def test_without_a_span_it_is_the_last_seven_days(world, manager, key):
    for days_ago, usd in [(8, 1), (6, 2), (0, 4)]:
        world.spend(key, usd * USD, at=NOON - days_ago * DAY - HOUR)
    assert rows(world, manager, time_range=None) == [{"total_usage": 6}]


def test_what_lies_ahead_is_not_told(world, manager, key):
    world.spend(key, USD)
    world.spend(key, 2 * USD, at=NOON + HOUR)
    assert rows(world, manager) == [{"total_usage": 1}]


def test_analytics_may_lag_behind_and_tells_since_when(world, manager, key):
    world.spend(key, USD, at=NOON - HOUR)
    world.spend(key, 2 * USD)
    world.analytics_lag = timedelta(minutes=5)
    answer = answered(world, manager)
    assert answer["data"] == [{"total_usage": 1}]
    assert answer["cachedAt"] == (NOON - timedelta(minutes=5)).timestamp() * 1000


def test_filters_take_ids_and_not_what_is_shown(world, manager):
    lab = world.make_workspace("Lab")
    one = world.make_key("one", creator="user_a")
    two = world.make_key("two", creator="user_b", workspace=lab.id)
    world.call(one, cost_nanos=1 * USD, model="a/one", app_id=1)
    world.call(two, cost_nanos=2 * USD, model="a/two", app_id=2, provider="Azure")
    world.chatroom(4 * USD, model="a/one")

    def total(*filters, **rest):
        return sum(row["total_usage"] for row in rows(world, manager, **where(*filters, **rest)))

    assert [total("api_key_id", "eq", key.hash) for key in (one, two)] == [1, 2]
    assert total("api_key_id", "in", [one.hash, two.hash]) == 3
    assert total("api_key_id", "in", [one.hash], include_unset=True) == 5
    assert total("api_key_id", "not_in", [one.hash]) == 2
    assert total("api_key_id", "not_in", [one.hash], include_unset=True) == 6
    assert total("model", "neq", "a/one") == 2
    assert [total("workspace", "eq", name) for name in (DEFAULT_WORKSPACE, lab.id, "Lab")] == [5, 2, 0]
    assert [total("user", "eq", name) for name in ("user_b", "Member er_b")] == [2, 0]
    assert [total("app", "eq", app_id) for app_id in (2, 2.0, "2")] == [2, 2, 2]
    assert total("provider", "eq", "Azure") == 2


def test_a_key_that_is_not_known_finds_nothing_and_a_warning(world, manager, key):
    world.spend(key, USD)
    unknown = "abc123" + "0" * 58
    answer = answered(world, manager, **where("api_key_id", "eq", unknown))
    assert (answer["data"], answer["warnings"]) == ([], ["Could not resolve api_key_id hash: abc123..."])
    answer = answered(world, manager, **where("api_key_id", "in", [unknown, key.hash]))
    assert (answer["data"], len(answer["warnings"])) == ([{"total_usage": 1}], 1)
    world.delete(key)
    answer = answered(world, manager, **where("api_key_id", "eq", key.hash))
    assert (answer["data"], "warnings" in answer) == ([{"total_usage": 1}], False)


# --- Refusals ------------------------------------------------------------------------------------------------------

MONTH = {"start": "2026-10-20T00:00:00Z", "end": "2026-11-20T00:00:00Z"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": []},
        {"metrics": ["money"]},
        {"metrics": "total_usage"},
        {"dimensions": ["colour"]},
        {"dimensions": ["model", "api_key_id", "app"]},
        {"granularity": "quarter"},
        {"limit": 0},
        {"limit": 10_001},
        {"limit": True},
        {"group_limit": 0},
        {"time_range": {"start": "2026-11-20T00:00Z", "end": "2026-11-21T00:00:00Z"}},
        {"time_range": {"start": "2026-11-20T00:00:00", "end": "2026-11-21T00:00:00"}},
        {"time_range": {"start": "2026-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"}},
        {"time_range": {"start": "2026-11-31T00:00:00Z", "end": "2026-12-01T00:00:00Z"}},
        {"time_range": {"start": "2025-11-19T00:00:00Z", "end": "2026-11-20T00:00:00Z"}},
        {"time_range": {"start": "2026-11-20T00:00:00Z"}},
        {"order_by": {"field": "model", "direction": "desc"}},
        {"order_by": {"field": "total_usage", "direction": "down"}},
        {"filters": [{"field": "model", "operator": "eq", "value": "a/one"}] * 21},
        {"classifier_filters": {}},
        where("colour", "eq", "red"),
        where("model", "like", "a/*"),
        where("model", "eq", ["a/one"]),
        where("model", "in", "a/one"),
        where("model", "eq", None),
        {"granularity": "minute"},
        {"time_range": MONTH, "dimensions": ["generation_id"]},
        {"time_range": MONTH, "metrics": ["byok_fees"]},
        {"time_range": MONTH} | where("provider", "eq", "Azure"),
    ],
    ids=str,
)
def test_a_question_that_makes_no_sense_is_refused(world, manager, wrong):
    assert_refused(asked(world, manager, **wrong), 400, "Invalid request parameters")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b"\xff"])
def test_a_body_that_is_no_question_is_refused(world, manager, body):
    response = ask(world, ANALYTICS_QUERY, manager, method="POST", content=body)
    assert_refused(response, 400, "Invalid request parameters")


def test_completions_and_providers_are_kept_for_31_days_and_sums_for_a_year(world, manager, key):
    world.call(key, cost_nanos=USD, model="a/one", provider="Azure", at=NOON - 30 * DAY)
    span = {"start": "2026-10-20T12:00:00Z", "end": "2026-11-20T00:00:00Z"}
    assert len(rows(world, manager, time_range=span, dimensions=["generation_id", "provider"])) == 1
    year = {"start": "2025-11-20T12:00:00Z", "end": "2026-11-20T00:00:00Z"}
    assert len(rows(world, manager, time_range=year, dimensions=["api_key_id", "model"])) == 1


def test_only_a_management_key_may_ask_for_analytics(world, key):
    for response in (ask(world, ANALYTICS_META, key), asked(world, key)):
        assert_refused(response, 403, "Only management keys can perform this operation")


@pytest.mark.parametrize("status", [403, 404])
def test_an_account_may_have_no_analytics(world, manager, status):
    world.analytics_available = False
    world.analytics_missing_status = status
    assert [ask(world, ANALYTICS_META, manager).status_code, asked(world, manager).status_code] == [status, status]


def test_of_more_than_64_requests_in_a_minute_the_rest_are_refused_and_told_how_long_to_wait(world, manager):
    assert ask(world, ANALYTICS_META, manager).status_code == 200
    world.advance(timedelta(seconds=10))
    assert {asked(world, manager).status_code for _ in range(63)} == {200}
    refused = asked(world, manager)
    assert_refused(refused, 429, "Rate limit exceeded")
    assert refused.headers["retry-after"] == "50"
    world.advance(timedelta(seconds=50))
    assert [asked(world, manager).status_code for _ in range(2)] == [200, 429]
    assert asked(world, manager).headers["retry-after"] == "10"


# --- Size ----------------------------------------------------------------------------------------------------------


def test_ten_thousand_keys_and_their_models_are_summed_in_good_time(world, manager):
    keys = [world.make_key(f"key-{n}") for n in range(10_000)]
    for hours_ago, model in product((1, 2), ("a/one", "a/two", "a/three")):
        for key in keys:
            world.call(key, cost_nanos=1, model=model, at=NOON - hours_ago * HOUR)
    began = perf_counter()
    answer = answered(world, manager, dimensions=["api_key_id", "model"], limit=10_000)
    whole = perf_counter()
    answered(world, manager, dimensions=["model"], **where("api_key_id", "eq", keys[77].hash))
    single = perf_counter()
    assert answer["metadata"]["truncated"]
    assert whole - began < 5, "generously above the half second it takes"
    assert single - whole < 0.5, "one key's question does not go through the others"


# --- The official SDK ----------------------------------------------------------------------------------------------


def test_the_sdk_reads_what_can_be_asked_and_what_is_answered(world, manager, key):
    world.call(key, cost_nanos=1_000_000_001, model="openai/gpt-5.1", tokens=Tokens(prompt=7))
    with sdks(world) as sdk_of:
        analytics = sdk_of(manager).analytics
        meta = analytics.get_analytics_meta().data
        answer = analytics.query_analytics(
            metrics=["total_usage", "request_count", "tokens_total"],
            dimensions=["api_key_id", "model"],
            filters=[{"field": "api_key_id", "operator": "in", "value": [key.hash, "0" * 64]}],
            granularity="hour",
            order_by={"field": "total_usage", "direction": "desc"},
            time_range={"start": NOON - HOUR, "end": NOON + HOUR},
            limit=10,
        ).data
        with pytest.raises(errors.BadRequestResponseError):
            analytics.query_analytics(metrics=["money"])
        with pytest.raises(errors.ForbiddenResponseError):
            sdk_of(key).analytics.query_analytics(metrics=["total_usage"])
    assert {granularity.name for granularity in meta.granularities} == {"minute", "hour", "day", "week", "month"}
    assert {operator.name: operator.value_type for operator in meta.operators}["not_in"] == "array"
    assert {metric.display_format for metric in meta.metrics} == {"currency", "number"}
    assert (answer.metadata.row_count, answer.metadata.truncated, len(answer.warnings)) == (1, False, 1)
    assert len(answer.data) == 1
