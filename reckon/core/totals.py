"""Totals: how much was spent in a span, and how far that figure can be trusted.

Absence is not zero. A total says whether it is *settled* (nothing known can still move it), *provisional* (it may
move), or *unknown* (nobody looked), judged once over all the keys in it and the whole of its span. And a total whose
keys were first watched inside the span says from when, so that "30 days" never means ten without a word.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from reckon.core.records import Amounts, Gap, KeyState, Meter, TotalState
from reckon.core.windows import Window


@dataclass(frozen=True, slots=True)
class KeyTotal:
    """What one key spent under one owner within one window, one meter at a time."""

    owner: str
    key_hash: str
    meter: Meter
    spend_nanos: int
    correction_nanos: int

    @property
    def amounts(self) -> Amounts:
        """The same as `Amounts`, with nothing in the other meter."""
        return Amounts.of(self.meter, self.spend_nanos, self.correction_nanos)


def state(keys: Iterable[KeyState], gaps: Sequence[Gap], span: Window, now: datetime) -> TotalState:
    """Return how far the total of *keys* over *span* can be trusted at *now*.

    Keys first watched at or after the end of the span have no part in it. *gaps* are those of the same keys.
    """
    watched = [key for key in keys if (first := _first_watched(key)) and first < span.end]
    if not any(key.counters and key.counters.last_seen_at >= span.start for key in watched):
        return TotalState.UNKNOWN
    if (
        now < span.end
        or any(_may_still_move(key, span) for key in watched)
        or any(gap.leaves_open(span.start) or gap.leaves_open(span.end) for gap in gaps)
    ):
        return TotalState.PROVISIONAL
    return TotalState.SETTLED


def watched_from(keys: Iterable[KeyState], span: Window) -> datetime | None:
    """Return when the first of *keys* was first seen, if that was after *span* began; else None."""
    openings = [key.counters.opened_at for key in keys if key.counters]
    first = min(openings, default=span.start)
    return first if span.start < first < span.end else None


def _first_watched(key: KeyState) -> datetime | None:
    return key.counters.opened_at if key.counters else key.failing_since


def _may_still_move(key: KeyState, span: Window) -> bool:
    """A key may still move the span's total while it has not been read since its end, or a dip inside it is pending."""
    if key.counters is None:
        return key.watched
    unread_since_end = key.watched and key.counters.last_seen_at < span.end
    return unread_since_end or any(
        counter.dip and counter.dip.after < span.end for counter in (key.counters.credits, key.counters.byok)
    )
