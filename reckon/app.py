"""Questions about one ledger: settings in, answers out. An `App` asks nobody outside and opens no secret.

What asks OpenRouter and tells Slack is `reckon.watch`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Self

from reckon.config import Settings, owner_map
from reckon.core import attribution, key_outlook, reports, verify
from reckon.core.alerts import Alert, Transition
from reckon.core.funds import Funds
from reckon.core.generations import Call, GenerationState
from reckon.core.key_outlook import KeyOutlook
from reckon.core.outbox import Delivery, DeliveryState
from reckon.core.reconcile import Books
from reckon.core.records import Balance, KeyState, OwnerState
from reckon.core.reports import OF_CALLS, Dimension, Ledger, SpendReport
from reckon.core.verify import Difference
from reckon.core.windows import Window, local_date
from reckon.store import Store, open_store
from reckon.store.books import books_of
from reckon.store.explaining import explaining
from reckon.store.funds import funds_of

Clock = Callable[[], datetime]


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
        self.owner_map = owner_map(settings)

    def spend(self, by: Sequence[Dimension], span: Window | None = None) -> SpendReport:
        """Return who spent how much in *span*, or since the first opening, and on what as far as generations tell."""
        now, zone = self.clock(), self.settings.timezone
        of_counters = [dimension for dimension in by if dimension not in OF_CALLS]
        with self.store.reading() as ledger:
            keys = ledger.every_key()
            window = span or reports.whole_span(keys, now)
            pieces = reports.cut(window, of_counters, zone, first_money_at=ledger.first_money_at() or now)
            asked = reports.asked_windows(pieces, everything=span is None)
            held = ledger.totals(asked)
            gaps = ledger.gaps(window)
            settled, unsettled = explaining(ledger, asked, by, keys, zone=zone, now=now)
        found = Ledger(keys, pieces, held, gaps)
        report = reports.spend(found, self.owner_map, of_counters, window, zone=zone, now=now)
        names = [name for name, _ in pieces]
        return attribution.explain(
            report,
            by,
            [*zip(names, settled, strict=True)],
            [*zip(names, unsettled, strict=True)],
            self.owner_map,
        )

    def calls(self, span: Window | None = None, limit: int | None = None) -> list[Call]:
        """Return the generations of *span*, or all there are, dearest first; at most *limit* of them."""
        with self.store.reading() as ledger:
            return ledger.calls(span or reports.ALWAYS, limit)

    def pending_counts(self) -> Mapping[GenerationState, int]:
        """Return how many generations wait for their cost, and how many were given up."""
        with self.store.reading() as ledger:
            return ledger.pending_counts()

    def books(self, day: date | None = None) -> Books:
        """Return *day* reconciled, or the running local day."""
        now, zone = self.clock(), self.settings.timezone
        with self.store.reading() as ledger:
            (found,) = books_of(ledger, [day or local_date(now, zone)], zone, now)
        return found

    def funds(self) -> Funds | None:
        """Return what is left of the account's credits and how fast they go; None where nobody may see it."""
        with self.store.reading() as ledger:
            return funds_of(ledger, self.clock())

    def keys(self) -> list[KeyState]:
        """Return every key the ledger knows, and those of the map it has not met."""
        with self.store.reading() as ledger:
            known = ledger.every_key()
        met = {(key.owner, key.name) for key in known if key.watched}
        unmet = [KeyState("", owner, name, watched=True) for owner, name in self.owner_map.keys]
        return [*known, *(key for key in unmet if (key.owner, key.name) not in met)]

    def key_outlooks(self) -> list[KeyOutlook]:
        """Return the same keys as `keys`, each with what lies ahead of it."""
        known, now = self.keys(), self.clock()
        with self.store.reading() as ledger:
            abouts, workspaces = ledger.key_abouts(), ledger.workspaces()
            totals = ledger.totals([key_outlook.last_day(now)])[0]
        return key_outlook.outlooks(known, abouts, workspaces, totals, owners=[*self.settings.owners], now=now)

    def watched_keys(self) -> list[KeyState]:
        """Return the keys that are asked for, as far as the ledger has met them."""
        with self.store.reading() as ledger:
            return [key for key in ledger.every_key() if key.watched]

    def sweep_trouble(self) -> tuple[datetime, str] | None:
        """Return since when sweeps have failed, and why the last one did; None where it did not."""
        with self.store.reading() as ledger:
            return ledger.sweep_trouble()

    def polled_at(self) -> datetime | None:
        """Return the instant of the last poll, by whichever process."""
        with self.store.reading() as ledger:
            return ledger.polled_at()

    def alerts(self) -> list[Alert]:
        """Return every alert, newest first."""
        with self.store.reading() as ledger:
            return ledger.alerts()

    def last_transitions(self, alerts: Iterable[Alert]) -> Mapping[str, Transition]:
        """Return what became of each of *alerts* last, by fingerprint."""
        with self.store.reading() as ledger:
            found = [ledger.transitions(alert.id) for alert in alerts if alert.id is not None]
        return {life[-1].fingerprint: life[-1] for life in found if life}

    def outbox_counts(self) -> Mapping[DeliveryState, int]:
        """Return how many messages are in each state."""
        with self.store.reading() as ledger:
            return ledger.outbox_counts()

    def unfinished_messages(self) -> list[Delivery]:
        """Return the messages that are waiting or being sent, oldest first."""
        return self.store.outbox()

    def dead_messages(self) -> list[Delivery]:
        """Return the messages that no repetition would deliver, newest first: a person must mend something."""
        with self.store.reading() as ledger:
            return ledger.dead_deliveries()

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
                closed = ledger.owner_days(counted_only=True)
                days = verify.days_to_check(owners, closed, ledger.zone() or self.settings.timezone)
                held = ledger.totals([window for _, window in days])
                by_day = {day: totals for (day, _), totals in zip(days, held, strict=True)}
                differences.extend(verify.check_days(by_day, owners, closed))
                differences.extend(ledger.rollup_differences())
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
