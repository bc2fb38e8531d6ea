"""Delivering to a sink that does as it is told: what is sent, when, and what the outbox knows of it at every moment."""

import asyncio
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from reckon.core.messages import Message
from reckon.core.outbox import Delivery, DeliveryState, Manner, Outcome, Outgoing, Receipt
from reckon.errors import SinkError, StoreError, Superseded
from reckon.jobs.deliver import Deliverer, deliver_now
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, SECOND, at
from tests.store.faults import failing, lost_connection, whenever
from tests.store.meanwhile import in_another_thread

NOON = at("2026-11-20 12:00")
_CONNECTING_SECONDS = 0.001
LEASE = MINUTE
SHORT_LEASE = SECOND


class Clock:
    """Stands still until it is moved; by no more than a second for each message that is sent."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


class Scripted:
    """A sink whose every answer was ordered beforehand; without an order it does what it should."""

    name = "scripted"
    has_pace = True

    def __init__(self, clock, *, can_look=True, has_threads=True):
        self.can_look = can_look
        self.has_threads = has_threads
        self.orders = []
        self.looks = []
        self.said: list[tuple[str, Delivery]] = []
        self.asked: list[str] = []
        self.while_sending = lambda: None
        self._clock = clock

    def order(self, *orders):
        self.orders += orders

    async def deliver(self, delivery):
        self.asked.append(f"deliver {delivery.intent}")
        self.while_sending()
        await asyncio.sleep(_CONNECTING_SECONDS)
        order = self.orders.pop(0) if self.orders else None
        if order is None or getattr(order, "was_said", False):
            self.said.append((self._clock(), delivery))
        if order is not None:
            raise order
        return Receipt("C0FFEE", f"ts-{delivery.intent}")

    async def find(self, delivery):
        self.asked.append(f"find {delivery.intent}")
        if self.looks:
            raise self.looks.pop(0)
        found = [one for _, one in self.said if one.intent == delivery.intent]
        return Receipt("C0FFEE", f"found-{delivery.intent}") if found else None

    def knows(self, receipt):
        return receipt.place == "C0FFEE"

    async def close(self):
        pass

    @property
    def intents(self):
        return [delivery.intent for _, delivery in self.said]


def not_delivered(seconds=None):
    return SinkError("refused", outcome=Outcome.NOT_DELIVERED, retry_after_seconds=seconds)


def ambiguous(*, was_said, seconds=None):
    error = SinkError("no answer", outcome=Outcome.AMBIGUOUS, retry_after_seconds=seconds)
    error.was_said = was_said
    return error


def refused():
    return SinkError("archived", outcome=Outcome.REFUSED)


class PowerLoss(BaseException):
    """The process is gone."""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


@pytest.fixture
def sink(clock):
    return Scripted(clock)


@pytest.fixture
def process(store, clock, sink):
    """A process that delivers; called again it is another one, after a restart."""

    def start(holder="one", **changes):
        return Deliverer(
            changes.get("sink", sink), changes.get("store", store), clock=clock, holder=holder, lease=LEASE
        )

    return start


def queue(store, *intents, **changes):
    store.enqueue([Outgoing(intent, Message(intent), **changes) for intent in intents], NOON)


def turn(process):
    return asyncio.run(process.take_turn())


def held(store, intent="alert"):
    """Return the message as the outbox has it while it is unfinished."""
    return next(one for one in store.outbox() if one.intent == intent)


def count(store, state):
    with store.reading() as ledger:
        return ledger.outbox_counts()[state]


def live(process, clock, *, until):
    """Take turns, and let time pass where there is nothing to do, until *until* has come."""
    while True:
        look = turn(process).next_look
        if look is None or max(look, clock.now) > until:
            return
        clock.now = max(look, clock.now)


# --- One message -----------------------------------------------------------------------------------------------------


def test_what_is_delivered_is_known_with_its_place_and_never_said_again(store, process, sink):
    queue(store, "alert")

    done = turn(process()).delivery
    after = turn(process())

    assert (done.state, done.receipt) == (DeliveryState.DELIVERED, Receipt("C0FFEE", "ts-alert"))
    assert (after.delivery, after.next_look) == (None, None)
    assert sink.intents == ["alert"]
    assert count(store, DeliveryState.DELIVERED) == 1


def test_the_outbox_knows_that_a_message_is_being_sent_before_anybody_hears_of_it(store, process, sink):
    queue(store, "alert")
    seen = []
    sink.while_sending = lambda: seen.append(held(store))

    turn(process())

    assert [(one.state, one.attempts) for one in seen] == [(DeliveryState.SENDING, 1)]


def test_what_cannot_be_marked_as_being_sent_is_not_sent(store, process, sink):
    queue(store, "alert")
    with failing("before_cursor_execute", 0, lost_connection(), times=1_000), pytest.raises(StoreError):
        turn(process())

    assert sink.asked == []
    assert held(store).state is DeliveryState.WAITING


def test_what_was_certainly_not_said_is_said_when_its_wait_is_over_and_not_before(store, process, clock, sink):
    queue(store, "alert")
    sink.order(not_delivered(), not_delivered(40))
    live(process(), clock, until=NOON + HOUR)

    ((when, delivery),) = sink.said
    assert when == NOON + 5 * SECOND + 40 * SECOND
    assert (delivery.attempts, delivery.may_have_been_said) == (3, False)
    assert sink.asked == ["deliver alert"] * 3


def test_what_was_said_though_the_answer_was_lost_is_found_and_not_said_again(store, process, clock, sink):
    queue(store, "alert")
    sink.order(ambiguous(was_said=True))

    live(process(), clock, until=NOON + HOUR)

    assert sink.asked == ["deliver alert", "find alert"]
    assert sink.intents == ["alert"]
    assert count(store, DeliveryState.DELIVERED) == 1


def test_what_is_not_found_is_said(store, process, clock, sink):
    queue(store, "alert")
    sink.order(ambiguous(was_said=False))

    live(process(), clock, until=NOON + HOUR)

    assert sink.asked == ["deliver alert", "find alert", "deliver alert"]
    assert sink.intents == ["alert"]


def test_while_nobody_can_tell_whether_it_was_said_it_is_not_said(store, process, clock, sink):
    queue(store, "alert")
    sink.order(ambiguous(was_said=True))
    sink.looks = [ambiguous(was_said=False, seconds=60), ambiguous(was_said=False)]

    live(process(), clock, until=NOON + HOUR)

    assert sink.asked == ["deliver alert"] + ["find alert"] * 3
    assert sink.intents == ["alert"]
    assert clock.now == NOON + (10 + 60 + 10) * SECOND


def test_where_nobody_can_look_it_is_said_again_and_says_so(store, process, clock):
    sink = Scripted(clock, can_look=False, has_threads=False)
    queue(store, "alert")
    sink.order(ambiguous(was_said=True))

    live(process(sink=sink), clock, until=NOON + HOUR)

    assert sink.asked == ["deliver alert"] * 2
    assert [delivery.may_have_been_said for _, delivery in sink.said] == [False, True]


def test_what_is_refused_for_good_is_kept_and_lets_the_others_through(store, process, clock, sink):
    queue(store, "bad", "good")
    sink.order(refused())

    live(process(), clock, until=NOON + HOUR)

    with store.reading() as ledger:
        (dead,) = ledger.dead_deliveries()
    assert (dead.intent, dead.trouble) == ("bad", "archived")
    assert sink.intents == ["good"]
    assert sink.asked.count("deliver bad") == 1


# --- Answers and edits -----------------------------------------------------------------------------------------------


def test_an_answer_goes_where_what_it_answers_was_put(store, process, clock, sink):
    queue(store, "alert")
    queue(store, "resolved", manner=Manner.REPLY, about="alert")

    live(process(), clock, until=NOON + HOUR)

    assert sink.intents == ["alert", "resolved"]
    assert sink.said[1][1].parent == Receipt("C0FFEE", "ts-alert")


def test_an_answer_to_what_never_got_there_is_unneeded(store, process, clock, sink):
    queue(store, "alert")
    queue(store, "resolved", manner=Manner.REPLY, about="alert")
    sink.order(refused())

    live(process(), clock, until=NOON + HOUR)

    assert sink.asked == ["deliver alert"]
    assert count(store, DeliveryState.UNNEEDED) == 1


def test_where_there_are_no_threads_edits_and_answers_are_unneeded_and_cost_no_time(store, process, clock):
    sink = Scripted(clock, can_look=False, has_threads=False)
    queue(store, "alert")
    queue(store, "grew", manner=Manner.EDIT, about="alert")
    queue(store, "resolved", manner=Manner.REPLY, about="alert")
    queue(store, "another")

    live(process(sink=sink), clock, until=NOON + HOUR)

    assert sink.intents == ["alert", "another"]
    assert count(store, DeliveryState.UNNEEDED) == 2


# --- Pace ------------------------------------------------------------------------------------------------------------


def test_a_place_is_told_one_thing_a_second_and_another_place_does_not_wait_for_it(store, process, clock, sink):
    queue(store, "one", "two", "three")
    queue(store, "elsewhere", to="C0OTHER")

    live(process(), clock, until=NOON + HOUR)

    moments = {delivery.intent: when - NOON for when, delivery in sink.said}
    assert moments == {"one": 0 * SECOND, "elsewhere": 0 * SECOND, "two": SECOND, "three": 2 * SECOND}


def test_the_second_is_counted_from_the_end_of_an_attempt(store, process, clock, sink):
    queue(store, "slow", "next")
    sink.while_sending = lambda: setattr(clock, "now", clock.now + 3 * SECOND)

    live(process(), clock, until=NOON + HOUR)

    (slow, _), (following, _) = sink.said
    assert following - slow >= SECOND + 3 * SECOND  # its own three included


@pytest.mark.parametrize("restart", ["at once", "by another replica"])
def test_the_pace_outlives_the_process(store, process, clock, sink, restart):
    queue(store, "one", "two")
    clock.now += SECOND / 2
    turn(process("one"))
    asyncio.run(process("one").give_back())
    said_at = clock.now

    live(process("one" if restart == "at once" else "two"), clock, until=NOON + HOUR)

    assert sink.intents == ["one", "two"]
    assert SECOND <= sink.said[1][0] - said_at < 2 * SECOND


def test_a_sink_that_is_one_place_has_one_pace_whatever_place_is_named(store, process, clock):
    sink = Scripted(clock, can_look=False, has_threads=False)
    queue(store, "one", to="C0ONE")
    queue(store, "two", to="C0TWO")
    queue(store, "three")

    live(process(sink=sink), clock, until=NOON + HOUR)
    queue(store, "four", to="C0ONE")
    live(process(sink=sink), clock, until=NOON + HOUR)

    moments = [when - NOON for when, _ in sink.said]
    assert sink.intents == ["one", "two", "three", "four"]
    assert all(after - before >= SECOND for before, after in pairwise(moments))


def test_a_sink_that_asks_for_a_wait_is_left_alone_altogether_and_after_a_restart_too(store, process, clock, sink):
    queue(store, "one")
    queue(store, "two", to="C0OTHER")
    sink.order(not_delivered(90))
    turn(process())

    live(process(), clock, until=NOON + 89 * SECOND)
    assert sink.asked == ["deliver one"]

    live(process(), clock, until=NOON + HOUR)
    assert {when for when, _ in sink.said} == {NOON + 90 * SECOND}


# --- Clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-400 * DAY, -DAY, -HOUR, -10 * MINUTE, -2 * SECOND, HOUR, 400 * DAY])
def test_a_clock_that_steps_holds_up_no_message_and_breaks_no_pace(store, process, clock, sink, step):
    deliverer = process()
    queue(store, "one")
    turn(deliverer)
    clock.now += step
    stepped = clock.now
    queue(store, "two", "three", "four")

    live(deliverer, clock, until=stepped + MINUTE)

    assert sink.intents == ["one", "two", "three", "four"]
    moments = [when for when, _ in sink.said[1:]]
    assert all(after - before >= SECOND for before, after in pairwise(moments))
    assert moments[-1] <= stepped + 6 * SECOND


# --- Trouble with the process or the store ---------------------------------------------------------------------------


@pytest.mark.parametrize("was_said", [True, False])
def test_a_message_whose_sender_died_is_looked_for_by_the_next(store, process, clock, sink, was_said):
    queue(store, "alert")
    death = PowerLoss()
    death.was_said = was_said
    sink.order(death)
    with pytest.raises(PowerLoss):
        turn(process())
    assert held(store).state is DeliveryState.SENDING

    live(process(), clock, until=NOON + HOUR)

    assert sink.intents == ["alert"]
    assert sink.asked == ["deliver alert", "find alert"] + ["deliver alert"] * (not was_said)
    assert count(store, DeliveryState.DELIVERED) == 1


def test_an_outcome_that_could_not_be_written_is_written_by_the_next_turn_and_not_repeated(store, process, clock):
    sink = Scripted(clock, can_look=False, has_threads=False)  # or it would only be looked for
    deliverer = process(sink=sink)
    queue(store, "alert")
    broken = failing("before_cursor_execute", 0, lost_connection(), times=1_000)
    sink.while_sending = broken.__enter__
    with pytest.raises(StoreError):
        turn(deliverer)
    broken.__exit__(None, None, None)
    assert held(store).state is DeliveryState.SENDING
    sink.while_sending = lambda: None

    live(deliverer, clock, until=NOON + HOUR)

    assert sink.intents == ["alert"]
    assert count(store, DeliveryState.DELIVERED) == 1


def test_a_wait_that_could_not_be_written_is_kept_all_the_same(store, process, clock, sink):
    deliverer = process()
    queue(store, "alert")
    sink.order(not_delivered(90))
    broken = failing("before_cursor_execute", 0, lost_connection(), times=1_000)
    sink.while_sending = broken.__enter__
    with pytest.raises(StoreError):
        turn(deliverer)
    broken.__exit__(None, None, None)
    sink.while_sending = lambda: None

    live(deliverer, clock, until=NOON + HOUR)

    assert [when for when, _ in sink.said] == [NOON + 90 * SECOND]


# --- Several replicas ------------------------------------------------------------------------------------------------


@pytest.fixture
def other_store(postgres_url):
    with open_store(postgres_url, writes=True) as opened:
        yield opened


@pytest.fixture
def replica(postgres_url, clock, sink):
    """A process of its own on one Postgres."""
    opened = []

    def start(holder, lease=LEASE):
        store = open_store(postgres_url, writes=True)
        opened.append(store)
        return Deliverer(sink, store, clock=clock, holder=holder, lease=lease), store

    yield start
    for store in opened:
        store.close()


def test_one_replica_delivers_until_it_gives_back(replica, clock, sink):
    (one, store), (two, _) = replica("one"), replica("two")
    queue(store, "alert", "next")
    turn(one)

    assert turn(two).next_look == clock.now + LEASE
    clock.now += SECOND
    assert turn(two).delivery is None
    asyncio.run(one.give_back())
    assert turn(two).delivery.intent == "next"
    assert sink.intents == ["alert", "next"]


def test_what_was_delivered_after_a_replica_has_looked_is_not_said_again(replica, sink):
    (one, store), (two, _) = replica("one"), replica("two")
    queue(store, "alert")
    overtaken = []

    def overtake(_conn, _cursor, statement, *_):
        if "INSERT INTO due" in statement and not overtaken:
            overtaken.append(statement)
            with in_another_thread(lambda: deliver_and_leave(one)):
                pass

    with whenever("before_cursor_execute", overtake):
        late = turn(two)

    assert overtaken
    assert late.delivery is None
    assert sink.intents == ["alert"]


def deliver_and_leave(process):
    async def both():
        await process.take_turn()
        await process.give_back()

    asyncio.run(both())


def test_a_replica_keeps_the_work_for_as_long_as_an_attempt_takes(replica, clock, sink):
    (one, store), (two, _) = replica("one", SHORT_LEASE), replica("two", SHORT_LEASE)
    queue(store, "slow", "next")
    clock.now += SECOND
    tried = []

    async def deliver_slowly(delivery):
        for _ in range(5):
            await asyncio.sleep(SHORT_LEASE.total_seconds() / 2)
            tried.append(await two.take_turn())
        return Receipt("C0FFEE", f"ts-{delivery.intent}")

    sink.deliver = deliver_slowly

    done = turn(one).delivery

    assert done.state is DeliveryState.DELIVERED
    assert [one.delivery for one in tried] == [None] * 5


def test_a_replica_that_was_stopped_for_longer_than_its_lease_says_nothing_when_it_goes_on(replica, clock, sink):
    (one, store), (two, _) = replica("one", SHORT_LEASE), replica("two")
    queue(store, "alert")

    def stopped():
        time.sleep(2 * SHORT_LEASE.total_seconds())  # as by SIGSTOP: nothing of this process runs
        clock.now += 2 * SECOND
        assert turn_elsewhere(two).state is DeliveryState.WAITING  # it was found as being sent
        clock.now += 20 * SECOND
        assert turn_elsewhere(two).state is DeliveryState.DELIVERED

    sink.while_sending = once(stopped)
    with pytest.raises(Superseded):
        turn(one)

    assert sink.intents == ["alert"]
    assert store.outbox() == []


def once(act):
    """Return what does *act* the first time it is called."""
    acts = [act]
    return lambda: acts.pop()() if acts else None


def turn_elsewhere(process):
    """Return what a turn of another process came to; this one's event loop stands still meanwhile."""
    done = []
    with in_another_thread(lambda: done.append(turn(process).delivery)):
        pass
    return done[0]


