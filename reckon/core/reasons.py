"""Reasons: why two numbers for one span differ, and how much of the difference each of them can answer for.

A reason is given only as much as it can be shown to explain: what a gap held, what was spent since somebody last
looked. What no reason answers for is *unexplained*, and decides whether the books balance. So a difference is taken
apart in order, the surest reason first, and whatever is taken always adds up to it.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

TOLERANCE_NANOS: Final = 10_000_000
"""What may stay unexplained while the books still balance: a cent, which rounding and the edges of a day make up."""


class Reason(StrEnum):
    """Why two numbers for one day differ. The value is what `reckon books --json` prints."""

    PENDING = "pending"
    EXPIRED = "expired"
    BEFORE_FIRST_POLL = "before_the_first_poll"
    SINCE_LAST_POLL = "since_the_last_poll"
    CORRECTED = "corrected"
    GAP = "gap"
    """A stretch over the day's edge was seen from both ends only: what of it lies on which side is an estimate."""
    EDGE = "edge_of_the_day"
    """Ran on one day and was counted on the next: a counter shows a generation some moments after it ended."""
    NEVER_HANDED_IN = "never_handed_in"
    PENDING_OR_NEVER_HANDED_IN = "pending_at_an_unknown_cost_or_never_handed_in"
    DELETED_KEY = "deleted_key"
    """Spent by a key that is gone, after it was last seen."""
    UNSWEPT_WORKSPACE = "unswept_workspace"
    """Spent by the account, of which a part was not swept: a key may lie there that nobody has seen."""
    CHATROOM = "chatroom"
    """Spent by the account through no key that it lists: in the chatroom, or by a key that was made and deleted between
    two sweeps."""
    BYOK = "byok"
    """Money through upstream keys of the team's own, which one of the numbers holds and the other does not."""
    FEES = "fees"
    """Taken from the credits for using upstream keys of the team's own."""
    NOT_TOLD_YET = "not_told_yet"
    """Spent, and not yet in the number that is held against the counters, because that one comes late."""
    UNEXPLAINED = "unexplained"


Explained = Sequence[tuple[Reason, int]]
"""A difference by reason, signed; together it is the difference."""


class Difference:
    """What is left of a difference while reasons take their parts of it."""

    def __init__(self, nanos: int) -> None:
        self.left = nanos
        self._named: dict[Reason, int] = {}

    def take(self, reason: Reason, *, above: int = 0, below: int = 0) -> None:
        """Let *reason* explain what is left, up to *above* of what is too much, or *below* of what is too little."""
        self.give(reason, max(-below, min(above, self.left)))

    def take_all_above(self, reason: Reason) -> None:
        """Let *reason* explain whatever is left, if it is too much."""
        self.give(reason, max(0, self.left))

    def give(self, reason: Reason, nanos: int) -> None:
        """Let *reason* explain exactly so much, whatever that leaves."""
        self._named[reason] = self._named.get(reason, 0) + nanos
        self.left -= nanos

    @property
    def named(self) -> Mapping[Reason, int]:
        """What each reason has taken so far."""
        return self._named

    def explained(self) -> list[tuple[Reason, int]]:
        """Return what each reason took, in their order; what none took is unexplained."""
        self.give(Reason.UNEXPLAINED, self.left)
        return [(reason, self._named[reason]) for reason in Reason if self._named.get(reason)]


def unexplained(explained: Explained) -> int:
    """Return what of a difference has no reason."""
    return sum(nanos for reason, nanos in explained if reason is Reason.UNEXPLAINED)
