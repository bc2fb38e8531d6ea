"""What is due is queued once: by whichever replica came first, and again only if nothing was written."""

import asyncio
import threading
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest

from reckon.core import plans
from reckon.core.digest import DigestPlan, DigestPolicy
from reckon.core.digest_calendar import DigestKind, DigestTime
from reckon.core.polls import Poll
from reckon.core.reports import OwnerMap
from reckon.errors import StoreError
from reckon.jobs.digest import digest, digest_asked_for, rendered
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, at, policy, snapshot, usd, watched
from tests.store.calling import settle, settled
from tests.store.faults import failing, lost_connection, whenever

TIMES = (
    DigestTime(DigestKind.DAILY, time(9)),
    DigestTime(DigestKind.WEEKLY, time(9), day=0),
    DigestTime(DigestKind.MONTHLY, time(9), day=1),
)
POLICY = DigestPolicy(ZoneInfo("UTC"), TIMES, {}, OwnerMap({"ana": None}, [("ana", "key")]))
MONDAY = at("2027-02-01 09:00")  # the first of a month


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        live(opened)
        yield opened


def live(store):
    """Spend a dollar on each of the last three days of January."""
    terms = policy()
    for n in range(4):
        for when in (at("2027-01-29 00:00") + n * DAY, at("2027-01-29 00:00") + n * DAY + 8 * HOUR):
            spent = n if when.hour == 0 else min(n + 1, 3)
            seen = Poll((snapshot(when, str(spent)),))
            store.commit_poll(
                lambda state, seen=seen, when=when: plans.after_poll(state, seen, (watched(),), terms, when),
                terms,
                when,
            )


def look(store, now, terms=POLICY):
    return asyncio.run(digest(store, terms, now))


def queued(store):
    return [delivery.intent for delivery in store.outbox()]


def last_reported(store):
    with store.reading() as ledger:
        return ledger.due_dates()


def test_every_digest_has_a_line_of_the_books_of_its_days(store):
    settle(store, settled("gen-1", usd("0.25"), when=at("2027-01-31 08:00")))
    look(store, MONDAY)

    lines = [fact.text for each in store.outbox() for fact in each.message.facts if fact.label == "Books"]
    assert lines == [
        f"key counters {dollars} = settled $0.25 + {rest} never handed in; day = UTC"
        for dollars, rest in (("$1.00", "$0.75"), ("$3.00", "$2.75"), ("$3.00", "$2.75"))
    ]


def test_what_is_due_is_queued_with_its_figures_and_remembered(store):
    decided = look(store, MONDAY)

    assert queued(store) == ["digest:daily:2027-01-31", "digest:weekly:2027-01-25", "digest:monthly:2027-01-01"]
    assert (
        last_reported(store)
        == decided.due
        == {
            "digest:daily": date(2027, 1, 31),
            "digest:weekly": date(2027, 1, 25),
            "digest:monthly": date(2027, 1, 1),
        }
    )
    daily, weekly, monthly = [delivery.message for delivery in store.outbox()]
    assert daily.headline == ("OpenRouter, Sun 31 Jan: $1.00, as on a usual day ($1.00). Month to date $3.00")
    assert weekly.headline == "OpenRouter, 2027-W04 (25 Jan to 31 Jan): $3.00. Month to date $3.00"
    assert monthly.headline == "OpenRouter, January 2027: $3.00"
    assert [delivery.to for delivery in store.outbox()] == [None] * 3


def test_each_look_after_that_finds_nothing_until_the_next_day(store):
    look(store, MONDAY)
    before = queued(store)

    for minutes in (0, 1, 60, 23 * 60 + 59):
        assert look(store, MONDAY + minutes * MINUTE) == DigestPlan()
    assert queued(store) == before
    look(store, MONDAY + DAY)
    assert queued(store) == [*before, "digest:daily:2027-02-01"]


def test_before_its_time_nothing_is_queued_and_nothing_remembered(store):
    daily = DigestPolicy(POLICY.zone, TIMES[:1], {}, POLICY.owner_map)

    assert look(store, at("2027-01-29 08:59"), daily) == DigestPlan()
    assert (queued(store), last_reported(store)) == ([], {})


