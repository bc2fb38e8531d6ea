"""The whole ledger against a world of its own: whatever happens, every counter is accounted for to the nano-dollar.

The world keeps a list of what really happened to each key. What the ledger should hold is worked out from the values it
was shown, by the rules and in whole numbers, with nothing of the ledger's own arithmetic.
"""

from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from itertools import count
from zoneinfo import ZoneInfo

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, event, func, select, text
from sqlalchemy.exc import OperationalError

from reckon.core import plans, verify
from reckon.core.polls import Poll
from reckon.core.records import Amounts, Failure, FailureReason, Meter, Reading, Snapshot, TotalState, WatchedKey
from reckon.store import open_store
from reckon.store.rows import METERS, instant
from reckon.store.tables import KEY, OWNER, TABLES, WINDOW_TOTAL
from tests.builders import SECOND, at, key_hash, policy, usd

OWNERS = ("ana", "ben", "cleo")
ZONES = ("UTC", "Asia/Kathmandu", "America/Santiago", "America/New_York")
STEPS = (-3 * 86_400, -86_400, -3_600, -61, -1, 1, 61, 3_600, 86_400)

amounts = st.integers(1, 9) | st.integers(1, usd("3"))
meters = st.sampled_from([Meter.CREDITS, Meter.CREDITS, Meter.BYOK])
whiles = st.lists(st.booleans(), max_size=4)
pauses = st.sampled_from([1, 60, 900, 3_600, 20_000, 90_000])


# --- The world -----------------------------------------------------------------------------------------------------


@dataclass
class WorldKey:
    """One key as OpenRouter has it: each change of each lifetime counter, and what was spent, in the order of time."""

    name: str
    changes: dict[Meter, list[tuple[datetime, int, int]]] = field(
        default_factory=lambda: {meter: [] for meter in Meter}
    )
    is_deleted: bool = False
    has_fallen: bool = False
    """Whether any of its counters ever fell, or was ever seen to."""

    def total(self, meter, now):
        return sum(change for when, change, _ in self.changes[meter] if when <= now)

    def spent(self, meter, since, now):
        return sum(spent for when, _, spent in self.changes[meter] if since < when <= now)

    def reading(self, meter, now):
        day = datetime.combine(now.date(), datetime.min.time(), now.tzinfo) - SECOND
        return Reading(self.total(meter, now), self.spent(meter, day, now), 0, 0)


@dataclass
class Account:
    """What the ledger should say of one counter, by what it was shown of it."""

    opening: int
    mark: int
    last: int
    first_seen: datetime
    last_seen: datetime
    """Both by the world's own clock."""
    seen_at: datetime
    """By ours."""
    lowest: int | None = None
    """The lowest value since it was last seen at its mark or above; None while it is there."""
    fell_at: datetime | None = None
    polls_below: int = 0

    def see(self, value, when):
        """Take notice of *value*; return what it adds to spend and to corrections."""
        spent = corrected = 0
        self.last = value
        if value >= self.mark:
            spent, self.mark, self.lowest = value - self.mark, value, None
        else:
            is_told_twice = self.lowest is not None and when == self.seen_at
            if self.lowest is None:
                self.lowest, self.fell_at, self.polls_below = value, when, 0
            self.lowest = min(self.lowest, value)
            self.polls_below += not is_told_twice
            if self.polls_below >= 3 and abs(when - self.fell_at) >= 900 * SECOND:
                floor = 0 if 100 * self.lowest < self.mark else self.lowest
                spent, corrected = value - floor, floor - self.mark
                self.mark, self.lowest = value, None
        self.seen_at = when
        return spent, corrected


# --- This process --------------------------------------------------------------------------------------------------


class Trouble(StrEnum):
    """What may go wrong in the middle of a poll."""

    DIES_DECIDING = "the process dies with its plan made"
    DIES_COMMITTING = "the process dies with its plan written, and not committed"
    COMMIT_FAILS = "the commit fails"
    ANSWER_IS_LOST = "the commit succeeds, and nobody hears of it"


class Death(BaseException):
    """The process is gone."""


