"""The books of a day out of a database, what is kept for them, and what becomes of them when they stay open."""

import asyncio
from datetime import date, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import pytest

from reckon.core import plans
from reckon.core.alerts import AlertState, Change
from reckon.core.comparing import Teller
from reckon.core.detectors import AnomalyPolicy
from reckon.core.noticing import NoticePolicy
from reckon.core.plans import LedgerPolicy
from reckon.core.polls import Poll
from reckon.core.reasons import Reason
from reckon.core.records import Balance
from reckon.jobs.account import watch_account
from reckon.store import account_told, open_store
from reckon.store.books import books_of
from reckon.store.funds import funds_of
from reckon.store.rows import seconds
from reckon.store.tables import ACCOUNT_DAY, ACTIVITY, ANALYTICS_HOUR, DUE, KEY, OWNER
from reckon.store.writing import upsert_rows
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, day, key_hash, policy, snapshot, usd, watched

UTC, VIENNA = ZoneInfo("UTC"), ZoneInfo("Europe/Vienna")
FRIDAY = date(2026, 11, 20)
START, END = at("2026-11-20 00:00"), at("2026-11-21 00:00")
MORNING = at("2026-11-21 06:00")
EVER = day("2026-11-20")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def poll(store, when, total, *, balances=(), daily=None):
    shown = str(total) if daily is None else str(daily)
    seen = Poll((snapshot(when, str(total), "0" if when == END else shown),), balances=tuple(balances))
    terms = policy(poll_every=HOUR)
    store.commit_poll(lambda state: plans.after_poll(state, seen, (watched(),), terms, when), terms, when)


def live(store):
    """Spend $3 on Friday, and $1 on Saturday morning, nothing of it near midnight."""
    friday = ((START, 0, 0), (START + HOUR, 0, 0), (START + 9 * HOUR, 3, 3), (END - HOUR, 3, 3))
    for when, total, daily in (*friday, (END, 3, 0), (END + HOUR, 3, 0), (END + 6 * HOUR, 4, 1)):
        poll(store, when, total, daily=daily)


def tell(store, source, amount, read_at=MORNING, *, on=FRIDAY):
    """Let the account's own word on a day be written down."""
    row = {"source": source, "day": on.isoformat(), "credits_nanos": usd(amount), "byok_nanos": 0}
    write(store, ACCOUNT_DAY, [row | {"read_at": seconds(read_at)}], key=("source", "day"))


def tell_of_the_key(store, table, amount, place):
    with store.reading() as ledger:
        key_id, owner_id = ledger.connection.execute(KEY.join(OWNER).select()).first()[0], 1
    row = {"key_id": key_id, "model": "m", "credits_nanos": usd(amount), "byok_nanos": 0, "requests": None}
    place = {"day": FRIDAY.isoformat(), "provider": ""} if table is ACTIVITY else {"start": place, "owner_id": owner_id}
    write(store, table, [row | place], key=tuple(column.name for column in table.primary_key))


def write(store, table, rows, *, key):
    store.transact(lambda _: None, lambda _: rows, lambda connection, new: upsert_rows(connection, table, new, key=key))


def books(store, zone=UTC, on=FRIDAY, now=MORNING):
    with store.reading() as ledger:
        (found,) = books_of(ledger, [on], zone, now)
    return found


def explained(store, teller, **how):
    (found,) = [each for each in books(store, **how).compared if each.teller is teller]
    return dict(found.explained)


# --- What is kept --------------------------------------------------------------------------------------------------


def sights(store):
    with store.reading() as ledger:
        return [(each.at, each.usage_nanos) for each in account_told.balances_seen(ledger.connection, EVER)]


def test_of_the_balances_a_management_key_tells_the_first_of_each_quarter_hour_is_kept(store):
    for minutes, used in ((0, 10), (5, 11), (14, 12), (15, 13), (44, 14)):
        when = START + 9 * HOUR + minutes * MINUTE
        balance = Balance(key_hash("manager"), when + SECOND, usd(100), usd(used))
        poll(store, when, 1, balances=[balance, Balance(key_hash("key"), when, usd(7), usd(7))])
    nine = START + 9 * HOUR + SECOND
    assert sights(store) == [(nine, usd(10)), (nine + 15 * MINUTE, usd(13)), (nine + 44 * MINUTE, usd(14))]


