"""Generations that wait for their cost: handed in once however often, asked for by one replica, never lost."""

import time
from contextlib import ExitStack
from datetime import timedelta

import pytest

from reckon.core.generations import ExpiryReason, Facts, GenerationState, NotFound, Unfound
from reckon.core.records import UNOWNED
from reckon.core.tokens import TokenPools
from reckon.core.windows import Window
from reckon.errors import StoreError
from reckon.store import generations, open_store
from tests.builders import HOUR, MINUTE, SECOND, key_hash, watched
from tests.store.calling import (
    EVER,
    NOON,
    POLICY,
    claim,
    found_at,
    handed,
    listed,
    look_up,
    settle,
    settled,
    totals,
)
from tests.store.faults import failing, lost_connection
from tests.store.meanwhile import in_another_thread, wait_until

NOT_YET = NotFound(Unfound.NOT_YET, "HTTP 404")


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


def hand_in(store, *what, now=NOON, keys=()):
    return store.hand_in(what, POLICY, now, keys)


def waiting(store):
    """Return what is pending or expired, by id."""
    return {call.id: call for call in listed(store) if call.state is not GenerationState.SETTLED}


def counted(store):
    with store.reading() as ledger:
        return ledger.pending_counts()


def expire(store, *ids):
    """Let each of *ids* be unknown until it is given up."""
    hand_in(store, *(handed(name) for name in ids))
    now = NOON
    for _ in POLICY.schedule:
        now += 2 * HOUR
        look_up(store, claim(store, now), NOT_YET, now)
    assert {waiting(store)[name].state for name in ids} == {GenerationState.EXPIRED}


# --- Handed in -----------------------------------------------------------------------------------------------------


def test_what_is_handed_in_waits_with_all_that_was_said_of_it(store):
    facts = {
        "created_at": NOON - MINUTE,
        "model": "z/served",
        "requested_model": "openrouter/auto",
        "provider": "Host",
        "app": "App",
        "session": "night run",
        "credits_nanos": 7,
        "byok_nanos": 3,
        "pools": TokenPools(1, 2, 3, 4, None, 6),
    }

    taken = hand_in(store, handed("a", owner="ben", key="key", **facts), keys=[watched()])

    (found,) = claim(store)
    assert (taken.accepted, taken.duplicates, taken.rejected) == (1, 0, ())
    assert (found.id, found.owner, found.key_hash, found.facts) == ("a", "ben", key_hash("key"), Facts(**facts))
    assert (found.handed_in_at, found.due_at, found.attempts, found.expired) == (NOON, NOON + SECOND, 0, None)


def test_handing_in_again_changes_nothing_whatever_has_become_of_it(store):
    expire(store, "given up")
    hand_in(store, handed("pending"), handed("done"))
    settle(store, settled("done"))
    before = listed(store)

    taken = hand_in(store, handed("given up"), handed("pending"), handed("done"), handed("new"), now=NOON + HOUR)

    assert (taken.accepted, taken.duplicates) == (1, 3)
    assert {*taken.known} == {"given up", "pending", "done"}
    assert [call for call in listed(store) if call.id != "new"] == before
    assert claim(store, NOON + HOUR)[0].handed_in_at == NOON


def test_the_same_id_twice_in_one_call_is_one_generation_that_knows_what_both_said(store):
    taken = hand_in(
        store, handed("a", owner=UNOWNED, model="z/served"), handed("a", key="key", credits_nanos=5), keys=[watched()]
    )

    (found,) = claim(store)
    assert (taken.accepted, taken.duplicates, {*taken.known}) == (1, 1, set())
    assert (found.owner, found.key_hash) == ("ana", key_hash("key"))
    assert found.facts == Facts(model="z/served", credits_nanos=5)


