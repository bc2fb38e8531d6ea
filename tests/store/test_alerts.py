"""Alerts on disk: they stand there with the poll that decided them, and noticing is told of them as they were."""

from collections import Counter
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DataError

from reckon.core import plans
from reckon.core.alerts import Alert, AlertState, Change, Finding, Rule, Transition
from reckon.core.baseline import Baseline, history, usual
from reckon.core.messages import Message
from reckon.core.outbox import Manner, Outgoing
from reckon.core.polls import Poll
from reckon.core.windows import Window
from reckon.errors import StoreError
from reckon.store import open_store
from reckon.store.tables import TABLES
from tests.builders import (
    DAY,
    HOUR,
    MINUTE,
    SECOND,
    Book,
    at,
    book_of,
    contents,
    key_hash,
    policy,
    snapshot,
    usd,
    watched,
)
from tests.store.faults import failing, lost_connection, whenever

NOON = at("2026-11-20 12:00")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


@pytest.fixture
def emptied(store):
    def empty():
        with store._writer.begin() as connection:
            for table in reversed(TABLES):
                connection.execute(table.delete())

    return empty


def finding(owner="ana", day="2026-11-20", rule=Rule.SIGMA, **others):
    return Finding(rule, owner, date.fromisoformat(day), **others)


def alert(owner="ana", day="2026-11-20", state=AlertState.FIRING, **others):
    return Alert(finding(owner, day), state, opened_at=NOON, told_at=NOON, **others)


def opened(about, when=NOON):
    return Transition(about.fingerprint, when, Change.OPENED, "$84.10 is above $7.90")


def commit(store, *alerts, transitions=(), outgoing=(), now=NOON, total="10"):
    """Commit a poll that decided all this, too."""
    poll = Poll((snapshot(now, total),))

    def decide(state):
        plan = plans.after_poll(state, poll, (watched(),), policy(), now)
        return replace(plan, alerts=alerts, transitions=tuple(transitions), outgoing=tuple(outgoing))

    return store.commit_poll(decide, policy(), now)


def told(store):
    """Return all alerts, their transitions and the whole outbox, ids aside."""
    with store.reading() as ledger:
        alerts = ledger.alerts()
        changes = [change for one in alerts for change in ledger.transitions(one.id)]
        rows = ledger.connection.exec_driver_sql("SELECT intent, state, attempts FROM outbox ORDER BY intent")
        return [replace(one, id=None) for one in alerts], changes, [tuple(row) for row in rows]


# --- Alerts --------------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
nanos = st.integers(0, 10**18)
instants = st.integers(0, 10**8).map(lambda n: NOON + n * SECOND)
findings = st.builds(
    Finding,
    st.sampled_from(Rule),
    st.sampled_from(["ana", "ben", None]),
    st.dates(date(2024, 1, 1), date(2030, 1, 1)),
    spend_nanos=st.none() | nanos,
    threshold_nanos=st.none() | nanos,
    usual_nanos=st.none() | nanos,
    history_days=st.none() | st.integers(0, 1000),
    since=st.none() | instants,
    key_hashes=st.lists(st.sampled_from([key_hash("a"), key_hash("b")]), unique=True).map(tuple),
)
alerts = st.builds(
    Alert,
    findings,
    st.sampled_from(AlertState),
    instants,
    instants,
    told_nanos=st.none() | nanos,
    resolved_at=st.none() | instants,
    openings=st.integers(1, 9),
    gap_nanos=nanos,
)


