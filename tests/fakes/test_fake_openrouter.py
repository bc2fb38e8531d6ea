"""The fake's HTTP surface: what the documents of OpenRouter's API promise, typed out here a second time by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest

from reckon.fakes.answers import WRONG, Answer, multiplied, refusal
from reckon.fakes.endpoints.body import number
from reckon.fakes.openrouter import AUTH_KEY, CREDITS, KEY
from reckon.fakes.world import EVERYTHING, Body, CreditsPolicy, Figures, World
from tests.fakes.asking import ask, ask_often, data_of, nanos

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
USD = 1_000_000_000

NUMBER = (int, Decimal)
NULL = type(None)
SPECIFIED_FIELDS = {
    "label": (str,),
    "limit": (*NUMBER, NULL),
    "limit_remaining": (*NUMBER, NULL),
    "limit_reset": (str, NULL),
    "include_byok_in_limit": (bool,),
    "usage": NUMBER,
    "usage_daily": NUMBER,
    "usage_weekly": NUMBER,
    "usage_monthly": NUMBER,
    "byok_usage": NUMBER,
    "byok_usage_daily": NUMBER,
    "byok_usage_weekly": NUMBER,
    "byok_usage_monthly": NUMBER,
    "is_free_tier": (bool,),
    "is_management_key": (bool,),
    "is_provisioning_key": (bool,),
    "creator_user_id": (str, NULL),
    "expires_at": (str, NULL),
    "rate_limit": (dict,),
}
SDK_FIELDS = {
    "allowed_data_regions": (list,),
    "budgets": (list,),
    "effective_budget": (dict, NULL),
    "free_model_daily_requests": (dict,),
    "organization_id": (str, NULL),
    "workspace_id": (str, NULL),
}
BUDGET_FIELDS = {
    "scope": (str,),
    "limit_usd": NUMBER,
    "spend_usd": NUMBER,
    "remaining_usd": NUMBER,
    "reset_interval": (str, NULL),
    "resets_at": (str, NULL),
    "include_byok": (bool,),
    "guardrail_id": (str, NULL),
    "budget_id": (str, NULL),
}


def assert_typed(members, expected):
    assert set(members) == set(expected)
    wrong = {name: value for name, value in members.items() if type(value) not in expected[name]}
    assert not wrong


@pytest.fixture
def world():
    return World(NOON, purchased_nanos=100 * USD)


@pytest.fixture
def key(world):
    return world.make_key("laptop")


# --- Right answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [AUTH_KEY, KEY])
@pytest.mark.parametrize("limited", [False, True])
def test_a_key_describes_itself_in_every_field_the_sdk_knows(world, path, limited):
    rest = {"limit_nanos": 50 * USD, "limit_reset": "weekly", "expires_at": NOON + timedelta(days=1)}
    key = world.make_key("limited", **rest if limited else {})

    data = data_of(ask(world, path, key))

    assert_typed(data, SPECIFIED_FIELDS | SDK_FIELDS)
    assert_typed(data["rate_limit"], {"requests": (int,), "interval": (str,), "note": (str,)})
    assert_typed(data["free_model_daily_requests"], {"limit": (int,), "remaining": (int,), "used": (int,)})
    assert len(data["budgets"]) == limited
    for budget in data["budgets"]:
        assert_typed(budget, BUDGET_FIELDS)


def test_a_key_of_the_older_specification_has_only_the_fields_of_that(world, key):
    world.body = Body.SPECIFICATION
    assert_typed(data_of(ask(world, KEY, key)), SPECIFIED_FIELDS)


def test_both_paths_say_the_same(world, key):
    world.spend(key, 1_234_567_891)
    assert ask(world, AUTH_KEY, key).content == ask(world, KEY, key).content


def test_a_key_is_known_by_the_hash_of_its_secret_and_shown_masked(world):
    key = world.make_key("known", secret="sk-or-v1-abcdefgh90123")
    assert key.hash == sha256(b"sk-or-v1-abcdefgh90123").hexdigest()
    assert data_of(ask(world, KEY, key))["label"] == "sk-or-v1-abc...123"


def test_an_invented_secret_looks_like_a_real_one_and_is_shown_nowhere(world, key):
    prefix, digits = key.secret[:9], key.secret[9:]
    assert (prefix, len(digits), set(digits) <= set("0123456789abcdef")) == ("sk-or-v1-", 64, True)
    ask(world, KEY, key)
    assert digits not in repr((world, world.keys, world.requests))
    assert ("authorization", f"Bearer {key.secret}") in world.requests[0].headers


def test_the_counters_are_those_of_the_utc_day_week_and_month(world, key):
    # NOON is a Friday.
    for days_ago, usd in [(0, 1), (1, 2), (4, 4), (5, 8), (19, 16), (20, 32)]:
        world.spend(key, usd * USD, at=NOON - timedelta(days=days_ago))
    world.spend(key, 3, meter="byok")

    data = data_of(ask(world, KEY, key))

    shown = [data[name] for name in ("usage_daily", "usage_weekly", "usage_monthly", "usage")]
    assert shown == [1, 1 + 2 + 4, 1 + 2 + 4 + 8 + 16, 63]
    assert [nanos(data[f"byok_usage{span}"]) for span in ("", "_daily", "_weekly", "_monthly")] == [3] * 4


def test_money_ahead_of_the_clock_shows_once_the_clock_has_reached_it(world, key):
    world.spend(key, 5 * USD, at=NOON + timedelta(minutes=1))
    world.advance(timedelta(seconds=59))
    assert data_of(ask(world, KEY, key))["usage"] == 0
    world.advance(timedelta(seconds=1))
    assert data_of(ask(world, KEY, key))["usage"] == 5


@pytest.mark.parametrize(
    ("reset", "resets_at", "spent_usd"),
    [
        (None, None, 7),
        ("daily", "2026-11-21T00:00:00Z", 1),
        ("weekly", "2026-11-23T00:00:00Z", 3),
        ("monthly", "2026-12-01T00:00:00Z", 7),
    ],
)
def test_a_limit_is_held_against_its_own_window(world, reset, resets_at, spent_usd):
    key = world.make_key("limited", limit_nanos=2 * USD, limit_reset=reset)
    for days_ago, usd in [(0, 1), (1, 2), (10, 4)]:
        world.spend(key, usd * USD, at=NOON - timedelta(days=days_ago))
    world.spend(key, 100 * USD, meter="byok")

    data = data_of(ask(world, KEY, key))

    assert (data["limit"], data["limit_reset"], data["limit_remaining"]) == (2, reset, 2 - spent_usd)
    assert data["effective_budget"] == data["budgets"][0]
    assert data["effective_budget"] == {
        "scope": "key_limit",
        "limit_usd": 2,
        "spend_usd": spent_usd,
        "remaining_usd": 2 - spent_usd,
        "reset_interval": reset,
        "resets_at": resets_at,
        "include_byok": False,
        "guardrail_id": None,
        "budget_id": None,
    }


def test_a_limit_may_count_byok(world):
    key = world.make_key("limited", limit_nanos=10 * USD, include_byok_in_limit=True)
    world.spend(key, USD)
    world.spend(key, 2 * USD, meter="byok")
    assert data_of(ask(world, KEY, key))["limit_remaining"] == 7


def test_the_date_is_the_worlds_own(world, key):
    assert ask(world, KEY, key).headers["date"] == "Fri, 20 Nov 2026 12:00:00 GMT"


def test_the_worlds_clock_does_not_run_backwards(world):
    with pytest.raises(ValueError, match="already at"):
        world.move_to(NOON - timedelta(seconds=1))
    assert world.now == NOON


# --- Credits -------------------------------------------------------------------------------------------------------


def test_credits_are_the_accounts_and_include_what_deleted_keys_spent(world, key):
    manager = world.make_key("manager", is_management_key=True)
    other = world.make_key("other")
    world.spend(key, USD)
    world.spend(other, 2 * USD)
    world.spend(other, 4 * USD, meter="byok")
    world.delete(other)
    world.reset(key)
    world.purchase(25 * USD)
    assert data_of(ask(world, CREDITS, manager)) == {"total_credits": 125, "total_usage": 3}


@pytest.mark.parametrize(
    ("policy", "seen"),
    [
        (CreditsPolicy.ZEROS, {"total_credits": 0, "total_usage": 0}),
        (CreditsPolicy.NUMBERS, {"total_credits": 100, "total_usage": 1}),
    ],
)
def test_an_inference_key_may_be_told_zeros_or_the_truth(world, key, policy, seen):
    world.spend(key, USD)
    world.credits_policy = policy
    assert data_of(ask(world, CREDITS, key)) == seen


def test_an_inference_key_is_refused_the_credits_as_the_documents_say(world, key):
    assert_refused(ask(world, CREDITS, key), 403, "Only management keys can perform this operation")


def test_a_management_key_runs_no_inference(world):
    manager = world.make_key("manager", is_management_key=True)
    with pytest.raises(ValueError, match="no inference"):
        world.spend(manager, 1)
    assert data_of(ask(world, KEY, manager))["is_management_key"] is True


# --- Refusals ------------------------------------------------------------------------------------------------------


def assert_refused(response, status, message):
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"error": {"code": status, "message": message}}


@pytest.mark.parametrize("path", [AUTH_KEY, KEY, CREDITS])
@pytest.mark.parametrize("headers", [{}, {"authorization": "Basic c2s6"}])
def test_a_request_without_a_bearer_is_told_that_the_header_is_missing(world, path, headers):
    assert_refused(ask(world, path, headers=headers), 401, "Missing Authentication header")


def test_a_key_nobody_made_is_refused(world):
    response = ask(world, KEY, headers={"authorization": "Bearer sk-or-v1-never-made"})
    assert_refused(response, 401, "User not found.")


def test_a_deleted_or_expired_key_is_refused_and_a_disabled_one_until_it_is_enabled(world):
    mortal = world.make_key("mortal", expires_at=NOON + timedelta(hours=1))
    deleted, disabled = world.make_key("deleted"), world.make_key("disabled")
    world.spend(disabled, USD)
    world.delete(deleted)
    world.disable(disabled)
    assert data_of(ask(world, KEY, mortal))["expires_at"] == "2026-11-20T13:00:00Z"
    world.advance(timedelta(hours=1))
    for key in (mortal, deleted, disabled):
        assert_refused(ask(world, KEY, key), 401, "User not found.")
    world.enable(disabled)
    assert data_of(ask(world, KEY, disabled))["usage"] == 1


def test_a_rotated_key_begins_at_nothing_and_the_old_one_is_refused(world, key):
    world.spend(key, USD)
    successor = world.rotate(key)
    assert successor.name == key.name
    assert successor.hash != key.hash
    assert data_of(ask(world, KEY, successor))["usage"] == 0
    assert_refused(ask(world, KEY, key), 401, "User not found.")
    assert world.account_spent_nanos() == USD


def test_the_same_secret_is_not_admitted_twice(world, key):
    with pytest.raises(ValueError, match="already") as refused:
        world.make_key("again", secret=key.secret)
    assert key.secret not in str(refused.value)
    assert world.keys == (key,)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/generations"),
        ("GET", "/api/v1/generation/content"),
        ("POST", "/api/v1/keys"),
        ("GET", "/api/v1/keys/"),
        ("GET", "/"),
        ("GET", KEY + "/"),
        ("POST", KEY),
        ("DELETE", CREDITS),
    ],
)
def test_everything_else_is_not_found(world, key, method, path):
    assert_refused(ask(world, path, key, method=method), 404, "Resource not found")


def test_the_old_path_can_be_retired(world, key):
    world.auth_key_retired = True
    assert_refused(ask(world, AUTH_KEY, key), 404, "Resource not found")
    assert data_of(ask(world, KEY, key))["usage"] == 0


# --- Numbers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "shortest", "exact"),
    [
        (0, "0", "0.000000000"),
        (1, "1e-09", "0.000000001"),
        (25_500_000_000, "25.5", "25.500000000"),
        (300_000_000, "0.3", "0.300000000"),
        (100 * USD, "100", "100.000000000"),
        (1_234_567_123_456_789, "1234567.123456789", "1234567.123456789"),
    ],
)
def test_an_amount_is_written_shortly_noisily_or_exactly(amount, shortest, exact):
    assert number(amount) == shortest
    assert number(amount, Figures.EXACT) == exact
    for towards in (0.0, float("inf")):
        noisy = number(amount, Figures.NOISY, towards)
        assert nanos(noisy) == amount
        assert noisy != shortest or amount == 0


def test_noise_lies_above_the_truth_and_below_it_by_turns(world, key):
    world.spend(key, 300_000_000)
    world.figures = Figures.NOISY
    seen = [data_of(response)["usage"] for response in ask_often(world, KEY, key, times=4)]
    above, below = Decimal("0.30000000000000004"), Decimal("0.29999999999999993")
    assert seen == [above, below, above, below]


def test_an_amount_no_double_can_hold_is_refused_and_not_rounded():
    with pytest.raises(OverflowError):
        number(20_000_000 * USD + 1)


# --- Counters that misbehave ---------------------------------------------------------------------------------------


def usage(world, key):
    return data_of(ask(world, KEY, key))["usage"]


def test_a_refund_lowers_every_counter_for_good_but_none_below_zero(world, key):
    world.spend(key, 5 * USD, at=NOON - timedelta(days=1))
    world.spend(key, 2 * USD)
    world.refund(key, 3 * USD)
    data = data_of(ask(world, KEY, key))
    assert [data[name] for name in ("usage", "usage_weekly", "usage_daily")] == [4, 4, 0]
    world.advance(timedelta(days=1))
    world.spend(key, USD)
    assert usage(world, key) == 5
    assert world.spent(key) == 5 * USD


def test_no_more_is_refunded_than_was_spent(world, key):
    world.spend(key, USD)
    with pytest.raises(ValueError, match="no more"):
        world.refund(key, USD + 1)
    assert usage(world, key) == 1


def test_a_stale_replica_tells_the_past_for_as_many_answers_as_it_was_told(world, key):
    world.spend(key, USD, at=NOON - timedelta(minutes=2))
    world.spend(key, 2 * USD)
    world.lag(key, timedelta(minutes=1), times=2)
    assert [usage(world, key) for _ in range(3)] == [1, 1, 3]
    world.lag(key, timedelta(minutes=1))
    assert [usage(world, key) for _ in range(3)] == [1, 1, 1]
    world.catch_up(key)
    assert usage(world, key) == 3
    assert world.spent(key) == 3 * USD


def test_two_replicas_take_turns(world, key):
    world.spend(key, USD, at=NOON - timedelta(minutes=2))
    world.spend(key, 2 * USD)
    world.flap(key, timedelta(minutes=1), times=4)
    assert [usage(world, key) for _ in range(6)] == [1, 3, 1, 3, 3, 3]


def test_counters_reset_to_zero_grow_from_there_while_the_truth_stays(world, key):
    world.spend(key, 5 * USD)
    world.spend(key, USD, meter="byok")
    world.spend(key, 3 * USD, at=NOON + timedelta(minutes=1))
    world.reset(key)
    data = data_of(ask(world, KEY, key))
    assert {data[name] for name in data if "usage" in name} == {0}
    world.advance(timedelta(minutes=1))
    data = data_of(ask(world, KEY, key))
    assert [data[name] for name in ("usage", "usage_daily", "usage_monthly", "byok_usage")] == [3, 3, 3, 0]
    assert world.spent(key) == 8 * USD


def test_a_late_day_counter_goes_on_counting_yesterday_and_only_the_day(world, key):
    midnight = datetime(2026, 12, 1, tzinfo=UTC)
    world.roll_over_late(key, timedelta(seconds=90))
    world.spend(key, 5 * USD, at=midnight - timedelta(hours=1))
    world.spend(key, USD, at=midnight + timedelta(seconds=30))
    seen = []
    for seconds in (-1, 0, 89, 90):
        world.move_to(midnight + timedelta(seconds=seconds))
        data = data_of(ask(world, KEY, key))
        seen.append((data["usage_daily"], data["usage_monthly"], data["usage"]))
    assert seen == [(5, 5, 5), (5, 0, 5), (6, 1, 6), (1, 1, 6)]


# --- Orders --------------------------------------------------------------------------------------------------------


def test_an_order_for_a_key_leaves_the_other_keys_right(world, key):
    other = world.make_key("other")
    world.answer_with(key, WRONG["500_json"])
    assert [ask(world, path, key).status_code for path in (KEY, AUTH_KEY, CREDITS)] == [500] * 3
    assert usage(world, other) == 0
    world.answer_rightly(key)
    assert usage(world, key) == 0


def test_an_order_for_a_path_leaves_the_other_paths_right(world, key):
    world.answer_with(AUTH_KEY, WRONG["502_html"])
    assert ask(world, AUTH_KEY, key).status_code == 502
    assert ask(world, AUTH_KEY).status_code == 502
    assert usage(world, key) == 0


def test_orders_are_carried_out_one_after_the_other_and_run_out(world, key):
    world.answer_with(key, refusal(500, "Internal Server Error"), times=2)
    world.answer_with(key, refusal(503, "Service temporarily unavailable"), times=1)
    assert [ask(world, KEY, key).status_code for _ in range(4)] == [500, 500, 503, 200]


def test_a_key_goes_before_a_path_and_a_path_before_everything(world, key):
    other = world.make_key("other")
    world.answer_with(EVERYTHING, refusal(500, "everything"))
    world.answer_with(KEY, refusal(502, "path"))
    world.answer_with(key, refusal(503, "key"))
    assert ask(world, KEY, key).status_code == 503
    assert ask(world, KEY, other).status_code == 502
    assert ask(world, CREDITS, other).status_code == 500
    world.answer_rightly()
    assert usage(world, key) == 0


def test_the_counters_of_another_key_can_be_swapped_in(world, key):
    other = world.make_key("other")
    world.spend(key, USD)
    world.spend(other, 2 * USD)
    world.answer_with(key, other, times=1)
    world.answer_with(other, key, times=1)
    assert [data_of(ask(world, KEY, one))["label"] for one in (key, other)] == [other.label, key.label]
    assert [usage(world, one) for one in (key, other)] == [1, 2]


def test_the_unit_can_change(world, key):
    manager = world.make_key("manager", is_management_key=True)
    world.spend(key, 1_230_000_000)
    world.spend(key, 1, meter="byok")
    world.answer_with(EVERYTHING, multiplied(100))
    data = data_of(ask(world, KEY, key))
    assert [data["usage"], data["usage_daily"], nanos(data["byok_usage"])] == [123, 123, 100]
    assert data_of(ask(world, CREDITS, manager)) == {"total_credits": 100, "total_usage": 123}


def test_an_order_for_nowhere_is_refused(world, key):
    with pytest.raises(ValueError, match="no path"):
        world.answer_with("api/v1/key", WRONG["500_json"])
    assert usage(world, key) == 0


def test_only_a_right_answer_is_edited(world, key):
    world.answer_with(EVERYTHING, multiplied(100))
    world.delete(key)
    assert_refused(ask(world, KEY, key), 401, "User not found.")


def test_an_edit_that_finds_nothing_to_edit_says_so(world):
    manager = world.make_key("manager", is_management_key=True)
    world.answer_with(CREDITS, WRONG["invalid_utf8"])
    with pytest.raises(LookupError, match="label"):
        ask(world, CREDITS, manager)


def test_an_answer_of_ones_own_is_sent_as_it_stands(world, key):
    world.answer_with(key, Answer(b"\x00\xff", 418, {"content-type": "text/tea", "x-pot": "short"}))
    response = ask(world, KEY, key)
    assert (response.status_code, response.content, response.headers["x-pot"]) == (418, b"\x00\xff", "short")


# --- Requests ------------------------------------------------------------------------------------------------------


def test_every_request_is_recorded_as_it_came(world, key):
    ask(world, "/api/v1/key?a=1&b=2", key, headers={"x-one": "1"})
    ask(world, "/elsewhere", method="POST", content=b"body")
    first, second = world.requests
    assert (first.method, first.path, first.query, first.body) == ("GET", KEY, "a=1&b=2", b"")
    assert ("x-one", "1") in first.headers
    assert (second.method, second.path, second.query, second.body) == ("POST", "/elsewhere", "", b"body")


def test_recording_can_be_switched_off(world, key):
    world.recording = False
    assert usage(world, key) == 0
    assert world.requests == []
