"""The ticker: it knocks, and that is all. What is due, and whether anything is, others decide.

APScheduler keeps its times by this machine's clock, and clocks step. So a time that has passed is never made up for, a
hundred missed ones included: the next one is counted from now. And one that a step back has put far ahead is brought
back by `wind`, which whoever watches over us calls every second or so.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Any, Final, Self

import structlog
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_MAX_INSTANCES, EVENT_JOB_MISSED, JobEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from reckon.pulse import Beat

_log = structlog.get_logger()

_TICKS_BEFORE_WINDING: Final = 2
_TICKS_BEFORE_STUCK: Final = 4
_OVERDUE: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Whatever time it is."""


class Ticker:
    """Knocks while a `with` block lasts, inside a running event loop.

    Args:
        knock: is told whom to knock at.
        rhythm: how often, for each of them.
    """

    def __init__(self, knock: Callable[[str], None], rhythm: Mapping[str, timedelta]) -> None:
        self._knock = knock
        self._tick_seconds = min(rhythm.values()).total_seconds()
        self.beat = Beat("ticker", _TICKS_BEFORE_STUCK * self._tick_seconds)
        self.scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1}
        )
        self.scheduler.add_listener(self._ticked_badly, EVENT_JOB_ERROR | EVENT_JOB_MISSED | EVENT_JOB_MAX_INSTANCES)
        for name, every in rhythm.items():
            self.scheduler.add_job(self._tick, _Every(every), args=(name,))

    async def _tick(self, name: str) -> None:  # a coroutine, or APScheduler would use a thread for it
        self.beat.mark()
        self.beat.jobs += 1
        self._knock(name)

    def wind(self) -> None:
        """Let the next knock come now, if it is overdue by what this machine does not call a clock."""
        if monotonic() - self.beat.marked_at < _TICKS_BEFORE_WINDING * self._tick_seconds:
            return
        for job in self.scheduler.get_jobs():
            job.modify(next_run_time=_OVERDUE)

    def _ticked_badly(self, event: JobEvent) -> None:
        self.beat.failed += 1
        _log.error("tick.failed", code=event.code)

    def __enter__(self) -> Self:
        self.scheduler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.scheduler.shutdown(wait=False)


class _Every(BaseTrigger):  # type: ignore[misc] # it ships no types
    """A while from now, whenever that is asked."""

    def __init__(self, interval: timedelta) -> None:
        self._interval = interval

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> Any:
        del previous_fire_time
        return now + self._interval