def test_alerts_are_read_back_as_they_stand_and_transitions_as_they_came(store, emptied):
    owner_map = (watched("a", "ana"), watched("b", "ben"))

    @settings(max_examples=40)
    @given(st.lists(st.lists(st.tuples(alerts, st.sampled_from(Change), text), max_size=4), max_size=4))
    def check(story):
        emptied()
        book, changes = {}, []
        for n, found in enumerate(story):
            now = NOON + n * MINUTE
            changed = {one.fingerprint: one for one, _, _ in found}
            new = [Transition(one.fingerprint, now, change, why, one.finding.spend_nanos) for one, change, why in found]

            def decide(state, changed=changed, new=new, now=now):
                plan = plans.after_poll(state, Poll(), owner_map, policy(), now)
                return replace(plan, alerts=tuple(changed.values()), transitions=tuple(new))

            store.commit_poll(decide, policy(), now)
            book |= changed
            changes += new

        with store.reading() as ledger:
            held = ledger.alerts()
            assert {one.fingerprint: replace(one, id=None) for one in held} == book
            assert [one.id for one in held] == sorted((one.id for one in held), reverse=True)
            firing = {name for name, one in book.items() if one.state is AlertState.FIRING}
            assert {one.fingerprint for one in ledger.firing_alerts()} == firing
            assert ledger.firing_by_rule() == Counter(book[name].finding.rule for name in firing)
            for after in {NOON, *(one.resolved_at for one in held if one.resolved_at)}:
                ended = {one.fingerprint for one in held if one.resolved_at and one.resolved_at > after}
                news = [one for one in held if one.fingerprint in firing | ended]
                assert ledger.alerts_since(after) == news
            for one in held:
                theirs = [change for change in changes if change.fingerprint == one.fingerprint]
                assert ledger.transitions(one.id) == theirs

    check()


def test_an_alert_keeps_its_number_for_life_and_no_poll_uses_one_up(store):
    commit(store, alert("ana"))
    for minute in range(1, 5):
        grown = replace(alert("ana"), told_nanos=usd(minute))
        commit(store, grown, now=NOON + minute * MINUTE)
    commit(store, alert(day="2026-11-21"), now=NOON + HOUR)

    with store.reading() as ledger:
        assert [(one.id, one.told_nanos) for one in ledger.alerts()] == [(2, None), (1, usd("4"))]
        assert [one.id for one in ledger.alerts(limit=1)] == [2]
        assert ledger.transitions(2) == []


def test_a_poll_says_when_it_was(store):
    with store.reading() as ledger:
        assert ledger.polled_at() is None

    commit(store)
    commit(store, now=NOON + MINUTE)

    with store.reading() as ledger:
        assert ledger.polled_at() == NOON + MINUTE


def everything_at_once():
    first = alert("ana")
    later = replace(alert("ana", "2026-11-19"), state=AlertState.RESOLVED, resolved_at=NOON)
    return {
        "alerts": (first, later),
        "transitions": (opened(first), opened(later), Transition(later.fingerprint, NOON, Change.RESOLVED, "over", 7)),
        "outgoing": (
            Outgoing(first.opened_intent, Message("ana has spent $84.10")),
            Outgoing("alert:resolved", Message("ana has spent $84.10"), Manner.REPLY, first.opened_intent, "C1"),
        ),
        "now": NOON + MINUTE,
        "total": "11",
    }


def begin(store):
    commit(store, alert("ana", "2026-11-19"))
    everything = everything_at_once()
    return everything.pop("alerts"), everything


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_an_alert_its_reasons_and_its_messages_are_written_with_the_money_or_not_at_all(store, emptied, moment):
    found, others = begin(store)
    before = contents(book_of(store)), told(store)

    for number in range(100):
        with failing(moment, number, DataError("?", {}, Exception("this will never do"))) as raised:
            if not raised_by(lambda: commit(store, *found, **others)):
                break
        assert raised
        assert (contents(book_of(store)), told(store)) == before, f"statement {number}"

    assert number > 15
    after = contents(book_of(store)), told(store)
    assert [len(part) for part in after[1]] == [2, 3, 2]
    for number in range(100):
        emptied()
        begin(store)
        with failing(moment, number, lost_connection()) as raised:
            commit(store, *found, **others)
        assert (contents(book_of(store)), told(store)) == after, f"statement {number}"
        if not raised:
            break


def raised_by(act):
    try:
        act()
    except StoreError as refusal:
        return str(refusal)
    return None


# --- What noticing is told -----------------------------------------------------------------------------------------


def remembered(store, poll, owner_map, now, zone="UTC"):
    with store.reading() as ledger:
        return ledger.state(policy(zone), now, poll, owner_map).noticing


