"""The pulse: whether this process still moves, apart from whether the world answers it.

Each worker marks when it began a job and when it ended one, and a long job marks every step on its way. A worker that
has not made any mark for as long as its longest step may take is stuck, and then a restart is the only cure. An answer
that never comes from OpenRouter is not a reason: asking has a deadline, and a failed poll is a poll.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import inf
from time import monotonic
from typing import Final

from reckon.core.plans import Plan

_LONGEST_WITHOUT_POLL_SECONDS: Final = 300.0


@dataclass(slots=True)
class Beat:
    """The marks of one worker, in seconds of a clock that no one sets."""

    name: str
    longest_step_seconds: float = inf
    """How long it may be still; until that is known, for ever."""
    progress: Callable[[], object] = lambda: None
    """Changes whenever a job under way has got one step further."""
    marked_at: float = field(default_factory=monotonic)
    jobs: int = 0
    failed: int = 0
    is_under_way: bool = False
    _seen: object = None

    def mark(self) -> None:
        """Say that the worker has moved."""
        self.marked_at = monotonic()

    def is_stuck(self) -> bool:
        """Return whether the worker has been still for too long."""
        if (seen := self.progress()) != self._seen:
            self._seen = seen
            self.mark()
        return monotonic() - self.marked_at > self.longest_step_seconds


@dataclass(slots=True)
class Pulse:
    """What this process is doing, for those who ask."""

    started_at: datetime
    beats: dict[str, Beat] = field(default_factory=dict)
    polled_at: datetime | None = None
    """The instant of the last poll that was committed."""
    keys_answered: int = 0
    """How many keys answered in the last poll."""
    keys_failed: int = 0
    polls: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """How often a key yielded nothing, by reason."""
    clock_skew_seconds: float | None = None
    """How far OpenRouter's clock is ahead of ours, if that is more than a minute."""
    reload_refused: str | None = None
    """Why the last reload of the configuration was refused; None if it was not."""
    needs_restart: tuple[str, ...] = ()
    """The settings that have changed since the start and are only read there."""
    stopping: bool = False
    _looked_at: float | None = None
    _began_at: float = field(default_factory=monotonic)
    _longest_without_poll_seconds: float = _LONGEST_WITHOUT_POLL_SECONDS

    def expect_a_poll_every(self, every: timedelta) -> None:
        """Say how often polls are meant to be committed."""
        self._longest_without_poll_seconds = max(3 * every.total_seconds(), _LONGEST_WITHOUT_POLL_SECONDS)

    def looked(self) -> None:
        """Take in that all polls that were due are committed, by us or by another replica, or are being done."""
        self._looked_at = monotonic()

    def committed(self, plan: Plan) -> None:
        """Take in a poll that was committed."""
        self.looked()
        self.polled_at = plan.at
        self.keys_answered, self.keys_failed = plan.polled, len(plan.failures)
        self.polls += 1
        self.failures.update(failure.reason.value for failure in plan.failures)

    def troubles(self) -> list[str]:
        """Return what is wrong with this process: nothing, workers that are stuck, or no poll committed for long."""
        troubles = [f"{name} does not move" for name in self.stuck()]
        if self._is_asking():  # however long it takes: OpenRouter being slow is no trouble of ours
            return troubles
        if monotonic() - (self._looked_at or self._began_at) > self._longest_without_poll_seconds:
            troubles.append("no poll was committed for too long")
        return troubles

    def _is_asking(self) -> bool:
        poll = self.beats.get("poll")
        return poll is not None and poll.is_under_way and not poll.is_stuck()

    def stuck(self) -> list[str]:
        """Return the names of the workers that have been still for too long."""
        return [name for name, beat in self.beats.items() if beat.is_stuck()]

    @property
    def has_looked(self) -> bool:
        """Whether what was due at first has been polled."""
        return self._looked_at is not None

    @property
    def is_ready(self) -> bool:
        """Whether what was due at first is done, and the end is not near."""
        return self._looked_at is not None and not self.stopping
