"""Polling as a job: who is asked when, and that trouble with the store or the lease costs neither money nor a claim."""

import asyncio
import time
from datetime import timedelta

import pytest

from reckon.core.polls import Poll
from reckon.errors import ClockUnset, StoreError, Superseded
from reckon.jobs.poll import Terms, poll
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, policy, snapshot, watched
from tests.store.faults import failing, lost_connection

NOON = at("2026-11-20 12:00")
LEASE = MINUTE
MAP = (watched("laptop", "ana"), watched("ci", "ben"))
OWNERS = ("ana", "ben")


class Scripted:
    """A source that is asked, and answers for every key with what it has."""

    def __init__(self):
        self.asked: list[list[str]] = []
        self.total = 10
        self.before_the_answer = None

    async def poll(self, keys):
        self.asked.append(sorted(key.name for key in keys))
        if self.before_the_answer:
            await self.before_the_answer()
        self.total += 1
        return Poll(tuple(snapshot(NOON, str(self.total), key=key.name) for key in keys))

    async def balances(self, _):
        raise AssertionError("nobody asked for a balance")


@pytest.fixture
def source():
    return Scripted()


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def polled(source, store, now, *, holder="one", lease=LEASE, every=MINUTE, **how):
    terms = Terms(holder, lease, None, **how)
    return asyncio.run(poll(source, store, MAP, OWNERS, policy(poll_every=every), terms, now))


@pytest.mark.parametrize("fraction", [0, 0.1, 0.499999, 0.5, 0.500001, 0.9, 0.999999])
@pytest.mark.parametrize("every", [SECOND, MINUTE, HOUR])
def test_a_key_is_asked_once_in_an_interval_at_whatever_moment_of_a_second(source, store, fraction, every):
    now = NOON + timedelta(seconds=fraction)

    assert polled(source, store, now, every=every).plan.polled == 2
    assert polled(source, store, now, every=every) is None
    assert polled(source, store, now + every / 2 - timedelta(milliseconds=1), every=every) is None
    assert polled(source, store, now + every + SECOND, every=every).plan.polled == 2
    assert source.asked == [["ci", "laptop"]] * 2


def test_a_clock_that_was_set_back_keeps_nobody_from_being_asked(source, store):
    polled(source, store, NOON)

    assert polled(source, store, NOON - DAY).plan.polled == 2
    assert polled(source, store, NOON - DAY) is None


def test_all_that_is_due_is_asked_though_only_so_many_owners_at_a_time(source, store):
    assert polled(source, store, NOON, most_owners=1).owners == {"ana"}
    assert polled(source, store, NOON, most_owners=1).owners == {"ben"}
    assert polled(source, store, NOON, most_owners=1) is None


def test_a_clock_that_was_never_set_asks_nobody(source, store):
    with pytest.raises(ClockUnset):
        polled(source, store, at("2019-01-01 00:00"))

    assert source.asked == []
    assert polled(source, store, NOON).plan.polled == 2


@pytest.mark.parametrize("store_is_broken", [False, True])
def test_a_poll_that_is_cancelled_ends_as_cancelled_and_leaves_its_owners_to_others(source, store, store_is_broken):
    broken = failing("before_cursor_execute", 0, lost_connection(), times=1_000)

    async def cancelled():
        if store_is_broken:
            broken.__enter__()
        raise asyncio.CancelledError

    source.before_the_answer = cancelled
    with pytest.raises(asyncio.CancelledError):
        polled(source, store, NOON)
    if store_is_broken:
        broken.__exit__(None, None, None)
    source.before_the_answer = None

    others = polled(source, store, NOON, holder="two")
    if store_is_broken and store.name.startswith("postgresql"):
        assert others is None  # until the lease has run out
    else:
        assert others.plan.polled == 2


def test_a_poll_that_was_stopped_for_longer_than_its_lease_is_given_up_at_once(source, postgres_url):
    lease = SECOND

    async def stopped():
        time.sleep(2.5 * lease.total_seconds())  # noqa: ASYNC251 - as by SIGSTOP: nothing of this process runs
        await asyncio.sleep(20)

    source.before_the_answer = stopped
    with open_store(postgres_url, writes=True) as store:
        with pytest.raises(Superseded, match="lease"):
            polled(source, store, NOON, lease=lease)
        source.before_the_answer = None

        assert polled(source, store, NOON, holder="two").plan.polled == 2


def test_a_poll_that_cannot_be_written_is_written_by_the_next_one(source, store):
    polled(source, store, NOON)
    with failing("before_cursor_execute", 0, lost_connection(), times=1_000), pytest.raises(StoreError):
        polled(source, store, NOON + MINUTE)
    later = polled(source, store, NOON + 2 * MINUTE)

    assert later.plan.spend_nanos > 0
