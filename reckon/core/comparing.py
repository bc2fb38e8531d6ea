"""Comparing: what somebody else tells of a span beside what the counters of all keys tell of it, difference by name.

Three others tell: *analytics* and *activity*, which know UTC days, and *credits*, the growth of what the account has
used of its purchased credits. None of them is a counter of a key, so none can share a mistake of the ledger. Each also
tells of money that goes through no key.

Analytics and activity know days of UTC and no others. In another zone the local day is therefore compared by the UTC
day of the same name, counters included: both numbers are of the same span, and the comparison says which.

All of it is credits. What went through upstream keys of the team's own is billed elsewhere.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import cached_property

from reckon.core.reasons import Explained, unexplained
from reckon.core.records import Amounts, Gap, KeyState
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window


class Teller(StrEnum):
    """Who tells of spend beside the counters. The value is what `account_day` and documents call it."""

    ANALYTICS = "analytics"
    ACTIVITY = "activity"
    CREDITS = "credits"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One number beside that of the counters."""

    teller: Teller
    span: Window
    """Of which both numbers are."""
    told_nanos: int
    counters_nanos: int
    as_of: datetime
    """When it was told."""
    explained: Explained
    """By how much it is more than the counters, by reason."""

    @property
    def difference_nanos(self) -> int:
        """By how much it is more than the counters."""
        return self.told_nanos - self.counters_nanos

    @property
    def unexplained_nanos(self) -> int:
        """What of the difference has no name."""
        return unexplained(self.explained)


@dataclass(frozen=True, slots=True)
class Told:
    """What activity or analytics tells of the whole account on one UTC day."""

    teller: Teller
    credits_nanos: int
    read_at: datetime
    by_key: Mapping[str, int] = field(default_factory=dict)
    """Of it, what it tells of keys that the ledger knows, by hash. A key that is not here may have spent as well."""


@dataclass(frozen=True)
class Counted:
    """What the ledger has of a span, for all keys it knows."""

    span: Window
    keys: Sequence[KeyState] = ()
    totals: Sequence[KeyTotal] = ()
    gaps: Sequence[Gap] = ()
    """Those that reach into it."""
    around_edges: Sequence[KeyTotal] = ()
    """What the counters tell of the quarter hours around both edges of the span."""
    unswept: Collection[str] = ()
    """The workspaces that no complete sweep has covered since the span began."""

    @cached_property
    def by_key(self) -> Mapping[str, Amounts]:
        """What each key spent, by hash."""
        return summed(self.totals)

    @cached_property
    def all_keys(self) -> Amounts:
        """What all of them spent."""
        return sum(self.by_key.values(), Amounts())

    @property
    def nanos(self) -> int:
        """What the counters of all keys grew by, corrections included."""
        return self.all_keys.spend_nanos + self.all_keys.correction_nanos

    @cached_property
    def near_an_edge(self) -> Mapping[str, int]:
        """What each key spent so near to an edge of the span that others may count it on the other side."""
        return {key_hash: amounts.spend_nanos for key_hash, amounts in summed(self.around_edges).items()}

    @cached_property
    def over_an_edge(self) -> Mapping[str, int]:
        """What the gaps over either edge of the span held, by key."""
        found: defaultdict[str, int] = defaultdict(int)
        for gap in self.gaps:
            if gap.leaves_open(self.span.start) or gap.leaves_open(self.span.end):
                found[gap.key_hash] += gap.nanos
        return found


def summed(totals: Sequence[KeyTotal]) -> dict[str, Amounts]:
    """Return *totals* by the hash of the key."""
    found: defaultdict[str, Amounts] = defaultdict(Amounts)
    for total in totals:
        found[total.key_hash] += total.amounts
    return dict(found)


def utc_day(day: date) -> Window:
    """Return the UTC day of that name."""
    start = datetime.combine(day, time(), UTC)
    return Window(start, start + timedelta(days=1))
