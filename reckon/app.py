"""The composition root: settings in, everything a command needs out. The only place that knows all the parts.

An `App` answers questions about the ledger and opens no secret. A `Poller` is what asks OpenRouter; it needs every
secret of the owner map, and a store it may write.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Self

from reckon.config import Settings, open_secrets
from reckon.core import reports, verify
from reckon.core.plans import LedgerPolicy, Plan
from reckon.core.records import Balance, KeyState, OwnerState, WatchedKey
from reckon.core.reports import Dimension, Ledger, OwnerMap, SpendReport
from reckon.core.verify import Difference
from reckon.core.windows import Window
from reckon.store import Store, open_store

if TYPE_CHECKING:
    import httpx

    from reckon.sources.openrouter.source import OpenRouterSource

Clock = Callable[[], datetime]
_BALANCE_BY_KEYS_EVERY = timedelta(days=1)
"""Without a management key every key is asked whether it may see the balance; most may not, so this is rare."""


def system_clock() -> datetime:
    """Return the present instant of this machine, in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - the one clock that everything else is handed


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `reckon verify` found."""

    checked: int
    """How many stored snapshots were read again."""
    differences: Sequence[Difference]


class App:
    """Questions about one ledger. A context manager; `now` is the instant of the question."""

    def __init__(self, settings: Settings, store: Store, *, clock: Clock = system_clock) -> None:
        self.settings = settings
        self.store = store
        self.clock = clock
        self.owner_map = OwnerMap(
            teams={owner_id: owner.team for owner_id, owner in settings.owners.items()},
            keys=[(owner_id, key.name) for owner_id, owner in settings.owners.items() for key in owner.keys],
        )
        self.policy = LedgerPolicy(zone=settings.timezone, poll_every=settings.poll.every)

    def spend(self, by: Sequence[Dimension], span: Window | None = None) -> SpendReport:
        """Return who spent how much in *span*, or since the first opening."""
        now = self.clock()
        with self.store.reading() as ledger:
            keys = ledger.every_key()
            window = span or reports.whole_span(keys, now)
            pieces = reports.cut(window, by, self.settings.timezone, first_money_at=ledger.first_money_at() or now)
            held = ledger.totals(reports.asked_windows(pieces, everything=span is None))
            gaps = ledger.gaps(window)
        found = Ledger(keys, pieces, held, gaps)
        return reports.spend(found, self.owner_map, by, window, zone=self.settings.timezone, now=now)

    def keys(self) -> list[KeyState]:
        """Return every key the ledger knows, and those of the map it has not met."""
        with self.store.reading() as ledger:
            known = ledger.every_key()
        met = {(key.owner, key.name) for key in known if key.watched}
        unmet = [KeyState("", owner, name, watched=True) for owner, name in self.owner_map.keys]
        return [*known, *(key for key in unmet if (key.owner, key.name) not in met)]

    def owners(self) -> list[OwnerState]:
        """Return every owner the ledger knows, and those of the map it has not met."""
        with self.store.reading() as ledger:
            known = ledger.every_owner()
        met = {owner.name for owner in known}
        return [*known, *(OwnerState(name) for name in self.owner_map.teams if name not in met)]

    def balances(self) -> list[Balance]:
        """Return the account's balance as each key that may see it last saw it, newest first."""
        with self.store.reading() as ledger:
            return ledger.balances()

    def verify(self, progress: Callable[[int, int], None] | None = None) -> Verdict:
        """Recompute the ledger from its raw rows.

        Args:
            progress: called with (keys done, keys in all) after each key.
        """
        differences = [Difference("database", "file", "sound", line) for line in self.store.damage()]
        checked = 0
        try:
            with self.store.reading() as ledger:
                in_all = len(ledger.every_key())
                for done, history in enumerate(ledger.histories(), start=1):
                    checked += len(history.snapshots)
                    differences.extend(verify.check_key(history))
                    if progress:
                        progress(done, in_all)
                owners = ledger.every_owner()
                days = verify.days_to_check(owners, ledger.zone() or self.settings.timezone)
                held = ledger.totals([window for _, window in days])
                by_day = {day: totals for (day, _), totals in zip(days, held, strict=True)}
                differences.extend(verify.check_days(by_day, owners, ledger.owner_days()))
        except (ValueError, TypeError, KeyError, OverflowError) as unreadable:
            # A row that is no record any more: what comes after it cannot be recomputed.
            differences.append(Difference("database", "rows", "readable", str(unreadable)))
        return Verdict(checked, differences)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()


