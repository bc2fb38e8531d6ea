"""A month of a hundred owners, with all that happens in one: whatever is said has a reason, and every alert a life."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from random import Random

import pytest

from reckon.core.alert_messages import Person
from reckon.core.alerts import AlertState, Change, Rule
from reckon.core.outbox import Manner
from reckon.core.records import Failure, FailureReason, Reading, Snapshot, WatchedKey
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, at, key_hash
from tests.core.desk import Desk

BEGIN, END = at("2026-10-31 23:00"), at("2026-12-01 23:00")  # of November, by the clock of Vienna
EVERY = 3 * HOUR
LIFE = re.compile("O[GR]*E(A[GR]*E)*(A[GR]*)?|O[GR]*")
LETTERS = dict(zip(Change, "OAGRE", strict=True))


@dataclass
class Key:
    owner: str
    name: str
    usual_nanos: int
    hash: str
    ever: dict[str, int] = field(default_factory=lambda: {"credits": 0, "byok": 0})
    by_midnight: dict[str, int] = field(default_factory=lambda: {"credits": 0, "byok": 0})
    looked_at: datetime = BEGIN

    def snapshot(self, now, **spent):
        """Spend since the last time, or since midnight if one has passed, and show the counters."""
        if self.looked_at.date() < now.date():
            self.by_midnight = dict(self.ever)
        self.looked_at = now
        for meter, nanos in spent.items():
            self.ever[meter] += nanos
        readings = (Reading(self.ever[meter], self.ever[meter] - self.by_midnight[meter], 0, 0) for meter in self.ever)
        return Snapshot(self.hash, now, *readings)


def a_month(random: Random) -> Desk:
    owners = [f"owner-{n:03}" for n in range(100)]
    keys = [
        Key(owner, f"key-{n}", round(random.lognormvariate(0, 2) * 10**8), key_hash(f"{owner}/{n}"))
        for owner in owners
        for n in range(random.choice([1, 1, 1, 2]))
    ]
    runaways = {(random.choice(keys).hash, random.randint(8, 29)) for _ in range(40)}
    revoked = {key.hash: BEGIN + random.randint(24, 600) * HOUR for key in random.sample(keys, 8)}
    back = {key: since + random.randint(5, 100) * HOUR for key, since in revoked.items() if random.random() < 0.5}
    outages = [Window(BEGIN + 12 * DAY - 9 * HOUR, BEGIN + 12 * DAY + 6 * HOUR)]  # and again on the same day
    outages += [Window(outages[0].end + 3 * HOUR, outages[0].end + 15 * HOUR)]
    people = {owner: Person(owner.title(), mention=f"U{owner[-3:]}") for owner in owners}
    desk = Desk(zone="Europe/Vienna", people=people, decides_twice=False, watched=())
    desk.poll_every, desk.staleness_after, desk.repeat_every = EVERY, 3 * EVERY, 20 * HOUR

    def answer(key: Key, now: datetime):
        if key.hash in revoked and revoked[key.hash] <= now < back.get(key.hash, END):
            return Failure(key.hash, FailureReason.ACCESS_DENIED, "HTTP 401")
        day = (now - BEGIN) // DAY
        is_busy, uses_byok = random.random() < (0.1 if day % 7 in {0, 1} else 0.3), random.random() < 0.05
        credit = round(key.usual_nanos * random.lognormvariate(0, 1)) if is_busy else 0
        if (key.hash, day) in runaways:
            credit += 5 * 10**9 + 30 * key.usual_nanos
        snapshot = key.snapshot(now, credits=credit, byok=key.usual_nanos if uses_byok else 0)
        if random.random() < 0.003 or any(now in outage for outage in outages):
            return Failure(key.hash, FailureReason.TIMED_OUT, "timed out")
        return snapshot

    now = BEGIN
    while now <= END:
        if now == BEGIN + 15 * DAY:
            keys[10].owner = keys[-1].owner  # one key changes hands, an owner leaves
            keys = [key for key in keys if key.owner != "owner-050"]
        desk.watched = [WatchedKey(key.hash, key.owner, f"{key.owner}/{key.name}") for key in keys]
        desk.poll(*[answer(key, now) for key in keys], now=now)
        now += EVERY
    return desk


@pytest.fixture(scope="module")
def month() -> Desk:
    return a_month(Random(20_261_101))  # noqa: S311 - an invented month is no secret


def test_every_message_of_a_month_has_a_reason_of_its_own(month):
    # That each message follows from a transition of its own, the desk has held with every plan.
    told = [one for one in month.transitions if one.change is not Change.RESOLVED]
    posts_and_edits = [one for one in month.outbox.values() if one.manner is not Manner.REPLY]

    assert len(posts_and_edits) == len(told)
    assert all(len(one.reason) > 20 and re.search(r"[$\d]", one.reason) for one in told)
    assert {one.change for one in month.transitions} == {*Change}
    assert {alert.finding.rule for alert in month.alerts.values()} == {Rule.SIGMA, Rule.STALENESS}


def test_every_alert_of_a_month_has_a_whole_life(month):
    for alert in month.alerts.values():
        life = "".join(LETTERS[change] for change in month.changes(alert.fingerprint))
        assert LIFE.fullmatch(life), life
        assert life.endswith("E") == (alert.state is AlertState.RESOLVED)
        assert alert.openings == life.count("O") + life.count("A")


def test_only_what_is_still_so_fires_at_the_end_of_a_month(month):
    for alert in month.alerts.values():
        if alert.state is AlertState.FIRING:
            silent = [month.keys[key_hash] for key_hash in alert.finding.key_hashes]
            assert (
                any(key.failing_since and key.watched for key in silent)
                or alert.finding.day.isoformat() == "2026-12-02"
            )


def test_every_day_that_was_unusual_ended_with_the_figure_of_the_ledger(month):
    days = [alert.finding for alert in month.alerts.values() if alert.finding.rule is Rule.SIGMA]

    assert len(days) > 40
    for finding in days:
        assert finding.spend_nanos == month.days[finding.owner, finding.day].amounts.spent(byok=True)
        assert finding.spend_nanos > finding.usual_nanos


def test_every_message_of_a_month_is_short_and_goes_to_whom_it_concerns(month):
    for intent, outgoing in month.outbox.items():
        assert len(outgoing.message.headline) <= 120, outgoing.message.headline
        owner = intent.split(":")[2]
        expected = None if outgoing.manner is Manner.REPLY or not owner else f"U{owner[-3:]}"
        assert outgoing.message.mention == expected
        assert owner.title() in outgoing.message.headline
