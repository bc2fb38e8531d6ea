"""Whose keys are polled now: by the calendar on both databases, and among replicas on Postgres."""

import threading
from collections import Counter
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.errors import StoreError, Superseded
from reckon.store import Claim, open_store
from tests.builders import HOUR, MINUTE, SECOND, at, book_of, contents, key_hash, policy, snapshot, usd, watched
from tests.store.faults import failing, lost_connection, whenever
from tests.store.meanwhile import DEADLINE_SECONDS, in_another_thread, wait_until

NOON = at("2026-11-20 12:00")
LEASE = 30 * SECOND
TEAM = ("ana", "ben", "cleo")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def claim(store, owners=TEAM, now=NOON, **terms):
    return store.claim_owners(owners, now, **{"holder": "one", "lease": LEASE, "every": MINUTE} | terms)


def commit(store, claimed, now=NOON, *, total="1", next_due=None, **others):
    """Commit what was seen of one key of each owner that was claimed."""
    poll = Poll(tuple(snapshot(now, total, key=owner) for owner in sorted(claimed.owners)))
    owner_map = tuple(watched(owner, owner) for owner in TEAM)
    return store.commit_poll(
        lambda state: plans.after_poll(state, poll, owner_map, policy(), now),
        policy(),
        now,
        claim=claimed,
        next_due=next_due or now + MINUTE,
        **others,
    )


# --- Due -----------------------------------------------------------------------------------------------------------


def test_owners_that_were_never_polled_are_due_and_become_known(store):
    assert claim(store).owners == {*TEAM}

    with store.reading() as ledger:
        assert [owner.name for owner in ledger.every_owner()] == [*TEAM]
        assert {owner.began_at for owner in ledger.every_owner()} == {None}
    assert store.next_due(TEAM) is None


def test_an_owner_is_due_again_at_the_instant_that_was_written_and_not_before(store):
    commit(store, claim(store, ["ana"]))

    assert claim(store, now=NOON + 59 * SECOND).owners == {"ben", "cleo"}
    assert claim(store, ["ana"], NOON + 59 * SECOND).owners == frozenset()
    assert claim(store, ["ana"], NOON + 60 * SECOND).owners == {"ana"}


def test_owners_due_or_not_are_claimed_by_who_asks_for_all(store):
    commit(store, claim(store))

    assert claim(store, now=NOON + SECOND).owners == frozenset()
    assert claim(store, now=NOON + SECOND, all_due=True).owners == {*TEAM}


def test_no_more_owners_are_claimed_than_wanted_those_known_longest_first(store):
    claimed = claim(store, most=2)
    assert claimed.owners == {"ana", "ben"}
    commit(store, claimed)

    assert claim(store, most=2).owners == {"cleo"}


def test_nobody_is_claimed_where_nobody_is_watched(store):
    claimed = claim(store, [])

    assert claimed == Claim("one", frozenset())
    store.release(claimed)
    assert store.next_due([]) is None
    assert book_of(store).owners == {}


def test_the_first_of_the_owners_says_when_to_look_again(store):
    commit(store, claim(store, ["ana"]), next_due=NOON + HOUR)
    commit(store, claim(store, ["ben"]), next_due=NOON + MINUTE)

    assert store.next_due(["ana"]) == NOON + HOUR
    assert store.next_due(["ana", "ben"]) == NOON + MINUTE
    assert store.next_due(["ana", "ben", "nobody"]) is None


def test_a_clock_that_was_set_back_leaves_nobody_waiting_for_the_time_it_showed(store):
    commit(store, claim(store), next_due=NOON + MINUTE)
    by_clocks_that_differ = timedelta(minutes=10) if store.is_shared else timedelta(0)

    assert claim(store, now=NOON - by_clocks_that_differ).owners == frozenset()
    assert claim(store, now=NOON - by_clocks_that_differ - SECOND).owners == {*TEAM}


def test_a_claim_given_back_leaves_its_owners_due_as_they_were(store):
    commit(store, claim(store, ["ana"]))

    store.release(claim(store, now=NOON + MINUTE))

    assert store.next_due(["ana"]) == NOON + MINUTE
    assert claim(store, now=NOON + MINUTE, holder="two").owners == {*TEAM}


def test_a_poll_that_does_not_say_when_to_come_again_leaves_its_owners_due_as_they_were(store):
    claimed = claim(store, ["ana"])

    store.commit_poll(
        lambda state: plans.after_poll(state, Poll(), (watched(),), policy(), NOON), policy(), NOON, claim=claimed
    )

    assert claim(store, ["ana"], holder="two").owners == {"ana"}


