"""Settling as a job: every generation is asked for when it is due, and none waits for another that hangs."""

import asyncio
from contextlib import asynccontextmanager
from zoneinfo import ZoneInfo

import pytest

from reckon.core.generations import Facts, Found, GenerationState, Handed, NotFound, Unfound
from reckon.core.records import UNOWNED
from reckon.core.reports import ALWAYS
from reckon.core.settlement import SettlePolicy
from reckon.errors import StoreError
from reckon.jobs.settle import Settler, SettleTerms
from reckon.store import open_store
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, key_hash, usd, watched
from tests.store.faults import failing, lost_connection

NOON = at("2026-11-20 12:00")
DUE = NOON + SECOND
POLICY = SettlePolicy((SECOND, 2 * SECOND, 5 * SECOND, HOUR))
LEASE = MINUTE
MAP = (watched("laptop", "ana"), watched("ci", "ben"))
CONCURRENCY = 3
TRIES = 4  # how often the store tries to write before it says that it cannot
LONGEST_WAIT_SECONDS = 20

COST = Facts(created_at=NOON, model="maker/small", credits_nanos=usd("0.0015"), byok_nanos=0)
FOUND = Found(COST, is_finished=True)
NOT_YET = NotFound(Unfound.NOT_YET, "HTTP 404")
BUSY = NotFound(Unfound.BUSY, "HTTP 502")


class Clock:
    """An instant that a test sets; as many seconds pass on the clock that nobody sets."""

    def __init__(self):
        self.now = DUE

    def __call__(self):
        return self.now

    def monotonic(self):
        return (self.now - NOON).total_seconds()


class Scripted:
    """Where costs are told: for each id what the script says, one after another, and its cost from then on."""

    def __init__(self, clock):
        self._clock = clock
        self.script = {}
        self.hanging = {}
        self.asked = []
        self.asked_at = {}
        self.under_way = 0
        self.most_under_way = 0

    async def lookup(self, generation_id, asker):
        self.asked.append((generation_id, asker))
        self.asked_at.setdefault(generation_id, []).append(self._clock())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(0)
            if generation_id in self.hanging:
                await self.hanging[generation_id].wait()
        finally:
            self.under_way -= 1
        answers = self.script.get(generation_id) or self.script.get("everybody")
        return answers.pop(0) if answers else FOUND

    @property
    def ids(self):
        return [generation_id for generation_id, _ in self.asked]


class Watched:
    """The store itself, and a count of how many generations are claimed and not yet committed or given back."""

    def __init__(self, store):
        self._store = store
        self.claimed = set()
        self.most_claimed = 0
        self.given_back = []

    def __getattr__(self, name):
        return getattr(self._store, name)

    def claim_pending(self, *args, **how):
        found = self._store.claim_pending(*args, **how)
        assert not self.claimed & {each.id for each in found}
        self.claimed |= {each.id for each in found}
        self.most_claimed = max(self.most_claimed, len(self.claimed))
        return found

    def commit_settlement(self, plan, *args, **how):
        self._store.commit_settlement(plan, *args, **how)
        self.claimed -= {each.id for each in (*plan.settled, *plan.waiting)}

    def release_pending(self, ids, holder):
        self._store.release_pending(ids, holder)
        self.given_back += ids
        self.claimed -= {*ids}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def source(clock):
    return Scripted(clock)


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        yield opened


@pytest.fixture
def make_settler(source, store, clock):
    def make(*, keys=MAP, holder="one", concurrency=CONCURRENCY, of=store, management_key=None):
        terms = SettleTerms(POLICY, ZoneInfo("UTC"), holder, LEASE, concurrency)
        return Settler(source, of, keys, management_key, terms=terms, clock=clock, monotonic=clock.monotonic)

    return make


@pytest.fixture
def settler(make_settler):
    return make_settler()


def ids(number):
    return [f"gen-{each:03}" for each in range(number)]


def hand_in(store, generation_ids, now=NOON, **how):
    handed = [Handed(each, **{"owner": "ana", "key_hash": key_hash("laptop"), **how}) for each in generation_ids]
    return store.hand_in(handed, POLICY, now, MAP)


def settled(settler, **how):
    return asyncio.run(settler.settle(**how))


def states(store):
    with store.reading() as ledger:
        return {call.id: call.state for call in ledger.calls(ALWAYS)}


def waiting(store, now=NOON + 10 * DAY):
    """Return every generation that waits, as the ledger holds it; on Postgres nobody else can claim them then."""
    found = store.claim_pending(now, holder="looking", lease=SECOND, most=10_000, longest=20 * DAY)
    return {each.id: each for each in found}


def counts(store):
    with store.reading() as ledger:
        found = ledger.pending_counts()
    return found[GenerationState.PENDING], found[GenerationState.EXPIRED]


