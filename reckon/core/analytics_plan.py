"""What to ask analytics now, and what its answers say of whom.

Analytics knows the model of all money within minutes, and it may be asked only so often. So one look asks about all
keys at once, hour by hour, and about single keys only where the answer leaves open whose its rows are.

A row names its key by a label, which need not be unique, and may be the key's name, its masked form or its hash. A row
is believed to be of a key only if no other key might be called so: neither one that we know, nor one that made a second
row out of what would have been the same. The name that the owner map gives to a key is its operator's and tells
nothing; what analytics itself once called a key that was asked for by its hash does. What is left in doubt is asked
about by hash, dearest first, and what matches nobody is the account's alone.

An answer that is cut off is no sum: its span is halved until it is an hour, and then its keys are asked for one by one.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from reckon.core.account import (
    AnalyticsAnswer,
    AnalyticsRow,
    CountColumn,
    Dimension,
    Filter,
    Granularity,
    MoneyColumn,
    Question,
)
from reckon.core.records import KeyState
from reckon.core.windows import Window, utc_midnight, whole_second

MOST_QUESTIONS: Final = 48
"""How many questions one look may ask about models. With those of listing, 8 of a minute's 64 are left for others."""
LOOK_EVERY: Final = timedelta(minutes=5)
LATE_AFTER: Final = timedelta(minutes=30)
"""How long after midnight the rows of the day before are taken to be complete, and are read once more."""

HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_MONEY: Final = (MoneyColumn.CREDITS, MoneyColumn.BYOK)
_COUNTS: Final = (CountColumn.REQUESTS,)
_LONGEST_NAME: Final = 80


@dataclass(frozen=True, slots=True)
class ModelHour:
    """What one key spent in one hour on one model."""

    start: datetime
    key_hash: str
    model: str | None
    credits_nanos: int
    byok_nanos: int
    requests: int | None
    owner: str | None = None
    """Who held the key when it was first told; None before it is written down."""

    @property
    def nanos(self) -> int:
        """All its money."""
        return self.credits_nanos + self.byok_nanos


@dataclass(frozen=True, slots=True)
class KeyHours:
    """All that analytics tells of one key within a span of whole hours, the last of which may be running."""

    key_hash: str
    span: Window
    rows: tuple[ModelHour, ...]


@dataclass(frozen=True, slots=True)
class AccountDay:
    """What the whole account spent on one UTC day, as of an instant."""

    day: date
    credits_nanos: int
    byok_nanos: int
    as_of: datetime


# --- Questions -----------------------------------------------------------------------------------------------------


def models(span: Window, key_hash: str | None = None) -> Question:
    """Return the question on what each key, or one of them, spent in *span* by the hour and model."""
    of_key = () if key_hash is None else (Filter(Dimension.KEY, (key_hash,)),)
    by = (Dimension.KEY, Dimension.MODEL)
    return Question(span, _MONEY, _COUNTS, by, Granularity.HOUR, filters=of_key)


def total(span: Window) -> Question:
    """Return the question on what the whole account spent in *span*."""
    return Question(span, _MONEY)


def today(now: datetime) -> Window:
    """Return the UTC day that runs at *now*, as far as it has come; empty at the very midnight."""
    return Window(utc_midnight(now), whole_second(now))


def yesterday(now: datetime) -> Window:
    """Return the UTC day before the one that runs at *now*."""
    midnight = utc_midnight(now)
    return Window(midnight - _DAY, midnight)


def late_day(now: datetime, reread: date | None) -> Window | None:
    """Return yesterday if it is time to read it once more at *now*; None if it is not, or was *reread* already."""
    before = yesterday(now)
    is_time = now >= before.end + LATE_AFTER
    return before if is_time and reread != before.start.date() else None