def test_a_poll_does_not_forget_when_the_owners_it_closes_days_of_are_due(store):
    commit(store, claim(store), next_due=NOON + 40 * HOUR)

    commit(store, Claim("one", frozenset()), NOON + 24 * HOUR)

    assert book_of(store).day("2026-11-20", "ana") is not None
    assert store.next_due(TEAM) == NOON + 40 * HOUR


def test_the_ids_of_owners_are_not_used_up_by_claims(store):
    for _ in range(20):
        store.release(claim(store))
    claim(store, ["dan"])

    with store.reading() as ledger:
        assert ledger.connection.exec_driver_sql("SELECT id FROM owner ORDER BY id").scalars().all() == [1, 2, 3, 4]


def test_claiming_and_committing_is_a_handful_of_statements_whatever_the_number_of_owners(store):
    def statements(owners):
        names = [f"{owners} {n}" for n in range(owners)]
        for hour in range(2):
            now = NOON + hour * HOUR
            executed = []
            with whenever("before_cursor_execute", lambda *_, executed=executed: executed.append(None)):
                claimed = claim(store, names, now)
                poll = Poll(tuple(snapshot(now, str(hour), key=name) for name in names))
                owner_map = tuple(watched(name, name) for name in names)
                store.commit_poll(
                    lambda state, poll=poll, owner_map=owner_map, now=now: plans.after_poll(
                        state, poll, owner_map, policy(), now
                    ),
                    policy(),
                    now,
                    seen=poll,
                    watched=owner_map,
                    claim=claimed,
                    next_due=now + MINUTE,
                )
            assert len(claimed.owners) == owners
        return len(executed)

    assert statements(1) == statements(300) < 32


# --- Trouble -------------------------------------------------------------------------------------------------------


def all_of(store):
    """Return everything that a claim or its commit may change."""
    with store.reading() as ledger:
        due = ledger.connection.exec_driver_sql("SELECT name, due_at, lease_until, holder FROM owner ORDER BY name")
        return contents(book_of(store)), [tuple(row) for row in due]


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_a_claim_is_made_and_committed_whichever_statement_the_connection_is_lost_at(store, moment):
    for number in range(100):
        now = NOON + number * HOUR
        with failing(moment, number, lost_connection()) as raised:
            claimed = claim(store, now=now)
            commit(store, claimed, now, total=str(number + 1))
        assert claimed.owners == {*TEAM}, f"statement {number}"
        assert store.next_due(TEAM) == now + MINUTE, f"statement {number}"
        if not raised:
            break

    assert number > 15
    assert book_of(store).amounts("ana").spend_nanos == usd(number)


@pytest.mark.parametrize("arrives", [True, False], ids=["it arrived", "it did not arrive"])
def test_a_commit_whose_answer_was_lost_is_not_taken_for_another_replicas(store, arrives):
    commit(store, claim(store))
    later = NOON + MINUTE
    claimed = claim(store, now=later)
    lost = []

    def lose(connection):
        if not lost:
            lost.append(True)
            if arrives:
                connection.connection.commit()
            raise lost_connection()

    with whenever("commit", lose):
        commit(store, claimed, later, total="2")

    assert lost
    assert book_of(store).amounts("ana").spend_nanos == usd("1")
    assert store.next_due(TEAM) == later + MINUTE
    assert claim(store, now=later + MINUTE, holder="two").owners == {*TEAM}


def test_a_claim_that_cannot_be_written_claims_nobody(store):
    with failing("before_cursor_execute", 0, lost_connection(), times=100), pytest.raises(StoreError, match="lost"):
        claim(store)

    assert book_of(store).owners == {}
    assert claim(store, holder="two").owners == {*TEAM}


def test_sqlite_keeps_no_leases(sqlite_url):
    with open_store(sqlite_url, writes=True) as store:
        assert claim(store).owners == claim(store, holder="two").owners == {*TEAM}

        _, due = all_of(store)
        assert {row[1:] for row in due} == {(None, None, None)}
        store.renew(claim(store), LEASE)
        commit(store, Claim("nobody", frozenset(TEAM)))
        assert store.next_due(TEAM) == NOON + MINUTE
        assert store.take("deliver", "one", LEASE)
        assert store.take("deliver", "two", LEASE)
        store.give_back("deliver", "one")


# --- Replicas ------------------------------------------------------------------------------------------------------


@pytest.fixture
def first(postgres_url):
    with open_store(postgres_url, writes=True) as opened:
        yield opened


@pytest.fixture
def second(postgres_url):
    with open_store(postgres_url, writes=True) as opened:
        yield opened