def test_a_duplicate_adds_what_was_not_known_and_overrules_nothing(store):
    hand_in(store, handed("nobody's", owner=UNOWNED, model="z/served"), handed("ana's", key="key"), keys=[watched()])

    hand_in(
        store,
        handed("nobody's", owner="ben", model="another", provider="Host"),
        handed("ana's", owner="ben", key="other", session="s"),
        keys=[watched("other")],
        now=NOON + MINUTE,
    )

    found = {each.id: each for each in claim(store)}
    assert found["nobody's"].owner == "ben"
    assert found["nobody's"].facts == Facts(model="z/served", provider="Host")
    assert (found["ana's"].owner, found["ana's"].key_hash) == ("ana", key_hash("key"))
    assert found["ana's"].facts.session == "s"
    assert {each.due_at for each in found.values()} == {NOON + SECOND}


def test_what_is_handed_in_while_it_is_asked_for_is_not_lost(store):
    hand_in(store, handed("settles", owner=UNOWNED), handed("waits", owner=UNOWNED))
    asked = {each.id: each for each in claim(store)}

    hand_in(store, handed("settles", owner="ben", session="s"), handed("waits", owner="ben", session="s"))
    look_up(store, [asked["settles"]], found_at(9))
    look_up(store, [asked["waits"]], NOT_YET)

    calls = {call.id: call for call in listed(store)}
    assert {(call.owner, call.facts.session) for call in calls.values()} == {("ben", "s")}
    assert calls["settles"].state is GenerationState.SETTLED
    assert [each.attempts for each in claim(store, NOON + MINUTE)] == [1]


def test_keys_of_the_map_that_the_ledger_has_not_met_are_met_and_no_others(store):
    hand_in(store, handed("a", key="new"), handed("b", key="of nobody"), keys=[watched("new", "ben"), watched("idle")])

    with store.reading() as ledger:
        assert [(key.name, key.owner, key.counters) for key in ledger.every_key()] == [("new", "ben", None)]
    assert {call.id: call.key_name for call in listed(store)} == {"a": "new", "b": None}


def test_a_settled_generation_of_which_another_cost_is_told_is_asked_for_again_and_stays_settled(store):
    settle(store, settled("a", 1_000, byok_nanos=5, owner="ben"))

    same = hand_in(store, handed("a", credits_nanos=1_000, byok_nanos=5), handed("a"))
    assert claim(store) == []
    other = hand_in(store, handed("a", credits_nanos=1_001, byok_nanos=5))

    assert (same.accepted, same.duplicates, other.accepted, other.duplicates) == (0, 2, 0, 1)
    assert [(each.id, each.owner) for each in claim(store)] == [("a", "ben")]
    assert counted(store) == {GenerationState.PENDING: 0, GenerationState.EXPIRED: 0}
    assert [(call.state, call.facts.credits_nanos) for call in listed(store)] == [(GenerationState.SETTLED, 1_000)]


def test_one_that_had_settled_and_is_not_found_again_keeps_its_cost_and_is_asked_for_no_more(store):
    settle(store, settled("a", 1_000))
    hand_in(store, handed("a", credits_nanos=2_000))

    for hour in range(1, len(POLICY.schedule) + 1):
        look_up(store, claim(store, NOON + 2 * hour * HOUR), NOT_YET, NOON + 2 * hour * HOUR)

    assert store.next_lookup_due() is None
    assert counted(store) == {GenerationState.PENDING: 0, GenerationState.EXPIRED: 0}
    assert totals(store) == {(): (1, 1_000, 0)}

    hand_in(store, handed("a", credits_nanos=2_000), now=NOON + 24 * HOUR)
    assert [each.id for each in claim(store, NOON + 25 * HOUR)] == ["a"]  # nothing of the first time was left standing


def test_a_crash_while_handing_in_leaves_nothing_and_the_next_try_everything(store):
    for number in range(40):
        with failing("before_cursor_execute", number, lost_connection(), times=100) as raised:
            try:
                hand_in(store, handed("a", key="key"), handed("b"), keys=[watched()])
            except StoreError as refusal:
                assert "the connection was lost" in str(refusal)  # noqa: PT017 - it may also succeed
        if not raised:
            break
        assert waiting(store) == {}

    assert number > 4
    assert {*waiting(store)} == {"a", "b"}


