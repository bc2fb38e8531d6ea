"""The outbox on disk: what was decided once is said once, whoever dies, and by one replica."""

import threading
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from itertools import product

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import DataError

from reckon.core import outbox, plans
from reckon.core.digest import DigestPlan
from reckon.core.messages import Fact, Message, Table, Tone
from reckon.core.outbox import Delivery, DeliveryState, Manner, Outcome, Outgoing, Receipt
from reckon.core.polls import Poll
from reckon.errors import StoreError, Superseded
from reckon.store import DELIVER, open_store
from reckon.store.reading import Reading
from reckon.store.tables import TABLES
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, policy, snapshot, watched
from tests.injection import FATAL, Death, Injector, Trouble
from tests.store.faults import failing, whenever
from tests.store.meanwhile import DEADLINE_SECONDS, in_another_thread

NOON = at("2026-11-20 12:00")
LEASE = 30 * SECOND
RECEIPT = Receipt("C0FFEE", "1795176000.000100")


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


def message(text="ana has spent $84.10"):
    return Message(text, Tone.ALARM, (Fact("When", "since 01:52 UTC"),), notes=("by reckon",))


def commit(store, outgoing):
    """Commit a poll that decided to say all this, too."""
    poll = Poll((snapshot(NOON, "10"),))

    def decide(state):
        return replace(plans.after_poll(state, poll, (watched(),), policy(), NOON), outgoing=tuple(outgoing))

    return store.commit_poll(decide, policy(), NOON)


def raised_by(act):
    try:
        act()
    except StoreError as refusal:
        return str(refusal)
    return None


# --- The outbox ----------------------------------------------------------------------------------------------------

text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
instants = st.integers(0, 10**8).map(lambda n: NOON + n * SECOND)
messages = st.builds(
    Message,
    text,
    st.sampled_from(Tone),
    st.lists(st.builds(Fact, text, text), max_size=2).map(tuple),
    st.none() | st.builds(Table, st.just(("a", "b")), st.just((("1", "2"),)), st.sampled_from([(), (1,)])),
    st.lists(text, max_size=2).map(tuple),
    st.none() | text,
)
deliveries = st.builds(
    Delivery,
    st.just(0),
    text,
    messages,
    st.sampled_from(Manner),
    st.none() | text,
    instants,
    instants,
    st.sampled_from(DeliveryState),
    st.integers(0, 99),
    st.none() | instants,
    st.booleans(),
    st.none() | text,
    st.none() | st.builds(Receipt, text, text),
    st.none() | instants,
)
UNFINISHED = {DeliveryState.WAITING, DeliveryState.SENDING}


def test_deliveries_are_read_back_as_they_were_written(store, emptied):
    @settings(max_examples=40)
    @given(st.lists(deliveries, max_size=4, unique_by=lambda one: one.intent))
    def check(wanted):
        emptied()
        store.enqueue((Outgoing(one.intent, one.message, one.manner, to=one.to) for one in wanted), NOON)
        waiting = store.outbox()
        assert [one.created_at for one in waiting] == [one.due_at for one in waiting] == [NOON] * len(wanted)

        wanted = [replace(one, id=held.id, created_at=NOON) for one, held in zip(wanted, waiting, strict=True)]
        for one in wanted:
            store.record_delivery(one)

        with store.reading() as ledger:
            assert store.outbox() == ledger.outbox() == [one for one in wanted if one.state in UNFINISHED]
            dead = [one for one in wanted if one.state is DeliveryState.DEAD]
            assert ledger.dead_deliveries() == dead[::-1]
            states = [one.state for one in wanted]
            assert ledger.outbox_counts() == {state: states.count(state) for state in DeliveryState}
        attempted = [(one.to, one.attempted_at) for one in wanted if one.attempted_at]
        assert store.last_attempts() == {to: max(at for place, at in attempted if place == to) for to, _ in attempted}

    check()


@pytest.mark.parametrize("ask", [Reading.last_attempts, Reading.dead_deliveries, Reading.outbox, Reading.outbox_counts])
def test_no_question_reads_every_message_there_ever_was(sqlite_url, ask):
    asked = []
    with open_store(sqlite_url, writes=True) as store:
        with whenever("before_cursor_execute", lambda *about: asked.append(about[2:4])), store.reading() as ledger:
            ask(ledger)
        with store.reading() as ledger:
            found = [
                row.detail
                for statement, parameters in asked
                if "outbox" in statement
                for row in ledger.connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]

    assert found
    assert [step for step in found if step.startswith("SCAN outbox") and "INDEX" not in step] == []


