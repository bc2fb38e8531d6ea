"""`GET /api/v1/...`: the documents of the commands, asked for over HTTP."""

import pytest

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.store import open_store
from tests.builders import HOUR, MINUTE, policy, snapshot
from tests.store.calling import settle, settled
from tests.store.faults import failing, lost_connection
from tests.web.house import NOON, TOKEN, WATCHED, House

SPEND = "/api/v1/spend"
CALLS, BOOKS = "/api/v1/calls", "/api/v1/books"
EVERY = [SPEND, CALLS, BOOKS, "/api/v1/alerts", "/api/v1/keys"]


@pytest.fixture
def house(sqlite_url):
    """Ana spent $2.50 in the last hour, and $1 more yesterday."""
    with open_store(sqlite_url, writes=True) as store:
        for when, ana in ((NOON - 25 * HOUR, "10"), (NOON - 24 * HOUR, "11"), (NOON - HOUR, "11"), (NOON, "13.5")):
            seen = Poll((snapshot(when, ana, key="laptop"),))
            store.commit_poll(
                lambda state, seen=seen, when=when: plans.after_poll(state, seen, WATCHED, policy(), when),
                policy(poll_every=MINUTE),
                when,
            )
        yield House(store)


def ask(house, path, *asked, token=TOKEN):
    return house.ask("GET", path, token=token, params=asked)


def owners(answer):
    return {row["owner"]: row["spend_usd"] for row in answer.json()["rows"]}


# --- Answered --------------------------------------------------------------------------------------------------------


def test_spend_is_by_owner_and_of_all_time_unless_something_else_is_asked_for(house):
    answer = ask(house, SPEND)

    assert (answer.status_code, answer.json()["schema_version"], answer.json()["total_usd"]) == (200, 1, "3.500000000")
    assert owners(answer) == {"ana": "3.500000000"}
    assert answer.json()["until"] == "2026-11-20T12:00:00Z"


def test_spend_is_divided_as_often_as_it_is_asked_to_be(house):
    answer = ask(house, SPEND, ("by", "key"), ("by", "day"), ("since", "2026-11-19"), ("until", "2026-11-21"))

    assert [(row["key"], row["day"], row["spend_usd"]) for row in answer.json()["rows"]] == [
        ("laptop", "2026-11-19", "1.000000000"),
        ("laptop", "2026-11-20", "2.500000000"),
    ]


def test_the_last_days_are_those_of_the_zone_that_is_asked_for(house):
    here = ask(house, SPEND, ("last", "1d"))
    there = ask(house, SPEND, ("last", "1d"), ("timezone", "Asia/Kolkata"))

    assert (here.json()["timezone"], here.json()["since"]) == ("UTC", "2026-11-20T00:00:00Z")
    assert (there.json()["timezone"], there.json()["since"]) == ("Asia/Kolkata", "2026-11-19T18:30:00Z")
    assert owners(here)["ana"] == "2.500000000"


def test_keys_and_alerts_are_told(house):
    keys, alerts = ask(house, "/api/v1/keys"), ask(house, "/api/v1/alerts", ("last", "7d"))

    assert [row["counter_usd"] for row in keys.json()["rows"] if row["key"] == "laptop"] == ["13.500000000"]
    assert alerts.json() == {"schema_version": 1, "since": "2026-11-14T00:00:00Z", "ended_earlier": 0, "rows": []}


def test_generations_are_told_dearest_first_and_as_many_as_are_asked_for(house):
    settle(house.store, *(settled(f"gen-{nanos}", nanos, when=NOON - HOUR) for nanos in (7, 9, 8)))

    def ids(*asked):
        return [row["id"] for row in ask(house, CALLS, *asked).json()["rows"]]

    assert ids() == ["gen-9", "gen-8", "gen-7"]
    assert ids(("limit", "2")) == ["gen-9", "gen-8"]
    assert ids(("last", "1h")) == []


def test_the_books_are_those_of_today_unless_another_day_is_asked_for(house):
    today, yesterday = ask(house, BOOKS).json(), ask(house, BOOKS, ("day", "2026-11-19")).json()

    assert (today["day"], today["counters_usd"], today["balanced"]) == ("2026-11-20", "2.500000000", True)
    assert (yesterday["day"], yesterday["counters_usd"]) == ("2026-11-19", "1.000000000")
    assert today["explained"] == [{"reason": "never_handed_in", "usd": "2.500000000"}]
    assert (today["analytics_usd"], today["compared"]) == (None, [])


# --- Refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "asked", "why"),
    [
        (SPEND, [("by", "colour")], "by: accepts owner, team, key, "),
        (SPEND, [("by", "day"), ("by", "week")], "by: accepts one of hour, day, week and month"),
        (SPEND, [("since", "soon")], "since: accepts a date (2026-11-20) or an instant"),
        (SPEND, [("since", "0001-01-01T00:00+14:00")], "since: accepts a date (2026-11-20) or an instant"),
        (SPEND, [("until", "2026-11-20T12:01:00Z")], "until: accepts instants on a quarter of an hour"),
        (SPEND, [("since", "2026-11-21")], "since and until: the span begins after now"),
        (SPEND, [("last", "0d")], "last: accepts a number of days or hours"),
        (SPEND, [("last", "2d"), ("since", "2026-11-19")], "last: stands alone, without since and until"),
        (SPEND, [("last", "2d"), ("last", "3d")], "last: accepts one value"),
        (SPEND, [("timezone", "Mars/Olympus")], "timezone: accepts an IANA zone"),
        (SPEND, [("timezone", "../../etc/passwd")], "timezone: accepts an IANA zone"),
        (SPEND, [("timezone", "")], "timezone: accepts an IANA zone"),
        (SPEND, [("timezone", "Europe")], "timezone: accepts an IANA zone"),
        (SPEND, [("form", "x")], "the query: accepts by, since, until, last, timezone"),
        (CALLS, [("limit", "0")], "limit: accepts a number from 1 to 10,000"),
        (CALLS, [("limit", "10001")], "limit: accepts a number from 1 to 10,000"),
        (BOOKS, [("day", "20 November")], "day: accepts a date from 2000-01-01"),
        (BOOKS, [("day", "2026-02-30")], "day: accepts a date from 2000-01-01"),
        (BOOKS, [("day", "0001-01-01")], "day: accepts a date from 2000-01-01"),
        ("/api/v1/alerts", [("since", "2026-11-19")], "the query: accepts last, timezone"),
        ("/api/v1/keys", [("by", "owner")], "the query: accepts no parameter"),
    ],
)
def test_what_is_not_accepted_is_named(house, path, asked, why):
    answer = ask(house, path, *asked)

    assert answer.status_code == 422
    assert answer.json()["error"].startswith(why)
    assert set(answer.json()) == {"schema_version", "error"}


@pytest.mark.parametrize("path", EVERY)
def test_with_a_token_set_only_who_has_it_sees_a_report(house, path):
    refused = ask(house, path, token="wrong")

    assert (refused.status_code, refused.headers["www-authenticate"], "rows" in refused.json()) == (
        401,
        "Bearer",
        False,
    )
    assert ask(house, path).status_code == 200
    assert ask(House(house.store, token=None), path, token=None).status_code == 200


@pytest.mark.parametrize("path", EVERY)
def test_while_the_ledger_cannot_be_read_the_answer_says_so(house, path):
    with failing("before_cursor_execute", 0, lost_connection(), times=100):
        refused = ask(house, path)

    assert (refused.status_code, "the connection was lost" in refused.json()["error"]) == (503, True)
    assert ask(house, path).status_code == 200
