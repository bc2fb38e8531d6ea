"""The daemon: the jobs of a `Watcher`, done when they are due, for years.

APScheduler only knocks. A worker that hears a knock asks the store what is due and does it, one job at a time; so a
late, lost or doubled knock changes nothing, and neither does a clock that steps. What fails is told and tried again at
the next knock, for every job is one transaction or none.

Two things end it: a signal, and a worker that has stopped moving. It stops in order and in bounded time: no new job is
begun, those under way may finish for a while and are then cancelled, and everything is closed. Whoever started it may
end the process even if something hangs then, since no unit of work can be left half done.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from functools import partial
from types import MappingProxyType
from typing import Any, Final, Self

import httpx
import structlog

from reckon.app import Clock, system_clock
from reckon.config import Secrets, Settings, settle_policy, unbuilt
from reckon.core.activity_days import next_morning
from reckon.core.analytics_plan import LOOK_EVERY
from reckon.core.generations import Handed, Intake
from reckon.core.plans import Plan
from reckon.core.records import KeyState
from reckon.documents.activity import days_document, swept_document
from reckon.errors import ReckonError
from reckon.jobs.activity import Meanwhile
from reckon.jobs.settle import Tally
from reckon.pulse import Beat, Pulse
from reckon.store import open_store
from reckon.systemd import ServiceManager
from reckon.ticker import Ticker
from reckon.watch import Watcher, in_a_thread_of_its_own, new_holder, open_watcher, require_something_to_watch
from reckon.web.catching_up import CatchingUp
from reckon.web.intake_queue import WaysIn
from reckon.web.server import served, surface

_log = structlog.get_logger()

RHYTHM: Final = MappingProxyType(
    {
        "poll": timedelta(seconds=5),
        "deliver": timedelta(seconds=5),
        "spool": timedelta(seconds=5),
        "settle": timedelta(seconds=20),
        "digest": timedelta(seconds=20),
        "activity": timedelta(minutes=10),
        "analytics": timedelta(seconds=20),
        "account": timedelta(minutes=10),
    }
)
"""How often everybody is knocked at even if nothing calls for it."""
_MOST_SKIPPED_DIGESTS: Final = 30
"""How many looks at the calendar a long poll may cost: some ten minutes of them."""
_LOOK_AGAIN: Final = timedelta(seconds=30)
"""How often the store is asked what is due even if nothing should be: a clock may step, a replica may die."""
_SHORTEST_PAUSE: Final = timedelta(milliseconds=250)
"""Between two looks at what another replica has, but has not done yet."""
_STILL: Final = timedelta(seconds=60)
_MOST_SECONDS_FOR_SOMEBODY: Final = 20.0
"""How long somebody may wait for lookups to be made: our own surface keeps no connection for much longer."""
_GRACE_SECONDS: Final = 5.0
_MOST_SECONDS_TO_END: Final = 9.0
_MOST_SECONDS_IN_A_HURRY: Final = 1.0


class Stuck(ReckonError):
    """A worker does not move any more; only a new process will."""


class Worker:
    """Does one job whenever somebody knocks. A job that fails is told, and done again at the next knock."""

    def __init__(self, beat: Beat, job: Callable[[], Awaitable[None]]) -> None:
        self._beat = beat
        self._job = job
        self._knocked = asyncio.Event()
        self._later: asyncio.TimerHandle | None = None
        self.idle = asyncio.Lock()
        """Held while a job is under way."""

    def knock(self) -> None:
        """Have the job done, once more if it is under way."""
        self._knocked.set()

    def knock_in(self, pause: timedelta) -> None:
        """Knock after *pause*, in the place of any knock that was to come."""
        self.forget_knocks()
        self._later = asyncio.get_running_loop().call_later(max(pause.total_seconds(), 0), self.knock)

    def forget_knocks(self) -> None:
        """Let no knock come that was to come."""
        if self._later:
            self._later.cancel()

    async def work(self) -> None:
        """Answer knocks for ever."""
        while True:
            await self._knocked.wait()
            self._knocked.clear()
            self._beat.mark()
            async with self.idle:
                self._beat.is_under_way = True
                await self._do()
                self._beat.is_under_way = False
            self._beat.jobs += 1
            self._beat.mark()

    async def _do(self) -> None:
        try:
            await self._job()
        except ReckonError as error:
            self._beat.failed += 1
            _log.error("job.failed", job=self._beat.name, error=str(error))
        except Exception:  # noqa: BLE001 - whatever it is, the daemon outlives it, and the next knock tries again
            self._beat.failed += 1
            _log.exception("job.failed", job=self._beat.name)


class Daemon:
    """One process that watches. `run` returns once it was told to stop."""

    def __init__(
        self,
        load: Callable[[], Settings],
        environ: MutableMapping[str, str],
        *,
        clock: Clock = system_clock,
        transport: httpx.AsyncBaseTransport | None = None,
        end_within: Callable[[int, float], None] = lambda _code, _seconds: None,
    ) -> None:
        """Make a daemon.

        Args:
            load: reads the configuration, now and whenever a reload is asked for.
            environ: where `env:` references look; what systemd left for us is taken out of it.
            clock: gives the instant of every job.
            transport: takes the place of the network on the way to OpenRouter.
            end_within: called with an exit code and seconds when stopping begins, when it has become urgent, and when
                all is closed: by then the process is to be over, whatever hangs.
        """
        self._load = load
        self._environ = environ
        self._clock = clock
        self._transport = transport
        self._end_within = end_within
        self._manager = ServiceManager(environ)
        self._holder = new_holder()
        self._starting: asyncio.Task[Settings] | None = None
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._looked_at: datetime | None = None
        self._look_at: datetime | None = None
        self._digest_skipped = 0
        self._analysed_at: datetime | None = None
        self._is_reloading = False
        self.pulse = Pulse(clock())

    async def run(self) -> None:
        """Watch until SIGTERM or SIGINT.

        Raises:
            ConfigError: the configuration cannot work, or a secret cannot be had.
            SourceUnavailable: the owner map holds no key.
            StoreError: the ledger cannot be used.
            CannotListen: the address of the HTTP surface is taken.
            Stuck: a worker has stopped moving.
        """
        self._workers = self._new_workers()
        with self._signals():
            try:
                async with AsyncExitStack() as opened:
                    self._starting = asyncio.create_task(self._open(opened))
                    await asyncio.wait([self._starting])
                    if self._starting.cancelled():
                        return
                    self._at_start = self._starting.result()
                    with Ticker(lambda name: self._workers[name].knock(), RHYTHM) as ticker:
                        await self._watch(ticker)
            except Stuck:
                self._end_within(69, _MOST_SECONDS_IN_A_HURRY)
                raise
            finally:
                if self._stop.is_set():
                    self._end_within(0, _MOST_SECONDS_IN_A_HURRY)

    async def _open(self, opened: AsyncExitStack) -> Settings:
        """Open everything, to be closed by *opened*; return the configuration it was opened by."""
        settings = self._load()
        url = settings.store.url.get_secret_value()
        self._store = await in_a_thread_of_its_own(lambda: open_store(url, writes=True))
        opened.callback(self._store.close)
        self._watching = await opened.enter_async_context(_Replaceable())
        self._watcher = await self._opened(settings)
        await self._learn_names()
        self._secrets_at_start = self._watcher.secrets
        if later := unbuilt(settings):
            _log.warning("config.without_effect", settings=list(later))
        ways_in = WaysIn(
            names=lambda: self._names,
            hand_in=self._hand_in,
            thread=self._store.thread,
            on_handed_in=self._workers["settle"].knock,
            settle=self._settle_for_somebody,
            catching_up=CatchingUp(sweep=self._sweep_for_somebody, backfill=self._backfill_for_somebody),
        )
        web = surface(lambda: self._watcher.app, self.pulse, self._watcher.http_token, settings.http.listen, ways_in)
        await opened.enter_async_context(served(web, settings.http.listen))
        self._take_in(settings)
        return settings

    async def _opened(self, settings: Settings, formerly: Sequence[Secrets] = ()) -> Watcher:
        require_something_to_watch(settings)
        return await self._watching.enter(
            open_watcher(
                settings,
                self._environ,
                clock=self._clock,
                transport=self._transport,
                store=self._store,
                holder=self._holder,
                formerly=formerly,
            )
        )

    def _take_in(self, settings: Settings) -> None:
        self.pulse.expect_a_poll_every(settings.polls_every)
        for beat in self.pulse.beats.values():
            if beat.name in RHYTHM:
                beat.longest_step_seconds = longest_step(beat.name, settings.openrouter.timeout).total_seconds()

    # --- The workers

    def _new_workers(self) -> dict[str, Worker]:
        beats = {
            "poll": Beat("poll", progress=lambda: self._watcher.source.asked),
            "deliver": Beat("deliver"),
            "digest": Beat("digest"),
            "settle": Beat("settle", progress=lambda: self._watcher.settler.asked),
            "activity": Beat(
                "activity", progress=lambda: reader.asked if (reader := self._watcher.activity_reader) else 0
            ),
            "analytics": Beat("analytics", progress=lambda: analyst.asked if (analyst := self._watcher.analyst) else 0),
            "account": Beat("account"),
            "spool": Beat("spool", progress=lambda: self._watcher.spool and self._watcher.spool.lines),
        }
        self.pulse.beats.update(beats)
        jobs = {
            "poll": self._poll,
            "deliver": self._deliver,
            "digest": self._digest,
            "settle": self._settle,
            "activity": self._read_activity,
            "analytics": self._look_at_analytics,
            "account": self._watch_account,
            "spool": self._take_spool,
        }
        # Nobody asks for a reload for years, and nothing is wrong: its beat is not watched.
        reload = Worker(Beat("reload"), self._reload)
        return {"reload": reload, **{name: Worker(beat, jobs[name]) for name, beat in beats.items()}}

    async def _poll(self) -> None:
        """Poll whatever is due, hand on what there is to say, and come back when more is due."""
        now = self._clock()
        if not (self._looked_at and self._look_at and self._looked_at <= now < self._look_at):
            every = self._watcher.app.settings.polls_every
            # Should it fail, it is not tried again at the very next knock: OpenRouter would pay for our trouble.
            self._looked_at, self._look_at = now, now + min(every, _LOOK_AGAIN)
            await self._poll_what_is_due()
            due = await self._watcher.next_due()
            self._looked_at, self._look_at = now, min(due or now, now + _LOOK_AGAIN)
        if self._digest_skipped:
            self._workers["digest"].knock()
        self._workers["poll"].knock_in(max(self._look_at - self._clock(), _SHORTEST_PAUSE))

    async def _poll_what_is_due(self) -> None:
        # A poll that takes longer than the time between two would go on for ever: a reload would never have its turn.
        while not self._is_wanted_elsewhere() and (done := await self._watcher.poll(self._clock())):
            self.pulse.committed(done.plan)
            self._compare_clocks()
            self._say_status()
            if done.plan.outgoing:
                self._workers["deliver"].knock()
            if any(row.n == 1 for _, row in done.plan.snapshots):
                self._workers["activity"].knock()
            await self._learn_names()
        self.pulse.looked()

    async def _learn_names(self) -> None:
        """Learn whom and which key a name means: a poll may have shown keys that nobody knew."""
        self._names = await asyncio.get_running_loop().run_in_executor(self._store.thread, self._watcher.names)

    def _is_wanted_elsewhere(self) -> bool:
        return self._stop.is_set() or self._is_reloading

    def _compare_clocks(self) -> None:
        before, skew = self.pulse.clock_skew_seconds, self._watcher.source.clock_skew_seconds
        self.pulse.clock_skew_seconds = skew
        if skew is not None and before is None:
            _log.warning("clock.differs", openrouter_is_ahead_by_seconds=round(skew))
        elif skew is None and before is not None:
            _log.info("clock.agrees_again")

    async def _deliver(self) -> None:
        """Let the message be delivered whose turn it is, and come back when the next one's may be."""
        deliverer = self._watcher.deliverer
        turn = await deliverer.take_turn()
        if turn.next_look:
            self._workers["deliver"].knock_in(deliverer.until(turn.next_look))

    async def _digest(self) -> None:
        """Queue the digests that are due, after any poll that is: or they would tell of counters from before it."""
        now = self._clock()
        is_fresh = self._looked_at and self._look_at and self._looked_at <= now < self._look_at
        if not self.pulse.has_looked or (not is_fresh and self._digest_skipped < _MOST_SKIPPED_DIGESTS):
            self._digest_skipped += 1
            return
        self._digest_skipped = 0
        if await self._watcher.digest(self._clock()):
            self._workers["deliver"].knock()

    async def _settle(self) -> None:
        """Look up the generations that are due, and come back when more are."""
        settler = self._watcher.settler
        await settler.settle(is_enough=self._is_wanted_elsewhere)
        if due := await settler.next_due():
            self._workers["settle"].knock_in(max(due - self._clock(), _SHORTEST_PAUSE))

    async def _read_activity(self) -> None:
        """Read the finished days that are due, and come back in the morning."""
        now = self._clock()
        await self._watcher.activity(now, is_enough=self._is_wanted_elsewhere)
        self._workers["activity"].knock_in(next_morning(now) - now)

    async def _look_at_analytics(self) -> None:
        """Look at analytics every few minutes, after the first poll: keys have to be known before their money is."""
        now = self._clock()
        if self._analysed_at and self._analysed_at <= now < self._analysed_at + LOOK_EVERY:
            return
        if self.pulse.has_looked:
            # Should it fail, or the configuration be reloaded, it is not asked again at once.
            self._analysed_at = now
            look = await self._watcher.analytics(now, is_enough=self._is_wanted_elsewhere)
            if look and look.listed:
                self._workers["settle"].knock()

    async def _watch_account(self) -> None:
        """Judge the books and the balance, after the first poll: what has passed meanwhile is no news."""
        if self.pulse.has_looked and await self._watcher.watch_account(self._clock()):
            self._workers["deliver"].knock()

    async def _take_spool(self) -> None:
        """Take the files of generations that have arrived."""
        spool = self._watcher.spool
        if spool is None or not self.pulse.has_looked:  # before the first poll nobody knows the keys that sweeps show
            return
        taken = await in_a_thread_of_its_own(partial(spool.take, self._names, self._hand_in_from_elsewhere))
        if taken:
            self._workers["settle"].knock()

    def _hand_in(self, handed: Sequence[Handed]) -> Intake:
        """Write down what was handed in; runs on the ledger's thread."""
        return self._watcher.hand_in(handed, self._clock())

    def _hand_in_from_elsewhere(self, handed: Sequence[Handed]) -> Intake:
        """Write down what was handed in; runs on any thread but the ledger's."""
        return self._store.thread.submit(self._hand_in, handed).result()

    async def _settle_for_somebody(self, *, expired: bool) -> Tally:
        """Look up what is due, for somebody who waits for it; with *expired*, what was given up as well."""
        if expired:
            ask_again = partial(self._store.ask_again, None, settle_policy(self._watcher.app.settings), self._clock())
            await asyncio.get_running_loop().run_in_executor(self._store.thread, ask_again)
        is_enough = self._patience()
        async with self._workers["settle"].idle:
            tally = await self._watcher.settler.settle(is_enough=is_enough)
        self._workers["settle"].knock()
        return tally

    async def _sweep_for_somebody(self, since: datetime | None) -> dict[str, Any]:
        """Poll every key unless that was done, and read the days gone by, for somebody who waits for it."""
        plans: list[Plan] = []
        if since is None:
            since = self._clock().replace(microsecond=0)
            async with self._workers["poll"].idle:
                plans = await self._watcher.poll_everything(self._clock())
            for plan in plans:
                self.pulse.committed(plan)
            self._workers["deliver"].knock()
        async with self._workers["activity"].idle:
            tally = await self._watcher.activity_since(since, Meanwhile(self._patience()))
        keys = await self._known_keys()
        return {**swept_document(plans, keys), "days": days_document(tally, keys, since)}

    async def _backfill_for_somebody(self, days: int, since: datetime | None) -> dict[str, Any]:
        """Read the last *days* days, for somebody who waits for it."""
        since = since or self._clock().replace(microsecond=0)
        async with self._workers["activity"].idle:
            tally = await self._watcher.backfill(days, since, Meanwhile(self._patience()))
        return days_document(tally, await self._known_keys(), since)

    async def _known_keys(self) -> list[KeyState]:
        return await asyncio.get_running_loop().run_in_executor(self._store.thread, self._watcher.app.watched_keys)

    def _patience(self) -> Callable[[], bool]:
        """Return what tells when somebody has waited long enough, or we are wanted elsewhere."""
        time = asyncio.get_running_loop().time
        deadline = time() + _MOST_SECONDS_FOR_SOMEBODY
        return lambda: self._is_wanted_elsewhere() or time() > deadline

    async def _reload(self) -> None:
        """Put the configuration as it is now in the place of the one in force; a bad one changes nothing."""
        former = self._watcher
        try:
            settings = await in_a_thread_of_its_own(self._load)
            watcher = await self._opened(settings, formerly=[self._secrets_at_start, former.secrets])
        except Exception as error:  # noqa: BLE001 - whatever it is, the configuration before stays in force, and that is told
            self.pulse.reload_refused = str(error) or type(error).__name__
            _log.error("config.refused", error=self.pulse.reload_refused, in_force="the one before")
            self._say_status()
            return
        self._is_reloading = True
        async with AsyncExitStack() as idle:
            for name in RHYTHM:
                await idle.enter_async_context(self._workers[name].idle)
            self._is_reloading = False
            watcher.deliverer.take_over(former.deliverer)
            self._watcher = watcher
            self._look_at = None
            await self._watching.close_former()
            await self._learn_names()
        self._take_in(settings)
        self.pulse.reload_refused = None
        self.pulse.needs_restart = tuple(needs_restart(self._at_start, settings))
        for setting in self.pulse.needs_restart:
            _log.warning("config.needs_restart", setting=setting)
        _log.info("config.reloaded", keys=len(watcher.watched))
        self._say_status()
        for name in RHYTHM:
            self._workers[name].knock()

    # --- Beginning and ending

    async def _watch(self, ticker: Ticker) -> None:
        self.pulse.beats["ticker"] = ticker.beat
        tasks = {name: asyncio.create_task(worker.work()) for name, worker in self._workers.items()}
        for name in RHYTHM:
            self._workers[name].knock()
        self._manager.tell(READY="1", STATUS="started")
        _log.info("daemon.started", keys=len(self._watcher.watched), ledger=self._store.name)
        try:
            await self._supervise(ticker)
        finally:
            self.pulse.stopping = True
            self._manager.tell(STOPPING="1")
            await self._let_finish(tasks)
            _log.info("daemon.stopped")

    async def _supervise(self, ticker: Ticker) -> None:
        """Feed the watchdog while every worker moves, until it is time to stop.

        Raises:
            Stuck: one does not.
        """
        period = min(1.0, self._manager.watchdog.total_seconds() / 4) if self._manager.watchdog else 1.0
        now = asyncio.get_running_loop().time
        slept_from = now()
        while not self._stop.is_set():
            if now() - slept_from > 2 * period:  # we were stopped, or starved, ourselves: nobody could have moved
                for beat in self.pulse.beats.values():
                    beat.mark()
            if stuck := self.pulse.stuck():
                _log.error("daemon.stuck", workers=stuck)  # now: what hangs may keep it from being said later
                self._end_within(69, _MOST_SECONDS_TO_END)
                raise Stuck(f"{', '.join(stuck)}: no progress any more. Start Reckon again; nothing is lost.")
            ticker.wind()
            self._manager.tell(WATCHDOG="1")
            slept_from = now()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), period)

    async def _let_finish(self, tasks: dict[str, asyncio.Task[None]]) -> None:
        """Wait for the jobs under way, in reason, and end the workers. A reload is not worth waiting for."""
        tasks["reload"].cancel()
        under_way = asyncio.create_task(_until_idle(self._workers.values()))
        hurry = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([under_way, hurry], timeout=_GRACE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        ended = [under_way, hurry, *tasks.values()]
        for task in ended:
            task.cancel()
        await asyncio.gather(*ended, return_exceptions=True)
        for worker in self._workers.values():
            worker.forget_knocks()
        with suppress(ReckonError):
            await self._watcher.deliverer.give_back()
            if self._watcher.analyst:
                await self._watcher.analyst.give_back()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        handlers = {signal.SIGTERM: self.stop, signal.SIGINT: self.stop, signal.SIGHUP: self._workers["reload"].knock}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def stop(self) -> None:
        """Stop in order; said a second time, without waiting for anything."""
        if self._stop.is_set():
            self._hurry.set()
        self._end_within(0, _MOST_SECONDS_IN_A_HURRY if self._hurry.is_set() else _MOST_SECONDS_TO_END)
        self._stop.set()
        if self._starting:
            self._starting.cancel()

    def _say_status(self) -> None:
        pulse = self.pulse
        text = f"{pulse.keys_answered} keys answered, {pulse.keys_failed} did not"
        if pulse.polled_at:
            text += f", last poll {pulse.polled_at:%H:%M:%S} UTC"
        if pulse.clock_skew_seconds is not None:
            text += f", OpenRouter's clock is {pulse.clock_skew_seconds:+.0f} s from ours"
        if pulse.reload_refused:
            text += "; the changed configuration was refused"
        if pulse.needs_restart:
            text += f"; to be restarted for {', '.join(pulse.needs_restart)}"
        self._manager.tell(STATUS=text)


def longest_step(worker: str, timeout: timedelta) -> timedelta:
    """Return for how long a worker may make no mark: it waits for its next knock, or for somebody's answer."""
    return max(_STILL, 3 * timeout, 3 * RHYTHM[worker])


def needs_restart(before: Settings, after: Settings) -> list[str]:
    """Return the settings that differ and are only read at the start."""
    return [
        name
        for name, was, is_now in (
            ("store.url", before.store.url, after.store.url),
            ("http.listen", before.http.listen, after.http.listen),
            ("http.token", before.http.token, after.http.token),
        )
        if was != is_now
    ]


async def _until_idle(workers: Iterable[Worker]) -> None:
    """Wait until each has ended its job, and keep it from the next."""
    for worker in workers:
        await worker.idle.acquire()


class _Replaceable:
    """Holds what is open now; what was open before is closed when nobody uses it any more."""

    def __init__(self) -> None:
        self._open: list[AsyncExitStack] = []

    async def enter(self, context: AbstractAsyncContextManager[Watcher]) -> Watcher:
        """Open *context* beside what is open; if that fails, nothing has changed."""
        stack = AsyncExitStack()
        entered = await stack.enter_async_context(context)
        self._open.append(stack)
        return entered

    async def close_former(self) -> None:
        """Close everything but what was opened last."""
        while len(self._open) > 1:
            await self._open.pop(0).aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._open:
            await self._open.pop().aclose()
