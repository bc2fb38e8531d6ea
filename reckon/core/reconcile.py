"""Reconcile: independent numbers for one day side by side, and what lies between them by name.

Counters are the ledger's own: exact, and they tell no single generation. Settled generations are exact one by one, and
only those are known that somebody handed in. So what counters tell and settled generations do not explain, the
residual, is nobody's error: it has reasons, each with its amount, and the amounts add up to the residual.

- *pending*, *expired*: generations whose cost is not known from OpenRouter, as far as somebody said what they cost, and
  as far as the counters show that much.
- *before the first poll*: generations of the day that ran before their key was first seen; no counter counted them.
- *since the last poll*: generations that ran after their key was last read; the counter will tell them.
- *corrected*: money that OpenRouter's counters took back.
- *gap*: more was settled than the counters show, and a gap over the day's edge held that much.
- *edge of the day*: likewise, as far as the quarter hours around midnight hold it: what ran on one day may be counted
  on the next.
- *never handed in*: what then remains above zero, where nothing is pending at an unknown cost.
- *pending at an unknown cost, or never handed in*: the same, where something is.

What remains below zero has no such name: more was settled than the counters show, and then the books do not balance.
Nor do they if the account tells of money that neither the counters nor a reason explain (`comparing`). A source that is
not there, or too young to be held against anything, is no number, and unbalances nothing.

All of it is credits. What went through upstream keys of the team's own is billed elsewhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from reckon.core.comparing import Comparison, Teller
from reckon.core.generations import CallTotal, GenerationState, UnsettledTotal
from reckon.core.reasons import TOLERANCE_NANOS, Difference, Explained, Reason, unexplained
from reckon.core.records import Gap, KeyState, Meter
from reckon.core.totals import KeyTotal
from reckon.core.windows import GRAIN, Window


@dataclass(frozen=True, slots=True)
class Books:
    """One day, reconciled."""

    day: date
    window: Window
    counters_nanos: int
    """Spend and corrections together: what the counters of all keys grew by."""
    settled_nanos: int
    settled: int
    """How many generations that is."""
    pending: int
    expired: int
    explained: Explained
    """The residual by reason, signed; together it is the residual."""
    compared: Sequence[Comparison] = ()
    """What others tell of the day, those alone that can be held against the counters."""

    @property
    def residual_nanos(self) -> int:
        """What the counters tell and no settled generation explains."""
        return self.counters_nanos - self.settled_nanos

    @property
    def unexplained_nanos(self) -> int:
        """What of the residual has no name."""
        return unexplained(self.explained)

    @property
    def open_nanos(self) -> int:
        """The most that has no name, between the counters and any other number."""
        nameless = [self.unexplained_nanos, *(other.unexplained_nanos for other in self.compared)]
        return max(nameless, key=abs)

    @property
    def is_balanced(self) -> bool:
        """Whether every nano-dollar has a name, but for what rounding and the edges of a day make up."""
        return abs(self.open_nanos) <= TOLERANCE_NANOS

    def told_by(self, teller: Teller) -> int | None:
        """Return what *teller* tells of this very day; None where it does not, or tells of another span."""
        told = (other.told_nanos for other in self.compared if other.teller is teller and other.span == self.window)
        return next(told, None)


@dataclass(frozen=True, slots=True)
class DayFound:
    """What the store found for one day."""

    counters: Sequence[KeyTotal]
    settled: Sequence[CallTotal]
    unsettled: Sequence[UnsettledTotal]
    unseen: Mapping[Reason, Sequence[tuple[str, CallTotal]]]
    """By reason: the settled generations of a stretch in which one key was not watched, each with the key's hash."""
    gaps: Sequence[Gap] = ()
    """Those that reach into the day."""
    around_edges_nanos: int = 0
    """What the counters tell of the quarter hours around both edges of the day: `around_edges`."""
    compared: Sequence[Comparison] = ()
    """What others tell of it, beside the counters."""


def unwatched(keys: Iterable[KeyState], day: Window) -> dict[Reason, list[tuple[str, Window]]]:
    """Return the stretches of *day* in which a key was not watched, by reason and with the key's hash.

    One that has never been seen was not watched all day long.
    """
    early: list[tuple[str, Window]] = []
    late: list[tuple[str, Window]] = []
    for key in keys:
        opened_at = key.counters.opened_at if key.counters else day.end
        last_seen_at = key.counters.last_seen_at if key.counters else day.end
        if stretch := day.overlap(Window(day.start, max(day.start, opened_at))):
            early.append((key.hash, stretch))
        if stretch := day.overlap(Window(min(day.end, last_seen_at), day.end)):
            late.append((key.hash, stretch))
    return {Reason.BEFORE_FIRST_POLL: early, Reason.SINCE_LAST_POLL: late}


def around_edges(window: Window) -> tuple[Window, Window]:
    """Return the windows on both sides of each edge of *window*: what runs in one may be counted in the next."""
    return Window(window.start - GRAIN, window.start + GRAIN), Window(window.end - GRAIN, window.end + GRAIN)


def books(day: date, window: Window, found: DayFound) -> Books:
    """Return *day* reconciled from what was *found* of it."""
    counters = sum(total.spend_nanos for total in found.counters if total.meter is Meter.CREDITS)
    corrections = sum(total.correction_nanos for total in found.counters if total.meter is Meter.CREDITS)
    settled = sum(total.credits_nanos for total in found.settled)
    waiting = [other for other in found.unsettled if other.state is GenerationState.PENDING]
    given_up = [other for other in found.unsettled if other.state is GenerationState.EXPIRED]
    left = Difference(counters + corrections - settled)
    left.give(Reason.CORRECTED, corrections)
    for reason, totals in found.unseen.items():
        left.give(reason, -_of_the_key(totals))
    for reason, others in ((Reason.PENDING, waiting), (Reason.EXPIRED, given_up)):
        # The counters may not have come to all of them yet: nobody can say when those ran.
        left.take(reason, above=sum(other.known_credits_nanos for other in others))
    over_an_edge = (gap for gap in found.gaps if gap.leaves_open(window.start) or gap.leaves_open(window.end))
    left.take(Reason.GAP, below=sum(gap.nanos for gap in over_an_edge))
    left.take(Reason.EDGE, below=found.around_edges_nanos)
    hidden = any(other.of_unknown_cost for other in (*waiting, *given_up))
    left.take_all_above(Reason.PENDING_OR_NEVER_HANDED_IN if hidden else Reason.NEVER_HANDED_IN)
    return Books(
        day=day,
        window=window,
        counters_nanos=counters + corrections,
        settled_nanos=settled,
        settled=sum(total.generations for total in found.settled),
        pending=sum(other.generations for other in waiting),
        expired=sum(other.generations for other in given_up),
        explained=left.explained(),
        compared=found.compared,
    )


def _of_the_key(totals: Iterable[tuple[str, CallTotal]]) -> int:
    """Return what the generations of each key cost that ran while that very key was not watched."""
    return sum(total.credits_nanos for key_hash, total in totals if total.place.key_hash == key_hash)