def open_app(settings: Settings, *, clock: Clock = system_clock) -> App:
    """Open the ledger to read it.

    Raises:
        StoreMissing: there is none yet.
        StoreError: it cannot be used.
    """
    return App(settings, open_store(settings.store.url.get_secret_value(), writes=False), clock=clock)


@dataclass(frozen=True, slots=True)
class Poller:
    """Asks OpenRouter about every key of the owner map, and commits what it means."""

    app: App
    watched: Sequence[WatchedKey]
    source: "OpenRouterSource"

    async def poll(self, now: datetime, *, heed_waits: bool = True) -> Plan:
        """Do one poll as of *now*. See `reckon.jobs.poll.poll`."""
        from reckon.jobs.poll import poll  # noqa: PLC0415 - reports have no use for it

        openrouter, settings = self.app.settings.openrouter, self.app.settings.poll
        return await poll(
            self.source,
            self.app.store,
            self.watched,
            self.app.policy,
            now,
            balances_every=_balances_every(
                settings.credits_every, by_keys=openrouter.management_key is None, at_once=not heed_waits
            ),
            heed_waits=heed_waits,
        )


def _balances_every(wanted: timedelta, *, by_keys: bool, at_once: bool) -> timedelta | None:
    """Return how often the account's balance is asked for; None if the setting turned it off."""
    if not wanted:
        return None
    if by_keys:
        return max(wanted, _BALANCE_BY_KEYS_EVERY)
    return timedelta(0) if at_once else wanted


@asynccontextmanager
async def open_poller(
    settings: Settings,
    environ: Mapping[str, str],
    *,
    clock: Clock = system_clock,
    transport: "httpx.AsyncBaseTransport | None" = None,
) -> AsyncIterator[Poller]:
    """Open the secrets, the ledger to write it, and the way to OpenRouter.

    Args:
        settings: the configuration in force.
        environ: where `env:` references look.
        clock: what stamps answers.
        transport: takes the place of the network.

    Raises:
        ConfigError: a secret cannot be had, or a key stands in the map twice.
        StoreBusy: another process writes to this SQLite file.
        StoreError: the ledger cannot be used.
    """
    from reckon.observe import configure  # noqa: PLC0415 - reports log nothing
    from reckon.sources.openrouter import OpenRouterClient, OpenRouterSource  # noqa: PLC0415 - reports ask nobody

    secrets = open_secrets(settings, environ)
    values = {key.hash: key.secret for key in secrets.keys if key.secret}
    every_secret = [*values.values(), *([secrets.management_key] if secrets.management_key else [])]
    configure(
        level=settings.log.level,
        style=settings.log.format,
        secrets=[secret.get_secret_value() for secret in every_secret],
    )
    store = open_store(settings.store.url.get_secret_value(), writes=True)
    client = OpenRouterClient(
        settings.openrouter.base_url,
        timeout_seconds=settings.openrouter.timeout.total_seconds(),
        clock=clock,
        concurrency=settings.poll.concurrency,
        transport=transport,
    )
    source = OpenRouterSource(
        client,
        values,
        clock=clock,
        management_key=secrets.management_key,
        concurrency=settings.poll.concurrency,
    )
    watched = [WatchedKey(key.hash, key.owner, key.name) for key in secrets.keys]
    with App(settings, store, clock=clock) as app:
        async with client:
            yield Poller(app, watched, source)
