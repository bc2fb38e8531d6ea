"""Sweeping an account whose other side is a list of rows per workspace, and a clock that each page moves."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from pydantic import SecretStr

from reckon.core.records import Failure, FailureReason, Reading, Snapshot
from reckon.core.sweeps import Sweep, SweptKey, Workspace, WorkspaceSweep
from reckon.sources.openrouter import OpenRouterClient, sweep
from tests.canary import CANARIES
from tests.sources.asking import BASE_URL, COUNTERS, NOW, Clock, hash_of, json_answer, key_of

MANAGEMENT_KEY = CANARIES["management_key"]
MINE, OURS, SIDE = (Workspace(f"{n}0df9e665-d932-5740-b2c7-b52af166bc1", f"workspace {n}") for n in range(3))
SECOND = timedelta(seconds=1)


def row(number, **changes):
    told = dict.fromkeys(COUNTERS, 0) | {"usage": number, "hash": hash_of(str(number)), "name": f"key {number}"}
    return {name: value for name, value in (told | changes).items() if value is not ...}


def rows(count, start=0):
    return [row(number) for number in range(start, start + count)]


class Account(httpx.AsyncBaseTransport):
    """Serves pages of a hundred rows of each workspace, a second apart; *trouble* may answer in its stead."""

    def __init__(self, keys, trouble=lambda *_: None, workspaces=None):
        self.keys = {workspace.id: listed for workspace, listed in keys.items()}
        self.workspaces = [{"id": each.id, "name": each.name} for each in (keys if workspaces is None else workspaces)]
        self.trouble = trouble
        self.clock = Clock()
        self.asked = []
        self.under_way = self.most_under_way = 0

    async def handle_async_request(self, request):
        assert key_of(request) == MANAGEMENT_KEY
        path, params = request.url.path.removeprefix("/api/v1"), dict(request.url.params)
        self.asked.append((path, params))
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.clock.now += SECOND
        return self.trouble(path, params) or json_answer(self.page(path, params))

    def page(self, path, params):
        listed = self.workspaces if path == "/workspaces" else self.keys[params["workspace_id"]]
        offset = int(params["offset"])
        return {"data": listed[offset : offset + 100]}

    @property
    def offsets(self):
        """For each workspace in the order of asking, the offsets that were asked for."""
        found = {}
        for path, params in self.asked:
            if path == "/keys":
                found.setdefault(params["workspace_id"], []).append(int(params["offset"]))
        return found


def swept(account, workspaces=None, concurrency=1):
    client = OpenRouterClient(BASE_URL, timeout_seconds=5, clock=account.clock, transport=account)
    return asyncio.run(sweep(client, SecretStr(MANAGEMENT_KEY), account.clock, concurrency, workspaces))


def failure(reason, detail, retry_after_seconds=None):
    return Failure(hash_of(MANAGEMENT_KEY), reason, detail, retry_after_seconds)


# --- All of it -----------------------------------------------------------------------------------------------------


def test_every_key_of_every_workspace_is_seen_with_as_many_pages_as_it_takes():
    account = Account({MINE: rows(230), OURS: rows(100, 1000), SIDE: []})
    seen = swept(account)
    assert [key.snapshot.credits.total_nanos for key in seen.keys] == [
        *(n * 10**9 for n in range(230)),
        *(n * 10**9 for n in range(1000, 1100)),
    ]
    assert (seen.failures, seen.trouble) == ((), None)
    assert account.offsets == {MINE.id: [0, 100, 200], OURS.id: [0, 100], SIDE.id: [0]}
    assert [(each.workspace, each.keys_seen, each.trouble) for each in seen.workspaces] == [
        (MINE, 230, None),
        (OURS, 100, None),
        (SIDE, 0, None),
    ]


def test_the_disabled_and_the_expired_are_asked_for_too():
    account = Account({MINE: rows(1)})
    swept(account)
    assert account.asked == [
        ("/workspaces", {"offset": "0", "limit": "100"}),
        (
            "/keys",
            {"workspace_id": MINE.id, "include_disabled": "true", "include_expired": "true", "offset": "0"},
        ),
    ]


def test_who_knows_the_workspaces_does_not_ask_for_them():
    account = Account({MINE: rows(1), OURS: rows(1, 1)}, workspaces=[])
    seen = swept(account, [OURS])
    assert [key.name for key in seen.keys] == ["key 1"]
    assert [path for path, _ in account.asked] == ["/keys"]


def test_many_workspaces_come_in_pages_too():
    many = [Workspace(f"workspace-{n}", None) for n in range(130)]
    seen = swept(Account({workspace: [] for workspace in many}))
    assert [each.workspace for each in seen.workspaces] == many


@pytest.mark.parametrize("concurrency", [1, 2, 16])
def test_workspaces_are_read_at_once_as_agreed_and_the_pages_of_each_in_turn(concurrency):
    account = Account({workspace: rows(250, 1000 * n) for n, workspace in enumerate((MINE, OURS, SIDE))})
    seen = swept(account, concurrency=concurrency)
    assert len(seen.keys) == 750
    assert account.most_under_way == min(concurrency, 3)
    assert set(map(tuple, account.offsets.values())) == {(0, 100, 200)}
    assert [each.workspace for each in seen.workspaces] == [MINE, OURS, SIDE]


def test_a_snapshot_is_of_its_page_and_a_workspace_began_before_its_first():
    account = Account({MINE: rows(101), OURS: rows(1, 1000)})
    account.clock.now = NOW + timedelta(milliseconds=400)
    seen = swept(account, [MINE, OURS])
    assert seen.complete == {MINE.id: NOW, OURS.id: NOW + 2 * SECOND}
    assert [key.snapshot.at - NOW for key in (seen.keys[0], seen.keys[100], seen.keys[101])] == [
        2 * SECOND,
        3 * SECOND,
        4 * SECOND,
    ]


# --- One key -------------------------------------------------------------------------------------------------------


def only(**changes):
    seen = swept(Account({MINE: [row(7, **changes), row(8)]}))
    assert seen.trouble is None
    assert [key.name for key in seen.keys][-1] == "key 8"
    return seen.keys[0] if len(seen.keys) == 2 else seen.failures[0]


def test_a_row_is_a_snapshot_and_everything_else_the_account_says_of_the_key():
    told = {
        "usage": 25.5,
        "usage_daily": 5.5,
        "usage_weekly": 15.5,
        "usage_monthly": 20.5,
        "byok_usage": 17.38,
        "byok_usage_daily": 7.38,
        "byok_usage_weekly": 8.38,
        "byok_usage_monthly": 9.38,
        "label": "sk-or-v1-abc...123",
        "name": "My Production Key",
        "disabled": True,
        "limit": 100,
        "limit_remaining": -0.5,
        "limit_reset": "monthly",
        "include_byok_in_limit": False,
        "created_at": "2025-08-24T10:30:00Z",
        "updated_at": "2025-08-24T15:45:00.999+00:00",
        "creator_user_id": "user_2dHFtVWx2n56w6HkM0000000000",
        "workspace_id": OURS.id,
        "expires_at": "2027-12-31T23:59:59Z",
        "last_used_at": "2026-10-26T18:02:11Z",
    }
    key = only(**told)
    assert key.snapshot == Snapshot(
        key_hash=hash_of("7"),
        at=NOW + 2 * SECOND,
        credits=Reading(25_500_000_000, 5_500_000_000, 15_500_000_000, 20_500_000_000),
        byok=Reading(17_380_000_000, 7_380_000_000, 8_380_000_000, 9_380_000_000),
        label="sk-or-v1-abc...123",
        created_at=key.created_at,
        workspace=OURS.id,
    )
    assert (key.hash, key.name, key.label, key.workspace_id) == (
        hash_of("7"),
        "My Production Key",
        "sk-or-v1-abc...123",
        OURS.id,
    )
    assert (key.limit_nanos, key.limit_remaining_nanos, key.limit_reset) == (100 * 10**9, -500_000_000, "monthly")
    assert (key.disabled, key.include_byok_in_limit) == (True, False)
    assert key.creator == "user_2dHFtVWx2n56w6HkM0000000000"
    assert [at.isoformat() for at in (key.created_at, key.updated_at, key.expires_at, key.last_used_at)] == [
        "2025-08-24T10:30:00+00:00",
        "2025-08-24T15:45:00+00:00",
        "2027-12-31T23:59:59+00:00",
        "2026-10-26T18:02:11+00:00",
    ]


def test_a_row_without_anything_but_counters_lies_where_it_was_found():
    key = only(name=...)
    assert key == SweptKey(hash=hash_of("7"), snapshot=key.snapshot, workspace_id=MINE.id)
    assert key.snapshot.workspace == MINE.id


@pytest.mark.parametrize(
    ("member", "field"),
    [
        ("name", "name"),
        ("label", "label"),
        ("disabled", "disabled"),
        ("limit", "limit_nanos"),
        ("limit_remaining", "limit_remaining_nanos"),
        ("limit_reset", "limit_reset"),
        ("include_byok_in_limit", "include_byok_in_limit"),
        ("created_at", "created_at"),
        ("updated_at", "updated_at"),
        ("creator_user_id", "creator"),
        ("expires_at", "expires_at"),
        ("last_used_at", "last_used_at"),
    ],
)
@pytest.mark.parametrize("told", [None, ..., {}, [1], 1e300])
def test_what_is_only_shown_may_be_unreadable_and_the_key_still_counts(member, field, told):
    key = only(**{member: told})
    assert getattr(key, field) is None
    assert key.snapshot.credits.total_nanos == 7 * 10**9


@pytest.mark.parametrize("told", [f"backup of {CANARIES['inference_key']}", CANARIES["management_key"]])
def test_a_name_that_holds_a_whole_key_is_not_repeated(told):
    key = only(name=told, label=told)
    assert (key.name, key.label, key.snapshot.label) == (None, None, None)


@pytest.mark.parametrize("counter", COUNTERS)
@pytest.mark.parametrize(
    ("told", "reason", "why"),
    [
        (-1, FailureReason.IMPLAUSIBLE, "negative money"),
        (1e300, FailureReason.IMPLAUSIBLE, "more than $1,000,000,000"),
        (None, FailureReason.UNEXPECTED_ANSWER, "not a number"),
        ("1", FailureReason.UNEXPECTED_ANSWER, "not a number"),
        (..., FailureReason.UNEXPECTED_ANSWER, "missing"),
    ],
)
def test_a_row_whose_counters_cannot_be_believed_is_that_keys_failure_and_nobody_elses(counter, told, reason, why):
    assert only(**{counter: told}) == Failure(hash_of("7"), reason, f"{counter}: {why}")


@pytest.mark.parametrize(
    "told", [..., None, 5, "", "f01d", hash_of("7").upper(), hash_of("7") + "0", f"\n{hash_of('7')}"]
)
def test_a_row_that_cannot_be_named_makes_its_workspace_incomplete_and_costs_no_other_row(told):
    account = Account({MINE: [row(6), row(7, hash=told), *rows(100, 8)], OURS: rows(1, 1000)})
    seen = swept(account)
    expected = failure(FailureReason.UNEXPECTED_ANSWER, "data: 1 without a hash")
    assert len(seen.keys) == 102
    assert seen.trouble == expected
    assert [(each.keys_seen, each.trouble) for each in seen.workspaces] == [(101, expected), (1, None)]
    assert set(seen.complete) == {OURS.id}
    assert account.offsets == {MINE.id: [0, 100], OURS.id: [0]}


@pytest.mark.parametrize("told", [None, 5, "key", []])
def test_so_does_a_row_that_is_no_object(told):
    seen = swept(Account({MINE: [told, row(1)]}))
    assert (len(seen.keys), dict(seen.complete)) == (1, {})


# --- Pages that move -----------------------------------------------------------------------------------------------


def test_a_key_seen_twice_because_pages_shifted_is_one_key_and_the_later_answer_holds():
    def make_a_key(_, params):
        if params["offset"] == "100":
            account.keys[MINE.id] = [row(999), *(row(n, usage_daily=1) for n in range(130))]

    account = Account({MINE: rows(130)}, make_a_key)
    seen = swept(account)
    assert len(seen.keys) == 130  # the new one slipped in before the pages that were still to come
    assert seen.workspaces[0].keys_seen == 130
    (twice,) = [key for key in seen.keys if key.name == "key 99"]
    assert twice.snapshot.credits.daily_nanos == 10**9
    assert seen.trouble is None


def test_a_key_that_moved_between_workspaces_meanwhile_is_one_key():
    seen = swept(Account({MINE: [row(1, workspace_id=MINE.id)], OURS: [row(1, workspace_id=OURS.id)]}))
    assert [key.workspace_id for key in seen.keys] == [OURS.id]
    assert [each.keys_seen for each in seen.workspaces] == [1, 1]


@pytest.mark.parametrize("count", [100, 230])
def test_a_server_that_does_not_count_is_found_out(count):
    class Forgetful(Account):
        def page(self, path, params):
            return {"data": self.workspaces if path == "/workspaces" else self.keys[params["workspace_id"]]}

    account = Forgetful({MINE: rows(count)})
    seen = swept(account)
    assert seen.trouble == failure(FailureReason.UNEXPECTED_ANSWER, "a whole page without anything new")
    assert (len(seen.keys), account.offsets) == (count, {MINE.id: [0, count]})


def test_pages_without_an_end_have_one():
    class Endless(Account):
        def page(self, path, params):
            if path == "/workspaces":
                return super().page(path, params)
            return {"data": [{"hash": f"{n:064x}"} for n in range(int(params["offset"]), int(params["offset"]) + 100)]}

    account = Endless({MINE: []})
    seen = swept(account)
    assert seen.trouble == failure(FailureReason.UNEXPECTED_ANSWER, "more than 1000 pages")
    assert len(account.offsets[MINE.id]) == 1000
    assert dict(seen.complete) == {}


# --- Trouble -------------------------------------------------------------------------------------------------------


def at(workspace, offset, answer):
    return lambda path, params: (
        answer() if path == "/keys" and (params["workspace_id"], params["offset"]) == (workspace.id, offset) else None
    )


@pytest.mark.parametrize(
    ("answer", "reason", "detail"),
    [
        (lambda: json_answer({}, 500), FailureReason.UNAVAILABLE, "HTTP 500"),
        (lambda: json_answer({}, 404), FailureReason.UNEXPECTED_ANSWER, "HTTP 404"),
        (lambda: json_answer({}, 403), FailureReason.ACCESS_DENIED, "HTTP 403"),
        (lambda: json_answer({"data": {}}), FailureReason.UNEXPECTED_ANSWER, "data: not a list"),
        (lambda: json_answer([]), FailureReason.UNEXPECTED_ANSWER, "the answer: not an object"),
    ],
    ids=["500", "404", "403", "no list", "no object"],
)
@pytest.mark.parametrize(("offset", "already_seen"), [("0", 0), ("100", 100)])
def test_a_page_that_fails_makes_its_workspace_incomplete_and_no_other(answer, reason, detail, offset, already_seen):
    account = Account({MINE: rows(130), OURS: rows(130, 1000)}, at(MINE, offset, answer))
    seen = swept(account)
    assert seen.trouble == failure(reason, detail)
    assert seen.workspaces == (
        WorkspaceSweep(MINE, NOW + SECOND, already_seen, seen.trouble),
        WorkspaceSweep(OURS, seen.complete[OURS.id], 130),
    )
    assert len(seen.keys) == already_seen + 130


@pytest.mark.parametrize(
    ("status", "reason", "retry_after_seconds"),
    [(401, FailureReason.ACCESS_DENIED, None), (429, FailureReason.RATE_LIMITED, 30)],
)
def test_nobody_asks_on_where_the_key_is_refused_or_asks_too_often(status, reason, retry_after_seconds):
    account = Account(
        {MINE: rows(130), OURS: rows(1, 1000), SIDE: rows(1, 2000)},
        at(MINE, "100", lambda: json_answer({}, status, [("Retry-After", "30")])),
    )
    seen = swept(account)
    assert seen.trouble == failure(reason, f"HTTP {status}", retry_after_seconds)
    assert [(each.keys_seen, each.trouble) for each in seen.workspaces] == [
        (100, seen.trouble),
        (0, seen.trouble),
        (0, seen.trouble),
    ]
    assert account.offsets == {MINE.id: [0, 100]}


@pytest.mark.parametrize(
    ("listed", "detail"),
    [
        ({"data": []}, "data: no workspace, and every account has one"),
        ({"data": [{"id": MINE.id}, {"name": "nameless"}]}, "data.1.id: missing"),
        ({"data": None}, "data: not a list"),
        ({"data": [{"id": MINE.id}] * 100}, "a whole page without anything new"),
    ],
)
def test_workspaces_that_cannot_be_listed_are_the_whole_sweeps_trouble(listed, detail):
    account = Account({MINE: rows(1)}, lambda path, _: json_answer(listed) if path == "/workspaces" else None)
    assert swept(account) == Sweep(trouble=failure(FailureReason.UNEXPECTED_ANSWER, detail))
    assert account.offsets == {}


def test_a_mistake_of_ours_is_an_outcome_too_and_tells_no_secret():
    def fail(*_):
        raise RuntimeError(MANAGEMENT_KEY)

    assert swept(Account({MINE: []}, fail)) == Sweep(trouble=failure(FailureReason.UNEXPECTED_ANSWER, "RuntimeError"))