def test_an_intent_is_taken_once_by_whomever(store):
    store.enqueue([Outgoing("digest:1", message("first"))], NOON)
    commit(store, [Outgoing("digest:1", message("second")), Outgoing("alert:1", message("third"))])
    store.enqueue([Outgoing("alert:1", message("fourth"))], NOON + HOUR)

    assert [(one.intent, one.message.headline, one.due_at) for one in store.outbox()] == [
        ("digest:1", "first", NOON),
        ("alert:1", "third", NOON),
    ]


def test_an_intent_stays_taken_when_its_message_is_delivered_or_dead(store):
    store.enqueue([Outgoing("one", message()), Outgoing("two", message())], NOON)
    one, two = store.outbox()
    store.record_delivery(outbox.ended(outbox.begun(one, NOON), Outcome.DELIVERED, NOON, receipt=RECEIPT))
    store.record_delivery(outbox.ended(outbox.begun(two, NOON), Outcome.REFUSED, NOON, trouble="is_archived"))

    store.enqueue([Outgoing("one", message()), Outgoing("two", message())], NOON)

    assert store.outbox() == []
    with store.reading() as ledger:
        (dead,) = ledger.dead_deliveries()
    assert (dead.intent, dead.trouble, dead.message) == ("two", "is_archived", message())


def test_messages_of_one_plan_keep_their_order(store):
    intents = [f"alert:{n}" for n in range(50, 0, -1)]

    commit(store, [Outgoing(intent, message()) for intent in intents])

    assert [one.intent for one in store.outbox()] == intents


def test_a_reply_knows_where_the_message_is_that_it_answers(store):
    store.enqueue([Outgoing("opened", message()), Outgoing("over", message(), Manner.REPLY, "opened", "C1")], NOON)
    post, reply = store.outbox()
    assert (reply.about, reply.to, reply.parent, reply.parent_state) == ("opened", "C1", None, DeliveryState.WAITING)
    assert (post.about, post.parent, post.parent_state) == (None, None, None)

    store.record_delivery(outbox.ended(outbox.begun(post, NOON), Outcome.DELIVERED, NOON, receipt=RECEIPT))

    (reply,) = store.outbox()
    assert (reply.parent, reply.parent_state) == (RECEIPT, DeliveryState.DELIVERED)


def test_whoever_dies_between_sending_and_telling_how_it_ended_leaves_the_message_as_being_sent(database_url):
    def deliver(intent, injector):
        """Deliver a message; return how many side effects had come before the end was to be told."""
        with open_store(database_url, writes=True) as store:
            store.enqueue([Outgoing(intent, message())], NOON)
        with injector.on_databases(), open_store(database_url, writes=True) as store:
            begun = outbox.begun(store.outbox()[-1], NOON)
            store.record_delivery(begun)
            before = len(injector.reached)
            store.record_delivery(outbox.ended(begun, Outcome.DELIVERED, NOON, receipt=RECEIPT))
        return before

    whole = Injector()
    before = deliver("nobody dies", whole)
    places = range(before + 1, len(whole.reached) + 1)
    expected = {"nobody dies": "delivered"}
    for place, trouble in product(places, FATAL):
        intent = f"{trouble} {whole.reached[place - 1]} {place}"
        with pytest.raises(Death):
            deliver(intent, Injector(place, trouble))
        is_committed = whole.reached[place - 1] == "COMMIT" and trouble is Trouble.DIES_AFTER
        expected[intent] = "delivered" if is_committed else "sending"

    with open_store(database_url, writes=True) as store, store.reading() as ledger:
        held = ledger.connection.exec_driver_sql("SELECT intent, state FROM outbox")
        assert {row.intent: row.state for row in held} == expected
    assert sorted(expected.values())[:2] == ["delivered", "delivered"]
    assert len(expected) > 6


def test_a_sink_that_asked_to_be_left_alone_is(store):
    with store.reading() as ledger:
        assert ledger.held_until("slack") is None

    store.hold("slack", NOON + HOUR)
    store.hold("slack", NOON + MINUTE)
    store.hold("webhook", NOON + DAY)

    with store.reading() as ledger:
        assert ledger.held_until("slack") == NOON + MINUTE
        assert ledger.held_until("webhook") == NOON + DAY
        assert ledger.due_dates() == {}


# --- Digests -------------------------------------------------------------------------------------------------------


def digest_of_the(day):
    return DigestPlan((Outgoing(f"digest:daily:{day}", message(day)),), {"digest:daily": date.fromisoformat(day)})


def test_a_digest_is_remembered_with_the_message_that_tells_it(store):
    plan = store.commit_digest(lambda ledger: ledger.due_dates(), lambda _: digest_of_the("2026-11-19"), NOON)

    assert plan == digest_of_the("2026-11-19")
    with store.reading() as ledger:
        assert ledger.due_dates() == {"digest:daily": date(2026, 11, 19)}
    assert [(one.intent, one.due_at) for one in store.outbox()] == [("digest:daily:2026-11-19", NOON)]

    store.commit_digest(lambda ledger: ledger.due_dates(), lambda _: digest_of_the("2026-11-20"), NOON + DAY)
    store.commit_digest(lambda _: None, lambda _: DigestPlan(), NOON + DAY)

    with store.reading() as ledger:
        assert ledger.due_dates() == {"digest:daily": date(2026, 11, 20)}
    assert len(store.outbox()) == 2


