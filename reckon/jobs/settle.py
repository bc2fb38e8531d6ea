"""Settling: look up every generation that is due, and commit what each lookup means.

Lookups run side by side, and what has been learnt is committed every few moments, so a generation whose answer hangs
holds one worker and nobody else's result. Nothing is lost if the process dies: what was not committed is due still, and
is asked for again. Whether a lookup was worth an attempt is the affair of `reckon.core.settlement`.

Where OpenRouter asks to be left alone, or does not answer anybody, whatever is waiting here is put off without being
asked for.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from time import monotonic
from typing import Final, TypeVar
from zoneinfo import ZoneInfo

import structlog

from reckon.core import settlement
from reckon.core.generations import GenerationState, Lookup, NotFound, Pending, Unfound
from reckon.core.records import WatchedKey
from reckon.core.settlement import Askers, SettlePlan, SettlePolicy
from reckon.errors import StoreError
from reckon.ports import GenerationSource
from reckon.store import Store

_T = TypeVar("_T")
_log = structlog.get_logger()

_BETWEEN_COMMITS_SECONDS: Final = 0.2
_WAITING_FOR_EACH_WORKER: Final = 8
_NOBODY_TO_ASK_SECONDS: Final = 300
_ROUNDS_BEFORE_REST: Final = 2
_REST: Final = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class SettleTerms:
    """How lookups are done."""

    policy: SettlePolicy
    zone: ZoneInfo
    """Whose days settled generations are counted by."""
    holder: str
    """The name of this process among replicas."""
    lease: timedelta
    """How long its claims hold."""
    concurrency: int


@dataclass(slots=True)
class Tally:
    """What one pass came to."""

    asked: int = 0
    settled: int = 0
    waiting: int = 0
    expired: int = 0

    def take_in(self, plan: SettlePlan) -> None:
        """Add what was committed."""
        gone = sum(each.state is GenerationState.EXPIRED for each in plan.waiting)
        self.settled += len(plan.settled)
        self.expired += gone
        self.waiting += len(plan.waiting) - gone


class Settler:
    """Looks up what is due. Keep one for as long as the keys are the same.

    Args:
        source: who is asked.
        store: the ledger.
        keys: those that may be asked with: their secrets are known.
        management_key_hash: likewise, if there is one.
        terms: how lookups are done.
        clock: gives the instant of each claim and commit.
        monotonic: gives seconds that nobody sets, by which OpenRouter is left alone.
    """

    def __init__(
        self,
        source: GenerationSource,
        store: Store,
        keys: Sequence[WatchedKey],
        management_key_hash: str | None,
        *,
        terms: SettleTerms,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._source = source
        self._store = store
        self._askers = Askers(keys, management_key_hash)
        self._terms = terms
        self._clock = clock
        self._rest = _Rest(monotonic, _ROUNDS_BEFORE_REST * terms.concurrency)
        self.asked = 0
        """How many lookups have been made so far, so that a long pass can be seen to move."""

    async def settle(self, *, is_enough: Callable[[], bool] = lambda: False) -> Tally:
        """Look up everything that is due, and what becomes due meanwhile; return what came of it.

        Args:
            is_enough: whether to end with what has been begun, for somebody is waiting.

        Raises:
            StoreError: the ledger could not be read or written. What was not committed is due still.
        """
        under_way = _UnderWay()
        if is_enough() or not await self._claim(under_way):
            return under_way.tally
        trouble: StoreError | None = None
        async with asyncio.TaskGroup() as group:
            workers = [group.create_task(self._look_up(under_way)) for _ in range(self._terms.concurrency)]
            try:
                while under_way.claimed:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            await under_way.has_answers.wait()
                    with suppress(TimeoutError):  # one commit for those that come now
                        async with asyncio.timeout(_BETWEEN_COMMITS_SECONDS):
                            await under_way.all_have_answers.wait()
                    await self._commit(under_way)
                    if not is_enough():
                        await self._claim(under_way)
            except StoreError as error:  # told past the group, which would make one of many of it
                trouble = error
            finally:
                for worker in workers:
                    worker.cancel()
                await self._give_back(under_way)
        if trouble:
            raise trouble
        if under_way.tally.asked:
            done = under_way.tally
            _log.info("generations.asked", settled=done.settled, waiting=done.waiting, expired=done.expired)
        return under_way.tally

    async def next_due(self) -> datetime | None:
        """Return when the next lookup is due; None if none is waiting."""
        return await self._in_thread(self._store.next_lookup_due)

    async def _claim(self, under_way: "_UnderWay") -> bool:
        """Claim what is due as far as there is room; return whether anything was."""
        room = _WAITING_FOR_EACH_WORKER * self._terms.concurrency - len(under_way.claimed)
        if room <= len(under_way.claimed):  # not for every single one
            return True
        claim = partial(
            self._store.claim_pending,
            self._clock(),
            holder=self._terms.holder,
            lease=self._terms.lease,
            most=room,
            besides=tuple(under_way.claimed),
            longest=self._terms.policy.longest_wait,
        )
        found = await self._in_thread(claim)
        under_way.claimed.update((each.id, each) for each in found)
        under_way.claimed_at.update(dict.fromkeys((each.id for each in found), asyncio.get_running_loop().time()))
        under_way.put(found)
        return bool(found)

    async def _look_up(self, under_way: "_UnderWay") -> None:
        while True:
            waiting = await under_way.next()
            if self._may_be_anothers(under_way.claimed_at[waiting.id]):
                under_way.let_go(waiting)
                continue
            asker = self._askers.next_for(waiting)
            if asker is None:
                lookup: Lookup = NotFound(Unfound.BUSY, "no key to ask with", _NOBODY_TO_ASK_SECONDS)
            elif seconds := self._rest.left_seconds():
                lookup = NotFound(Unfound.BUSY, "OpenRouter is left alone for a while", seconds)
            else:
                lookup = await self._source.lookup(waiting.id, asker)
                self.asked += 1
                under_way.tally.asked += 1
                self._rest.judge(lookup)
            under_way.answer(waiting, lookup)

    def _may_be_anothers(self, claimed_at: float) -> bool:
        """Return whether a claim has grown so old that it may run out before an answer comes."""
        age = asyncio.get_running_loop().time() - claimed_at
        return self._store.is_shared and age > self._terms.lease.total_seconds() / 2

    async def _commit(self, under_way: "_UnderWay") -> None:
        answers = under_way.take_answers()
        if not answers:
            return
        asked = [(waiting, lookup, len(self._askers.of(waiting))) for waiting, lookup in answers]
        plan = settlement.after_lookups(asked, self._terms.policy, self._clock())
        write = partial(self._store.commit_settlement, plan, self._terms.zone, holder=self._terms.holder)
        await self._in_thread(write)
        under_way.tally.take_in(plan)
        for waiting, _ in answers:
            under_way.forget(waiting)

    async def _give_back(self, under_way: "_UnderWay") -> None:
        if under_way.claimed:
            release = partial(self._store.release_pending, tuple(under_way.claimed), self._terms.holder)
            with suppress(StoreError):  # the lease will run out
                await asyncio.shield(self._in_thread(release))

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._store.thread, work)


@dataclass(slots=True)
class _UnderWay:
    """One pass: what is claimed, what is still to be asked for, and what has been learnt and is not yet committed."""

    tally: Tally = field(default_factory=Tally)
    claimed: dict[str, Pending] = field(default_factory=dict)
    claimed_at: dict[str, float] = field(default_factory=dict)
    """When each was claimed, by the event loop's clock."""
    has_answers: asyncio.Event = field(default_factory=asyncio.Event)
    all_have_answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Nothing that is claimed is still to be learnt."""
    _to_ask: deque[Pending] = field(default_factory=deque)
    _has_work: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    _answers: list[tuple[Pending, Lookup]] = field(default_factory=list)

    def put(self, found: Sequence[Pending]) -> None:
        """Let the workers ask for *found*."""
        self._to_ask.extend(found)
        for _ in found:
            self._has_work.release()

    async def next(self) -> Pending:
        """Return what is to be asked for next, as soon as there is something."""
        await self._has_work.acquire()
        return self._to_ask.popleft()

    def forget(self, waiting: Pending) -> None:
        """Have nothing to do with one any more."""
        self.claimed.pop(waiting.id, None)
        self.claimed_at.pop(waiting.id, None)

    def let_go(self, waiting: Pending) -> None:
        """Learn nothing of one that is claimed, and forget it."""
        self.forget(waiting)
        self._note()

    def answer(self, waiting: Pending, lookup: Lookup) -> None:
        """Take in what was learnt of one."""
        self._answers.append((waiting, lookup))
        self._note()

    def take_answers(self) -> list[tuple[Pending, Lookup]]:
        """Return what was learnt since the last time."""
        answers, self._answers = self._answers, []
        self.has_answers.clear()
        self.all_have_answers.clear()
        return answers

    def _note(self) -> None:
        self.has_answers.set()
        if len(self._answers) >= len(self.claimed):
            self.all_have_answers.set()


class _Rest:
    """How long OpenRouter is to be left alone: as long as it asked for, or for a moment when it answers nobody."""

    def __init__(self, monotonic: Callable[[], float], most_busy: int) -> None:
        self._monotonic = monotonic
        self._most_busy = most_busy
        self._busy_in_a_row = 0
        self._until = monotonic()

    def judge(self, lookup: Lookup) -> None:
        """Take in what one lookup says of OpenRouter itself."""
        is_busy = isinstance(lookup, NotFound) and lookup.reason is Unfound.BUSY
        self._busy_in_a_row = self._busy_in_a_row + 1 if is_busy else 0
        rest_seconds = 0.0
        if isinstance(lookup, NotFound) and lookup.retry_after_seconds:
            rest_seconds = lookup.retry_after_seconds
        elif self._busy_in_a_row >= self._most_busy:
            rest_seconds = _REST.total_seconds()
        self._until = max(self._until, self._monotonic() + rest_seconds)

    def left_seconds(self) -> int:
        """Return for how many more seconds nobody is to ask; 0 if anybody may."""
        return max(0, ceil(self._until - self._monotonic()))
