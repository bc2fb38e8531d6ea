"""Detectors: pure functions from what is known to what is worth a word. They do not know each other.

Those in `DETECTORS` look at one owner's day, again at every poll in which the owner spent, and once more when the day
is over. `staleness` looks at the keys.
"""

from collections.abc import Callable, Sequence
from typing import Final

from reckon.core.alerts import Finding
from reckon.core.detectors import sigma
from reckon.core.detectors.view import AnomalyPolicy, DayView

Detector = Callable[[DayView, AnomalyPolicy], Finding | None]

DETECTORS: Final[Sequence[Detector]] = (sigma.look,)

__all__ = ["DETECTORS", "AnomalyPolicy", "DayView", "Detector"]