def test_ten_thousand_ids_are_handed_in_with_a_few_statements_and_none_is_lost(store):
    ids = [f"gen-{1_795_300_000 + n}-{n:020d}" for n in range(10_000)]

    began = time.process_time()
    taken = hand_in(store, *(handed(name, key="key") for name in ids), keys=[watched()])

    assert time.process_time() - began < 5  # a second on an idle machine, with much to spare
    assert taken.accepted == 10_000
    assert {*waiting(store)} == {*ids}


# --- Due -----------------------------------------------------------------------------------------------------------


def test_nothing_is_claimed_before_it_is_due_and_the_earliest_due_comes_first(store):
    hand_in(store, handed("b"), now=NOON + SECOND)
    hand_in(store, handed("a"))
    hand_in(store, handed("c"), now=NOON + MINUTE)

    assert claim(store, NOON) == []
    assert store.next_lookup_due() == NOON + SECOND
    assert [each.id for each in claim(store, NOON + 2 * SECOND, most=1)] == ["a"]
    assert [each.id for each in claim(store, NOON + 2 * SECOND, besides={"a"})] == ["b"]
    assert store.next_lookup_due({"a", "b"}) == NOON + MINUTE + SECOND


def test_each_lookup_that_finds_nothing_waits_longer_until_it_is_given_up(store):
    hand_in(store, handed("a"))
    due = []
    for _ in POLICY.schedule:
        due.append(store.next_lookup_due() - NOON)
        look_up(store, claim(store, NOON + due[-1]), NOT_YET, NOON + due[-1])

    assert due == [SECOND, 6 * SECOND, HOUR + 6 * SECOND]
    assert store.next_lookup_due() is None
    assert waiting(store)["a"].expired is ExpiryReason.NEVER_FOUND
    assert counted(store) == {GenerationState.PENDING: 0, GenerationState.EXPIRED: 1}


def test_a_clock_that_was_set_back_leaves_nothing_waiting_for_the_time_it_showed(store):
    hand_in(store, handed("a"))
    by_clocks_that_differ = timedelta(minutes=10) if store.is_shared else timedelta(0)
    just_right = NOON + SECOND - HOUR - by_clocks_that_differ

    assert claim(store, just_right) == []
    assert [each.id for each in claim(store, just_right - SECOND)] == ["a"]


def test_what_was_given_up_is_asked_for_anew_when_somebody_says_so(store):
    expire(store, "a", "b", "c")
    now = NOON + 24 * HOUR
    settle(store, settled("done"))

    assert store.ask_again(["a", "done", "unheard of"], POLICY, now) == 1
    assert [(each.id, each.attempts, each.due_at) for each in claim(store, now + SECOND)] == [("a", 0, now + SECOND)]
    assert store.ask_again(None, POLICY, now) == 2
    assert counted(store) == {GenerationState.PENDING: 3, GenerationState.EXPIRED: 0}
    assert store.ask_again(None, POLICY, now) == 0


def test_what_has_not_settled_is_added_up_by_owner_and_key_where_it_was_made(store):
    expire(store, "given up")
    hand_in(
        store,
        handed("a", key="key", credits_nanos=5, created_at=NOON - HOUR),
        handed("b", key="key", credits_nanos=7, created_at=NOON - HOUR),
        handed("c", key="key", created_at=NOON - HOUR),
        keys=[watched()],
    )
    settle(store, settled("done"))

    with store.reading() as ledger:
        before_noon = ledger.unsettled(Window(NOON - HOUR, NOON))
        all_of_them = ledger.unsettled(EVER)

    (total,) = before_noon
    assert (total.owner, total.key_hash, total.state) == ("ana", key_hash("key"), GenerationState.PENDING)
    assert (total.generations, total.known_credits_nanos, total.of_unknown_cost) == (3, 12, 1)
    assert {(each.state, each.key_hash, each.generations) for each in all_of_them} == {
        (GenerationState.PENDING, key_hash("key"), 3),
        (GenerationState.EXPIRED, None, 1),
    }


# --- Replicas ------------------------------------------------------------------------------------------------------