def test_after_an_outage_the_latest_day_is_told_once_and_says_it_is_late(store):
    daily = DigestPolicy(POLICY.zone, TIMES[:1], {}, POLICY.owner_map)
    look(store, at("2027-01-30 09:00"), daily)

    look(store, at("2027-02-05 03:00"), daily)
    look(store, at("2027-02-05 03:01"), daily)

    assert queued(store) == ["digest:daily:2027-01-29", "digest:daily:2027-02-03"]
    assert store.outbox()[1].message.notes[0] == "Late: due at 4 Feb 09:00 UTC, Reckon was not running."


def test_a_clock_that_was_a_year_ahead_neither_silences_nor_repeats_a_digest(store):
    daily = DigestPolicy(POLICY.zone, TIMES[:1], {}, POLICY.owner_map)
    look(store, MONDAY, daily)
    look(store, MONDAY + 365 * DAY, daily)

    look(store, MONDAY + MINUTE, daily)
    look(store, MONDAY + DAY, daily)

    assert queued(store) == ["digest:daily:2027-01-31", "digest:daily:2028-01-31", "digest:daily:2027-02-01"]
    assert last_reported(store) == {"digest:daily": date(2027, 2, 1)}


def test_of_two_replicas_that_look_at_once_one_queues(postgres_url):
    with open_store(postgres_url, writes=True) as one, open_store(postgres_url, writes=True) as other:
        live(one)
        together = threading.Barrier(2)
        errors = []

        def run(store):
            try:
                together.wait(timeout=10)
                look(store, MONDAY)
            except Exception as error:  # noqa: BLE001 - told by the test below
                errors.append(error)

        threads = [threading.Thread(target=run, args=[store]) for store in (one, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)

        assert errors == []
        assert sorted(queued(one)) == sorted({*queued(one)})
        assert len(queued(one)) == 3


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_whichever_statement_fails_nothing_is_queued_and_all_is_still_due(store, fresh_database, moment, some_of):
    with fresh_database() as elsewhere, open_store(elsewhere, writes=True) as other:
        live(other)
        executed = []
        with whenever(moment, lambda *_: executed.append(None)):
            look(other, MONDAY)
    assert len(executed) > 10

    for number in some_of(range(len(executed)), 12):
        with failing(moment, number, lost_connection(), times=1_000) as raised, pytest.raises(StoreError):
            look(store, MONDAY)
        assert raised
        assert (queued(store), last_reported(store)) == ([], {})

    look(store, MONDAY)
    assert len(queued(store)) == len(last_reported(store)) == 3


def test_a_digest_somebody_asks_for_is_queued_beside_the_one_of_the_calendar(store):
    before = asyncio.run(digest_asked_for(store, POLICY, DigestKind.DAILY, MONDAY - HOUR))

    assert [one.intent for one in before.outgoing] == ["digest:daily:2027-01-31:asked:20270201T080000Z"]
    assert last_reported(store) == {}
    look(store, MONDAY)
    asyncio.run(digest_asked_for(store, POLICY, DigestKind.DAILY, MONDAY + HOUR))
    assert queued(store) == [
        "digest:daily:2027-01-31:asked:20270201T080000Z",
        "digest:daily:2027-01-31",
        "digest:weekly:2027-01-25",
        "digest:monthly:2027-01-01",
        "digest:daily:2027-01-31:asked:20270201T100000Z",
    ]


@pytest.mark.parametrize("kind", DigestKind)
def test_rendering_a_digest_queues_nothing_and_shows_the_same_figures(store, kind):
    shown = rendered(store, POLICY, kind, MONDAY)

    assert shown.due.kind is kind
    assert shown.total.amounts.spend_nanos == usd({"daily": "1", "weekly": "3", "monthly": "3"}[kind])
    assert (queued(store), last_reported(store)) == ([], {})


def test_a_new_ledger_has_nothing_to_tell_and_can_be_rendered(database_url):
    with open_store(database_url, writes=True) as empty:
        assert look(empty, MONDAY) == DigestPlan()
        assert rendered(empty, POLICY, DigestKind.DAILY, MONDAY).as_of is None
