"""Looking at analytics: what each key spent today by the hour and model, and generations that nobody handed in.

A look asks about all keys at once, then about those whose rows were not surely theirs, and commits after each of both:
what one answer tells is a fact whatever becomes of the next. What could not be asked for is asked for at the next look,
and nothing else waits for it. Whether an account has analytics at all is asked at first, daily while it has, and ever
more rarely while it has not; that is told once.

What analytics calls a key that was asked for by its hash is remembered for a day, and so are the sizes of pieces that
were not cut off: keys are renamed, and tomorrow begins small.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo

import structlog

from reckon.core import analytics_plan as plan
from reckon.core import listing
from reckon.core.account import AnalyticsAnswer, Capabilities, Question
from reckon.core.analytics_plan import LOOK_EVERY, MOST_QUESTIONS, AccountDay, KeyHours, Names
from reckon.core.generations import GenerationState, Handed, Intake
from reckon.core.records import KeyState
from reckon.core.reports import ALWAYS
from reckon.core.windows import GRAIN, Window, grain_start
from reckon.errors import SourceError
from reckon.store import Store

_T = TypeVar("_T")
_log = structlog.get_logger()

LOOK_AT_ANALYTICS: Final = "analytics"
"""What the one replica has taken that looks at analytics."""

_DAY: Final = timedelta(days=1)
_AT_ONCE: Final = 4
_MOST_TROUBLE: Final = 3
"""After so many questions without an answer a look ends: it is not the questions."""
_LONGEST_SECONDS: Final = 45.0
"""How long one question may wait for its turn and its answer: whoever waits longer looks stuck."""


class AnalyticsSource(Protocol):
    """Where analytics is asked. One of these keeps the limit of questions a minute for everybody who asks."""

    async def meta(self) -> Capabilities:
        """Return what can be asked.

        Raises:
            SourceError: nothing was learnt.
        """
        ...

    async def query(self, question: Question) -> AnalyticsAnswer:
        """Return the answer to *question*.

        Raises:
            SourceError: there is none to be believed.
        """
        ...


@dataclass(frozen=True, slots=True)
class AnalystTerms:
    """How looks are done."""

    zone: ZoneInfo
    """Whose days generations are counted by."""
    holder: str
    """The name of this process among replicas."""
    entries: Collection[str]
    """The hashes of the keys that the owner map names."""
    hand_in: Callable[[Sequence[Handed], datetime], Intake]
    """Writes generations down, to be looked up; called on the ledger's thread."""


