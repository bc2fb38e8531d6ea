"""The composition root of everything that asks and tells: settings in, a `Watcher` out.

A `Watcher` holds the opened secrets, a store it may write, the way to OpenRouter and the way to whoever is told. Its
methods are the jobs; when they are done is the affair of the command line or of the daemon.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from secrets import token_hex
from threading import Thread
from typing import Final, TypeVar

import httpx
from pydantic import SecretStr

from reckon.app import App, Clock, system_clock
from reckon.config import Secrets, Settings, digest_policy, ledger_policy, open_secrets, settle_policy
from reckon.core.activity_days import ActivityTally
from reckon.core.generations import Handed, Intake
from reckon.core.outbox import Delivery
from reckon.core.ownership import key_hash
from reckon.core.plans import Plan
from reckon.core.records import UNOWNED, WatchedKey
from reckon.errors import ConfigError, SourceUnavailable, StoreError
from reckon.handing_in import Names
from reckon.jobs.account import watch_account
from reckon.jobs.activity import ActivityReader, ActivityTerms, Meanwhile
from reckon.jobs.analytics import Analyst, AnalystTerms, Look
from reckon.jobs.deliver import Deliverer, deliver_now
from reckon.jobs.digest import digest
from reckon.jobs.poll import Polled, Terms, poll
from reckon.jobs.settle import Settler, SettleTerms
from reckon.jobs.spool import Spool
from reckon.observe import configure
from reckon.ports import Sink
from reckon.sinks.console import ConsoleSink
from reckon.sources.openrouter import AccountSource, Analytics, DaySource, OpenRouterClient, OpenRouterSource
from reckon.store import Store, open_store

_T = TypeVar("_T")

_BALANCE_BY_KEYS_EVERY: Final = timedelta(days=1)
"""Without a management key every key is asked whether it may see the balance; most may not, so this is rare."""
_PATIENCE_AT_THE_COMMAND_LINE: Final = timedelta(seconds=3)
_BETWEEN_CLAIMS_SECONDS: Final = 0.2
NO_DAYS_TOLD: Final = (
    "Days gone by are told to management keys alone, of the keys that they sweep. Make one at"
    " https://openrouter.ai/settings/management-keys, and set openrouter.management_key."
)
_FEWEST_OWNERS: Final = 16
"""Of more owners than this no replica takes all at once, so that several divide the work."""


@dataclass(frozen=True, slots=True)
class Watcher:
    """Asks OpenRouter about every key of the owner map, commits and judges what it means, and tells of it."""

    app: App
    watched: Sequence[WatchedKey]
    source: OpenRouterSource | AccountSource
    """Who is polled."""
    single: OpenRouterSource
    """Who is asked about single keys and generations."""
    deliverer: Deliverer
    settler: Settler
    activity_reader: ActivityReader | None
    """Who reads finished days; None without a management key, which is what it takes."""
    analyst: Analyst | None
    """Who looks at analytics; None without a management key, likewise."""
    spool: Spool | None
    """Where files of generations arrive, if there is such a place."""
    holder: str
    """The name of this process among replicas."""
    secrets: Secrets

    async def poll(self, now: datetime) -> Polled | None:
        """Poll what is due at *now*, judging silences too; None if nothing is. See `reckon.jobs.poll.poll`."""
        policy = ledger_policy(self.app.settings, judges_silence=True)
        divides = self.app.store.is_shared and not self.app.settings.sweeps  # a sweep is one, and shows all of them
        most = max(_FEWEST_OWNERS, len(self.owners) // 4) if divides else None
        terms = Terms(self.holder, self.app.settings.store.lease, self._balances_every(), most_owners=most)
        return await poll(self.source, self.app.store, self.watched, self.owners, policy, terms, now)

    async def poll_everything(self, now: datetime) -> list[Plan]:
        """Poll every key once as of *now*, due or not, and return what was decided.

        One plan, unless another replica is asking some owners' keys at the moment: these are polled when it is done,
        if that is before its lease could have run out twice.
        """
        lease = self.app.settings.store.lease
        policy = ledger_policy(self.app.settings, judges_silence=False)
        terms = Terms(self.holder, lease, self._balances_every(at_once=True), everything=True)
        plans: list[Plan] = []
        waiting = self.owners
        time = asyncio.get_running_loop().time
        deadline = time() + 2 * lease.total_seconds()
        while (waiting or not plans) and time() < deadline:
            if done := await poll(self.source, self.app.store, self.watched, waiting, policy, terms, now):
                plans.append(done.plan)
                waiting -= done.owners
            else:
                await asyncio.sleep(_BETWEEN_CLAIMS_SECONDS)
        return plans

    async def next_due(self) -> datetime | None:
        """Return when the first owner is due; None if one has never been polled."""
        store = self.app.store
        return await asyncio.get_running_loop().run_in_executor(store.thread, store.next_due, self.owners)

    async def digest(self, now: datetime) -> bool:
        """Queue the digests that are due at *now*; return whether any was."""
        plan = await digest(self.app.store, digest_policy(self.app.settings), now)
        return bool(plan.outgoing)

    async def analytics(self, now: datetime, *, is_enough: Callable[[], bool] = lambda: False) -> Look | None:
        """Look at analytics once; None where there is nothing to look at, or another replica does. See `Analyst`."""
        return await self.analyst.look(now, is_enough=is_enough) if self.analyst else None

    async def activity(self, now: datetime, *, is_enough: Callable[[], bool] = lambda: False) -> ActivityTally:
        """Read the finished days that are due at *now*. See `reckon.jobs.activity`."""
        if self.activity_reader is None:
            return ActivityTally()
        return await self.activity_reader.read(now, meanwhile=Meanwhile(is_enough))

    async def activity_since(self, since: datetime, meanwhile: Meanwhile) -> ActivityTally:
        """Read finished days as far as they were not read or tried since an instant, due or not."""
        if self.activity_reader is None:
            return ActivityTally()
        return await self.activity_reader.read(self.app.clock(), since=since, meanwhile=meanwhile)

    async def backfill(self, days: int, since: datetime, meanwhile: Meanwhile) -> ActivityTally:
        """Read the last *days* finished days as far as they are not known and were not tried since an instant.

        Raises:
            SourceUnavailable: there is no management key, or no sweep with it: nobody tells of days gone by.
        """
        if self.activity_reader is None or not self.app.settings.sweeps:
            raise SourceUnavailable(NO_DAYS_TOLD)
        lately = await self.activity_reader.read(self.app.clock(), since=since, meanwhile=meanwhile)
        if lately.left or lately.closed or lately.is_elsewhere:
            return lately
        older = await self.activity_reader.fill(days, self.app.clock(), since=since, meanwhile=meanwhile)
        return lately + older

    async def watch_account(self, now: datetime) -> bool:
        """Judge the books and the balance at *now*; return whether there is something to tell."""
        plan = await watch_account(self.app.store, self.app.settings.timezone, now)
        return bool(plan.outgoing)

    async def deliver(self) -> list[Delivery]:
        """Deliver what the outbox holds, as far as it can be done at once, and leave the rest to whoever comes next."""
        try:
            return await deliver_now(self.deliverer, patience=_PATIENCE_AT_THE_COMMAND_LINE)
        finally:
            with suppress(StoreError):  # the lease will run out
                await self.deliverer.give_back()

    def names(self) -> Names:
        """Return whom and which key somebody means who hands in a generation; reads the ledger.

        A key that a sweep has found goes by the name it has there.

        Raises:
            StoreError: the ledger could not be read.
        """
        named = {entry.hash for entry in self.watched}
        swept = [key for key in self.app.watched_keys() if key.hash not in named]
        found = [*self.watched, *(WatchedKey(key.hash, key.owner, key.name) for key in swept)]
        return Names(found, self.app.settings.owners)

    def hand_in(self, handed: Sequence[Handed], now: datetime) -> Intake:
        """Write down what was handed in, to be asked for; runs on the ledger's thread.

        Raises:
            StoreError: the ledger could not be written. Then nothing was.
        """
        policy = settle_policy(self.app.settings)
        return self.app.store.hand_in(handed, policy, now, self.watched)

    @property
    def http_token(self) -> SecretStr | None:
        """What our own HTTP surface asks of whoever wants figures."""
        return self.secrets.http_token

    @property
    def owners(self) -> frozenset[str]:
        """Whose keys are watched."""
        named = frozenset(entry.owner for entry in self.watched)
        return named | {UNOWNED, *self.app.settings.owners} if self.app.settings.sweeps else named

    def _balances_every(self, *, at_once: bool = False) -> timedelta | None:
        """Return how often the account's balance is asked for; None if the setting turned it off."""
        wanted = self.app.settings.poll.credits_every
        if not wanted:
            return None
        if self.app.settings.openrouter.management_key is None:
            return max(wanted, _BALANCE_BY_KEYS_EVERY)
        return timedelta(0) if at_once else wanted