@asynccontextmanager
async def settling(settler):
    """Settle beside what the block does; it is cancelled if the block has not seen to its end."""
    task = asyncio.create_task(settler.settle())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition):
    async with asyncio.timeout(LONGEST_WAIT_SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody tells a test when a row has been written
            await asyncio.sleep(0.01)


# --- Asking for what is due ------------------------------------------------------------------------------------------


def test_every_generation_that_is_due_is_looked_up_once_and_settles_at_its_cost(settler, source, store):
    hand_in(store, ids(40))
    tally = settled(settler)

    assert (tally.asked, tally.settled, tally.waiting, tally.expired) == (40, 40, 0, 0)
    assert sorted(source.asked) == [(each, key_hash("laptop")) for each in ids(40)]
    assert settler.asked == 40
    with store.reading() as ledger:
        calls = ledger.calls(ALWAYS)
    assert [(call.id, call.owner, call.state, call.facts.credits_nanos, call.facts.model) for call in calls] == [
        (each, "ana", GenerationState.SETTLED, usd("0.0015"), "maker/small") for each in ids(40)
    ]
    assert source.most_under_way <= CONCURRENCY
    # There is nothing left to do.
    assert settled(settler).asked == 0
    assert asyncio.run(settler.next_due()) is None


def test_nothing_is_looked_up_before_it_is_due(settler, source, store, clock):
    source.script = {"gen-000": [NOT_YET] * len(POLICY.schedule)}
    hand_in(store, ["gen-000"])
    for wait in POLICY.schedule:
        due = asyncio.run(settler.next_due())
        clock.now = due - SECOND
        assert settled(settler).asked == 0
        clock.now = due
        tally = settled(settler)
        assert (tally.asked, tally.waiting, tally.expired) == ((1, 0, 1) if wait == HOUR else (1, 1, 0))
    assert source.asked_at == {"gen-000": [NOON + seconds * SECOND for seconds in (1, 3, 8, 8 + 3600)]}
    assert counts(store) == (0, 1)
    assert asyncio.run(settler.next_due()) is None


def test_what_becomes_due_during_a_pass_is_asked_for_in_it(settler, source, store, clock):
    hand_in(store, ["gen-000"])
    hand_in(store, ["gen-001"], NOON + SECOND)
    source.hanging["gen-000"] = asyncio.Event()

    async def pass_time():
        async with settling(settler) as task:
            await until(lambda: "gen-000" in source.ids)
            assert source.ids == ["gen-000"]
            clock.now = NOON + 2 * SECOND
            await until(lambda: states(store)["gen-001"] is GenerationState.SETTLED)
            source.hanging["gen-000"].set()
            return await task

    assert asyncio.run(pass_time()).settled == 2


def test_an_instant_that_a_clock_ahead_of_ours_has_written_keeps_nothing_from_being_asked(settler, source, store):
    hand_in(store, ["gen-000"], NOON + 30 * DAY)
    assert settled(settler).settled == 1
    assert source.ids == ["gen-000"]


def test_one_hanging_lookup_delays_no_other(make_settler, source, store):
    settler = make_settler(concurrency=2)
    hand_in(store, ids(30))
    stuck = "gen-000"
    source.hanging[stuck] = asyncio.Event()

    async def others_settle_while_it_hangs():
        async with settling(settler) as task:
            await until(lambda: counts(store) == (1, 0))
            assert states(store)[stuck] is GenerationState.PENDING
            # Not even one that is handed in only now.
            await asyncio.to_thread(hand_in, store, ["gen-new"])
            await until(lambda: states(store)["gen-new"] is GenerationState.SETTLED)
            assert not task.done()
            source.hanging[stuck].set()
            return await task

    assert asyncio.run(others_settle_while_it_hangs()).settled == 31
    assert source.ids.count(stuck) == 1


def test_no_more_is_claimed_than_eight_for_each_worker(make_settler, source, store):
    observed = Watched(store)
    hand_in(store, ids(100))
    assert settled(make_settler(of=observed)).settled == 100
    assert observed.most_claimed == 8 * CONCURRENCY
    assert (observed.claimed, observed.given_back) == (set(), [])
    assert len(source.asked) == 100


def test_a_pass_that_is_enough_ends_with_what_has_been_begun(make_settler, source, store):
    settler = make_settler(concurrency=1)
    hand_in(store, ids(50))
    assert settled(settler, is_enough=lambda: True).asked == 0

    tally = settled(settler, is_enough=lambda: bool(source.asked))
    assert tally.asked == tally.settled == len(source.asked) == 8
    assert settled(settler).settled == 42


# --- Who is asked ----------------------------------------------------------------------------------------------------


def test_a_key_that_is_refused_gives_way_to_the_next_one(make_settler, source, store, clock):
    settler = make_settler(management_key=key_hash("management"))
    refused = NotFound(Unfound.NOT_OURS, "HTTP 403")
    source.script = {"gen-000": [refused, NotFound(Unfound.KEY_REFUSED, "HTTP 401"), FOUND]}
    hand_in(store, ["gen-000"])
    for _ in range(3):
        settled(settler)
        clock.now += SECOND
    assert source.asked == [("gen-000", key_hash(name)) for name in ("laptop", "ci", "management")]
    assert counts(store) == (0, 0)


def test_without_a_key_nobody_is_asked_and_nothing_is_given_up(make_settler, source, store, clock):
    hand_in(store, ids(3), owner=UNOWNED, key_hash=None)
    nobody = make_settler(keys=())
    for _ in range(10):
        assert settled(nobody).asked == 0
        clock.now += HOUR
    assert (source.asked, counts(store)) == ([], (3, 0))
    assert settled(make_settler()).settled == 3


# --- Leaving OpenRouter alone ----------------------------------------------------------------------------------------


def test_a_named_wait_stops_the_asking_at_once_and_uses_no_attempt(settler, source, store, clock):
    source.script = {"everybody": [NotFound(Unfound.BUSY, "HTTP 429", 30)] * CONCURRENCY}
    hand_in(store, ids(40))
    tally = settled(settler)

    assert 1 <= tally.asked <= CONCURRENCY  # those under way when the first answer came
    assert tally.waiting == 40
    # Nor is it asked about what comes in the meantime.
    hand_in(store, ["gen-new"], clock.now)
    clock.now += 29 * SECOND
    tally = settled(settler)
    assert (tally.asked, tally.waiting) == (0, 1)

    clock.now += 2 * SECOND
    source.script.clear()
    assert settled(settler).settled == 41
    assert source.asked_at["gen-new"] == [NOON + 32 * SECOND]


def test_a_named_wait_leaves_every_generation_as_it_was_but_for_when_it_is_due(settler, source, store):
    source.script = {"gen-000": [NotFound(Unfound.BUSY, "HTTP 429", 30)]}
    hand_in(store, ["gen-000"])
    settled(settler)
    (one,) = waiting(store).values()
    assert (one.attempts, one.refusals, one.expired) == (0, 0, None)
    assert one.due_at == DUE + 30 * SECOND


def test_an_outage_is_left_alone_for_a_moment_and_gives_nothing_up(settler, source, store, clock):
    source.script = {"everybody": [BUSY] * 1_000}
    hand_in(store, ids(60))
    asked = [settled(settler).asked]
    for _ in range(5):
        clock.now += 5 * SECOND
        asked.append(settled(settler).asked)
    # Two rounds, and as many more as were under way; then a few to see whether it is over.
    assert 2 * CONCURRENCY <= asked[0] < 3 * CONCURRENCY
    assert all(1 <= number <= CONCURRENCY for number in asked[1:])
    assert {each.attempts for each in waiting(store).values()} == {0}
    assert counts(store) == (60, 0)


def test_a_few_busy_answers_among_others_stop_nobody(settler, source, store):
    hand_in(store, ids(60))
    source.script = {each: [BUSY] for each in ids(60)[::2]}
    tally = settled(settler)
    assert (tally.asked, tally.settled, tally.waiting) == (60, 30, 30)


def test_a_wait_of_no_seconds_is_no_invitation_to_ask_at_once(settler, source, store):
    source.script = {"everybody": [NotFound(Unfound.BUSY, "HTTP 429", 0)] * 1_000}
    hand_in(store, ids(60))
    assert settled(settler).asked < 3 * CONCURRENCY
    assert min(each.due_at for each in waiting(store).values()) >= DUE + 5 * SECOND


# --- Ending before the end -------------------------------------------------------------------------------------------


def test_a_pass_that_is_cancelled_keeps_what_was_committed_and_leaves_the_rest_to_others(make_settler, source, store):
    observed = Watched(store)
    hand_in(store, ids(6))
    source.hanging = {each: asyncio.Event() for each in ids(6)[1:]}

    async def cancel_while_some_hang():
        async with settling(make_settler(of=observed)) as task:
            await until(lambda: counts(store) == (5, 0))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(cancel_while_some_hang())
    assert source.under_way == 0
    assert observed.claimed == set()
    assert {*observed.given_back} >= {*ids(6)[1:]}

    source.hanging.clear()
    # Another replica need not wait for the lease.
    assert settled(make_settler(holder="two")).settled == 5
    assert set(states(store).values()) == {GenerationState.SETTLED}


def test_what_another_replica_asks_for_is_left_to_it(make_settler, source, postgres_url, clock):
    with open_store(postgres_url, writes=True) as store:
        hand_in(store, ids(4))
        claimed = store.claim_pending(DUE, holder="two", lease=LEASE, most=3, longest=HOUR)
        assert settled(make_settler(of=store)).settled == 1
        store.release_pending([each.id for each in claimed], "two")
        assert settled(make_settler(of=store)).settled == 3
        assert sorted(source.ids) == ids(4)
    assert clock.now == DUE


def test_answers_that_cannot_be_written_are_asked_for_again(make_settler, source, store):
    hand_in(store, ids(3))
    source.hanging = {each: asyncio.Event() for each in ids(3)}

    async def answer_while_the_ledger_is_broken():
        async with settling(make_settler()) as task:
            await until(lambda: source.under_way == 3)
            with failing("before_cursor_execute", 0, lost_connection(), times=TRIES):
                for each in source.hanging.values():
                    each.set()
                with pytest.raises(StoreError):
                    await task

    asyncio.run(answer_while_the_ledger_is_broken())
    assert set(states(store).values()) == {GenerationState.PENDING}
    assert store.next_lookup_due() == DUE

    source.hanging.clear()
    assert settled(make_settler(holder="two")).settled == 3
