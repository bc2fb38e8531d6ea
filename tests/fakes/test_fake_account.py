"""What one management key sees: the keys of all workspaces, page by page, and the workspaces."""

from datetime import UTC, datetime, timedelta
from time import perf_counter

import pytest
from openrouter import errors
from openrouter.operations.list import ListData

from reckon.fakes.openrouter import KEYS, WORKSPACES
from reckon.fakes.world import DEFAULT_WORKSPACE, Body, World
from tests.fakes.asking import ask, data_of, nanos
from tests.fakes.reading import sdks

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)
USD = 1_000_000_000


@pytest.fixture
def world():
    return World(NOON, purchased_nanos=100 * USD)


@pytest.fixture
def manager(world):
    return world.make_key("manager", is_management_key=True)


@pytest.fixture
def sdk_of(world):
    with sdks(world) as sdk_of:
        yield sdk_of


def listed(world, manager, query=""):
    return data_of(ask(world, KEYS + query, manager))


def names(rows):
    return [row["name"] for row in rows]


def assert_refused(response, status, message):
    assert response.status_code == status
    assert response.json() == {"error": {"code": status, "message": message}}


# --- Who may ask ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [KEYS, KEYS + "/0", WORKSPACES, WORKSPACES + "/default"])
def test_only_a_management_key_may_look_at_the_account(world, path):
    key = world.make_key("laptop")
    assert_refused(ask(world, path, key), 403, "Only management keys can perform this operation")
    assert_refused(ask(world, path), 401, "Missing Authentication header")


# --- Keys ----------------------------------------------------------------------------------------------------------


def test_a_key_is_told_as_it_tells_of_itself_and_by_hash_and_name(world, manager):
    key = world.make_key("laptop", limit_nanos=50 * USD, limit_reset="daily", expires_at=NOON + DAY)
    for days_ago, usd in [(0, 1), (1, 2), (10, 4)]:
        world.spend(key, usd * USD, at=NOON - days_ago * DAY)
    world.spend(key, 3, meter="byok")

    [row] = listed(world, manager)

    itself = data_of(ask(world, key=key))
    assert {name: row[name] for name in row if name in itself} == {name: itself[name] for name in itself if name in row}
    assert (row["hash"], row["name"], row["label"]) == (key.hash, "laptop", key.label)
    assert (row["usage_daily"], row["usage_weekly"], row["usage"], nanos(row["byok_usage"])) == (1, 3, 7, 3)
    assert (row["limit"], row["limit_remaining"], row["expires_at"]) == (50, 49, "2026-11-21T12:00:00Z")
    assert (row["created_at"], row["updated_at"], row["disabled"]) == ("2026-11-20T12:00:00Z", None, False)
    assert set(row) == set(ListData.model_fields)
    assert data_of(ask(world, f"{KEYS}/{key.hash}", manager)) == row


def test_the_older_rows_lack_what_the_older_specification_lacks(world, manager):
    world.body = Body.SPECIFICATION
    world.make_key("laptop")
    assert set(ListData.model_fields) - set(listed(world, manager)[0]) == {"external_user", "last_used_at"}


def test_a_key_tells_when_it_was_last_used(world, manager):
    key = world.make_key("laptop", created_at=NOON - DAY)
    assert listed(world, manager)[0]["last_used_at"] is None
    world.spend(key, USD, at=NOON - MINUTE)
    world.spend(key, USD, at=NOON - 2 * MINUTE, meter="byok")
    world.spend(key, USD, at=NOON + MINUTE)
    world.refund(key, 1)
    assert listed(world, manager)[0]["last_used_at"] == "2026-11-20T11:59:00Z"


def test_keys_come_a_hundred_to_a_page_and_the_newest_first(world, manager):
    for n in range(230):
        world.make_key(f"key-{n}", created_at=NOON - n * MINUTE)
    pages = [names(listed(world, manager, f"?offset={offset}")) for offset in (0, 100, 200, 300)]
    assert [len(page) for page in pages] == [100, 100, 30, 0]
    assert [name for page in pages for name in page] == [f"key-{n}" for n in range(230)]