@pytest.fixture
def replicas(postgres_url):
    with open_store(postgres_url, writes=True) as one, open_store(postgres_url, writes=True) as two:
        yield one, two


def test_what_one_replica_asks_for_no_other_does_until_the_lease_has_run_out(replicas):
    one, two = replicas
    hand_in(one, handed("a"), handed("b"))

    assert len(claim(one, most=1)) == 1
    assert [each.id for each in claim(two, holder="two")] == ["b"]
    assert claim(two, holder="two") == []

    _let_leases_run_out(one)
    assert [each.id for each in claim(two, holder="two")] == ["a", "b"]


def test_a_released_generation_may_be_claimed_at_once_and_only_its_holder_releases_it(replicas):
    one, two = replicas
    hand_in(one, handed("a"))
    claim(one)

    two.release_pending(["a"], "two")
    assert claim(two, holder="two") == []
    one.release_pending(["a"], "one")
    assert [each.id for each in claim(two, holder="two")] == ["a"]


def test_the_next_lookup_is_due_when_a_lease_runs_out_that_nobody_ends(replicas):
    one, _ = replicas
    hand_in(one, handed("a"))
    hand_in(one, handed("b"), now=NOON + 24 * 365 * 10 * HOUR)
    claim(one, lease=HOUR)

    due = one.next_lookup_due()
    with one.reading() as ledger:
        now = ledger.connection.exec_driver_sql("SELECT now()").scalar()
    assert timedelta(minutes=59) < due - now < timedelta(minutes=61)


def test_whoever_was_taken_over_settles_what_was_found_and_reschedules_nothing(replicas):
    one, two = replicas
    hand_in(one, handed("found"), handed("not yet"))
    asked = {each.id: each for each in claim(one)}
    _let_leases_run_out(one)
    assert len(claim(two, holder="two")) == 2

    look_up(one, [asked["not yet"]], NOT_YET, NOON + HOUR)
    look_up(one, [asked["found"]], found_at(9), NOON + HOUR)

    assert totals(one) == {(): (1, 9, 0)}
    assert claim(one, NOON + 24 * HOUR, longest=24 * HOUR) == []  # the other still has it
    _let_leases_run_out(one)
    assert [(each.id, each.attempts) for each in claim(two)] == [("not yet", 0)]


def test_a_row_that_is_locked_is_left_to_whoever_holds_it(replicas):
    one, two = replicas
    hand_in(one, handed("a"), handed("b"))
    statement = "SELECT id FROM pending_generation WHERE id = 'a' FOR UPDATE"

    with one._writer.begin() as connection:
        assert connection.exec_driver_sql(statement).scalar() == "a"
        assert [each.id for each in claim(two, holder="two")] == ["b"]

    assert [each.id for each in claim(two, holder="two")] == ["a"]


def test_two_replicas_that_are_handed_the_same_take_turns_and_both_are_heard(replicas):
    one, two = replicas
    taken = []
    with ExitStack() as meanwhile:
        with one._writer.begin() as connection:
            generations.let_nobody_else_count(connection)
            meanwhile.enter_context(in_another_thread(lambda: taken.append(hand_in(two, handed("a", session="s")))))
            wait_until(lambda: connection.exec_driver_sql("SELECT 1 FROM pg_locks WHERE NOT granted").scalar())
            assert taken == []
    taken.append(hand_in(one, handed("a", model="z/served")))

    assert [(each.accepted, each.duplicates) for each in taken] == [(1, 0), (0, 1)]
    assert claim(one)[0].facts == Facts(model="z/served", session="s")


def test_two_replicas_that_settle_the_same_settle_it_once(replicas):
    one, two = replicas
    hand_in(one, handed("a"))
    asked = claim(one)

    with in_another_thread(lambda: look_up(two, asked, found_at(9), holder="two")):
        look_up(one, asked, found_at(9))

    assert totals(one) == {(): (1, 9, 0)}
    assert [call.state for call in listed(one)] == [GenerationState.SETTLED]


def _let_leases_run_out(store):
    with store._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE pending_generation SET lease_until = 0 WHERE lease_until IS NOT NULL")
