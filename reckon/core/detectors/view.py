"""What a detector of unusual days may look at, and the settings it may heed."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction

from reckon.core.baseline import Baseline


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
    usual: Baseline
    """What is usual for the owner, by the days before it."""
