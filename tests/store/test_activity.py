"""Days gone by in the ledger: they stand where it has no day of its own, and nowhere else."""

from dataclasses import replace
from datetime import date
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from reckon.app import App
from reckon.config import Settings
from reckon.core import plans
from reckon.core.account import ActivityRow
from reckon.core.activity_days import AccountRead, ActivityPlan, DaySpan, DaysTold, taken
from reckon.core.polls import Poll
from reckon.core.records import Amounts, OwnerDay, TotalState
from reckon.core.sweeps import Sweep, SweptKey, Workspace, WorkspaceSweep
from reckon.store import activity, open_store
from reckon.store.tables import ACCOUNT_DAY, ACTIVITY, OWNER, OWNER_PAST, TABLES
from tests.builders import DAY, HOUR, MINUTE, at, key_hash, policy, snapshot, usd, watched

NOON = at("2026-11-20 12:00")
TODAY = NOON.date()
MAP = (watched("laptop", "ana"), watched("ci", "ana"), watched("phone", "ben"))
NAMES = {entry.name: entry.owner for entry in MAP}
ON_OFFER = DaySpan(TODAY - 30 * DAY, TODAY)


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def poll(  # noqa: PLR0917 - what a sweep is about
    store, when=NOON, zone="UTC", spent="0", entries=MAP, late=(), created="2026-01-01 00:00", last_used=None, shown=MAP
):
    """Commit a sweep that saw the keys *shown*, and what it *late* added to closed days."""
    keys = [
        SweptKey(
            key_hash(entry.name),
            snapshot=snapshot(when, f"{100 + float(spent)}", key=entry.name),
            workspace_id="w",
            created_at=at(created),
            last_used_at=last_used,
        )
        for entry in shown
    ]
    swept = Sweep(tuple(keys), workspaces=(WorkspaceSweep(Workspace("w"), when, len(keys)),))
    seen = Poll(tuple(key.snapshot for key in keys), sweep=swept)
    terms = policy(zone)

    def decide(state):
        plan = plans.after_poll(state, seen, entries, terms, when)
        return replace(plan, owner_days=(*plan.owner_days, *late))

    return store.commit_poll(decide, terms, when, seen=seen, watched=entries)


def row(days_ago, dollars="1", *, byok="0", model="maker/small", provider="Maker", requests=1):
    return ActivityRow(TODAY - days_ago * DAY, model, provider, usd(dollars), usd(byok), requests)


def read(store, key, *rows, days=ON_OFFER, zone="UTC", complete=True, when=NOON):
    """Write what was told of one key."""
    with store.reading() as ledger:
        past = next(past for past in activity.pasts_of_keys(ledger.connection) if past.key_hash == key_hash(key))
    commit(store, [taken(past, DaysTold(days, rows))], [past.owner] if complete else [], zone, when)


def commit(store, found, complete, zone="UTC", when=NOON):
    plan = ActivityPlan(when, found, complete, ZoneInfo(zone))
    store.transact(lambda _: None, lambda _: plan, activity.write_keys)


def days(store, owner="ana", *, counted_only=False):
    with store.reading() as ledger:
        return {row.day: row for row in ledger.owner_days({owner}, counted_only=counted_only)}


def spent(store, owner="ana"):
    return {(TODAY - day).days: row.amounts.spend_nanos for day, row in days(store, owner).items()}


def pasts(store):
    with store.reading() as ledger:
        return {past.key_hash: past for past in activity.pasts_of_keys(ledger.connection)}


def test_what_the_owner_s_keys_spent_is_what_their_days_came_to(store):
    poll(store)
    read(store, "laptop", row(1, "2", byok="0.5"), row(1, "1", model="maker/large"), row(30), complete=False)
    assert days(store) == {}
    read(store, "ci", row(1, "4"))

    found = days(store)

    assert sorted(found) == [*ON_OFFER]
    assert found[TODAY - DAY] == OwnerDay(
        "ana", TODAY - DAY, Amounts(spend_nanos=usd("7"), byok_nanos=usd("0.5")), TotalState.SETTLED
    )
    assert found[TODAY - 30 * DAY].amounts == Amounts(spend_nanos=usd("1"))
    assert {day.amounts for day in found.values() if day.day not in {TODAY - DAY, TODAY - 30 * DAY}} == {Amounts()}
    assert days(store, "ben") == {}