def pieces(span: Window, longest: timedelta) -> list[Window]:
    """Cut *span* into pieces no longer than so many whole hours, the newest first."""
    starts = [span.start + n * longest for n in range(-((span.start - span.end) // longest))]
    return [Window(start, min(start + longest, span.end)) for start in reversed(starts)]


def halved(longest: timedelta) -> timedelta | None:
    """Return half as many hours, rounded up; None where it is one already."""
    return None if longest <= HOUR else -(-longest // (2 * HOUR)) * HOUR


# --- Whose a row is ------------------------------------------------------------------------------------------------


class Names:
    """Which keys may be meant by a name.

    Args:
        keys: every key that the ledger knows.
        entries: the hashes of those that the owner map names.
        shown: what analytics itself called a key when it was asked for by its hash, by hash.
        spenders: the hashes of the keys that may have rows.
    """

    def __init__(
        self, keys: Iterable[KeyState], entries: Collection[str], shown: Mapping[str, str], spenders: Collection[str]
    ) -> None:
        self._by_mark: defaultdict[str, set[str]] = defaultdict(set)
        self._by_name: defaultdict[str, set[str]] = defaultdict(set)
        strangers = []
        for key in keys:
            for mark in filter(None, (key.hash, key.label)):
                self._by_mark[_cut(mark)].add(key.hash)
            if key.hash in shown:
                self._by_name[_cut(shown[key.hash])].add(key.hash)
            elif key.hash not in entries:
                # Of two keys of one owner that are called alike, the ledger names each by a part of its hash as well.
                self._by_name[_cut(key.name.removesuffix(f" {key.hash[:8]}"))].add(key.hash)
                self._by_name[_cut(key.name)].add(key.hash)
            elif key.hash in spenders:
                strangers.append(key.hash)
        self.strangers: Final = frozenset(strangers)
        """The hashes of the keys that may have rows, and of which nobody knows what analytics calls them."""

    def of(self, name: str | None) -> Collection[str]:
        """Return the hashes of the keys that *name* may mean, as far as names are known; none for no name at all."""
        return {*self._by_mark.get(_cut(name), ()), *self._by_name.get(_cut(name), ())} if name else set()

    def surely(self, name: str | None) -> str | None:
        """Return the hash of the one key that *name* means; None where it might be another's.

        While there are strangers, a name might be one of theirs, unless it is a mark that only the named key bears.
        """
        meant = self.of(name)
        is_sure = len(meant) == 1 and not (self.strangers and _cut(name or "") not in self._by_mark)
        return next(iter(meant)) if is_sure else None


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer about all keys says."""

    hours: tuple[KeyHours, ...]
    """Of the keys that are surely meant."""
    doubtful: frozenset[str]
    """The hashes of keys of which it may speak as well."""


def told_of_all(rows: Sequence[AnalyticsRow], span: Window, names: Names) -> Told:
    """Return what *rows*, the answer to `models` of *span*, say of whom."""
    by_name: defaultdict[str | None, list[AnalyticsRow]] = defaultdict(list)
    for row in rows:
        by_name[row.names[Dimension.KEY]].append(row)
    hours: list[KeyHours] = []
    doubtful: set[str] = set()
    for name, of_name in by_name.items():
        key_hash = names.surely(name)
        if key_hash and not _has_twins(of_name):
            hours.append(KeyHours(key_hash, span, tuple(_model_hours(of_name, key_hash))))
        doubtful.update(names.of(name))
    # One key may stand under two names, when it was renamed just now.
    met = Counter(each.key_hash for each in hours)
    sure = tuple(each for each in hours if met[each.key_hash] == 1)
    return Told(sure, frozenset((doubtful | names.strangers) - {each.key_hash for each in sure}))


def told_of_one(rows: Sequence[AnalyticsRow], span: Window, key_hash: str) -> KeyHours:
    """Return what *rows*, the answer to `models` of *span* and a key, say of that key."""
    return KeyHours(key_hash, span, tuple(_model_hours(rows, key_hash)))


def shown_name(rows: Sequence[AnalyticsRow]) -> str | None:
    """Return what *rows* that are all of one key call it; None where they do not agree, or there are none."""
    shown = {row.names[Dimension.KEY] for row in rows}
    return shown.pop() if len(shown) == 1 else None


def account_day(answer: AnalyticsAnswer, span: Window, now: datetime) -> AccountDay:
    """Return what the answer to `total` of *span* says; without any row nothing was spent."""
    return AccountDay(
        span.start.date(),
        sum(row.nanos[MoneyColumn.CREDITS] or 0 for row in answer.rows),
        sum(row.nanos[MoneyColumn.BYOK] or 0 for row in answer.rows),
        as_of=as_of(answer, now),
    )


def as_of(answer: AnalyticsAnswer, now: datetime) -> datetime:
    """Return of which instant *answer* tells: that of the look, or an earlier one if it had been kept since then."""
    return min(whole_second(now), whole_second(answer.cached_at or now))


# --- Which keys to ask about one by one ----------------------------------------------------------------------------


def spent_today(key: KeyState, now: datetime) -> int:
    """Return what the counters of *key* show for the UTC day that runs at *now*, both meters together."""
    if key.counters is None or key.counters.last_seen_at < utc_midnight(now):
        return 0
    return key.counters.credits.daily_nanos + key.counters.byok.daily_nanos


def to_ask_singly(
    in_doubt: Iterable[str], spent: Mapping[str, int], told: Mapping[str, int], asked_at: Mapping[str, int]
) -> list[str]:
    """Return the keys to ask about by hash, the one of which most money is not told first.

    Args:
        in_doubt: the hashes of keys that the answers about all keys did not settle.
        spent: what each has spent in the span by its counters.
        told: what analytics has told of it so far.
        asked_at: what each had spent when it was last asked about: those that stand there still are asked last.
    """
    missing = {key_hash: spent.get(key_hash, 0) - told.get(key_hash, 0) for key_hash in in_doubt}
    wanted = [key_hash for key_hash, nanos in missing.items() if nanos > 0]
    return sorted(wanted, key=lambda each: (asked_at.get(each) == spent[each], -missing[each], each))


# --- Parts ---------------------------------------------------------------------------------------------------------


def _cut(name: str) -> str:
    return name[:_LONGEST_NAME]


def _has_twins(rows: Iterable[AnalyticsRow]) -> bool:
    """Return whether two keys of one name must have made *rows*: they tell of one hour and model twice."""
    seen = Counter((row.start, row.names[Dimension.MODEL]) for row in rows)
    return max(seen.values()) > 1


def _model_hours(rows: Iterable[AnalyticsRow], key_hash: str) -> Iterator[ModelHour]:
    by_place: defaultdict[tuple[datetime, str | None], list[AnalyticsRow]] = defaultdict(list)
    for row in rows:
        if row.start is not None:
            by_place[row.start, row.names[Dimension.MODEL]].append(row)
    for (start, model), same in by_place.items():
        requests = [row.counts[CountColumn.REQUESTS] for row in same]
        yield ModelHour(
            start,
            key_hash,
            model,
            sum(row.nanos[MoneyColumn.CREDITS] or 0 for row in same),
            sum(row.nanos[MoneyColumn.BYOK] or 0 for row in same),
            sum(known) if len(known := [count for count in requests if count is not None]) == len(same) else None,
        )
