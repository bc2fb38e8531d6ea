"""Reading finished days: of the account and of every key that sweeps show, each morning and once for keys that are new.

Days are asked for key by key, since an answer does not say whose they are, and committed every moment. Nothing is lost
if the process dies: what was not committed is due still. An owner's history is made anew as soon as none of their keys
is left to ask, for one that knows of half their keys would make every whole day look unusual.

Of a key that certainly was not used nothing is asked. One that fails is told once and tried again an hour later; where
OpenRouter asks for a rest, or answers nobody, the others wait for the next look as well.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

import structlog

from reckon.core.activity_days import (
    DAYS_ON_OFFER,
    READ_AGAIN_EVERY,
    AccountRead,
    ActivityPlan,
    ActivityTally,
    DaySpan,
    DaysTold,
    KeyRead,
    NotTold,
    PastOfKey,
    filled,
    finished_days,
    last_morning,
    taken,
)
from reckon.core.records import Failure, FailureReason
from reckon.errors import StoreError
from reckon.jobs.holding import held
from reckon.store import Store, activity
from reckon.store.reading import Reading

_T = TypeVar("_T")
_log = structlog.get_logger()

READ_ACTIVITY: Final = "activity"
"""What the one replica has taken that reads finished days."""

_BETWEEN_COMMITS_SECONDS: Final = 0.5
_ROUNDS_BEFORE_REST: Final = 2
_REST_SECONDS: Final = 60
_FEW: Final = 4
"""How many questions to analytics are put at once: its limit is shared, and nobody else is to wait behind many."""


class DaySource(Protocol):
    """Where finished days are told. Raises nothing of the network."""

    async def last_days(self, key_hash: str | None = None) -> DaysTold | NotTold:
        """Ask what one key, or the whole account, spent on each of the days on offer."""
        ...

    async def older_days(self, key_hash: str, days: DaySpan) -> DaysTold | NotTold:
        """Ask what one key spent on each of *days*, which lie within a year."""
        ...


@dataclass(frozen=True, slots=True)
class ActivityTerms:
    """How days are read."""

    zone: ZoneInfo
    """Whose days owners' histories are made of, before a poll has closed any."""
    holder: str
    """The name of this process among replicas."""
    lease: timedelta
    """How long its claim holds."""
    concurrency: int


@dataclass(frozen=True, slots=True)
class Meanwhile:
    """What whoever waits for a pass wants of it."""

    is_enough: Callable[[], bool] = lambda: False
    """Whether to end with what has been done."""
    progress: Callable[[int, int], None] = lambda _done, _of: None
    """Called now and then with (keys done, keys in all)."""


_UNTIL_DONE: Final = Meanwhile()


