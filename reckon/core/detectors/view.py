"""What a detector of unusual days may look at, and the settings it may heed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class AnomalyPolicy:
    """The settings under `anomaly`."""

    sigma: Fraction = Fraction(3)
    min_history: int = 7
    min_nanos: int = 1_000_000_000
    byok: bool = True


@dataclass(frozen=True, slots=True)
class DayView:
    """One owner's local day, running or over."""

    owner: str
    day: date
    spend_nanos: int
    """What the owner is known to have spent on it."""
    history: Sequence[int]
    """The totals of the past days, earliest first, as `reckon.core.baseline.history` returns them."""