@dataclass(slots=True)
class Look:
    """What one look came to."""

    questions: int = 0
    keys: int = 0
    """Of how many keys something was told."""
    in_doubt: int = 0
    """How many keys are still to be asked about by hash."""
    listed: int = 0
    """How many generations were handed in."""
    trouble: list[str] = field(default_factory=list)
    """Why questions were left without an answer, in the order asked."""
    has_to_rest: bool = False
    """Whether OpenRouter asked to be left alone."""
    is_enough: Callable[[], bool] = lambda: False

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be asked."""
        return self.has_to_rest or len(self.trouble) >= _MOST_TROUBLE or self.is_enough()


class Analyst:
    """Looks at analytics. Keep one for as long as the management key is the same.

    Args:
        source: who is asked.
        store: the ledger.
        terms: how it is done.
    """

    def __init__(self, source: AnalyticsSource, store: Store, terms: AnalystTerms) -> None:
        self._source = source
        self._store = store
        self._terms = terms
        self._capability = _Capability()
        self._memory = _Memory()
        self._allowance = listing.Allowance()
        self._listed: dict[str, tuple[int, datetime]] = {}
        self._warned: set[str] = set()
        self._told_trouble: str | None = None
        self.asked = 0
        """How many questions have been put so far, so that a long look can be seen to move."""

    async def look(self, now: datetime, *, is_enough: Callable[[], bool] = lambda: False) -> Look | None:
        """Look once, and return what came of it; None where there is no analytics, or another replica looks.

        Args:
            now: the instant of the look.
            is_enough: whether to end with what has been asked, for somebody is waiting.

        Raises:
            StoreError: the ledger could not be read or written. What was committed before stays.
        """
        if not await self._in_thread(partial(self._store.take, LOOK_AT_ANALYTICS, self._terms.holder, 2 * LOOK_EVERY)):
            return None
        if not await self._has_analytics(now):
            return None
        if self._memory.day != now.date():
            self._memory = _Memory(now.date())
        look = Look(is_enough=is_enough)
        before = await self._in_thread(partial(self._before, now))
        await self._read_models(before, look, now)
        if self._capability.can_answer(listing.generations(ALWAYS, "")) and not look.is_over:
            await self._list_generations(before.keys, look, now)
        self._tell_trouble(look)
        _log.info("analytics.read", questions=look.questions, keys=look.keys, in_doubt=look.in_doubt, ids=look.listed)
        return look

    def _tell_trouble(self, look: Look) -> None:
        """Say why questions had no answer, once for each reason in a row; find out whether there is any at all."""
        trouble = look.trouble[0] if look.trouble else None
        if trouble and trouble != self._told_trouble:
            _log.warning("analytics.left_unanswered", questions=len(look.trouble), why=trouble)
        self._told_trouble = trouble
        if len(look.trouble) == look.questions:
            self._capability.doubt()

    async def give_back(self) -> None:
        """Let another replica look at once.

        Raises:
            StoreError: the ledger could not be written.
        """
        await self._in_thread(partial(self._store.give_back, LOOK_AT_ANALYTICS, self._terms.holder))

    # --- Whether there is analytics ----------------------------------------------------------------------------------

    async def _has_analytics(self, now: datetime) -> bool:
        if not self._capability.is_due(now):
            return self._capability.is_there
        was_there, knew = self._capability.is_there, self._capability.is_known
        try:
            self.asked += 1
            async with asyncio.timeout(_LONGEST_SECONDS):
                offered = await self._source.meta()
        except (SourceError, TimeoutError) as error:
            why = str(error) or "no answer in time"
            self._capability.missed(now)
        else:
            self._capability.learnt(offered, now)
            why = "it does not offer models by key and hour"
        if self._capability.is_there and knew and not was_there:
            _log.info("analytics.available")
        if not self._capability.is_there and (was_there or not knew):
            _log.warning("analytics.unavailable", why=why, lost="models by key without handing generations in")
        return self._capability.is_there

    # --- Models ------------------------------------------------------------------------------------------------------

    def _before(self, now: datetime) -> "_Before":
        with self._store.reading() as ledger:
            late = plan.late_day(now, ledger.day_read_again())
            keys = {key.hash: key for key in ledger.every_key()}
            days = [_Span(plan.today(now), {key.hash: plan.spent_today(key, now) for key in keys.values()})]
            if late:
                spent: dict[str, int] = {}
                for total in ledger.totals([late])[0]:
                    spent[total.key_hash] = spent.get(total.key_hash, 0) + total.spend_nanos
                days.append(_Span(late, spent, is_over=True))
        return _Before(keys, [day for day in days if day.window.start < day.window.end])

    async def _read_models(self, before: "_Before", look: Look, now: datetime) -> None:
        """Read today, and yesterday where that is due: all keys at once, and then those in doubt."""
        account = [told for day in before.days if (told := await self._account_day(day.window, look, now))]
        await self._commit((), account)
        in_doubt = [await self._read_at_once(day, before, look) for day in before.days]
        for day, keys in zip(before.days, in_doubt, strict=True):
            is_done = await self._read_singly(day, keys, look)
            if day.is_over and is_done and not look.trouble and not look.is_over:
                await self._commit((), (), day.window.start.date())

    async def _account_day(self, window: Window, look: Look, now: datetime) -> AccountDay | None:
        answer = await self._answer(plan.total(window), look)
        if answer is None or answer.is_truncated:
            return None
        return plan.account_day(answer, window, now)

    async def _read_at_once(self, day: "_Span", before: "_Before", look: Look) -> set[str]:
        """Ask about all keys at once; return those that may have rows which were not surely theirs."""
        # What strangers are called tells whose the rows of all the others are, so these are asked about first.
        strangers = plan.to_ask_singly(self._names(before, day).strangers, day.spent, {}, {})
        room = max(0, (MOST_QUESTIONS - look.questions) // 2)
        await self._ask_singly(day, strangers[:room], look)
        names = self._names(before, day)
        told: list[KeyHours] = []
        in_doubt: set[str] = {*names.strangers}
        waiting = plan.pieces(day.window, self._memory.longest_piece)
        while waiting and look.questions < MOST_QUESTIONS and not look.is_over:
            piece = waiting.pop(0)
            answer = await self._answer(plan.models(piece), look)
            if answer is None:
                in_doubt |= day.spent.keys()
                break
            if answer.is_truncated:
                half = plan.halved(piece.end - piece.start)
                if half is None:
                    in_doubt |= day.spent.keys()
                else:
                    self._memory.longest_piece = min(self._memory.longest_piece, half)
                    waiting = [*plan.pieces(piece, half), *waiting]
                continue
            read = plan.told_of_all(answer.rows, piece, names)
            told += read.hours
            in_doubt |= read.doubtful
        if waiting:
            in_doubt |= day.spent.keys()
        await self._commit(told)
        look.keys += len({each.key_hash for each in told})
        return in_doubt

    async def _read_singly(self, day: "_Span", in_doubt: Iterable[str], look: Look) -> bool:
        """Ask about keys by hash, as far as questions are left; return whether all were asked about."""

        def read() -> Mapping[str, int]:
            with self._store.reading() as ledger:
                return ledger.told_by_analytics(day.window)

        told = await self._in_thread(read)
        asked_at = {} if day.is_over else self._memory.asked_at
        wanted = [
            key_hash
            for key_hash in plan.to_ask_singly(in_doubt, day.spent, told, asked_at)
            if key_hash not in day.asked and not (day.is_over and key_hash in self._memory.done_with)
        ]
        room = max(0, MOST_QUESTIONS - look.questions)
        await self._ask_singly(day, wanted[:room], look)
        look.in_doubt += len(wanted[room:])
        return not wanted[room:]

    async def _ask_singly(self, day: "_Span", wanted: Sequence[str], look: Look) -> None:
        for first in range(0, len(wanted), _AT_ONCE):
            if look.is_over:
                return
            some = wanted[first : first + _AT_ONCE]
            answers = await asyncio.gather(
                *(self._answer(plan.models(day.window, key_hash), look) for key_hash in some)
            )
            told = []
            for key_hash, answer in zip(some, answers, strict=True):
                # Of a hash that analytics does not know there are no rows and a warning: that is no zero.
                if answer is None or answer.is_truncated or (answer.warnings and not answer.rows):
                    continue
                day.asked.add(key_hash)
                told.append(plan.told_of_one(answer.rows, day.window, key_hash))
                if shown := plan.shown_name(answer.rows):
                    self._memory.shown[key_hash] = shown
                if day.is_over:
                    self._memory.done_with.add(key_hash)
                else:
                    self._memory.asked_at[key_hash] = day.spent[key_hash]
            await self._commit(told)
            look.keys += len(told)

    def _names(self, before: "_Before", day: "_Span") -> Names:
        # One that was asked for by its hash and has no rows, or whose name is known now, is no stranger any more.
        spenders = {key_hash for key_hash, nanos in day.spent.items() if nanos and key_hash not in day.asked}
        return Names(before.keys.values(), self._terms.entries, self._memory.shown, spenders)

    async def _commit(
        self, told: Sequence[KeyHours], days: Sequence[AccountDay] = (), read_again: date | None = None
    ) -> None:
        if told or days or read_again:
            await self._in_thread(partial(self._store.keep_analytics, told, days, read_again))

    # --- Generations -------------------------------------------------------------------------------------------------

    async def _list_generations(self, keys: Mapping[str, KeyState], look: Look, now: datetime) -> None:
        spent, residual = await self._in_thread(partial(self._unexplained, now))
        for key_hash in listing.to_list(residual, spent, self._listed, now):
            room = self._allowance.left(now)
            span = listing.span_to_list(keys[key_hash], now) if key_hash in keys else None
            if look.is_over or not room:
                return
            answer = await self._answer(listing.generations(span, key_hash), look) if span else None
            if answer is None:
                continue
            accepted, left = await self._in_thread(partial(self._hand_in, answer, keys[key_hash], room, now))
            self._allowance.take(accepted, now)
            look.listed += accepted
            if not left and not answer.is_truncated:
                self._listed[key_hash] = (spent[key_hash], now)

    def _unexplained(self, now: datetime) -> tuple[dict[str, int], dict[str, int]]:
        """Return what each key has spent lately, and what no generation explains of it; nothing while many wait."""
        span = Window(grain_start(now) - _DAY, grain_start(now) + 2 * GRAIN)
        with self._store.reading() as ledger:
            if ledger.pending_counts().get(GenerationState.PENDING, 0) > listing.LARGEST_BACKLOG:
                return {}, {}
            totals = ledger.totals([span])[0]
            settled = ledger.call_totals([(None, span)], frozenset({"key_hash"}), self._terms.zone)[0]
            residual = listing.residuals(totals, settled, ledger.unsettled(span))
        spent: dict[str, int] = {}
        for total in totals:
            spent[total.key_hash] = spent.get(total.key_hash, 0) + total.spend_nanos
        return spent, residual

    def _hand_in(self, answer: AnalyticsAnswer, key: KeyState, room: int, now: datetime) -> tuple[int, int]:
        """Hand in what is new, as far as there is room; return how many those are, and how many are left."""
        found = listing.handed(answer.rows, key)
        with self._store.reading() as ledger:
            known = ledger.known_generations([each.id for each in found])
        new = [each for each in found if each.id not in known]
        accepted = self._terms.hand_in(new[:room], now).accepted if new[:room] else 0
        return accepted, len(new[room:])

    # --- Asking ------------------------------------------------------------------------------------------------------

    async def _answer(self, question: Question, look: Look) -> AnalyticsAnswer | None:
        """Return the answer to *question*; None where there is none, which the look remembers."""
        look.questions += 1
        self.asked += 1
        try:
            async with asyncio.timeout(_LONGEST_SECONDS):
                answer = await self._source.query(question)
        except SourceError as error:
            look.trouble.append(str(error))
            look.has_to_rest = look.has_to_rest or error.retry_after_seconds is not None
            return None
        except TimeoutError:
            look.trouble.append("no answer in time")
            return None
        finally:
            self.asked += 1
        for warning in answer.warnings:
            if warning not in self._warned:
                self._warned.add(warning)
                _log.warning("analytics.warned", warning=warning)
        return answer

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._store.thread, work)


@dataclass(frozen=True, slots=True)
class _Span:
    """One UTC day that is read."""

    window: Window
    spent: Mapping[str, int]
    """What the counters of each key show of it, by hash."""
    is_over: bool = False
    asked: set[str] = field(default_factory=set)
    """The keys that this look has asked about by their hash."""


@dataclass(frozen=True, slots=True)
class _Before:
    """What the ledger knows as a look begins."""

    keys: Mapping[str, KeyState]
    days: Sequence[_Span]


@dataclass(slots=True)
class _Memory:
    """What was learnt since midnight, UTC."""

    day: date | None = None
    shown: dict[str, str] = field(default_factory=dict)
    """What analytics calls keys that were asked for by their hash."""
    asked_at: dict[str, int] = field(default_factory=dict)
    """What each key had spent today when it was asked about."""
    done_with: set[str] = field(default_factory=set)
    """The keys that were asked about yesterday."""
    longest_piece: timedelta = _DAY
    """How much time a question about all keys may span."""


class _Capability:
    """What can be asked, and when to find out anew."""

    def __init__(self) -> None:
        self._offered: Capabilities | None = None
        self._asked_at: datetime | None = None
        self._good_for = LOOK_EVERY
        self.is_known = False
        """Whether it was ever found out, or tried."""

    @property
    def is_there(self) -> bool:
        """Whether models can be asked for."""
        return self.can_answer(plan.models(ALWAYS, "")) and self.can_answer(plan.total(ALWAYS))

    def can_answer(self, question: Question) -> bool:
        """Return whether everything that *question* names is on offer."""
        return self._offered is not None and self._offered.can_answer(question)

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time to find out; at once when the clock was set back."""
        return self._asked_at is None or not self._asked_at <= now < self._asked_at + self._good_for

    def doubt(self) -> None:
        """Find out at the next look."""
        self._asked_at = None

    def learnt(self, offered: Capabilities, now: datetime) -> None:
        """Take in what is on offer."""
        self._offered, self._asked_at, self._good_for, self.is_known = offered, now, _DAY, True

    def missed(self, now: datetime) -> None:
        """Take in that nobody answered: ask again later, each time after twice as long, and after a day at last."""
        self._good_for = min(_DAY, 2 * self._good_for) if self._offered is None and self.is_known else LOOK_EVERY
        self._offered, self._asked_at, self.is_known = None, now, True
