"""Baselines: what is usual for an owner, in whole numbers.

An owner's history is the totals of their closed local days, from the first day with spend to the last one before the
day that is judged. Idle days are zeros and belong to it. Two kinds of day do not: one of which nothing was seen, since
absence is not zero, and the day of an opening, of which Reckon saw only the end.

Long histories are kept folded: of what lies too far back to change, three figures say all there is to know. The fold
takes every day from the first with spend on, whatever was seen of it, so that it changes with the money alone; days
that do not belong are singled out beside it, and taken out of it again.

Mean and deviation are never computed: with n days, their sum and the sum of their squares, whether a figure lies above
mean + k deviations is a comparison of integers, so the answer is exact and the same on every machine.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import isqrt
from typing import Final, Self

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

    def __add__(self, other: "Baseline") -> "Baseline":
        return Baseline(self.days + other.days, self.total_nanos + other.total_nanos, self.squares + other.squares)

    def __sub__(self, other: "Baseline") -> "Baseline":
        return Baseline(self.days - other.days, self.total_nanos - other.total_nanos, self.squares - other.squares)

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


@dataclass(frozen=True, slots=True)
class Past:
    """The older days of a history, folded."""

    before: date
    """The first day that is not in it."""
    first_day: date | None = None
    """The first day with spend; None while there was none, and then nothing is folded."""
    folded: Baseline = Baseline(0, 0, 0)
    """Every closed day from the first with spend on."""

    def with_days(self, totals: Iterable[tuple[date, int]], before: date) -> "Past":
        """Return the past that goes on to *before*, with the *totals* of the days between, earliest first."""
        first, count, total, squares = self.first_day, 0, 0, 0
        for day, nanos in totals:
            first = first or (day if nanos else None)
            if first:
                count, total, squares = count + 1, total + nanos, squares + nanos * nanos
        return Past(before, first, self.folded + Baseline(count, total, squares))


NO_PAST: Final = Past(date.min)


@dataclass(frozen=True, slots=True)
class History:
    """An owner's closed days: older ones folded, and what may yet be asked for or change, day by day."""

    days: Sequence[OwnerDay] = ()
    """Every day from the end of the past on, and those before it that may not belong to the history."""
    past: Past = NO_PAST


def usual(known: History, before: date, openings: Collection[date], *, byok: bool) -> Baseline:
    """Return the baseline of an owner's past days, which is that of their `history`.

    Args:
        known: the owner's closed days, folded with the same *byok*.
        before: the day that is judged, no earlier than the end of what is folded.
        openings: as for `history`. Those that are folded are among the days of *known*.
        byok: as for `history`.
    """
    past = known.past
    if past.first_day is None:
        return Baseline.of(history(known.days, before, openings, byok=byok))
    since_first = [day for day in known.days if past.first_day <= day.day < before]
    new = [day for day in since_first if day.day >= past.before and _belongs(day, openings)]
    left_out = [day for day in since_first if day.day < past.before and not _belongs(day, openings)]
    return past.folded + _baseline(new, byok=byok) - _baseline(left_out, byok=byok)


def history(days: Iterable[OwnerDay], before: date, openings: Collection[date], *, byok: bool) -> list[int]:
    """Return the totals of an owner's past days, earliest first, as the plain rule wants them.

    Args:
        days: the owner's closed days.
        before: the day that is judged; it and what comes after are left out.
        openings: the days of which only the end was seen, since a key was first seen on them.
        byok: whether money through the team's own upstream keys counts.
    """
    past = sorted((day for day in days if day.day < before), key=lambda day: day.day)
    first = next((day.day for day in past if day.amounts.spent(byok=byok)), before)
    return [day.amounts.spent(byok=byok) for day in past if day.day >= first and _belongs(day, openings)]


def _belongs(day: OwnerDay, openings: Collection[date]) -> bool:
    return day.day not in openings and day.state is not TotalState.UNKNOWN


def _baseline(days: Iterable[OwnerDay], *, byok: bool) -> Baseline:
    return Baseline.of(day.amounts.spent(byok=byok) for day in days)
