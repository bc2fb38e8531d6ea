"""Money that adds up: a line of charges in time, and what the running totals over it show at any instant.

A charge made at the very instant of the clock has happened. A lookup is a few bisections of sorted instants over
prefix sums, whatever the number of charges, so a month can be written down beforehand and then watched a thousand
times over.
"""

from bisect import bisect_left, bisect_right, insort
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from threading import Lock
from typing import Final


@dataclass(frozen=True, slots=True)
class Totals:
    """One line of charges as the API tells it: everything, and the running UTC day, week (from Monday) and month."""

    lifetime_nanos: int
    day_nanos: int
    week_nanos: int
    month_nanos: int


class Charges:
    """The charges of one key, through credits or through the team's own upstream keys, kept in order of time.

    A refund is a charge below zero. A restart makes every total begin again at nothing, without unmaking a charge.
    May be added to in one thread while another reads.
    """

    def __init__(self) -> None:
        self._instants: list[datetime] = []
        self._nanos: list[int] = []
        self._sums: list[int] = [0]
        self._restarts: list[int] = []
        self._lock: Final = Lock()

    def add(self, at: datetime, nanos: int) -> None:
        """Write down one charge; among charges of one instant, the last."""
        with self._lock:
            self._insert(at, nanos)

    def restart(self, at: datetime) -> None:
        """Let every total begin again at *at*."""
        with self._lock:
            place = self._insert(at, 0)
            insort(self._restarts, place)

    def totals(self, at: datetime, *, day_late_by: timedelta = timedelta(0)) -> Totals:
        """Return what the totals show at *at*, the day's beginning again only *day_late_by* after 00:00 UTC.

        No total is shown below zero: a refund larger than what a calendar total holds leaves that total at nothing.
        """
        with self._lock:
            return Totals(
                lifetime_nanos=self._shown(None, at),
                day_nanos=self._shown(start_of_day(at - day_late_by), at),
                week_nanos=self._shown(start_of_week(at), at),
                month_nanos=self._shown(start_of_month(at), at),
            )

    def shown_since(self, since: datetime | None, at: datetime) -> int:
        """Return what a total that began at *since* shows at *at*; None is the lifetime."""
        with self._lock:
            return self._shown(since, at)

    def made_by(self, at: datetime) -> int:
        """Return the sum of everything charged up to and including *at*; a restart changes nothing."""
        with self._lock:
            return self._sums[bisect_right(self._instants, at)]

    def made_before(self, at: datetime) -> int:
        """Return the sum of everything charged before *at*; a restart changes nothing."""
        with self._lock:
            return self._sums[bisect_left(self._instants, at)]

    def last_by(self, at: datetime) -> datetime | None:
        """Return when the last charge above zero up to and including *at* was made."""
        with self._lock:
            for place in range(bisect_right(self._instants, at) - 1, -1, -1):
                if self._nanos[place] > 0:
                    return self._instants[place]
        return None

    def _insert(self, at: datetime, nanos: int) -> int:
        place = bisect_right(self._instants, at)
        self._instants.insert(place, at)
        self._nanos.insert(place, nanos)
        self._sums[place:] = accumulate(self._nanos[place:], initial=self._sums[place])
        self._restarts = [restart + (restart >= place) for restart in self._restarts]
        return place

    def _shown(self, since: datetime | None, at: datetime) -> int:
        end = bisect_right(self._instants, at)
        begin = 0 if since is None else bisect_left(self._instants, since)
        restarts_passed = bisect_left(self._restarts, end)
        if restarts_passed:
            begin = max(begin, self._restarts[restarts_passed - 1])
        return max(0, self._sums[end] - self._sums[begin])


def start_of_day(at: datetime) -> datetime:
    """Return the last 00:00 UTC not after *at*."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def start_of_week(at: datetime) -> datetime:
    """Return the last Monday 00:00 UTC not after *at*."""
    return start_of_day(at) - timedelta(days=at.weekday())


def start_of_month(at: datetime) -> datetime:
    """Return 00:00 UTC on the first of the month of *at*."""
    return start_of_day(at).replace(day=1)
