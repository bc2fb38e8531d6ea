"""What is noticed over whole lives, against the plain rule as a book of statistics has it.

The rule is computed here from the world's own list of spends, in fractions, by the standard library's `mean` and
`pvariance` (its root, `pstdev`, is a float, which at a tie may fall on either side). It knows nothing of the ledger.
What the world and the ledger share is when days begin: there is a look at the first instant of each, so that every
spend lies between two looks of one day.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from random import Random
from statistics import mean, pvariance
from zoneinfo import ZoneInfo

from hypothesis import event, given
from hypothesis import strategies as st

from reckon.core.detectors import AnomalyPolicy
from reckon.core.records import Reading, Snapshot, WatchedKey
from reckon.core.windows import Window, day_window, utc_midnight
from tests.builders import DAY, HOUR, SECOND, failure, key_hash
from tests.core.desk import Desk

METERS = ("credits", "byok")

# --- The world -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spend:
    at: datetime
    key: str
    meter: str
    nanos: int


@dataclass(frozen=True)
class World:
    """Some owners' days, what their keys spent, and which looks at them failed."""

    zone: str
    days: list[Window]
    looks: list[datetime]
    owners: dict[str, list[str]]
    """The keys of each."""
    opened: dict[str, datetime]
    """When each key was first seen."""
    silent: set[tuple[str, datetime]]
    """The looks at an owner that failed."""
    spends: list[Spend]

    def answers(self, owner):
        return [look for look in self.looks if (owner, look) not in self.silent]

    @cached_property
    def _sums(self):
        """What each meter of each key has come to: its instants, and the sum up to each."""
        sums = defaultdict(lambda: ([], [0]))
        for one in self.spends:
            instants, ever = sums[one.key, one.meter]
            instants.append(one.at)
            ever.append(ever[-1] + one.nanos)
        return sums

    def sum(self, key, meter, until):
        instants, ever = self._sums[key, meter]
        return ever[bisect_left(instants, until)]

    def since_midnight(self, key, meter, until):
        return self.sum(key, meter, until) - self.sum(key, meter, utc_midnight(until))

    def snapshot(self, key, look):
        readings = (
            Reading(self.sum(key, meter, look), self.since_midnight(key, meter, look), 0, 0) for meter in METERS
        )
        return Snapshot(key_hash(key), look, *readings)


def looks_of(days, every):
    for day in days:
        look = day.start
        while look < day.end:
            yield look
            look += every
    yield days[-1].end


def world_of(random, zone, first, every):
    """Return two or three weeks of two owners: steady ones, idle days, days nobody sees, and tails of any weight."""
    days = [day_window(first + n * DAY, zone) for n in range(random.randint(10, 18))]
    looks = [*looks_of(days, every)]
    owners = {owner: [f"{owner}-0", f"{owner}-1"] for owner in ("ana", "ben")}
    opened, silent, spends = {}, set(), []
    for owner, keys in owners.items():
        unseen = [day for day in days[1:] if random.random() < 0.06]
        silent |= {(owner, look) for look in looks for day in unseen if day.start <= look <= day.end}
        answers = [look for look in looks if (owner, look) not in silent]
        opened |= {keys[0]: random.choice(answers[:4]), keys[1]: random.choice(answers[:30])}
        busy, spread = random.random(), random.choice([0, 0.1, 0.5, 1.7])
        runaways = random.sample(days[8:], 2)
        for a, b in pairwise(looks):
            if random.random() < busy and not {(owner, a), (owner, b)} & silent:  # in a silence nothing is spent
                weight = 10**9 * (random.choice([1, 10, 1000]) if any(a in day for day in runaways) else 1)
                nanos = round(weight * random.lognormvariate(0, spread))
                spends.append(Spend(b - SECOND, random.choice(keys), random.choice(METERS), nanos))
    return World(zone.key, days, looks, owners, opened, silent, spends)


worlds = st.builds(
    world_of,
    st.integers(0, 2**64).map(Random),
    st.sampled_from([*map(ZoneInfo, ("UTC", "Asia/Kathmandu", "America/Santiago"))]),
    st.sampled_from([*map(date.fromisoformat, ("2026-03-28", "2026-08-30", "2026-11-01"))]),
    st.sampled_from([3 * HOUR, 5 * HOUR, 8 * HOUR, DAY]),
)


def lived(world, **settings):
    """Return a desk that has looked at the world."""
    desk = Desk(zone=world.zone, decides_twice=False, staleness_after=None, **settings)
    desk.poll_every = DAY
    for look in world.looks:
        known = [(owner, key) for owner, keys in world.owners.items() for key in keys if world.opened[key] <= look]
        desk.watched = [WatchedKey(key_hash(key), owner, key) for owner, key in known]
        desk.poll(
            *(failure(key) if (owner, look) in world.silent else world.snapshot(key, look) for owner, key in known),
            now=look,
        )
    return desk


# --- The rule ------------------------------------------------------------------------------------------------------


def plain_rule(world, owner, *, byok):
    """Yield (day, look) of each alert: the first look at which the rule holds for a day, or the one that closes it."""
    keys, answers = world.owners[owner], world.answers(owner)
    counted = [
        one
        for one in world.spends
        if one.key in keys and one.at >= world.opened[one.key] and (byok or one.meter == "credits")
    ]
    spends = [[one for one in counted if one.at in day] for day in world.days]
    totals = [Fraction(sum(one.nanos for one in ones)) for ones in spends]
    began = next((n for n, total in enumerate(totals) if total), len(totals))

    def half_seen(day):
        for key in keys:
            opened = world.opened[key]
            spent_today = any(world.since_midnight(key, meter, opened) for meter in METERS)
            spent_ever = any(world.sum(key, meter, opened) for meter in METERS)
            if opened in day and (spent_today or (spent_ever and day.start < utc_midnight(opened))):
                return True
        return False

    def unseen(day, close):
        known_since = [world.opened[key] for key in keys if world.opened[key] < day.end]
        return not any(max(day.start, min(known_since)) <= answer <= close for answer in answers)

    def is_unusual(n, look):
        close = max(edge for day in world.days for edge in (day.start, day.end) if edge <= look)
        days = range(began, n)
        past = [totals[i] for i in days if not half_seen(world.days[i]) and not unseen(world.days[i], close)]
        today = sum(one.nanos for one in spends[n] if one.at < look)
        return len(past) >= 7 and today > mean(past) and (today - mean(past)) ** 2 > 9 * pvariance(past)

    told = set()
    for look in world.looks:
        for n, day in enumerate(world.days):
            if day.start <= look <= day.end and n not in told and is_unusual(n, look):
                told.add(n)
                yield day, look


@given(worlds, st.booleans())
def test_without_a_floor_the_alerts_are_those_of_the_plain_rule_by_owner_day_and_poll(world, byok):
    desk = lived(world, anomaly=AnomalyPolicy(min_nanos=0, byok=byok))

    expected = {(owner, day.start, look) for owner in world.owners for day, look in plain_rule(world, owner, byok=byok)}

    zone = ZoneInfo(world.zone)
    found = [
        (alert.finding.owner, day_window(alert.finding.day, zone).start, alert.opened_at)
        for alert in desk.alerts.values()
    ]
    assert {*found} == expected
    assert len({one[:2] for one in found}) == len(found)
    event(f"alerts: {min(len(found), 4)}")
    event(f"silent: {bool(world.silent)}")