@contextmanager
def trouble_at_the_commit(trouble):
    """Let the first commit go wrong in this way."""
    commits = count()

    def go(connection):
        if next(commits):
            return
        if trouble is Trouble.DIES_COMMITTING:
            raise Death
        if trouble is Trouble.ANSWER_IS_LOST:
            connection.connection.commit()
        raise OperationalError("COMMIT", {}, Exception("the connection was lost"))

    if trouble in {None, Trouble.DIES_DECIDING}:
        yield
        return
    event.listen(Engine, "commit", go)
    try:
        yield
    finally:
        event.remove(Engine, "commit", go)


class Process:
    """What has the ledger open, and may end at any time."""

    def __init__(self, url):
        self._url = url
        self.store = open_store(url, writes=True)

    def restart(self):
        self.store.close()
        self.store = open_store(self._url, writes=True)


class LedgerMachine(RuleBasedStateMachine):
    """Rules are what may happen to a team, to OpenRouter, to the clock and to this process."""

    process: "Process"

    def __init__(self):
        super().__init__()
        _empty(self.process.store)
        self.names = (f"key-{n}" for n in count(1))
        self.now = at("2026-03-06 21:00")
        self.clock_error = 0 * SECOND
        self.zone = "UTC"
        self.keys = {}
        self.owner_of = {}
        self.accounts = {}
        self.spent = Counter()
        self.corrected = Counter()
        self.settled = {}
        self.given_away = set()
        self.clock_stepped = False
        self.is_sound = True
        self.touched = None

    @initialize(holders=st.lists(st.sampled_from(OWNERS), min_size=1, max_size=3), before=amounts)
    def a_team_has_keys_and_history(self, holders, before):
        for owner in holders:
            key = self._make_key(owner)
            self._change(key, Meter.CREDITS, before, before)

    def _make_key(self, owner):
        key = WorldKey(next(self.names))
        self.keys[key.name] = key
        self.owner_of[key.name] = owner
        return key

    def _change(self, key, meter, change, spent):
        self.now += SECOND  # so that nothing happens in the second of a look
        key.changes[meter].append((self.now, change, spent))

    def _spend(self, data):
        nanos = data.draw(amounts)
        self._change(self._any(data), data.draw(meters), nanos, nanos)

    def _any(self, data, keys=None):
        # As often as not the one that something happened to last: one thing rarely comes alone.
        names = sorted(keys or self.keys)
        lately = [self.touched] * len(names) if self.touched in names else []
        self.touched = data.draw(st.sampled_from(names + lately))
        return self.keys[self.touched]

    # --- What happens in the world ---------------------------------------------------------------------------------

    @rule(data=st.data())
    def somebody_spends(self, data):
        self._spend(data)

    @rule(seconds=pauses)
    def time_passes(self, seconds):
        self.now += seconds * SECOND

    @rule(data=st.data(), meter=meters, part=st.sampled_from([1, 2, 2, 4, 300]), spending=whiles)
    def a_counter_falls_while_we_poll(self, data, meter, part, spending):
        key = self._any(data)
        key.has_fallen = True
        self._change(key, meter, -(key.total(meter, self.now) // part), 0)
        self._poll_for_a_while(data, spending)

    @rule(data=st.data(), left_in_the_map=st.booleans())
    def a_key_is_deleted(self, data, left_in_the_map):
        key = self._any(data)
        key.is_deleted = True
        if not left_in_the_map:
            self.owner_of.pop(key.name, None)

    @precondition(lambda self: self.owner_of and len(self.keys) < 6)
    @rule(data=st.data())
    def a_key_is_rotated(self, data):
        old = self._any(data, self.owner_of)
        self._make_key(self.owner_of.pop(old.name))

    @precondition(lambda self: self.owner_of)
    @rule(data=st.data(), owner=st.sampled_from(OWNERS))
    def a_key_moves(self, data, owner):
        key = self._any(data, self.owner_of)
        self.owner_of[key.name] = owner
        self.given_away.add(key.name)

    # --- What happens to us ----------------------------------------------------------------------------------------

    @rule()
    def we_restart(self):
        self.process.restart()

    @rule(seconds=st.sampled_from(STEPS))
    def our_clock_steps(self, seconds):
        self.clock_error += seconds * SECOND
        self.clock_stepped = True

    @rule(zone=st.sampled_from(ZONES))
    def the_zone_changes(self, zone):
        self.zone = zone
        self.settled = {}

    @rule(data=st.data(), seconds=pauses)
    def somebody_spends_and_we_poll(self, data, seconds):
        self._spend(data)
        self.now += seconds * SECOND
        self._poll()

    @rule(data=st.data(), spending=whiles)
    def we_poll_for_a_while(self, data, spending):
        self._poll_for_a_while(data, spending)

    @rule(data=st.data(), behind=st.sampled_from([0, 0, 60, 4_000]))
    def some_of_a_poll_fails(self, data, behind):
        failing = data.draw(st.sets(st.sampled_from(sorted(self.keys))))
        self._poll(failing=failing, behind=behind * SECOND)

    @rule(trouble=st.sampled_from(Trouble))
    def something_goes_wrong_in_a_poll(self, trouble):
        self._poll(trouble=trouble)

    def _poll_for_a_while(self, data, spending):
        for is_spent in spending:
            if is_spent:
                self._spend(data)
            self.now += 400 * SECOND
            self._poll()

    def _poll(self, *, failing=(), behind=0 * SECOND, trouble=None):
        self.is_sound = False  # until everything has been looked at
        clock = self.now + self.clock_error
        terms = policy(self.zone)
        owner_map = tuple(WatchedKey(key_hash(name), owner, name) for name, owner in self.owner_of.items())
        asked = [self.keys[name] for name in self.owner_of]
        answering = [key for key in asked if key.name not in failing and not key.is_deleted]
        answers = {key.name: self._answer(key, clock, behind) for key in answering}
        failures = tuple(
            Failure(key_hash(key.name), FailureReason.ACCESS_DENIED, "HTTP 401")
            for key in asked
            if key.name not in answers
        )
        poll = Poll(tuple(answers.values()), failures)

        def decide(state):
            plan = plans.after_poll(state, poll, owner_map, terms, clock)
            if trouble is Trouble.DIES_DECIDING:
                raise Death
            return plan

        try:
            with trouble_at_the_commit(trouble):
                plan = self.process.store.commit_poll(decide, terms, clock)
        except Death:
            self.process.restart()
            self._check_counters()
            self.is_sound = True
            return
        for name, answer in answers.items():
            self._expect(name, answer, behind)
        self._check_counters()
        if plan.owner_days or plan.windows:
            self._check_days()
        self.given_away -= set(answers)
        self.is_sound = True

    def _answer(self, key, clock, behind):
        truth = self.now - behind
        if behind and any(when > truth for meter in Meter for when, *_ in key.changes[meter]):
            key.has_fallen = True
        return Snapshot(
            key_hash(key.name),
            clock + len(key.name) % 3 * SECOND,
            key.reading(Meter.CREDITS, truth),
            key.reading(Meter.BYOK, truth),
        )

    # --- What the ledger should hold, and does ---------------------------------------------------------------------

    def _expect(self, name, answer, behind):
        owner = self.owner_of[name]
        for meter, reading in ((Meter.CREDITS, answer.credits), (Meter.BYOK, answer.byok)):
            value = reading.total_nanos
            account = self.accounts.get((name, meter))
            if account is None:
                seen = self.now - behind
                self.accounts[name, meter] = Account(value, value, value, seen, seen, answer.at)
                continue
            spent, corrected = account.see(value, answer.at)
            account.last_seen = self.now - behind
            self.spent[owner, name, meter] += spent
            self.corrected[owner, name, meter] += corrected

    def _check_counters(self):
        with self.process.store.reading() as ledger:
            keys = {key.name: key for key in ledger.every_key() if key.counters}
            held = {
                (row.owner, row.name, METERS[row.meter]): (int(row.spend), int(row.correction))
                for row in ledger.connection.execute(_SUMS)
            }
        places = {*self.spent, *self.corrected, *held}
        assert {place: held.get(place, (0, 0)) for place in places} == {
            place: (self.spent[place], self.corrected[place]) for place in places
        }
        assert {(name, meter) for name in keys for meter in Meter} == set(self.accounts)
        for (name, meter), account in self.accounts.items():
            counters = keys[name].counters
            counter = counters.credits if meter is Meter.CREDITS else counters.byok
            moved = [sum(held[place]) for place in held if place[1:] == (name, meter)]
            assert (counter.opening.total_nanos, counter.mark_nanos) == (account.opening, account.mark)
            assert account.opening + sum(moved) == account.mark
            assert counter.total_nanos == account.last
            assert (counter.dip is None) == (account.last == account.mark) == (account.lowest is None)
            key = self.keys[name]
            if not key.has_fallen:
                truly_spent = key.spent(meter, account.first_seen, account.last_seen)
                assert sum(held[place][0] for place in held if place[1:] == (name, meter)) == truly_spent

    def _check_days(self):
        zone = ZoneInfo(self.zone)
        with self.process.store.reading() as ledger:
            rows = {(row.owner, row.day): row for row in ledger.owner_days()}
            open_day = {owner.name: owner.open_day for owner in ledger.every_owner()}
            windows = [
                (row.owner, instant(row.start), Amounts.of(METERS[row.meter], int(row.spend), int(row.correction)))
                for row in ledger.connection.execute(_WINDOWS)
            ]
        expected = defaultdict(Amounts)
        for owner, start, moved in windows:
            day = start.astimezone(zone).date()
            if day < open_day[owner]:
                expected[owner, day] += moved
        found = {place: row.amounts for place, row in rows.items()}
        assert {**dict.fromkeys(found, Amounts()), **expected} == found
        assert all(day < open_day[owner] for owner, day in rows)

        if self.clock_stepped or self.given_away:
            self.settled = {}
            return
        for place, settled in self.settled.items():
            assert found[place] == settled, f"a settled day moved: {place}"
        self.settled = {place: row.amounts for place, row in rows.items() if row.state is TotalState.SETTLED}

    @invariant()
    def money_is_whole(self):
        assert all(nanos >= 0 for nanos in self.spent.values())
        assert all(nanos <= 0 for nanos in self.corrected.values())

    def teardown(self):
        if self.is_sound:
            self._poll()
            self._check_days()
            with self.process.store.reading() as ledger:
                assert [found for history in ledger.histories() for found in verify.check_key(history)] == []


def _empty(store):
    with store._writer.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"TRUNCATE {', '.join(table.name for table in TABLES)}"))
        else:
            for table in reversed(TABLES):
                connection.execute(table.delete())