def test_the_pace_is_that_of_the_account_where_it_uses_more_than_its_keys(store):
    for hours, used in ((0, 10), (6, 12), (12, 40)):
        when = START + hours * HOUR
        poll(store, when, hours / 6, balances=[Balance(key_hash("manager"), when, usd(100), usd(used))])
    with store.reading() as ledger:
        found = funds_of(ledger, START + 12 * HOUR)
    assert (found.left_nanos, found.daily_nanos, found.seen_by) == (usd(60), usd(30), None)
    assert found.runway == 2 * DAY


def test_what_an_inference_key_sees_says_whose_it_is(store):
    poll(store, START, 0)
    poll(store, START + HOUR, 5, balances=[Balance(key_hash("key"), START + HOUR, usd(100), usd(90))])
    with store.reading() as ledger:
        found = funds_of(ledger, START + HOUR)
    assert (found.left_nanos, found.daily_nanos, found.seen_by) == (usd(10), usd(5), "key")
    assert sights(store) == []


def test_an_alert_tells_what_is_left_of_the_account_as_its_management_key_saw_it(store):
    notice = NoticePolicy(UTC, AnomalyPolicy(), {})
    terms = LedgerPolicy(UTC, HOUR, notice)
    steps = [(START - (9 - n) * DAY, n, 0) for n in range(10)] + [(START + 2 * HOUR, 60, 60)]
    for when, total, daily in steps:
        told = (
            Balance(key_hash("manager"), when, usd(200), usd(total + 20)),
            Balance(key_hash("another's"), when - SECOND, usd(1), usd(1)),
        )
        seen = Poll((snapshot(when, str(total), str(daily)),), balances=told)
        decide = partial(plans.after_poll, poll=seen, watched=(watched(),), policy=terms, now=when)
        store.commit_poll(decide, terms, when, seen=seen, watched=(watched(),))
    (delivery,) = store.outbox()
    facts = {fact.label: fact.text for fact in delivery.message.facts}
    assert "; account balance $120.00, empty about " in facts["If it goes on"]


# --- Books ---------------------------------------------------------------------------------------------------------


def test_with_nobody_else_to_tell_there_is_nothing_to_hold_the_counters_against(store):
    live(store)
    found = books(store)
    assert (found.counters_nanos, found.compared, found.is_balanced) == (usd(3), (), True)
    assert [found.told_by(teller) for teller in Teller] == [None, None, None]


def test_activity_counts_from_six_in_the_morning_on(store):
    live(store)
    tell(store, "activity", "2", MORNING - SECOND)
    assert books(store).compared == ()
    tell(store, "activity", "2", MORNING)
    assert explained(store, Teller.ACTIVITY) == {Reason.NOT_TOLD_YET: -usd(1)}
    assert books(store).told_by(Teller.ACTIVITY) == usd(2)
    tell(store, "activity", "2", MORNING + 2 * DAY)
    assert explained(store, Teller.ACTIVITY) == {Reason.UNEXPLAINED: -usd(1)}
    assert not books(store).is_balanced


def test_what_is_told_of_a_key_is_held_against_that_key(store):
    live(store)
    tell(store, "activity", "5")
    assert explained(store, Teller.ACTIVITY) == {Reason.UNSWEPT_WORKSPACE: usd(2)}  # nobody sweeps here
    tell_of_the_key(store, ACTIVITY, "4", None)
    assert explained(store, Teller.ACTIVITY) == {Reason.UNSWEPT_WORKSPACE: usd(1), Reason.UNEXPLAINED: usd(1)}


def test_of_analytics_the_hours_of_that_utc_day_count(store):
    live(store)
    tell(store, "analytics", "4")
    for hours, amount in ((-1, "50"), (9, "4"), (24, "70")):
        tell_of_the_key(store, ANALYTICS_HOUR, amount, seconds(START + hours * HOUR))
    assert explained(store, Teller.ANALYTICS) == {Reason.UNEXPLAINED: usd(1)}