@asynccontextmanager
async def open_watcher(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    clock: Clock = system_clock,
    transport: httpx.AsyncBaseTransport | None = None,
    store: Store | None = None,
    holder: str | None = None,
    formerly: Iterable[Secrets] = (),
) -> AsyncIterator[Watcher]:
    """Open the secrets, the ledger to write it, the way to OpenRouter and the way to whoever is told.

    Args:
        settings: the configuration in force.
        environ: where `env:` references look.
        clock: what stamps answers.
        transport: takes the place of the network on the way to OpenRouter.
        store: a ledger that is open already, and stays so.
        holder: the name of this process among replicas, if it has one.
        formerly: secrets that are still in use somewhere, for the log to leave out as well.

    Raises:
        ConfigError: a secret cannot be had, or a key stands in the map twice.
        StoreBusy: another process writes to this SQLite file.
        StoreError: the ledger cannot be used.
    """
    secrets = await in_a_thread_of_its_own(lambda: open_secrets(settings, environ))
    async with AsyncExitStack() as opened:
        sink = build_sink(settings, secrets, clock)
        opened.push_async_callback(sink.close)
        hidden = [value for held in (secrets, *formerly) for value in held.values()]
        configure(level=settings.log.level, style=settings.log.format, secrets=hidden)
        if store is None:
            store = open_store(settings.store.url.get_secret_value(), writes=True)
            opened.callback(store.close)
        client = await opened.enter_async_context(
            OpenRouterClient(
                settings.openrouter.base_url,
                timeout_seconds=settings.openrouter.timeout.total_seconds(),
                clock=clock,
                concurrency=settings.poll.concurrency,
                transport=transport,
            )
        )
        source = OpenRouterSource(
            client,
            {key.hash: key.secret for key in secrets.keys if key.secret},
            clock=clock,
            management_key=secrets.management_key,
            concurrency=settings.poll.concurrency,
        )
        # One for everybody who asks, or its limit does not hold.
        analytics = Analytics(client, secrets.management_key) if secrets.management_key else None
        holder = holder or new_holder()
        watched = [WatchedKey(key.hash, key.owner, key.name) for key in secrets.keys]
        yield Watcher(
            app=App(settings, store, clock=clock),
            watched=watched,
            source=_account(settings, secrets, client, source, clock) or source,
            single=source,
            deliverer=Deliverer(sink, store, clock=clock, holder=holder, lease=settings.store.lease),
            settler=_settler(settings, secrets, source, store, holder, clock),
            activity_reader=_activity_reader(settings, secrets, client, analytics, store, holder, clock),
            analyst=_analyst(settings, watched, analytics, store, holder),
            spool=Spool(settings.ingest.spool) if settings.ingest.spool else None,
            holder=holder,
            secrets=secrets,
        )