@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_a_digest_is_told_and_remembered_or_neither(store, moment):
    for number in range(20):
        with failing(moment, number, DataError("?", {}, Exception("this will never do"))):
            refusal = raised_by(
                lambda: store.commit_digest(lambda _: None, lambda _: digest_of_the("2026-11-19"), NOON)
            )
        with store.reading() as ledger:
            held = [one.intent for one in ledger.outbox()], ledger.due_dates()
        if not refusal:
            break
        assert held == ([], {}), f"statement {number}"

    assert number > 2
    assert held == (["digest:daily:2026-11-19"], {"digest:daily": date(2026, 11, 19)})


def test_a_digest_that_fails_to_be_decided_leaves_nothing_behind(store):
    def decide(_):
        raise LookupError("no such day")

    with pytest.raises(LookupError):
        store.commit_digest(lambda ledger: ledger.due_dates(), decide, NOON)

    assert store.outbox() == []


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


def test_replicas_that_decide_the_same_at_once_say_it_once(first, second):
    rounds = 40
    together = threading.Barrier(2, timeout=DEADLINE_SECONDS)

    def replica(store, headline):
        for n in range(rounds):
            together.wait()
            store.enqueue([Outgoing(f"intent {n}", message(headline)), Outgoing(f"more {n}", message(headline))], NOON)

    with in_another_thread(lambda: replica(second, "two")):
        replica(first, "one")

    assert sorted(one.intent for one in first.outbox()) == sorted(
        f"{w} {n}" for n in range(rounds) for w in ("intent", "more")
    )


def test_replicas_that_look_at_the_calendar_at_once_decide_on_each_digest_once(first, second):
    rounds = 25
    together = threading.Barrier(2, timeout=DEADLINE_SECONDS)
    decided = []

    def replica(store):
        for n in range(rounds):
            day = date(2026, 11, 1) + timedelta(days=n)

            def decide(due, day=day):
                if due.get("digest:daily") == day:
                    return DigestPlan()
                decided.append(day)
                return digest_of_the(day.isoformat())

            together.wait()
            store.commit_digest(lambda ledger: ledger.due_dates(), decide, NOON)

    with in_another_thread(lambda: replica(second)):
        replica(first)

    assert len(decided) == len(set(decided)) == len(first.outbox()) == rounds


def test_only_the_replica_that_delivers_may_write_what_it_delivers(first, second):
    first.enqueue([Outgoing("one", message())], NOON)
    (waiting,) = first.outbox()
    begun = outbox.begun(waiting, NOON)

    with pytest.raises(Superseded, match="deliver"):
        first.record_delivery(begun, holder="one")
    assert first.outbox() == [waiting]

    assert first.take(DELIVER, "one", LEASE)
    first.record_delivery(begun, holder="one")
    with pytest.raises(Superseded):
        second.record_delivery(outbox.interrupted(begun, NOON), holder="two")
    assert first.outbox() == [begun]


def test_a_replica_that_was_stopped_while_another_took_over_writes_nothing_more(first, second, outside):
    first.enqueue([Outgoing("one", message())], NOON)
    first.take(DELIVER, "one", LEASE)
    begun = outbox.begun(first.outbox()[0], NOON)
    first.record_delivery(begun, holder="one")
    outside.execute("UPDATE due SET lease_until = lease_until - 31")
    assert second.take(DELIVER, "two", LEASE)
    second.record_delivery(outbox.interrupted(begun, NOON), holder="two")
    before = second.outbox()

    with pytest.raises(Superseded):
        first.record_delivery(outbox.ended(begun, Outcome.DELIVERED, NOON, receipt=RECEIPT), holder="one")

    assert second.outbox() == before


def test_a_replica_whose_lease_has_run_out_tells_how_it_ended_but_begins_nothing(first, outside):
    first.enqueue([Outgoing("one", message()), Outgoing("two", message())], NOON)
    first.take(DELIVER, "one", LEASE)
    one, two = first.outbox()
    begun = outbox.begun(one, NOON)
    first.record_delivery(begun, holder="one")
    outside.execute("UPDATE due SET lease_until = lease_until - 31")

    first.record_delivery(outbox.ended(begun, Outcome.DELIVERED, NOON, receipt=RECEIPT), holder="one")
    with pytest.raises(Superseded):
        first.record_delivery(outbox.begun(two, NOON), holder="one")

    assert first.outbox() == [two]
