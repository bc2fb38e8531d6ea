"""Delivering: the outbox to the sink, one message at a time, in order, and never faster than the sink allows.

Before each attempt the message is committed as *sending*; after it, as what became of it. So nothing is ever sent of
which the outbox does not know, and what an attempt left unknown is looked for before it is said again. Of several
replicas one delivers: whoever holds the lease, so that order and pace are kept by one process. One that was stopped for
longer than its lease says nothing when it goes on.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog

from reckon.core import outbox
from reckon.core.outbox import Delivery, DeliveryState, Manner, Outcome
from reckon.core.windows import whole_second
from reckon.errors import SinkError, Superseded
from reckon.jobs.holding import held
from reckon.ports import Sink
from reckon.store import DELIVER, Store

_T = TypeVar("_T")
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Turn:
    """What one look at the outbox came to."""

    delivery: Delivery | None
    """The message that was attempted, as it stands now; None if it was nobody's turn."""
    next_look: datetime | None
    """When it is worth looking again; None while nothing waits."""


class Deliverer:
    """Delivers to one sink. `holder` names this process among replicas; `clock` gives the instant of each attempt."""

    def __init__(
        self, sink: Sink, store: Store, *, clock: Callable[[], datetime], holder: str, lease: timedelta
    ) -> None:
        self.sink = sink
        self._store = store
        self._clock = clock
        self._holder = holder
        self._lease = lease
        self._last_attempts: dict[str | None, datetime] = {}
        """To the moment, where the store remembers whole seconds."""
        self._unwritten: deque[Callable[[], None]] = deque()
        """What the last attempt came to, as writes that the store has not taken yet."""

    async def take_turn(self) -> Turn:
        """Attempt the message whose turn it is, if any is.

        Raises:
            Superseded: another replica delivers. What we attempted is left as being sent, and that one finds out.
            StoreError: the outbox could not be read or written. What became of an attempt is written by the next turn.
        """
        await self._write()
        if not (await self._in_thread(self._look)).waiting:
            return Turn(None, None)
        asked_at = asyncio.get_running_loop().time()
        if not await self._in_thread(self._take):
            return Turn(None, self._clock() + self._lease)
        # Again, for whoever delivered until now may have delivered what was waiting a moment ago.
        found = await self._in_thread(self._look)
        now = self._clock()
        if found.until and outbox.has_yet_to_come(found.until, now):
            return Turn(None, found.until)
        last_attempts = self._paced(found.last_attempts, now) if self.sink.has_pace else {}
        turn = outbox.next_in_turn(found.waiting, last_attempts, now)
        if turn is None:
            return Turn(None, outbox.next_look(found.waiting, last_attempts, now))
        if turn.state is DeliveryState.SENDING:
            done = outbox.interrupted(turn, now)
        else:
            done = await self._attempt(turn, now, asked_at)
        self._unwritten.append(partial(self._store.record_delivery, done, holder=self._holder))
        await self._write()
        _tell(done)
        return Turn(done, self._clock())

    def take_over(self, former: "Deliverer") -> None:
        """Go on where *former* ends: with what it has not written down yet, and with its pace."""
        self._unwritten.extend(former._unwritten)  # noqa: SLF001 - another of us
        self._last_attempts.update(former._last_attempts)  # noqa: SLF001 - as above

    def until(self, instant: datetime) -> timedelta:
        """Return how long it is until *instant*."""
        return instant - self._clock()

    async def give_back(self) -> None:
        """Let another replica deliver at once.

        Raises:
            StoreError: the store could not be told. It finds out when the lease has run out.
        """
        await self._write()
        await self._in_thread(partial(self._store.give_back, DELIVER, self._holder))

    # --- One attempt

    async def _attempt(self, delivery: Delivery, now: datetime, asked_at: float) -> Delivery:
        """Return *delivery* after an attempt, under the lease that was asked for at *asked_at* of the loop's clock."""
        if delivery.manner is not Manner.POST and (unneeded := self._why_unneeded(delivery)):
            return outbox.ended(delivery, Outcome.UNNEEDED, now, trouble=unneeded)
        begun = outbox.begun(delivery, now)
        await self._in_thread(partial(self._store.record_delivery, begun, holder=self._holder))
        try:
            async with held(self._store, self._take, self._lease, since=asked_at):
                return await self._found(begun) or await self._delivered(begun)
        except Superseded as lost:
            return outbox.ended(begun, Outcome.AMBIGUOUS, self._clock(), trouble=str(lost))

    async def _found(self, delivery: Delivery) -> Delivery | None:
        """Return *delivery* as it stands if it was said already, or if nobody can tell now."""
        if not (delivery.may_have_been_said and self.sink.can_look):
            return None
        try:
            receipt = await self.sink.find(delivery)
        except SinkError as error:
            return outbox.ended(delivery, Outcome.AMBIGUOUS, self._clock(), trouble=str(error), wait=_wait(error))
        return outbox.ended(delivery, Outcome.DELIVERED, self._clock(), receipt=receipt) if receipt else None

    async def _delivered(self, delivery: Delivery) -> Delivery:
        try:
            receipt = await self.sink.deliver(delivery)
        except SinkError as error:
            wait = _wait(error)
            if wait:
                until = whole_second(self._clock() + wait)
                self._unwritten.append(partial(self._store.hold, self.sink.name, until))
            return outbox.ended(delivery, error.outcome, self._clock(), trouble=str(error), wait=wait)
        finally:
            self._last_attempts[delivery.to] = self._clock()
        return outbox.ended(delivery, Outcome.DELIVERED, self._clock(), receipt=receipt)

    def _why_unneeded(self, delivery: Delivery) -> str | None:
        """Return why an edit or a reply has nowhere to go; None if it has."""
        if not self.sink.has_threads:
            return f"{self.sink.name} has no threads"
        if delivery.parent is None or not self.sink.knows(delivery.parent):
            return f"the message it is about was not delivered to {self.sink.name}"
        return None

    # --- The store

    def _look(self) -> "_Outbox":
        with self._store.reading() as ledger:
            waiting = ledger.outbox()
            if not waiting:
                return _Outbox()
            last_attempts = ledger.last_attempts()
            until = ledger.held_until(self.sink.name)
        if self.sink.has_threads:
            return _Outbox(waiting, last_attempts, until)
        # Such a sink is one place, whatever place a message names, and that place has its pace.
        last = max(last_attempts.values(), default=None)
        return _Outbox([replace(delivery, to=None) for delivery in waiting], {None: last} if last else {}, until)

    def _paced(self, stored: Mapping[str | None, datetime], now: datetime) -> Mapping[str | None, datetime]:
        """Return when a message to each place was last attempted: to the moment, unless another replica came after us.

        What the store says of a time to come was stamped by a clock that has been set back, and tells nothing.
        """
        sound = {to: at for to, at in stored.items() if at <= now + outbox.BETWEEN_MESSAGES}
        ours = {to: at for to, at in self._last_attempts.items() if to not in sound or sound[to] <= whole_second(at)}
        return {**sound, **ours}

    def _take(self) -> bool:
        return self._store.take(DELIVER, self._holder, self._lease)

    async def _write(self) -> None:
        while self._unwritten:
            try:
                await self._in_thread(self._unwritten[0])
            except Superseded:
                self._unwritten.clear()
                raise
            self._unwritten.popleft()

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._store.thread, work)