def test_of_two_keys_of_one_instant_the_later_made_is_the_newer(world, manager):
    world.make_key("first")
    world.make_key("second")
    assert names(listed(world, manager)) == ["second", "first"]


def test_a_key_made_while_pages_are_read_shifts_them(world, manager):
    for n in range(150):
        world.make_key(f"key-{n}", created_at=NOON - n * MINUTE)
    first = names(listed(world, manager))
    world.advance(MINUTE)
    world.make_key("newcomer")
    second = names(listed(world, manager, "?offset=100"))
    assert second[0] == first[-1]
    assert "newcomer" not in first + second


def test_a_deleted_key_leaves_and_its_row_is_not_found(world, manager):
    key = world.make_key("laptop")
    world.spend(key, USD)
    world.delete(key)
    assert listed(world, manager, "?include_disabled=true&include_expired=true") == []
    assert_refused(ask(world, f"{KEYS}/{key.hash}", manager), 404, "Resource not found")
    assert world.account_spent_nanos() == USD


def test_no_management_key_is_listed(world, manager):
    assert listed(world, manager, "?include_disabled=true&include_expired=true") == []
    assert_refused(ask(world, f"{KEYS}/{manager.hash}", manager), 404, "Resource not found")


def test_disabled_and_expired_keys_are_told_only_to_those_who_ask_for_them(world, manager):
    world.make_key("working")
    world.make_key("expired", expires_at=NOON)
    disabled = world.make_key("disabled")
    world.disable(disabled)
    assert names(listed(world, manager)) == ["working"]
    assert names(listed(world, manager, "?include_disabled=true")) == ["disabled", "working"]
    assert names(listed(world, manager, "?include_expired=true")) == ["expired", "working"]
    assert data_of(ask(world, f"{KEYS}/{disabled.hash}", manager))["disabled"] is True
    world.advance(MINUTE)
    world.enable(disabled)
    row = data_of(ask(world, f"{KEYS}/{disabled.hash}", manager))
    assert (row["disabled"], row["updated_at"]) == (False, "2026-11-20T12:01:00Z")


def test_keys_of_another_workspace_are_told_only_to_those_who_name_it(world, manager):
    lab = world.make_workspace("Lab")
    world.make_key("plain")
    world.make_key("other", workspace=lab.id)
    assert names(listed(world, manager)) == ["plain"]
    assert names(listed(world, manager, f"?workspace_id={DEFAULT_WORKSPACE}")) == ["plain"]
    assert names(listed(world, manager, f"?workspace_id={lab.id}")) == ["other"]


def test_a_key_keeps_its_counters_when_it_is_moved_or_renamed(world, manager):
    lab, key = world.make_workspace("Lab"), world.make_key("laptop")
    world.spend(key, USD)
    world.advance(MINUTE)
    renamed = world.rename(key, "desk")
    moved = world.move_key(key, lab.id)
    assert (renamed.name, moved.name, moved.workspace, moved.hash) == ("desk", "desk", lab.id, key.hash)
    assert listed(world, manager) == []
    [row] = listed(world, manager, f"?workspace_id={lab.id}")
    assert (row["name"], row["usage"], row["workspace_id"]) == ("desk", 1, lab.id)
    assert (row["created_at"], row["updated_at"]) == ("2026-11-20T12:00:00Z", "2026-11-20T12:01:00Z")
    assert world.rotate(key).name == "desk"


