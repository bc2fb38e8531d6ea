"""Days before anybody watched: what the account remembers of them, and what they make of an owner's history.

The account tells what each key spent on each of the last thirty finished UTC days, and through analytics, more
coarsely, on the days of a year. It tells nothing of whose a key is, and gives no row for a day without spend. So
silence about a day is a zero only where the day was asked for, and only while the key existed; a day that was not
asked for is no day.

A UTC day stands for the local date of the same name, until the ledger has its own: strictly before the first local day
on which a key of the owner was watched. It comes to what the keys spent that are the owner's now, because these are
what the owner will be judged by. Where one of them is not known for a day, that day is left out: a history that is half
true would make every whole day look like a runaway.

Yesterday's rows may come late, so a day is read on three mornings.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core.account import ActivityRow
from reckon.core.records import Amounts, Failure, FailureReason
from reckon.core.windows import Window, dates

DAYS_ON_OFFER: Final = 30
MOST_DAYS: Final = 365
"""Analytics forgets what is older."""
READ_AGAIN_EVERY: Final = timedelta(hours=1)
"""How soon a key is tried again of which nothing could be read."""

_MORNINGS: Final = timedelta(days=3)
_MORNING: Final = timedelta(hours=6)
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class DaySpan:
    """The UTC days from one on, up to but without another."""

    since: date
    until: date

    def __contains__(self, day: date) -> bool:
        return self.since <= day < self.until

    def __iter__(self) -> Iterator[date]:
        return dates(self.since, self.until)

    @property
    def is_empty(self) -> bool:
        """Whether no day lies in it."""
        return self.since >= self.until


@dataclass(frozen=True, slots=True)
class DaysTold:
    """What one ask brought: every row of these days, and for a day without a row that nothing was spent on it."""

    days: DaySpan
    rows: tuple[ActivityRow, ...] = ()


@dataclass(frozen=True, slots=True)
class NotTold:
    """Why one ask brought nothing."""

    reason: FailureReason
    detail: str
    retry_after_seconds: int | None = None
    is_closed: bool = False
    """Nobody with this key is told anything: a person must act."""


@dataclass(frozen=True, slots=True)
class PastOfKey:
    """What the ledger knows of one key's days, and of when it can have spent at all."""

    key_hash: str
    owner: str
    read: tuple[DaySpan, ...] = ()
    """The days that were read, apart from one another, earliest first."""
    read_at: datetime | None = None
    """When some were read last."""
    created_on: date | None = None
    first_money_on: date | None = None
    """The first of those days with money on it, where anybody has looked."""
    has_ever_spent: bool = True
    """False where its counters stood at nothing when it was first seen, so that no day before that can be more."""
    idle: Window | None = None
    """A stretch in which it certainly spent nothing."""

    @property
    def existed_from(self) -> date | None:
        """The first day on which it is known to have existed; None where nothing tells."""
        return min((day for day in (self.created_on, self.first_money_on) if day is not None), default=None)

    def is_due(self, read_before: datetime, now: datetime) -> bool:
        """Return whether it was not read since an instant, or by a clock that has been set back since."""
        if self.read_at is None or not read_before <= self.read_at <= now:
            return True
        return not any(span.until >= read_before.astimezone(UTC).date() for span in self.read)

    def missing_of(self, wanted: DaySpan) -> DaySpan | None:
        """Return the shortest span that holds all of *wanted* that was not read and on which it may have existed."""
        existing = DaySpan(max(wanted.since, self.created_on or wanted.since), wanted.until)
        found = [] if existing.is_empty else holes(self.read, existing)
        return DaySpan(found[0].since, found[-1].until) if found else None

    def is_idle_on(self, days: DaySpan) -> bool:
        """Return whether it certainly spent nothing on any of *days*."""
        whole = Window(_midnight(days.since), _midnight(days.until))
        return self.idle is not None and self.idle.overlap(whole) == whole


@dataclass(frozen=True, slots=True)
class KeyRead:
    """What is to be written of one key: these days in place of what was known of them."""

    key_hash: str
    owner: str
    told: DaysTold
    read: tuple[DaySpan, ...]
    """All its days that have been read, these included."""


@dataclass(frozen=True, slots=True)
class AccountRead:
    """What is to be written of the whole account."""

    told: DaysTold
    at: datetime


@dataclass(frozen=True, slots=True)
class ActivityPlan:
    """All that is to be written of some keys at once."""

    at: datetime
    read: Sequence[KeyRead]
    complete: Collection[str]
    """The owners of whose keys no other is about to be read: their histories are made anew."""
    zone: ZoneInfo
    """Whose days owners' histories are made of."""


