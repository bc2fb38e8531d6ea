"""The fake held against an outside oracle: OpenRouter's own SDK reads it over a socket and believes every word."""

from datetime import UTC, datetime, timedelta

import pytest
from openrouter import OpenRouter, errors

from reckon.fakes.answers import WRONG
from reckon.fakes.openrouter import AUTH_KEY, CREDITS, KEY, app
from reckon.fakes.world import Body, CreditsPolicy, Figures, World
from tests.serving import serve

# The SDK warns of a field of its own, `rate_limit`, whenever it reads one.
pytestmark = pytest.mark.filterwarnings(r"ignore:warning. \*\* DEPRECATED \*\*:DeprecationWarning")

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
USD = 1_000_000_000


@pytest.fixture
def world():
    return World(NOW, purchased_nanos=100 * USD)


@pytest.fixture
def url(world):
    with serve(app(world)) as url:
        yield url


@pytest.fixture
def sdk_of(url):
    clients = []

    def sdk_of(key):
        client = OpenRouter(api_key=key.secret, server_url=f"{url}/api/v1", retry_config=None, timeout_ms=10_000)
        clients.append(client.__enter__())
        return client

    yield sdk_of
    for client in clients:
        client.__exit__(None, None, None)


def spend_over_weeks(world, key):
    for days_ago, nanos in [(0, 1_000_000_001), (1, 2_500_000_000), (10, 4_000_000_000), (40, 8_000_000_000)]:
        world.spend(key, nanos, at=NOW - timedelta(days=days_ago))
        world.spend(key, nanos // 7, at=NOW - timedelta(days=days_ago), meter="byok")


def nanos(usd):
    return round(usd * 1e9)


@pytest.mark.parametrize("figures", Figures)
def test_the_sdk_reads_the_truth_about_a_key(world, sdk_of, figures):
    world.figures = figures
    key = world.make_key(
        "laptop",
        limit_nanos=50 * USD,
        limit_reset="monthly",
        include_byok_in_limit=True,
        expires_at=NOW + timedelta(days=41, hours=11),
        creator="user_invented",
    )
    spend_over_weeks(world, key)

    data = sdk_of(key).api_keys.get_current_key_metadata().data

    usage, byok = world.totals(key), world.totals(key, "byok")
    for totals, prefix in ((usage, "usage"), (byok, "byok_usage")):
        assert nanos(getattr(data, prefix)) == totals.lifetime_nanos
        assert nanos(getattr(data, f"{prefix}_daily")) == totals.day_nanos
        assert nanos(getattr(data, f"{prefix}_weekly")) == totals.week_nanos
        assert nanos(getattr(data, f"{prefix}_monthly")) == totals.month_nanos
    assert usage.lifetime_nanos == 15_500_000_001
    month_nanos = usage.month_nanos + byok.month_nanos
    assert (data.label, data.creator_user_id, data.workspace_id) == (key.label, "user_invented", key.workspace)
    assert (data.is_management_key, data.is_free_tier, data.include_byok_in_limit) == (False, False, True)
    assert (nanos(data.limit), data.limit_reset, data.expires_at) == (50 * USD, "monthly", key.expires_at)
    assert nanos(data.limit_remaining) == 50 * USD - month_nanos
    assert data.budgets == [data.effective_budget]
    budget = data.effective_budget
    assert (budget.scope, budget.reset_interval, budget.include_byok) == ("key_limit", "monthly", True)
    assert budget.resets_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert (nanos(budget.limit_usd), nanos(budget.spend_usd)) == (50 * USD, month_nanos)
    assert [request.path for request in world.requests] == [KEY]


def test_the_sdk_reads_a_key_without_limits_and_a_management_key(world, sdk_of):
    plain = sdk_of(world.make_key("plain", creator=None)).api_keys.get_current_key_metadata().data
    manager = sdk_of(world.make_key("manager", is_management_key=True)).api_keys.get_current_key_metadata().data
    assert (plain.limit, plain.limit_remaining, plain.limit_reset, plain.expires_at) == (None, None, None, None)
    assert (plain.budgets, plain.effective_budget, plain.creator_user_id, plain.usage) == ([], None, None, 0)
    assert manager.is_management_key


def test_the_sdk_misses_in_the_older_body_what_the_older_specification_lacks_and_nothing_else(world, sdk_of):
    world.body = Body.SPECIFICATION
    key = world.make_key("laptop", limit_nanos=USD, limit_reset="daily", expires_at=NOW + timedelta(days=1))
    with pytest.raises(errors.ResponseValidationError) as refused:
        sdk_of(key).api_keys.get_current_key_metadata()
    complaints = {(error["type"], error["loc"][-1]) for error in refused.value.cause.errors()}
    assert complaints == {
        ("missing", "allowed_data_regions"),
        ("missing", "budgets"),
        ("missing", "effective_budget"),
        ("missing", "free_model_daily_requests"),
        ("missing", "organization_id"),
        ("missing", "workspace_id"),
    }


def test_the_sdk_reads_the_truth_about_the_account(world, sdk_of):
    manager, key = world.make_key("manager", is_management_key=True), world.make_key("laptop")
    spend_over_weeks(world, key)
    data = sdk_of(manager).credits.get_credits().data
    assert (nanos(data.total_credits), nanos(data.total_usage)) == (100 * USD, 15_500_000_001)
    world.credits_policy = CreditsPolicy.ZEROS
    data = sdk_of(key).credits.get_credits().data
    assert (data.total_credits, data.total_usage) == (0, 0)
    assert [request.path for request in world.requests] == [CREDITS] * 2


def test_the_sdk_knows_our_refusals_by_type(world, sdk_of):
    key = world.make_key("laptop")
    with pytest.raises(errors.ForbiddenResponseError) as forbidden:
        sdk_of(key).credits.get_credits()
    world.delete(key)
    with pytest.raises(errors.UnauthorizedResponseError) as unauthorized:
        sdk_of(key).api_keys.get_current_key_metadata()
    assert forbidden.value.data.error.message == "Only management keys can perform this operation"
    assert forbidden.value.data.error.code == 403
    assert unauthorized.value.data.error.message == "User not found."
    assert unauthorized.value.data.error.code == 401


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("401_user_not_found", errors.UnauthorizedResponseError),
        ("500_json", errors.InternalServerResponseError),
        ("402_needs_credits", errors.OpenRouterDefaultError),
        ("429_wait_seconds", errors.OpenRouterDefaultError),
        ("502_html", errors.OpenRouterDefaultError),
        ("200_html", errors.OpenRouterDefaultError),
        ("200_html_called_json", errors.ResponseValidationError),
        ("null", errors.ResponseValidationError),
        ("usage_object", errors.ResponseValidationError),
        ("cut_short", errors.ResponseValidationError),
    ],
)
def test_the_sdk_is_not_fooled_by_a_wrong_answer(world, sdk_of, name, expected):
    key = world.make_key("laptop")
    world.answer_with(key, WRONG[name], times=1)
    sdk = sdk_of(key)
    with pytest.raises(expected) as refused:
        sdk.api_keys.get_current_key_metadata()
    assert type(refused.value) is expected
    assert refused.value.status_code == WRONG[name].status
    assert sdk.api_keys.get_current_key_metadata().data.usage == 0


def test_the_sdk_does_not_know_the_old_path_and_does_without_it(world, sdk_of):
    key = world.make_key("laptop")
    world.spend(key, 3 * USD)
    world.auth_key_retired = True
    assert sdk_of(key).api_keys.get_current_key_metadata().data.usage == 3
    assert AUTH_KEY not in {request.path for request in world.requests}
