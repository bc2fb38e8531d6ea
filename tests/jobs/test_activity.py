"""Reading days gone by as a job: every morning, once for what is new, and no key's trouble costs another."""

import asyncio
from zoneinfo import ZoneInfo

import pytest
import structlog

from reckon.core import plans
from reckon.core.account import ActivityRow
from reckon.core.activity_days import DaySpan, DaysTold, NotTold, finished_days
from reckon.core.polls import Poll
from reckon.core.records import FailureReason
from reckon.core.sweeps import Sweep, SweptKey, Workspace, WorkspaceSweep
from reckon.jobs.activity import READ_ACTIVITY, ActivityReader, ActivityTerms, Meanwhile
from reckon.store import activity, open_store
from tests.builders import DAY, HOUR, MINUTE, at, key_hash, policy, snapshot, usd, watched

NOON = at("2026-11-20 12:00")
NEXT_MORNING = at("2026-11-21 06:00")
LEASE = MINUTE
MAP = (watched("laptop", "ana"), watched("ci", "ana"), watched("phone", "ben"))
REFUSED = NotTold(FailureReason.ACCESS_DENIED, "HTTP 403", is_closed=True)
BROKEN = NotTold(FailureReason.UNAVAILABLE, "HTTP 502")


class Scripted:
    """Tells a dollar a day of every key; what is in the script comes first."""

    def __init__(self):
        self.now = NOON
        self.asked = []
        self.script = {}
        self.hanging = asyncio.Event()
        self.hangs = set()

    async def last_days(self, hash_=None):
        return await self._tell(hash_, finished_days(self.now))

    async def older_days(self, hash_, days):
        return await self._tell(hash_, days)

    async def _tell(self, hash_, days):
        name = next((entry.name for entry in MAP if entry.hash == hash_), "account")
        self.asked.append((name, days))
        await asyncio.sleep(0)
        if name in self.hangs:
            await self.hanging.wait()
        if script := self.script.get(name):
            return script.pop(0)
        return DaysTold(days, tuple(ActivityRow(day, "maker/small", "Maker", usd("1"), 0) for day in days))

    def names(self):
        asked, self.asked = [name for name, _ in self.asked], []
        return sorted(asked)


@pytest.fixture
def store(database_url):
    with open_store(database_url, writes=True) as opened:
        poll(opened)
        yield opened


def poll(store, when=NOON, entries=MAP, *, last_used=None):
    keys = [
        SweptKey(
            entry.hash,
            snapshot=snapshot(when, "100", key=entry.name),
            workspace_id="w",
            created_at=at("2026-01-01 00:00"),
            last_used_at=last_used,
        )
        for entry in entries
    ]
    sweep = Sweep(tuple(keys), workspaces=(WorkspaceSweep(Workspace("w"), when, len(keys)),))
    seen = Poll(tuple(key.snapshot for key in keys), sweep=sweep)
    store.commit_poll(
        lambda state: plans.after_poll(state, seen, entries, policy(), when), policy(), when, seen=seen, watched=entries
    )


@pytest.fixture
def source():
    return Scripted()


def reader_of(source, store, holder="us"):
    return ActivityReader(source, store, ActivityTerms(ZoneInfo("UTC"), holder, LEASE, concurrency=2))


@pytest.fixture
def reader(source, store):
    return reader_of(source, store)


def read(reader, source, now=NOON, **how):
    source.now = now
    return asyncio.run(reader.read(now, **how))


def days(store, owner):
    with store.reading() as ledger:
        return [row.day for row in ledger.owner_days({owner}) if row.amounts.spend_nanos]


def spans(store):
    with store.reading() as ledger:
        return {past.key_hash: past.read for past in activity.pasts_of_keys(ledger.connection)}


EVERYBODY = ["account", "ci", "laptop", "phone"]


def test_everything_is_read_at_first_and_then_once_every_morning(reader, source, store):
    assert read(reader, source).read == 3
    assert source.names() == EVERYBODY
    assert days(store, "ana") == days(store, "ben") == [*finished_days(NOON)]

    assert read(reader, source, NOON + 10 * MINUTE).read == 0
    assert read(reader, source, NEXT_MORNING - MINUTE).read == 0
    assert source.names() == []

    assert read(reader, source, NEXT_MORNING).read == 3
    assert source.names() == EVERYBODY
    assert set(spans(store).values()) == {(DaySpan(NOON.date() - 30 * DAY, NEXT_MORNING.date()),)}


def test_what_was_read_before_a_restart_is_not_read_again(reader, source, store):
    read(reader, source)
    source.names()

    read(reader_of(source, store), source, NOON + HOUR)

    assert source.names() == []


def test_a_key_that_is_new_is_read_at_the_next_look(reader, source, store):
    with store._writer.begin() as connection:
        connection.exec_driver_sql("UPDATE key SET workspace = NULL WHERE name = 'phone'")
    read(reader, source)
    assert source.names() == ["account", "ci", "laptop"]
    assert days(store, "ben") == []

    poll(store, NOON + MINUTE)
    read(reader, source, NOON + 2 * MINUTE)

    assert source.names() == ["phone"]
    assert len(days(store, "ben")) == 30