@pytest.fixture
def outside(postgres_url):
    """A connection of somebody else's."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        yield connection


def let_leases_run_out(outside):
    for table in ("owner", "due"):
        outside.execute(f"UPDATE {table} SET lease_until = lease_until - 31")  # noqa: S608 - our own words


def seconds_left(outside):
    (left,) = outside.execute("SELECT min(lease_until) - extract(epoch FROM clock_timestamp()) FROM owner").fetchone()
    return float(left)


def test_what_one_replica_has_claimed_no_other_can(first, second):
    claimed = claim(first, ["ana", "ben"])

    assert claim(second, holder="two").owners == {"cleo"}
    assert claim(second, holder="two", all_due=True).owners == frozenset()
    assert claim(first).owners == frozenset()

    first.release(claimed)
    assert claim(second, holder="two").owners == {"ana", "ben"}


def test_a_claim_holds_for_its_lease_by_the_databases_clock_and_can_be_renewed(first, second, outside):
    claimed = claim(first, now=at("2031-01-01 00:00"))
    assert 30 <= seconds_left(outside) < 32

    outside.execute("UPDATE owner SET lease_until = lease_until - 20")
    assert claim(second, now=at("2031-01-01 00:00"), holder="two").owners == frozenset()
    first.renew(claimed, LEASE)

    assert 30 <= seconds_left(outside) < 32


def test_what_was_given_back_is_not_renewed(first, second, outside):
    claimed = claim(first)
    commit(first, claimed)

    first.renew(claimed, LEASE)

    assert outside.execute("SELECT count(*) FROM owner WHERE lease_until IS NOT NULL").fetchone() == (0,)
    assert claim(second, now=NOON + MINUTE, holder="two").owners == {*TEAM}


def test_owners_whose_lease_has_run_out_are_taken_over(first, second, outside):
    commit(first, claim(first))
    stale = claim(first, now=NOON + MINUTE)
    let_leases_run_out(outside)

    fresh = claim(second, now=NOON + MINUTE, holder="two")
    commit(second, fresh, NOON + MINUTE, total="3")

    assert fresh.owners == stale.owners == {*TEAM}
    assert book_of(first).amounts("ana").spend_nanos == usd("2")
    assert first.next_due(TEAM) == NOON + 2 * MINUTE


@pytest.mark.parametrize("is_done", [True, False], ids=["and has committed", "and is asking"])
def test_a_replica_whose_owners_another_has_taken_over_is_refused_and_nothing_changes(first, second, outside, is_done):
    commit(first, claim(first))
    stale = claim(first, now=NOON + MINUTE)
    let_leases_run_out(outside)
    fresh = claim(second, ["ben"], now=NOON + MINUTE, holder="two")
    if is_done:
        commit(second, fresh, NOON + MINUTE, total="3")
    before = all_of(first)

    with pytest.raises(Superseded, match=r"taken over ben:"):
        commit(first, stale, NOON + MINUTE, total="5")
    first.renew(stale, LEASE)
    first.release(stale)

    after = all_of(first)
    assert after[0] == before[0]
    assert after[1][1] == before[1][1]
    assert claim(first, ["ben"], NOON + MINUTE).owners == frozenset()
    if not is_done:
        commit(second, fresh, NOON + MINUTE, total="3")
    assert book_of(first).amounts("ben").spend_nanos == usd("2")


def test_a_replica_that_nobody_has_replaced_may_commit_late(first, outside):
    commit(first, claim(first))
    late = claim(first, now=NOON + MINUTE)
    let_leases_run_out(outside)

    commit(first, late, NOON + MINUTE, total="5")

    assert book_of(first).amounts("ana").spend_nanos == usd("4")
    assert claim(first, now=NOON + 2 * MINUTE).owners == {*TEAM}


def test_while_one_replica_decides_another_can_claim(first, second):
    commit(first, claim(first))
    mine = claim(first, ["ana"], now=NOON + MINUTE)
    theirs = []

    def decide(state):
        theirs.append(claim(second, now=NOON + MINUTE, holder="two"))
        poll = Poll((snapshot(NOON + MINUTE, "2", key="ana"),))
        return plans.after_poll(state, poll, tuple(watched(name, name) for name in TEAM), policy(), NOON + MINUTE)

    first.commit_poll(decide, policy(), NOON + MINUTE, claim=mine, next_due=NOON + 2 * MINUTE)

    assert [claimed.owners for claimed in theirs] == [{"ben", "cleo"}]


def test_a_replica_that_is_about_to_commit_cannot_be_replaced_any_more(first, second, outside):
    commit(first, claim(first))
    mine = claim(first, now=NOON + MINUTE)
    let_leases_run_out(outside)
    theirs = []

    def decide(state):
        theirs.append(claim(second, now=NOON + MINUTE, holder="two"))
        poll = Poll((snapshot(NOON + MINUTE, "2", key="ana"),))
        return plans.after_poll(state, poll, tuple(watched(name, name) for name in TEAM), policy(), NOON + MINUTE)

    first.commit_poll(decide, policy(), NOON + MINUTE, claim=mine, next_due=NOON + 2 * MINUTE)

    assert theirs == [Claim("two", frozenset())]
    assert book_of(first).amounts("ana").spend_nanos == usd("1")


def test_replicas_that_claim_at_once_never_have_the_same_owner(first, second):
    owners = [f"owner {n}" for n in range(12)]
    rounds = 150
    have: set[str] = set()
    guard = threading.Lock()
    claimed_by = Counter()

    def replica(store, holder):
        for n in range(rounds):
            claimed = claim(store, owners, holder=holder, all_due=True, most=1 + n % 7)
            with guard:
                assert not have & claimed.owners
                have.update(claimed.owners)
                claimed_by[holder] += len(claimed.owners)
            with guard:
                have.difference_update(claimed.owners)
            store.release(claimed)

    with in_another_thread(lambda: replica(second, "two")):
        replica(first, "one")

    assert min(claimed_by["one"], claimed_by["two"]) > rounds


def test_replicas_divide_the_work_and_poll_no_owner_twice_in_an_interval(first, second):
    owners = [f"owner {n}" for n in range(6)]
    owner_map = tuple(watched(name, name) for name in owners)
    rounds = 15
    together = threading.Barrier(2, timeout=DEADLINE_SECONDS)
    polled = Counter()

    def replica(store, holder):
        for n in range(rounds):
            now = NOON + n * MINUTE
            together.wait()
            while (claimed := claim(store, owners, now, holder=holder, most=2)).owners:
                polled.update((n, owner) for owner in claimed.owners)
                poll = Poll(tuple(snapshot(now, str(n), key=name) for name in claimed.owners))
                store.commit_poll(
                    lambda state, poll=poll, now=now: plans.after_poll(state, poll, owner_map, policy(), now),
                    policy(),
                    now,
                    claim=claimed,
                    next_due=now + MINUTE,
                )

    with in_another_thread(lambda: replica(second, "two")):
        replica(first, "one")

    assert polled == Counter((n, owner) for n in range(rounds) for owner in owners)
    book = book_of(first)
    assert {book.amounts(name).spend_nanos for name in owners} == {usd(rounds - 1)}
    assert {len(book.snapshots[key_hash(name)]) for name in owners} == {rounds}


# --- What one replica takes for itself -----------------------------------------------------------------------------


def test_one_replica_has_what_it_took_until_it_gives_it_back(first, second):
    assert first.take("deliver", "one", LEASE)
    assert not second.take("deliver", "two", LEASE)
    assert second.take("something else", "two", LEASE)
    assert first.take("deliver", "one", LEASE)

    second.give_back("deliver", "two")
    assert not second.take("deliver", "two", LEASE)

    first.give_back("deliver", "one")
    assert second.take("deliver", "two", LEASE)
    assert not first.take("deliver", "one", LEASE)


def test_what_a_replica_took_is_free_when_its_lease_has_run_out(first, second, outside):
    first.take("deliver", "one", LEASE)
    let_leases_run_out(outside)

    assert second.take("deliver", "two", LEASE)
    assert not first.take("deliver", "one", LEASE)


def test_of_many_that_take_at_once_one_has_it(first, second):
    rounds = 100
    together = threading.Barrier(2, timeout=DEADLINE_SECONDS)
    taken = Counter()

    def replica(store, holder):
        for n in range(rounds):
            together.wait()
            if store.take(f"thing {n}", holder, LEASE):
                taken[n] += 1

    with in_another_thread(lambda: replica(second, "two")):
        replica(first, "one")

    assert taken == Counter(range(rounds))


def test_a_replica_that_takes_while_another_does_sees_what_that_one_committed(first, outside):
    first.take("deliver", "one", LEASE)
    outside.execute("BEGIN")
    outside.execute("UPDATE due SET holder = 'two' WHERE what = 'deliver'")
    kept = []

    with in_another_thread(lambda: kept.append(first.take("deliver", "one", LEASE))):
        wait_until(lambda: outside.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone() != (0,))
        outside.execute("COMMIT")

    assert kept == [False]