def test_a_replica_whose_lease_ran_out_before_it_began_says_nothing(replica, sink):
    (_, store), (two, other) = replica("one"), replica("two")
    queue(store, "alert")
    turn(two)
    queue(store, "next")
    assert not store.take("deliver", "one", LEASE)
    begun = replace(held(store, "next"), state=DeliveryState.SENDING, attempts=1)

    with pytest.raises(Superseded):
        store.record_delivery(begun, holder="one")

    assert sink.intents == ["alert"]
    assert held(other, "next").state is DeliveryState.WAITING


# --- At the command line ---------------------------------------------------------------------------------------------


@contextmanager
def passing(clock, monkeypatch):
    """Let a pause pass on the clock in place of the wall's."""

    async def pause(seconds):
        clock.now += timedelta(seconds=seconds)

    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", pause)
        yield


def test_a_command_delivers_what_it_can_in_reason_and_leaves_the_rest(store, process, clock, sink, monkeypatch):
    queue(store, "one", "two", "three", "four")
    sink.order(None, None, not_delivered(60))

    with passing(clock, monkeypatch):
        attempted = asyncio.run(deliver_now(process(), patience=3 * SECOND))

    assert [one.state.value for one in attempted] == ["delivered", "delivered", "waiting"]
    assert sink.intents == ["one", "two"]
    assert clock.now < NOON + 6 * SECOND