def test_noticing_is_told_what_was_spent_today_and_in_the_last_hour(store):
    book = Book(zone="Europe/Berlin")
    owner_map = book.watched
    for n in range(60):
        seen = snapshot(at("2026-11-20 12:07") + n * 10 * MINUTE, str(n), byok=str(2 * n))
        plan = book.poll(seen)
        store.commit_poll(lambda _, plan=plan: plan, policy("Europe/Berlin"), seen.at)
    now = at("2026-11-21 00:07")
    poll = Poll((snapshot(now, "100"),))

    held = remembered(store, poll, owner_map, now, "Europe/Berlin")

    today = Window(at("2026-11-20 23:00"), at("2026-11-21 23:00"))  # the local day, and there is no money before 23:00
    last_hour = Window(at("2026-11-20 23:15"), at("2026-11-21 00:15"))
    assert [held.totals_today, held.totals_last_hour] == book.totals(today, last_hour)
    assert held.totals_today == []
    now = at("2026-11-20 22:07")
    held = remembered(store, Poll((snapshot(now, "100"),)), owner_map, now, "Europe/Berlin")
    assert [held.totals_today, held.totals_last_hour] == book.totals(
        Window(at("2026-11-19 23:00"), at("2026-11-20 23:00")), Window(at("2026-11-20 21:15"), at("2026-11-20 22:15"))
    )
    assert len(held.totals_last_hour) == 2


def test_noticing_is_told_the_past_days_of_those_who_spent_whose_day_is_over_or_who_have_an_alert(store):
    owners = ("ana", "ben", "cleo", "dan")
    owner_map = tuple(watched(owner, owner) for owner in owners)

    def poll_at(now, **totals):
        return Poll(tuple(snapshot(now, totals.get(owner, "0"), key=owner) for owner in owners))

    for n in range(4):
        now = NOON + n * DAY
        poll = poll_at(now, ana=str(n), ben=str(n))
        store.commit_poll(
            lambda state, poll=poll, now=now: plans.after_poll(state, poll, owner_map, policy(), now), policy(), now
        )
    with store.reading() as ledger:
        days = {owner: [day for day in ledger.owner_days() if day.owner == owner] for owner in owners}
    assert {len(closed) for closed in days.values()} == {3}

    def histories(now, **totals):
        known = remembered(store, poll_at(now, **totals), owner_map, now).histories
        today = now.date()
        for owner, found in known.items():
            since = found.past.before
            assert since == (date(2026, 11, 20) if owner == "cleo" and len(known) == 1 else today - 2 * DAY)
            assert [day for day in found.days if day.day >= since] == [day for day in days[owner] if day.day >= since]
            assert usual(found, today, (), byok=True) == Baseline.of(history(days[owner], today, (), byok=True))
        return {*known}

    assert histories(now + MINUTE, ana="3", ben="3") == set()
    assert histories(now + MINUTE, ana="4", ben="3") == {"ana"}
    assert histories(now + DAY, ana="3", ben="3") == {*owners}

    def fire(state):
        plan = plans.after_poll(state, Poll(), owner_map, policy(), now)
        return replace(plan, alerts=(alert("cleo"), alert("dan", state=AlertState.RESOLVED)))

    store.commit_poll(fire, policy(), now)
    assert histories(now + MINUTE, ana="3", ben="3") == {"cleo"}


def test_noticing_is_told_every_alert_that_fires_and_those_of_the_last_three_days(store):
    fires = alert(day="2026-10-01")
    over = [alert(day=f"2026-11-{n}", state=AlertState.RESOLVED) for n in (17, 18, 19, 20)]
    commit(store, fires, *over)

    held = remembered(store, Poll(), (), NOON).alerts

    assert [(one.finding.day.isoformat(), one.id is not None) for one in held.values()] == [
        ("2026-10-01", True),
        ("2026-11-18", True),
        ("2026-11-19", True),
        ("2026-11-20", True),
    ]
    assert all(name == one.fingerprint for name, one in held.items())
    with store.reading() as ledger:
        assert ledger.state(policy(), NOON).noticing.alerts == {}


def test_what_noticing_is_told_is_a_handful_of_statements_whatever_the_number_of_owners(store):
    def statements(owners):
        owner_map = tuple(watched(f"{owners} {n}", f"{owners} {n}") for n in range(owners))
        for day in range(3):
            now = NOON + day * DAY
            poll = Poll(tuple(snapshot(now, str(day), key=entry.name) for entry in owner_map))
            executed = []
            with whenever("before_cursor_execute", lambda *_, executed=executed: executed.append(None)):
                held = remembered(store, poll, owner_map, now)
            store.commit_poll(
                lambda state, poll=poll, now=now: plans.after_poll(state, poll, owner_map, policy(), now), policy(), now
            )
        assert len(held.histories) == owners
        return len(executed)

    assert statements(2) == statements(40) < 16