def test_what_analytics_told_of_a_key_holds_where_activity_tells_nothing_of_it(store):
    live(store)
    tell(store, "activity", "5")
    tell(store, "analytics", "4")
    tell_of_the_key(store, ANALYTICS_HOUR, "4", seconds(START + 9 * HOUR))
    assert explained(store, Teller.ACTIVITY) == {Reason.UNSWEPT_WORKSPACE: usd(1), Reason.UNEXPLAINED: usd(1)}


def test_a_workspace_is_swept_if_a_complete_sweep_of_it_began_since_the_day_did(store):
    live(store)
    tell(store, "activity", "5")
    terms, now = policy(), END + 7 * HOUR
    for when, reason in ((START - SECOND, Reason.UNSWEPT_WORKSPACE), (START, Reason.CHATROOM)):
        swept = Poll(swept={"builds": when})
        store.commit_poll(lambda state, seen=swept: plans.after_poll(state, seen, (watched(),), terms, now), terms, now)
        assert explained(store, Teller.ACTIVITY) == {reason: usd(2)}


def test_in_another_zone_the_utc_day_of_that_name_is_compared_and_is_no_number_of_the_local_day(store):
    live(store)
    tell(store, "activity", "3")
    found = books(store, zone=VIENNA)
    (compared,) = found.compared
    assert found.told_by(Teller.ACTIVITY) is None
    assert (compared.span.start, compared.counters_nanos, compared.explained) == (START, usd(3), ())


def test_credits_are_what_the_account_used_between_the_edges_of_the_day(store):
    for when, total, used in ((START, 0, 10), (START + 9 * HOUR, 3, 13), (END, 3, "13.5")):
        poll(store, when, total, balances=[Balance(key_hash("manager"), when, usd(100), usd(used))])
    assert books(store).told_by(Teller.CREDITS) == usd("3.5")
    assert explained(store, Teller.CREDITS) == {Reason.UNSWEPT_WORKSPACE: usd("0.5")}
    assert books(store, on=FRIDAY + DAY, now=END + 2 * HOUR).told_by(Teller.CREDITS) is None


# --- Books that stay open ------------------------------------------------------------------------------------------


def look(store, now):
    return asyncio.run(watch_account(store, UTC, now))


def test_books_that_stay_open_are_told_once_even_by_two_that_look_and_end_when_they_balance(store):
    live(store)
    tell(store, "activity", "2", MORNING + 2 * DAY)
    now = at("2026-11-22 09:00")
    assert look(store, now).transitions == ()
    assert look(store, now + 2 * HOUR - SECOND).transitions == ()
    assert [each.change for each in look(store, now + 2 * HOUR).transitions] == [Change.OPENED]
    assert look(store, now + 2 * HOUR + MINUTE).outgoing == ()
    (message,) = store.outbox()
    assert message.intent == "alert:books::2026-11-20:opened"

    tell(store, "activity", "3", MORNING + 2 * DAY)
    look(store, now + 3 * HOUR)
    with store.reading() as ledger:
        assert [alert.state for alert in ledger.alerts()] == [AlertState.RESOLVED]
        assert ledger.connection.execute(DUE.select()).all() == []


def test_a_low_balance_is_told_once(store):
    when = START + 12 * HOUR
    poll(store, START, 0, balances=[Balance(key_hash("manager"), START, usd(100), usd(10))])
    poll(store, when, 60, balances=[Balance(key_hash("manager"), when, usd(100), usd(70))])
    assert len(look(store, when).outgoing) == 1
    assert look(store, when + 5 * MINUTE).outgoing == ()
    with store.reading() as ledger:
        (alert,) = ledger.alerts()
    assert (alert.finding.owner, alert.told_nanos, alert.fingerprint) == (None, usd(30), "low_balance::2026-11-20")


def test_a_look_that_changes_nothing_writes_nothing(store):
    live(store)
    with store.reading() as ledger:
        before = ledger.connection.execute(DUE.select()).all()
    plan = look(store, MORNING + timedelta(hours=5))
    assert (plan.open_since, plan.alerts, store.outbox()) == ({}, (), [])
    with store.reading() as ledger:
        assert ledger.connection.execute(DUE.select()).all() == before