def test_a_replica_lags_for_one_key_in_the_list_as_it_does_for_the_key_itself(world, manager):
    stale, fresh = world.make_key("stale"), world.make_key("fresh")
    for key in (stale, fresh):
        world.spend(key, USD, at=NOON - 2 * MINUTE)
        world.spend(key, USD)
    world.lag(stale, MINUTE, times=1)
    assert [{row["name"]: row["usage"] for row in listed(world, manager)} for _ in range(2)] == [
        {"stale": 1, "fresh": 2},
        {"stale": 2, "fresh": 2},
    ]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ("?offset=-1", 400, "Invalid request parameters"),
        ("?offset=ten", 400, "Invalid request parameters"),
        ("?include_disabled=maybe", 400, "Invalid request parameters"),
        ("?workspace_id=default", 400, "Invalid request parameters"),
        ("?workspace_id=550e8400-e29b-41d4-a716-446655440000", 404, "Resource not found"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused(world, manager, query, status, message):
    assert_refused(ask(world, KEYS + query, manager), status, message)


def test_a_page_of_ten_thousand_keys_takes_milliseconds(world, manager):
    for n in range(10_000):
        world.make_key(f"key-{n}", created_at=NOON - n * MINUTE, limit_nanos=USD)
    fastest = min(_seconds(lambda: listed(world, manager, "?offset=5000")) for _ in range(5))
    assert fastest < 0.1, "generously above the few it takes, for a machine that has other work"


def _seconds(work):
    began = perf_counter()
    work()
    return perf_counter() - began


# --- Workspaces ----------------------------------------------------------------------------------------------------


def test_workspaces_come_in_pages_with_a_total(world, manager):
    made = [world.make_workspace(f"Team {n}") for n in range(120)]

    def page(query=""):
        answer = ask(world, WORKSPACES + query, manager).json()
        return [row["name"] for row in answer["data"]], answer["total_count"]

    every = ["Default", *(workspace.name for workspace in made)]
    assert page() == (every[:50], 121)
    assert page("?offset=50&limit=100") == (every[50:], 121)
    for query in ("?limit=0", "?limit=101", "?offset=-1"):
        assert_refused(ask(world, WORKSPACES + query, manager), 400, "Invalid request parameters")


def test_a_workspace_is_found_by_id_and_by_slug(world, manager):
    lab = world.make_workspace("The Lab & Co")
    by_id, by_slug = (data_of(ask(world, f"{WORKSPACES}/{name}", manager)) for name in (lab.id, "the-lab-co"))
    assert by_id == by_slug
    assert (by_id["id"], by_id["name"]) == (lab.id, "The Lab & Co")
    assert_refused(ask(world, f"{WORKSPACES}/nowhere", manager), 404, "Resource not found")


# --- The official SDK ----------------------------------------------------------------------------------------------


def test_the_sdk_reads_every_key_of_every_workspace(world, manager, sdk_of):
    lab = world.make_workspace("Lab")
    plain = world.make_key("plain", limit_nanos=5 * USD, limit_reset="weekly", expires_at=NOON + DAY)
    disabled = world.make_key("disabled", workspace=lab.id, creator=None)
    world.make_key("expired", workspace=lab.id, expires_at=NOON - DAY)
    world.spend(plain, 1_000_000_001)
    world.spend(disabled, 2, meter="byok")
    world.disable(disabled)
    keys = sdk_of(manager).api_keys
    [row] = keys.list().data
    others = keys.list(workspace_id=lab.id, include_disabled=True, include_expired=True, offset=0).data
    assert (row.hash, nanos(row.usage), row.last_used_at, row.expires_at) == (
        plain.hash,
        1_000_000_001,
        NOON,
        NOON + DAY,
    )
    assert [(other.name, other.disabled) for other in others] == [("expired", False), ("disabled", True)]
    assert keys.get(hash=disabled.hash).data.byok_usage == 2e-9
    with pytest.raises(errors.NotFoundResponseError):
        keys.get(hash="0" * 64)
    with pytest.raises(errors.BadRequestResponseError):
        keys.list(offset=-1)


def test_the_sdk_reads_every_workspace(world, manager, sdk_of):
    made = [world.make_workspace(f"Team {n}") for n in range(60)]
    workspaces = sdk_of(manager).workspaces
    page = workspaces.list()
    seen = []
    while page is not None:
        seen += [workspace.id for workspace in page.result.data]
        page = page.next()
    assert seen == [DEFAULT_WORKSPACE, *(workspace.id for workspace in made)]
    assert workspaces.get(id="team-7").data.id == made[7].id