def _account(
    settings: Settings, secrets: Secrets, client: OpenRouterClient, single: OpenRouterSource, clock: Clock
) -> AccountSource | None:
    if secrets.management_key is None or not settings.sweeps:
        return None
    concurrency = settings.poll.concurrency
    return AccountSource(client, single, secrets.management_key, clock=clock, concurrency=concurrency)


def _activity_reader(  # noqa: PLR0917 - all that a watcher is made of
    settings: Settings,
    secrets: Secrets,
    client: OpenRouterClient,
    analytics: Analytics | None,
    store: Store,
    holder: str,
    clock: Clock,
) -> ActivityReader | None:
    if secrets.management_key is None or analytics is None:
        return None
    terms = ActivityTerms(
        zone=settings.timezone,
        holder=holder,
        lease=settings.store.lease,
        concurrency=settings.poll.concurrency,
    )
    return ActivityReader(DaySource(client, secrets.management_key, analytics, clock=clock), store, terms)


def _analyst(
    settings: Settings, watched: Sequence[WatchedKey], analytics: Analytics | None, store: Store, holder: str
) -> Analyst | None:
    if analytics is None:
        return None

    def hand_in(handed: Sequence[Handed], now: datetime) -> Intake:
        return store.hand_in(handed, settle_policy(settings), now, watched)

    terms = AnalystTerms(settings.timezone, holder, frozenset(key.hash for key in watched), hand_in)
    return Analyst(analytics, store, terms)