@dataclass(slots=True)
class ActivityTally:
    """What one pass came to."""

    read: int = 0
    """Keys that were asked about and answered for."""
    idle: int = 0
    """Keys that were not asked about, for they certainly spent nothing."""
    failures: list[Failure] = field(default_factory=list)
    left: int = 0
    """Keys that are still to be asked about."""
    closed: NotTold | None = None
    """Why nobody is told anything: a person must act."""
    is_elsewhere: bool = False
    """Another replica reads, and nothing was done."""

    def __add__(self, other: "ActivityTally") -> "ActivityTally":
        return ActivityTally(
            self.read + other.read,
            self.idle + other.idle,
            [*self.failures, *other.failures],
            self.left + other.left,
            self.closed or other.closed,
            is_elsewhere=self.is_elsewhere or other.is_elsewhere,
        )


def finished_days(now: datetime, count: int = DAYS_ON_OFFER) -> DaySpan:
    """Return the last *count* UTC days that are over at *now*."""
    today = now.astimezone(UTC).date()
    return DaySpan(today - count * _DAY, today)


def last_morning(now: datetime) -> datetime:
    """Return the last 06:00 UTC: what was read before it is to be read again."""
    utc = now.astimezone(UTC)
    this_morning = _midnight(utc.date()) + _MORNING
    return this_morning if this_morning <= utc else this_morning - _DAY


def next_morning(now: datetime) -> datetime:
    """Return the next 06:00 UTC."""
    return last_morning(now) + _DAY


def taken(key: PastOfKey, told: DaysTold) -> KeyRead:
    """Return what of an answer is to be written: what was not known, and what may have changed since it was read."""
    days = days_to_take(key.read, told.days)
    rows = tuple(row for row in told.rows if row.date in days)
    return KeyRead(key.key_hash, key.owner, DaysTold(days, rows), joined([*key.read, days]))


def days_to_take(read: Sequence[DaySpan], told: DaySpan) -> DaySpan:
    """Return which of the days that are *told* may be news, where those of *read* were read before."""
    before = next((span for span in read if span.since <= told.since <= span.until), None)
    if before is None:
        return told
    # What had not had its three mornings when it was read last, and never less than the last three days.
    since = min(before.until - _MORNINGS + _DAY, told.until - _MORNINGS)
    return DaySpan(max(told.since, since), told.until)


def filled(key: PastOfKey, told: DaysTold) -> list[KeyRead]:
    """Return what of an answer is to be written where it only fills in: what was not known, a stretch at a time."""
    read = joined([*key.read, told.days])
    return [
        KeyRead(key.key_hash, key.owner, DaysTold(hole, tuple(row for row in told.rows if row.date in hole)), read)
        for hole in holes(key.read, told.days)
    ]


def joined(spans: Iterable[DaySpan]) -> tuple[DaySpan, ...]:
    """Return the same days as spans that do not touch, earliest first."""
    found: list[DaySpan] = []
    for span in sorted(span for span in spans if not span.is_empty):
        if found and span.since <= found[-1].until:
            found[-1] = DaySpan(found[-1].since, max(found[-1].until, span.until))
        else:
            found.append(span)
    return tuple(found)


def holes(spans: Iterable[DaySpan], wanted: DaySpan) -> list[DaySpan]:
    """Return the days of *wanted* that lie in none of *spans*, as spans, earliest first."""
    edge = DaySpan(date.min, wanted.since), DaySpan(wanted.until, date.max)
    return [
        hole
        for before, after in pairwise(joined([edge[0], *spans, edge[1]]))
        if not (hole := DaySpan(max(before.until, wanted.since), min(after.since, wanted.until))).is_empty
    ]


def summed_by_day(told: DaysTold) -> dict[date, Amounts]:
    """Return what each of the days that were told came to, those without a row included."""
    found = {day: Amounts() for day in told.days}
    for row in told.rows:
        if row.date in found:
            found[row.date] += Amounts(spend_nanos=row.credits_nanos, byok_nanos=row.byok_nanos)
    return found


def days_before(first_day: date, keys: Sequence[PastOfKey], money: Mapping[date, Amounts]) -> dict[date, Amounts]:
    """Return what an owner's days came to before the first one that the ledger has of its own.

    Args:
        first_day: the first local day on which a key of the owner was watched.
        keys: the owner's keys, every one of them.
        money: what the days of all of them come to, where that is not nothing.
    """
    earliest_read = min((span.since for key in keys for span in key.read), default=first_day)
    existed_from = min((day for key in keys if (day := key.existed_from)), default=first_day)
    unknown = {
        day
        for key in keys
        if key.has_ever_spent
        for hole in holes(key.read, DaySpan(max(earliest_read, key.created_on or earliest_read), first_day))
        for day in hole
    }
    span = DaySpan(max(earliest_read, existed_from), first_day)
    return {day: money.get(day, _NOTHING) for day in span if day not in unknown}


_NOTHING: Final = Amounts()


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
