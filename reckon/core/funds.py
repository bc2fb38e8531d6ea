"""Funds: what is left of the account's purchased credits, and for how long that lasts.

The pace is that of the last twenty-four hours: what the counters of all keys grew by, or what the account says was
used, whichever is more, for money also goes through no key. A ledger that began an hour ago knows of one hour, and does
not guess at the rest: what it calls the pace is then too slow, and never an alarm that nothing justifies.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reckon.core.comparing_credits import BalanceSeen
from reckon.core.windows import GRAIN, Window, grain_start

PACE_OF: Final = timedelta(hours=24)
LOW: Final = timedelta(hours=24)
"""A runway shorter than this is told."""
AMPLE: Final = timedelta(hours=48)
"""With a runway longer than this, what was told is over."""


@dataclass(frozen=True, slots=True)
class Funds:
    """What is left of the account's credits, and how fast they go."""

    at: datetime
    """When the balance was seen."""
    left_nanos: int
    daily_nanos: int
    """What the last twenty-four hours took."""
    seen_by: str | None = None
    """The name of the inference key that was told the balance; None where a management key was."""
    purchased_nanos: int = 0
    """Everything that was ever purchased."""

    @property
    def runway(self) -> timedelta | None:
        """How long what is left will do at this pace, not less than nothing; None where nothing is spent."""
        if self.daily_nanos <= 0:
            return None
        seconds = max(0, self.left_nanos) * PACE_OF.total_seconds() // self.daily_nanos
        return timedelta(seconds=min(seconds, _FOR_EVER.total_seconds()))

    @property
    def empty_at(self) -> datetime | None:
        """When nothing is left at this pace; None where that is years away."""
        runway = self.runway
        return None if runway is None or runway >= _FOR_EVER else self.at + runway

    @property
    def are_low(self) -> bool:
        """Whether a person should know: nothing is left of what was purchased, or not for another day.

        What was granted is in no balance, so an account that never purchased anything tells nothing of what is left.
        """
        if self.left_nanos <= 0:
            return self.purchased_nanos > 0
        return self.runway is not None and self.runway < LOW

    @property
    def are_ample(self) -> bool:
        """Whether there is no reason left to worry."""
        return self.left_nanos > 0 and (self.runway is None or self.runway > AMPLE)


def last_day(now: datetime) -> Window:
    """Return the whole windows that the last twenty-four hours are made of, the running one included."""
    running = grain_start(now)
    return Window(running + GRAIN - PACE_OF, running + GRAIN)


def daily_nanos(counted_nanos: int, sights: Sequence[BalanceSeen]) -> int:
    """Return what the last day took.

    Args:
        counted_nanos: credits by the counters of all keys.
        sights: the balance as it was seen within that day, in the order of time.
    """
    used = sights[-1].usage_nanos - sights[0].usage_nanos if sights else 0
    return max(counted_nanos, used)


_FOR_EVER: Final = timedelta(days=3650)