def _settler(  # noqa: PLR0917 - all that a watcher is made of
    settings: Settings, secrets: Secrets, source: OpenRouterSource, store: Store, holder: str, clock: Clock
) -> Settler:
    with_secrets = [WatchedKey(key.hash, key.owner, key.name) for key in secrets.keys if key.secret]
    management_key = secrets.management_key
    terms = SettleTerms(
        policy=settle_policy(settings),
        zone=settings.timezone,
        holder=holder,
        lease=settings.store.lease,
        # The other half of the lanes is for polls: a lookup may hang, and counters must not wait for it.
        concurrency=max(1, settings.poll.concurrency // 2),
    )
    return Settler(
        source,
        store,
        with_secrets,
        key_hash(management_key.get_secret_value()) if management_key else None,
        terms=terms,
        clock=clock,
    )


async def in_a_thread_of_its_own(work: Callable[[], _T]) -> _T:
    """Return what *work* does in a thread that nobody waits for who does not want its result any more.

    A program that is asked for a secret or a database that does not answer may take long, and a signal must be heard
    meanwhile; at the end of the process such a thread ends with it.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def tell(outcome: Callable[[], None]) -> None:
        if not done.done():
            outcome()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised where it is waited for
            outcome: Callable[[], None] = partial(done.set_exception, error)
        else:
            outcome = partial(done.set_result, result)
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(tell, outcome)

    Thread(target=run, daemon=True).start()
    return await done


def require_something_to_watch(settings: Settings) -> None:
    """Return if there is a key to ask, or an account to sweep.

    Raises:
        SourceUnavailable: there is neither.
    """
    if not settings.sweeps and not any(owner.keys for owner in settings.owners.values()):
        raise SourceUnavailable("The owner map holds no key to ask. Add one: see config.example.toml.")


def new_holder() -> str:
    """Return a name for this process among replicas, which no other has ever had."""
    return f"{socket.gethostname()}/{os.getpid()}/{token_hex(4)}"


def build_sink(settings: Settings, secrets: Secrets, clock: Clock) -> Sink:
    """Return where messages go: Slack by a bot token, else Slack by a webhook, else standard error.

    Raises:
        ConfigError: the webhook is no https URL.
    """
    if not secrets.slack_bot_token and not secrets.slack_webhook_url:
        return ConsoleSink(sys.stderr)
    from reckon.sinks.slack.sink import SlackSink, WebhookSink  # noqa: PLC0415 - aiohttp, for those who use Slack

    if secrets.slack_bot_token and settings.slack.channel:
        return SlackSink(secrets.slack_bot_token, settings.slack.channel, clock=clock, api_url=settings.slack.api_url)
    if secrets.slack_webhook_url is None:
        raise ConfigError("slack.channel: accepts the channel to post to, with slack.bot_token")
    return WebhookSink(secrets.slack_webhook_url, clock=clock)
