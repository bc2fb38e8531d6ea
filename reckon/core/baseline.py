"""Baselines: what is usual for an owner, in whole numbers.

An owner's history is the totals of their closed local days, from the first day with spend to the last one before the
day that is judged. Idle days are zeros and belong to it. Two kinds of day do not: one of which nothing was seen, since
absence is not zero, and the day of an opening, of which Reckon saw only the end.

Mean and deviation are never computed: with n days, their sum and the sum of their squares, whether a figure lies above
mean + k deviations is a comparison of integers, so the answer is exact and the same on every machine.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import isqrt
from typing import Self

from reckon.core.records import OwnerDay, TotalState


@dataclass(frozen=True, slots=True)
class Baseline:
    """A history as far as the plain rule needs it."""

    days: int
    total_nanos: int
    squares: int
    """The sum of the squares of the days' totals, in square nano-dollars."""

    @classmethod
    def of(cls, history: Iterable[int]) -> Self:
        """Return the baseline of some days' totals in nano-dollars."""
        totals = [*history]
        return cls(len(totals), sum(totals), sum(total * total for total in totals))

    @property
    def mean_nanos(self) -> int:
        """The mean day, rounded; 0 without any."""
        return round(Fraction(self.total_nanos, self.days)) if self.days else 0

    def excess(self, spend_nanos: int) -> Fraction:
        """Return how far *spend_nanos* lies above the mean."""
        return spend_nanos - Fraction(self.total_nanos, self.days)

    def is_exceeded_by(self, spend_nanos: int, sigma: Fraction) -> bool:
        """Return whether *spend_nanos* > mean + *sigma* x the population's standard deviation, strictly.

        With n days this is nS - sum > 0 and (nS - sum)^2 > sigma^2 x (n x squares - sum^2).
        """
        above = self.days * spend_nanos - self.total_nanos
        return above > 0 and above * above > sigma * sigma * self._spread

    def threshold_nanos(self, sigma: Fraction) -> int:
        """Return mean + *sigma* x deviation, rounded down to a nano-dollar, for people to read."""
        deviations = isqrt(int(sigma * sigma * self._spread))
        return (self.total_nanos + deviations) // self.days

    @property
    def _spread(self) -> int:
        """The variance, times the square of the number of days."""
        return self.days * self.squares - self.total_nanos * self.total_nanos


def history(days: Iterable[OwnerDay], before: date, openings: Collection[date], *, byok: bool) -> list[int]:
    """Return the totals of an owner's past days, earliest first, as the plain rule wants them.

    Args:
        days: the owner's closed days.
        before: the day that is judged; it and what comes after are left out.
        openings: the days of which only the end was seen, since a key was first seen on them.
        byok: whether money through the team's own upstream keys counts.
    """
    past = sorted((day for day in days if day.day < before), key=lambda day: day.day)
    spent = [day.day for day in past if day.amounts.spent(byok=byok)]
    return [
        day.amounts.spent(byok=byok)
        for day in past
        if spent and day.day >= spent[0] and day.day not in openings and day.state is not TotalState.UNKNOWN
    ]