_MOVED = (
    func.sum(WINDOW_TOTAL.c.spend_nanos).label("spend"),
    func.sum(WINDOW_TOTAL.c.correction_nanos).label("correction"),
)
_SUMS = (
    select(OWNER.c.name.label("owner"), KEY.c.name, WINDOW_TOTAL.c.meter, *_MOVED)
    .join_from(WINDOW_TOTAL, OWNER, OWNER.c.id == WINDOW_TOTAL.c.owner_id)
    .join(KEY, KEY.c.id == WINDOW_TOTAL.c.key_id)
    .group_by(OWNER.c.name, KEY.c.name, WINDOW_TOTAL.c.meter)
)
_WINDOWS = (
    select(OWNER.c.name.label("owner"), WINDOW_TOTAL.c.start, WINDOW_TOTAL.c.meter, *_MOVED)
    .join(OWNER, OWNER.c.id == WINDOW_TOTAL.c.owner_id)
    .group_by(OWNER.c.name, WINDOW_TOTAL.c.start, WINDOW_TOTAL.c.meter)
)


def live(url, *, lives, steps):
    """Let so many worlds live over the database at *url*, each for so many steps at most."""
    process = Process(url)
    try:
        run_state_machine_as_test(
            type("LedgerMachine", (LedgerMachine,), {"process": process}),
            settings=settings(max_examples=lives, stateful_step_count=steps),
        )
    finally:
        process.store.close()


def test_whatever_happens_every_counter_is_accounted_for(database_url):
    live(database_url, lives=25, steps=30)


@pytest.mark.long
def test_whatever_happens_for_long_every_counter_is_accounted_for(database_url):
    live(database_url, lives=2_000, steps=50)
