"""Postgres: two replicas, lost connections, restarts. Whatever happens, what the counters show is counted once."""

import threading
from contextlib import closing, suppress

import psycopg
import pytest

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.core.windows import Window
from reckon.errors import StoreError
from reckon.store import open_store
from tests.builders import MINUTE, SECOND, at, book_of, failure, key_hash, policy, snapshot, total_of, usd, watched
from tests.store.meanwhile import DEADLINE_SECONDS, in_another_thread, wait_until

NOON = at("2026-11-20 12:00")


@pytest.fixture
def store(postgres_url):
    with open_store(postgres_url, writes=True) as opened:
        yield opened


@pytest.fixture
def outside(postgres_url):
    """A connection of somebody else's."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        yield connection


def deciding(poll, owner_map=(watched(),), now=NOON):
    return lambda state: plans.after_poll(state, poll, owner_map, policy(), now)


def poll_once(store, minute, total):
    return store.commit_poll(deciding(Poll((snapshot(NOON + minute * MINUTE, total),))), policy(), NOON)


def spent(store):
    with store.reading() as ledger:
        (held,) = ledger.totals([Window(at("1970-01-01 00:00"), at("2100-01-01 00:00"))])
    return total_of(total.amounts for total in held).spend_nanos


# --- Two replicas --------------------------------------------------------------------------------------------------


def waiting_for_a_lock(outside):
    return outside.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()[0]


def test_a_replica_decides_on_what_the_other_has_committed(store, postgres_url, outside):
    poll_once(store, 0, "0")
    growth = []

    def decide_late(state):
        growth.append(state.keys[key_hash("key")].counters.credits.mark_nanos)
        return deciding(Poll((snapshot(NOON + 2 * MINUTE, "120"),)))(state)

    with open_store(postgres_url, writes=True) as other:

        def decide_slowly(state):
            late.start()
            wait_until(lambda: waiting_for_a_lock(outside))
            return deciding(Poll((snapshot(NOON + MINUTE, "60"),)))(state)

        late = threading.Thread(target=other.commit_poll, args=(decide_late, policy(), NOON))
        store.commit_poll(decide_slowly, policy(), NOON)
        late.join(DEADLINE_SECONDS)

    assert growth == [usd("60")]
    assert spent(store) == usd("120")


def test_replicas_that_poll_the_same_keys_at_once_count_every_growth_once(store, postgres_url):
    keys = ("a", "b", "c")
    owner_map = tuple(watched(name, owner) for name, owner in zip(keys, ("ana", "ben", "ana"), strict=True))
    rounds, replicas = 25, 3
    together = threading.Barrier(replicas, timeout=DEADLINE_SECONDS)

    def replica(own):
        for n in range(rounds):
            poll = Poll(tuple(snapshot(NOON + n * MINUTE, f"{n}.{n:09d}", key=name) for name in keys))
            together.wait()
            own.commit_poll(deciding(poll, owner_map, NOON + n * MINUTE), policy(), NOON + n * MINUTE)

    with open_store(postgres_url, writes=True) as second, open_store(postgres_url, writes=True) as third:
        with in_another_thread(lambda: replica(second)), in_another_thread(lambda: replica(third)):
            replica(store)

    book = book_of(store)
    assert spent(store) == len(keys) * usd("24.000000024")
    assert {len(rows) for rows in book.snapshots.values()} == {rounds}
    assert book.corrections == {}


def test_a_first_poll_of_two_replicas_at_once_opens_every_key_once(store, postgres_url):
    # Nothing is there yet that one of them could hold against the other.
    owner_map = (watched("a"), watched("b"))
    both = threading.Barrier(2)

    def decide(poll):
        def wait_and_decide(state):
            with suppress(threading.BrokenBarrierError):  # the other one is kept waiting, which is as good
                both.wait(1)
            return deciding(poll, owner_map)(state)

        return wait_and_decide

    saw_both = Poll((snapshot(NOON, "10", key="a"), snapshot(NOON, "20", key="b")))
    saw_one = Poll((snapshot(NOON + SECOND, "11", key="a"),), (failure("b"),))
    with open_store(postgres_url, writes=True) as other:
        with in_another_thread(lambda: other.commit_poll(decide(saw_one), policy(), NOON)):
            store.commit_poll(decide(saw_both), policy(), NOON)
    later = Poll((snapshot(NOON + MINUTE, "12", key="a"), snapshot(NOON + MINUTE, "22", key="b")))
    store.commit_poll(deciding(later, owner_map, NOON + MINUTE), policy(), NOON + MINUTE)

    book = book_of(store)
    opened = {name: book.key(name).counters.credits.opening.total_nanos for name in ("a", "b")}
    assert opened["b"] in {usd("20"), usd("22")}
    assert spent(store) == usd("34") - opened["a"] - opened["b"]
    assert all(book.snapshots[key_hash(name)][-1].n == book.key(name).counters.n for name in ("a", "b"))


def test_replicas_that_start_at_once_make_one_ledger(postgres_url):
    together = threading.Barrier(3, timeout=DEADLINE_SECONDS)

    def start():
        together.wait()
        open_store(postgres_url, writes=True).close()

    with in_another_thread(start), in_another_thread(start):
        start()

    with open_store(postgres_url, writes=False) as store:
        assert book_of(store).keys == {}


# --- Lost connections ----------------------------------------------------------------------------------------------


def terminate_all(outside):
    """End every connection to this database but our own; return how many there were."""
    return outside.execute(
        "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    ).fetchone()[0]


def test_an_idle_connection_that_was_lost_is_not_noticed(store, outside):
    poll_once(store, 0, "10")
    assert terminate_all(outside)

    poll_once(store, 1, "11")
    assert terminate_all(outside)

    assert spent(store) == usd("1")


def test_a_connection_lost_in_the_middle_of_a_transaction_costs_nothing(store, outside):
    poll_once(store, 0, "10")
    decisions = []

    def decide(state):
        decisions.append(state)
        if len(decisions) == 1:
            assert terminate_all(outside)
        return deciding(Poll((snapshot(NOON + MINUTE, "11"),)))(state)

    plan = store.commit_poll(decide, policy(), NOON)

    assert len(decisions) == 2
    assert plan.spend_nanos == usd("1")
    poll_once(store, 2, "12.5")
    assert spent(store) == usd("2.5")


def test_connections_lost_all_the_time_are_given_up_in_the_end_and_the_next_poll_spans_the_gap(store, outside):
    poll_once(store, 0, "10")

    def decide(state):
        terminate_all(outside)
        return deciding(Poll((snapshot(NOON + MINUTE, "11"),)))(state)

    with pytest.raises(StoreError):
        store.commit_poll(decide, policy(), NOON)

    assert spent(store) == 0
    poll_once(store, 2, "12.5")
    assert spent(store) == usd("2.5")


def test_a_storm_of_lost_connections_under_three_replicas_leaves_every_total_exact(store, postgres_url, outside):
    polls, replicas = 40, 3
    at_work = threading.Semaphore(0)

    def replica(own):
        try:
            for n in range(polls):
                try:
                    poll_once(own, n, f"{n}.5")
                except StoreError:
                    continue
        finally:
            at_work.release()

    def storm():
        ended = 0
        while ended < replicas:
            terminate_all(outside)
            ended += at_work.acquire(timeout=0.02)

    with open_store(postgres_url, writes=True) as second, open_store(postgres_url, writes=True) as third:
        with in_another_thread(lambda: replica(second)), in_another_thread(lambda: replica(third)):
            with in_another_thread(storm):
                replica(store)
    opening = book_of(store).key().counters.credits.opening.total_nanos
    poll_once(store, polls, "1000")

    assert spent(store) == usd("1000") - opening


# --- A server that does not answer, or not in time ------------------------------------------------------------------


def test_a_server_that_is_not_there_is_told_without_the_password():
    url = "postgresql://reckon:correct-horse@127.0.0.1:1/reckon"

    for writes in (True, False):
        with pytest.raises(StoreError, match=r"reckon:\*\*\*@127.0.0.1:1/reckon.*connection") as refusal:
            open_store(url, writes=writes)
        assert "correct-horse" not in str(refusal.value)


def test_more_readers_than_connections_are_refused_in_words_and_the_writer_with_them(store):
    poll_once(store, 0, "10")

    with store.reading(), store.reading(), store.reading(), store.reading(), store.reading():
        with pytest.raises(StoreError):
            poll_once(store, 1, "11")

    poll_once(store, 2, "12")
    assert spent(store) == usd("2")


def test_no_session_keeps_anything_that_a_pooler_would_hand_to_another(store):
    def limits():
        with store._writer.connect() as connection:
            connection.rollback()
            raw = connection.connection.dbapi_connection
            with raw.cursor() as cursor:
                names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
                return [cursor.execute(f"SHOW {name}").fetchone()[0] for name in names]

    before = limits()
    poll_once(store, 0, "10")
    with store.reading() as ledger:
        inside = ledger.connection.exec_driver_sql("SHOW statement_timeout").scalar()

    assert limits() == before
    assert inside not in before


def test_a_poll_that_somebody_else_keeps_out_waits_for_them(store, outside):
    poll_once(store, 0, "10")
    outside.execute("BEGIN")
    outside.execute("LOCK TABLE owner IN ACCESS EXCLUSIVE MODE")

    with in_another_thread(lambda: poll_once(store, 1, "11")):
        wait_until(lambda: waiting_for_a_lock(outside))
        outside.execute("COMMIT")

    assert spent(store) == usd("1")
