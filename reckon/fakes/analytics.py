"""How analytics behaves: where the documents contradict one another, a world can be told which of them to follow."""

import math
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True, slots=True)
class AnalyticsDialect:
    """How rows are written."""

    time_key: Literal["date", "created_at"] = "date"
    """What comes before the granularity in the name of the time: `date__day` or `created_at__day`."""
    short_days: bool = False
    """Whether days, weeks and months are told as a date only."""
    counts_as_text: bool = False
    key_shown_by: Literal["name", "label"] = "name"
    """What a key is told by: never its hash, and neither of these is unique."""


class Pace:
    """A limit of requests in any sixty seconds."""

    def __init__(self, requests_a_minute: int) -> None:
        self.requests_a_minute = requests_a_minute
        self._admitted: deque[datetime] = deque()

    def seconds_to_wait(self, now: datetime) -> int:
        """Return 0 and count one request, or how long to wait for the next to be admitted."""
        while self._admitted and self._admitted[0] <= now - _MINUTE:
            self._admitted.popleft()
        if len(self._admitted) < self.requests_a_minute:
            self._admitted.append(now)
            return 0
        return math.ceil((self._admitted[0] + _MINUTE - now).total_seconds())


_MINUTE = timedelta(minutes=1)