class ActivityReader:
    """Reads what is due. Keep one for as long as the management key is the same.

    Args:
        source: who is asked.
        store: the ledger.
        terms: how it is done.
    """

    def __init__(self, source: DaySource, store: Store, terms: ActivityTerms) -> None:
        self._source = source
        self._store = store
        self._terms = terms
        self._failed_at: dict[str | None, datetime] = {}
        """When each key, or the account (None), was tried last, as long as nothing came of it."""
        self._closed: NotTold | None = None
        self._rest_until: datetime | None = None
        self.asked = 0
        """How many asks have been made so far, so that a long pass can be seen to move."""

    async def read(
        self,
        now: datetime,
        *,
        since: datetime | None = None,
        meanwhile: Meanwhile = _UNTIL_DONE,
    ) -> ActivityTally:
        """Read the account's days and those of every key that is due at *now*.

        Args:
            now: the instant of this pass.
            since: read whatever was not read, or tried, since this instant; by itself, what is due each morning.
            meanwhile: what whoever waits wants.

        Raises:
            Superseded: another replica took over.
            StoreError: the ledger could not be read or written. What was not committed is due still.
        """
        due = await self._in_thread(partial(self._due, now, since))
        if due.is_nothing or self._is_resting(now):
            return ActivityTally(left=len(due.keys), closed=self._closed)
        async with self._taken() as is_ours:
            if not is_ours:
                return ActivityTally(is_elsewhere=True)
            due = await self._in_thread(partial(self._due, now, since))  # another may have read it in between
            if due.account and (closed := await self._read_account(now)):
                return ActivityTally(closed=closed)
            on_offer = DaysTold(finished_days(now))
            idle = [one for past in due.keys if past.is_idle_on((one := taken(past, on_offer)).told.days)]
            asks = _Asks([*_besides(due.keys, idle)], self._last_days, self._terms.concurrency)
            return await self._read_keys(idle, asks, meanwhile, now)

    async def fill(
        self,
        days: int,
        now: datetime,
        *,
        since: datetime | None = None,
        meanwhile: Meanwhile = _UNTIL_DONE,
    ) -> ActivityTally:
        """Read those of the last *days* finished days that are no longer on offer, where they are not known.

        Args:
            days: how far back.
            now: the instant of this pass.
            since: leave alone what was tried since this instant.
            meanwhile: what whoever waits wants.

        Raises:
            Superseded: another replica took over.
            StoreError: the ledger could not be read or written. What was not committed is missing still.
        """
        wanted = DaySpan(finished_days(now, days).since, finished_days(now).since)
        if days <= DAYS_ON_OFFER:
            return ActivityTally()
        async with self._taken() as is_ours:
            if not is_ours:
                return ActivityTally(is_elsewhere=True)
            pasts = await self._in_thread(self._pasts)
            missing = {
                past: hole
                for past in pasts
                if (hole := past.missing_of(wanted)) and not (since and self._was_tried(past, since, now))
            }
            idle = [
                one for past, hole in missing.items() if past.is_idle_on(hole) for one in filled(past, DaysTold(hole))
            ]
            ask = partial(self._older_days, wanted)
            asks = _Asks([*_besides(missing, idle)], ask, min(_FEW, self._terms.concurrency), ends_when_closed=True)
            return await self._read_keys(idle, asks, meanwhile, now)

    # --- What is due -------------------------------------------------------------------------------------------------

    def _due(self, now: datetime, since: datetime | None) -> "_Due":
        with self._store.reading() as ledger:
            read_at = activity.account_read_at(ledger.connection)
            pasts = activity.pasts_of_keys(ledger.connection)
        read_before = since or last_morning(now)
        is_account_due = read_at is None or not read_before <= read_at <= now
        if is_account_due and self._was_tried(None, since, now):
            is_account_due = False
            if self._closed:
                return _Due(account=False, keys=[])
        keys = [past for past in pasts if past.is_due(read_before, now) and not self._was_tried(past, since, now)]
        return _Due(account=is_account_due, keys=keys)

    def _was_tried(self, past: PastOfKey | None, since: datetime | None, now: datetime) -> bool:
        """Return whether it failed so lately that it is left alone for now."""
        failed_at = self._failed_at.get(past.key_hash if past else None)
        if failed_at is None:
            return False
        return since <= failed_at if since else failed_at <= now < failed_at + READ_AGAIN_EVERY

    def _is_resting(self, now: datetime) -> bool:
        # No wait is longer than that between two tries: what is further away was stamped by another clock.
        return self._rest_until is not None and now < self._rest_until <= now + READ_AGAIN_EVERY

    def _pasts(self) -> list[PastOfKey]:
        with self._store.reading() as ledger:
            return activity.pasts_of_keys(ledger.connection)

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[bool]:
        """Have what is to be read for ourselves while a block runs; tell whether we have."""
        asked_at = asyncio.get_running_loop().time()
        take = partial(self._store.take, READ_ACTIVITY, self._terms.holder, self._terms.lease)
        if not await self._in_thread(take):
            yield False
            return
        try:
            async with held(self._store, take, self._terms.lease, since=asked_at):
                yield True
        finally:
            with suppress(StoreError):  # the lease will run out
                give_back = partial(self._store.give_back, READ_ACTIVITY, self._terms.holder)
                await asyncio.shield(self._in_thread(give_back))

    # --- Asking ------------------------------------------------------------------------------------------------------

    async def _read_account(self, now: datetime) -> NotTold | None:
        """Read the account's own days; return why, if nobody is told any."""
        self.asked += 1
        told = await self._source.last_days()
        if isinstance(told, DaysTold):
            if self._closed:
                _log.info("activity.open_again")
            self._closed = None
            self._failed_at.pop(None, None)
            read = AccountRead(told, now)
            await self._in_thread(partial(self._store.transact, lambda _: None, lambda _: read, activity.write_account))
            return None
        if told.is_closed and (self._closed is None or self._closed.detail != told.detail):
            _log.warning("activity.closed", reason=told.reason.value, detail=told.detail)
        elif not told.is_closed:
            _log.warning("activity.account_failed", reason=told.reason.value, detail=told.detail)
        self._failed_at[None] = now
        self._closed = told if told.is_closed else None
        return self._closed

    async def _last_days(self, past: PastOfKey) -> Sequence[KeyRead] | NotTold:
        told = await self._source.last_days(past.key_hash)
        return told if isinstance(told, NotTold) else [taken(past, told)]

    async def _older_days(self, wanted: DaySpan, past: PastOfKey) -> Sequence[KeyRead] | NotTold:
        told = await self._source.older_days(past.key_hash, past.missing_of(wanted) or wanted)
        return told if isinstance(told, NotTold) else filled(past, told)

    async def _read_keys(
        self, idle: Sequence[KeyRead], asks: "_Asks", meanwhile: Meanwhile, now: datetime
    ) -> ActivityTally:
        """Write what is known without asking, ask for the rest, and commit it every moment."""
        tally = ActivityTally(idle=len({each.key_hash for each in idle}))
        left = Counter(past.owner for past in asks.of)
        owners_idle = {each.owner for each in idle}
        await self._commit(idle, owners_idle - left.keys(), now)
        answers: list[tuple[PastOfKey, Sequence[KeyRead] | NotTold]] = []
        waiting = iter(asks.of)

        async def work() -> None:
            while not asks.is_over and (past := next(waiting, None)):
                self.asked += 1
                answers.append((past, await asks.ask(past)))
                asks.judge(answers[-1][1])

        workers = [asyncio.create_task(work()) for _ in range(min(asks.workers, len(asks.of)))]
        try:
            while any(not worker.done() for worker in workers) and not meanwhile.is_enough():
                await asyncio.wait(workers, timeout=_BETWEEN_COMMITS_SECONDS)
                await self._take_in(answers, tally, left, now)
                meanwhile.progress(tally.read + len(tally.failures), len(asks.of))
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        await self._take_in(answers, tally, left, now)
        tally.left = sum(left.values())
        tally.closed = asks.closed
        if asks.rest_seconds:
            self._rest_until = now + timedelta(seconds=asks.rest_seconds)
        if tally.read or tally.failures:
            _log.info("activity.read", keys=tally.read, idle=tally.idle, failed=len(tally.failures), left=tally.left)
        return tally

    async def _take_in(
        self,
        answers: list[tuple[PastOfKey, Sequence[KeyRead] | NotTold]],
        tally: ActivityTally,
        left: Counter[str],
        now: datetime,
    ) -> None:
        """Commit what came since the last time."""
        read: list[KeyRead] = []
        owners: set[str] = set()
        for past, told in answers:
            owners.add(past.owner)
            left[past.owner] -= 1
            if isinstance(told, NotTold):
                tell = _log.debug if past.key_hash in self._failed_at else _log.warning
                tell("activity.failed", key=past.key_hash[:12], reason=told.reason.value, detail=told.detail)
                self._failed_at[past.key_hash] = now
                tally.failures.append(Failure(past.key_hash, told.reason, told.detail, told.retry_after_seconds))
            else:
                self._failed_at.pop(past.key_hash, None)
                read += told
                tally.read += 1
        answers.clear()
        await self._commit(read, {owner for owner in owners if not left[owner]}, now)

    async def _commit(self, read: Sequence[KeyRead], complete: Collection[str], now: datetime) -> None:
        if read or complete:
            plan = partial(ActivityPlan, now, read, complete)
            await self._in_thread(partial(self._store.transact, self._zone, plan, activity.write_keys))

    def _zone(self, ledger: Reading) -> ZoneInfo:
        return ledger.zone() or self._terms.zone

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._store.thread, work)