@dataclass(frozen=True, slots=True)
class _Outbox:
    """What is still to be said, and what holds it up."""

    waiting: Sequence[Delivery] = ()
    last_attempts: Mapping[str | None, datetime] = field(default_factory=dict)
    until: datetime | None = None
    """Until when the sink asked to be left alone."""


async def deliver_now(deliverer: Deliverer, *, patience: timedelta) -> list[Delivery]:
    """Deliver until nothing is due, waiting no longer than *patience* for any turn; return what was attempted."""
    attempted: list[Delivery] = []
    while True:
        turn = await deliverer.take_turn()
        if turn.delivery:
            attempted.append(turn.delivery)
        if turn.next_look is None:
            return attempted
        pause = deliverer.until(turn.next_look)
        if pause > patience:
            return attempted
        await asyncio.sleep(max(pause.total_seconds(), 0))


def _wait(error: SinkError) -> timedelta | None:
    """Return how long the sink asked us to wait, as far as we are willing to."""
    seconds = error.retry_after_seconds
    return None if seconds is None else min(timedelta(seconds=seconds), outbox.LONGEST_WAIT)


def _tell(delivery: Delivery) -> None:
    if delivery.state is DeliveryState.DELIVERED:
        _log.info("message.delivered", intent=delivery.intent, attempts=delivery.attempts)
    elif delivery.state is DeliveryState.DEAD:
        _log.error("message.dead", intent=delivery.intent, trouble=delivery.trouble)
    elif delivery.state is DeliveryState.WAITING:
        _log.warning(
            "message.waiting", intent=delivery.intent, trouble=delivery.trouble, until=delivery.due_at.isoformat()
        )