def test_every_row_is_kept_and_one_read_again_stands_in_the_place_of_the_former(store):
    poll(store)
    read(store, "phone", row(1, "2"), row(2, "3"), row(9, "4"))
    tomorrow = DaySpan(ON_OFFER.since + DAY, TODAY + DAY)
    read(store, "phone", row(0, "1"), row(2, "5", model="maker/large"), days=tomorrow, when=NOON + DAY)

    with store.reading() as ledger:
        kept = {(row.day, row.model): row.credits_nanos for row in ledger.connection.execute(ACTIVITY.select())}

    assert kept == {
        ("2026-11-20", "maker/small"): usd("1"),
        ("2026-11-18", "maker/large"): usd("5"),
        ("2026-11-11", "maker/small"): usd("4"),
    }
    assert pasts(store)[key_hash("phone")].read == (DaySpan(ON_OFFER.since, TODAY + DAY),)
    assert (spent(store, "ben")[1], spent(store, "ben")[2], spent(store, "ben")[9]) == (0, usd("5"), usd("4"))


def test_rows_that_differ_in_what_is_not_kept_are_one(store):
    poll(store)
    read(store, "phone", row(1, "2", requests=3), row(1, "1", requests=None), row(1, "1", requests=4))

    with store.reading() as ledger:
        [kept] = ledger.connection.execute(ACTIVITY.select()).all()

    assert (kept.credits_nanos, kept.requests) == (usd("4"), 7)


def test_the_first_local_day_is_the_ledger_s_own_in_whatever_zone(store):
    for zone, last in (("Pacific/Auckland", TODAY), ("America/Los_Angeles", TODAY - DAY), ("UTC", TODAY - DAY)):
        poll(store, NOON, zone=zone)
        tomorrow = DaySpan(ON_OFFER.since, TODAY + DAY)
        read(store, "phone", row(0, "9"), row(1, "2"), days=tomorrow, zone=zone)

        assert max(days(store, "ben")) == last, zone


def test_a_ledger_s_day_is_never_added_to_nor_hidden(store):
    poll(store)
    read(store, "phone", row(3, "2"), row(4, "3"))
    late = OwnerDay("ben", TODAY - 3 * DAY, Amounts(spend_nanos=usd("0.25")), TotalState.PROVISIONAL)
    poll(store, NOON + MINUTE, late=[late])

    assert days(store, "ben")[TODAY - 3 * DAY] == late
    assert spent(store, "ben")[4] == usd("3")

    read(store, "phone", row(3, "2"), row(4, "5"), when=NOON + HOUR, days=DaySpan(TODAY - 40 * DAY, TODAY))

    assert days(store, "ben")[TODAY - 3 * DAY] == late
    assert days(store, "ben", counted_only=True) == {TODAY - 3 * DAY: late}
    assert spent(store, "ben")[4] == usd("5")


def test_verify_has_nothing_to_say_about_days_that_the_ledger_did_not_count(store):
    poll(store)
    read(store, "phone", row(1, "2"), row(9, "4"))
    poll(store, NOON + DAY, spent="3")
    assert len(days(store, "ben")) == 31

    assert App(Settings(), store, clock=lambda: NOON + DAY).verify().differences == []


def test_a_change_of_zone_makes_the_days_anew_and_keeps_those_before(store):
    poll(store)
    read(store, "phone", row(1, "2"), row(9, "4"))
    poll(store, NOON + 2 * DAY, spent="3")
    poll(store, NOON + 2 * DAY + HOUR, zone="Pacific/Auckland", spent="3")

    found = days(store, "ben")

    own = days(store, "ben", counted_only=True)
    assert min(own) == TODAY + DAY  # it was after midnight there
    assert (found[TODAY - DAY].amounts.spend_nanos, found[TODAY - 9 * DAY].amounts.spend_nanos) == (usd("2"), usd("4"))
    assert set(found) - set(own) == set(ON_OFFER)


def test_the_folded_past_of_an_owner_is_void_when_the_days_before_change_and_only_then(store):
    poll(store)
    read(store, "phone", row(9, "4"))
    for n in range(1, 9):
        poll(store, NOON + n * DAY, spent=str(n))
    assert folded(store, "ben")

    read(store, "phone", row(9, "4"), days=DaySpan(TODAY - 29 * DAY, TODAY + DAY), when=NOON + DAY)
    assert folded(store, "ben")

    read(store, "phone", row(40, "4"), days=DaySpan(TODAY - 60 * DAY, TODAY))
    assert not folded(store, "ben")
    assert folded(store, "ana")