def test_a_key_that_fails_costs_no_other_and_is_tried_again_after_an_hour(reader, source, store):
    source.script["ci"] = [BROKEN]

    tally = read(reader, source)

    assert (tally.read, [failure.key_hash for failure in tally.failures]) == (2, [key_hash("ci")])
    assert len(days(store, "ben")) == 30
    assert days(store, "ana") == []  # half of their keys is no history
    source.names()

    assert read(reader, source, NOON + 59 * MINUTE).read == 0
    assert source.names() == []
    assert read(reader, source, NOON + HOUR).read == 1
    assert source.names() == ["ci"]
    assert len(days(store, "ana")) == 30


def test_a_management_key_that_is_told_nothing_is_told_of_once(reader, source, store):
    source.script["account"] = [REFUSED, REFUSED]
    with structlog.testing.capture_logs() as told:
        for hours in range(3):
            read(reader, source, NOON + hours * HOUR / 2)

    assert source.names() == ["account", "account"]
    assert [event["event"] for event in told] == ["activity.closed"]
    assert spans(store)[key_hash("ci")] == ()

    read(reader, source, NOON + 2 * HOUR)
    assert source.names() == EVERYBODY


def test_trouble_with_the_account_s_own_days_costs_no_key_its_days(reader, source, store):
    source.script["account"] = [BROKEN]

    assert read(reader, source).read == 3
    assert len(days(store, "ana")) == 30
    source.names()

    read(reader, source, NOON + HOUR)
    assert source.names() == ["account"]


def test_when_openrouter_asks_for_a_rest_the_others_wait_for_as_long(source, store):
    reader = ActivityReader(source, store, ActivityTerms(ZoneInfo("UTC"), "us", LEASE, concurrency=1))
    source.script["laptop"] = source.script["ci"] = source.script["phone"] = [
        NotTold(FailureReason.RATE_LIMITED, "HTTP 429", retry_after_seconds=600)
    ]

    tally = read(reader, source)
    assert (len(tally.failures), tally.left) == (1, 2)
    assert len(source.names()) == 2

    read(reader, source, NOON + 9 * MINUTE)
    assert source.names() == []
    assert read(reader, source, NOON + 10 * MINUTE).read == 2


def test_of_a_key_that_was_not_used_nothing_is_asked_and_its_days_are_zeros(reader, source, store):
    poll(store, NOON + MINUTE, last_used=at("2026-09-01 00:00"))

    tally = read(reader, source, NOON + 2 * MINUTE)

    assert (tally.idle, source.names()) == (3, ["account"])
    with store.reading() as ledger:
        found = ledger.owner_days({"ana"})
    assert [row.day for row in found] == [*finished_days(NOON)]
    assert {row.amounts.spend_nanos for row in found} == {0}


def test_a_pass_that_is_wanted_elsewhere_ends_with_what_it_has_and_goes_on_later(reader, source, store):
    source.hangs.add("phone")

    tally = read(reader, source, meanwhile=Meanwhile(is_enough=lambda: ("phone", finished_days(NOON)) in source.asked))

    assert (tally.read, tally.left) == (2, 1)
    assert (len(days(store, "ana")), days(store, "ben")) == (30, [])
    source.hangs.clear()
    assert read(reader, source, NOON + MINUTE).read == 1


def test_progress_is_told(reader, source):
    told = []

    read(reader, source, meanwhile=Meanwhile(progress=lambda done, of: told.append((done, of))))

    assert told[-1] == (3, 3)


def test_by_hand_everything_is_read_whether_it_is_due_or_not_and_what_failed_is_tried_once(reader, source):
    read(reader, source)
    source.names()
    source.script["ci"] = [BROKEN]
    since = NOON + MINUTE

    assert read(reader, source, since, since=since).read == 2
    assert source.names() == EVERYBODY
    assert read(reader, source, since + MINUTE, since=since).read == 0
    assert source.names() == []


def test_older_days_are_filled_in_where_they_are_not_known(reader, source, store):
    read(reader, source)
    source.names()
    source.script["ci"] = [BROKEN]

    tally = asyncio.run(reader.fill(90, NOON + MINUTE))
    older = DaySpan(NOON.date() - 90 * DAY, NOON.date() - 30 * DAY)
    assert {days for _, days in source.asked} == {older}
    assert (source.names(), tally.read, len(tally.failures)) == (["ci", "laptop", "phone"], 2, 1)
    assert (len(days(store, "ben")), len(days(store, "ana"))) == (90, 30)  # half of their keys is no history

    assert asyncio.run(reader.fill(90, NOON + 2 * MINUTE)).read == 1
    assert source.names() == ["ci"]
    assert len(days(store, "ana")) == 90
    assert asyncio.run(reader.fill(30, NOON + 2 * MINUTE)).read == 0


def test_where_analytics_is_not_on_offer_nobody_is_asked_twice(reader, source):
    for name in ("ci", "laptop", "phone"):
        source.script[name] = [REFUSED]

    tally = asyncio.run(reader.fill(365, NOON))

    assert tally.closed == REFUSED
    assert len(source.names()) <= 2


def test_one_replica_reads_and_the_others_leave_it_alone(postgres_url, source):
    with open_store(postgres_url, writes=True) as store:
        poll(store)
        theirs = reader_of(source, store, "they")
        assert store.take(READ_ACTIVITY, "us", LEASE)

        assert read(theirs, source).is_elsewhere
        assert source.names() == []

        store.give_back(READ_ACTIVITY, "us")
        assert read(theirs, source).read == 3
        assert store.take(READ_ACTIVITY, "us", LEASE)  # it was given back
