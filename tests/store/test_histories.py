"""Histories are read folded: what is usual by them is what is usual by every closed day, however they came about."""

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckon.core import plans
from reckon.core.baseline import Baseline, History, history, usual
from reckon.core.noticing import Concern
from reckon.core.polls import Poll
from reckon.core.records import Amounts, OwnerDay, TotalState
from reckon.store import histories, open_store
from reckon.store.tables import OWNER_PAST, TABLES
from tests.builders import DAY, at, policy, watched

NOON = at("2026-12-20 12:00")
FIRST = date(2026, 11, 1)
LAST = FIRST + 30 * DAY
OWNERS = ("ana", "ben")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def write(store, *days, rebuild=False):
    """Commit a poll that closed these days, or added to them."""

    def decide(state):
        plan = plans.after_poll(state, Poll(), tuple(watched(owner, owner) for owner in OWNERS), policy(), NOON)
        return replace(plan, owner_days=days, rebuild_days=rebuild)

    store.commit_poll(decide, policy(), NOON)


def day(n, spend=0, *, owner="ana", byok=0, correction=0, state=TotalState.SETTLED):
    return OwnerDay(owner, FIRST + n * DAY, Amounts(spend, correction, byok), state)


def read(store, since, half_seen=(), *, byok=True, owner="ana"):
    with store.reading() as ledger:
        return histories.read(ledger.connection, {owner: Concern(since, frozenset(half_seen))}, byok=byok).get(
            owner, History()
        )


def kept(store):
    """Return how far the histories are folded on disk."""
    with store.reading() as ledger:
        return {(row.owner_id, row.byok): row.before for row in ledger.connection.execute(OWNER_PAST.select())}


amounts = st.sampled_from([0, 0, 1, 10**9, 10**17])
rows = st.builds(
    day,
    st.integers(0, 30),
    amounts,
    owner=st.sampled_from(OWNERS),
    byok=amounts,
    correction=st.sampled_from([0, 0, -1]),
    state=st.sampled_from(TotalState),
)
closes = st.lists(rows, max_size=12, unique_by=lambda row: (row.owner, row.day)).map(tuple)
some_days = st.sets(st.integers(0, 30).map(lambda n: FIRST + n * DAY), max_size=3)


@pytest.fixture
def emptied(store):
    def empty():
        with store._writer.begin() as connection:
            for table in reversed(TABLES):
                connection.execute(table.delete())

    return empty


def test_what_is_usual_by_a_folded_history_is_what_is_usual_by_all_its_days(store, emptied):
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(closes, st.booleans()), max_size=5), some_days, st.integers(1, 31), st.integers(0, 9))
    def check(story, half_seen, cut, further):
        emptied()
        for found, rebuild in story:
            write(store, *(row for row in found if fits(store, row, rebuild)), rebuild=rebuild)
        since = FIRST + cut * DAY
        before = since + further * DAY
        with store.reading() as ledger:
            days = ledger.owner_days()
        for owner in OWNERS:
            theirs = [row for row in days if row.owner == owner]
            for byok in (False, True):
                known = read(store, since, half_seen, byok=byok, owner=owner)
                expected = Baseline.of(history(theirs, before, half_seen, byok=byok))
                assert usual(known, before, half_seen, byok=byok) == expected
                assert [row for row in known.days if row.day >= since] == [row for row in theirs if row.day >= since]

    check()


def fits(store, row, rebuild):
    """Return whether a row may be written: an amount fits 64 bits, and an idle day comes before no other."""
    with store.reading() as ledger:
        days = [] if rebuild else [held for held in ledger.owner_days() if held.owner == row.owner]
    held = [one for one in days if one.day == row.day]
    is_idle = row.amounts == Amounts()
    return not any(one.amounts.spend_nanos or one.amounts.byok_nanos for one in held) and (
        bool(held) or not is_idle or all(one.day < row.day for one in days)
    )


def test_closes_fold_all_but_the_last_days_and_a_poll_reads_no_more_than_it_asks_for(store):
    for n in range(20):
        write(store, day(n, 10**9 + n))

    known = read(store, FIRST + 17 * DAY)

    assert set(kept(store).values()) == {(FIRST + 16 * DAY).isoformat()}
    assert len(kept(store)) == 2
    assert [row.day for row in known.days] == [FIRST + n * DAY for n in (17, 18, 19)]
    assert known.past.folded == Baseline.of([10**9 + n for n in range(17)])


def test_late_money_in_a_folded_day_is_in_the_fold(store):
    for n in range(20):
        write(store, day(n, 10**9))
    write(store, day(3, 5 * 10**9))

    known = read(store, FIRST + 17 * DAY)

    assert known.past.folded == Baseline.of([10**9] * 16 + [6 * 10**9])


def test_a_day_that_is_half_seen_or_not_settled_is_singled_out(store):
    for n in range(20):
        write(store, day(n, 10**9, state=TotalState.UNKNOWN if n == 4 else TotalState.SETTLED))

    known = read(store, LAST, [FIRST + 2 * DAY])

    assert {row.day for row in known.days if row.day < FIRST + 16 * DAY} == {FIRST + 2 * DAY, FIRST + 4 * DAY}


def test_a_poll_that_reaches_back_into_what_is_folded_gets_those_days_one_by_one(store):
    for n in range(20):
        write(store, day(n, 10**9))

    known = read(store, FIRST + 2 * DAY)

    assert known.past.before == FIRST + 2 * DAY
    assert known.past.folded == Baseline.of([10**9] * 2)
    assert len(known.days) == 18


def test_a_change_of_zone_forgets_what_was_folded(store):
    for n in range(20):
        write(store, day(n, 10**9))
    write(store, *(day(n, 2 * 10**9) for n in range(20)), rebuild=True)

    assert read(store, FIRST + 17 * DAY).past.folded == Baseline.of([2 * 10**9] * 17)
    write(store, rebuild=True)
    assert kept(store) == {}