def folded(store, owner):
    """Return whether the older days of *owner* are folded."""
    theirs = select(OWNER_PAST).join(OWNER).where(OWNER.c.name == owner)
    with store.reading() as ledger:
        return bool(ledger.connection.execute(theirs).all())


def test_a_key_that_moves_takes_its_days_to_whoever_has_it(store):
    poll(store)
    for name in NAMES:
        read(store, name, row(1, "2"))
    moved = (MAP[0], replace(MAP[1], owner="ben"), MAP[2])
    poll(store, NOON + MINUTE, entries=moved)

    for name in NAMES:
        read(store, name, row(1, "2"), when=NOON + HOUR)

    assert (spent(store, "ana")[1], spent(store, "ben")[1]) == (usd("2"), usd("4"))


def test_when_a_key_was_made_and_whether_it_can_have_spent_comes_from_the_last_sweep(store):
    poll(store, created="2026-11-15 09:00", last_used=at("2026-11-17 10:00"))
    past = pasts(store)[key_hash("phone")]

    assert past.created_on == date(2026, 11, 15)
    assert past.is_idle_on(DaySpan(date(2026, 11, 18), TODAY))
    assert not past.is_idle_on(DaySpan(date(2026, 11, 17), TODAY))
    assert not past.is_idle_on(DaySpan(date(2026, 11, 18), TODAY + DAY))


def test_a_key_that_the_last_sweep_did_not_show_may_have_spent(store):
    unused = at("2026-11-01 10:00")
    lately = DaySpan(date(2026, 11, 18), TODAY)
    poll(store, last_used=unused)
    assert pasts(store)[key_hash("phone")].is_idle_on(lately)

    poll(store, NOON + MINUTE, last_used=unused, shown=MAP[:2])

    assert pasts(store)[key_hash("laptop")].is_idle_on(lately)
    assert not pasts(store)[key_hash("phone")].is_idle_on(lately)


def test_the_account_s_own_days_are_kept_by_source(store):
    told = DaysTold(DaySpan(TODAY - 2 * DAY, TODAY), (row(1, "2", byok="1"), row(1, "3")))
    for when in (NOON, NOON + HOUR):
        store.transact(lambda _: None, lambda _, when=when: AccountRead(told, when), activity.write_account)

    with store.reading() as ledger:
        kept = [tuple(found) for found in ledger.connection.execute(ACCOUNT_DAY.select().order_by(ACCOUNT_DAY.c.day))]
        assert activity.account_read_at(ledger.connection) == NOON + HOUR
    assert [found[:4] for found in kept] == [
        ("activity", "2026-11-18", 0, 0),
        ("activity", "2026-11-19", usd("5"), usd("1")),
    ]


# --- As a whole ------------------------------------------------------------------------------------------------------

some_rows = st.lists(
    st.builds(row, st.integers(1, 30), st.sampled_from(["0", "1", "2.5"]), byok=st.sampled_from(["0", "1"])), max_size=6
)


def test_whatever_is_read_in_whatever_order_days_sum_to_rows_and_zones_change_nothing(store):
    def emptied():
        with store._writer.begin() as connection:
            for table in reversed(TABLES):
                connection.execute(table.delete())

    @settings(max_examples=25, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(sorted(NAMES)), some_rows, min_size=3, max_size=3),
        st.lists(st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]), min_size=1, max_size=3),
    )
    def check(told, zones):
        emptied()
        poll(store, zone=zones[0])
        for name, rows in told.items():
            read(store, name, *rows, zone=zones[0])
        for n, zone in enumerate(zones):
            poll(store, NOON + (n + 1) * DAY, zone=zone, spent=str(n))
        for owner in ("ana", "ben"):
            before = {day: found.amounts for day, found in days(store, owner).items() if day < TODAY}
            theirs = [one for name, rows in told.items() if NAMES[name] == owner for one in rows]
            assert before == {
                day: Amounts(
                    spend_nanos=sum(one.credits_nanos for one in theirs if one.date == day),
                    byok_nanos=sum(one.byok_nanos for one in theirs if one.date == day),
                )
                for day in ON_OFFER
            }

    check()