def _besides(pasts: Iterable[PastOfKey], idle: Sequence[KeyRead]) -> Iterator[PastOfKey]:
    known = {each.key_hash for each in idle}
    return (past for past in pasts if past.key_hash not in known)


@dataclass(frozen=True, slots=True)
class _Due:
    account: bool
    keys: Sequence[PastOfKey]

    @property
    def is_nothing(self) -> bool:
        return not self.account and not self.keys


@dataclass(slots=True)
class _Asks:
    """The asks of one pass, and whether there is any sense in going on with them."""

    of: Sequence[PastOfKey]
    ask: Callable[[PastOfKey], Awaitable[Sequence[KeyRead] | NotTold]]
    workers: int
    ends_when_closed: bool = False
    closed: NotTold | None = None
    rest_seconds: int = 0
    _failed_in_a_row: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nobody is to be asked any more."""
        return bool(self.closed or self.rest_seconds)

    def judge(self, told: Sequence[KeyRead] | NotTold) -> None:
        """Take in what one answer says of whoever is asked."""
        if not isinstance(told, NotTold):
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        if told.is_closed and self.ends_when_closed:
            self.closed = told
        elif told.reason is FailureReason.RATE_LIMITED or told.retry_after_seconds:
            self.rest_seconds = told.retry_after_seconds or _REST_SECONDS
        elif self._failed_in_a_row >= _ROUNDS_BEFORE_REST * self.workers:
            self.rest_seconds = _REST_SECONDS
