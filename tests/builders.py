"""Builders: the smallest true thing of each kind, so that a test says only what it is about.

Money is written in dollars as text (`"25.50"`), instants as text in UTC (`"2026-11-20 12:00"`), and a key by any short
name, of which `key_hash` makes what the ledger knows it by.

`Book` is the ledger in plain dictionaries: it writes a plan down as it stands and decides nothing. Tests of the core
use it in place of a database, and tests of the store compare it with `book_of` a database.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from hashlib import sha256
from zoneinfo import ZoneInfo

from sqlalchemy import select

from reckon.core import plans
from reckon.core.closing import OpenDays, days_to_close, days_to_read
from reckon.core.plans import LedgerPolicy, Plan, State
from reckon.core.polls import Poll
from reckon.core.records import (
    Amounts,
    Balance,
    Correction,
    Failure,
    FailureReason,
    Gap,
    KeyState,
    Meter,
    OwnerDay,
    OwnerState,
    Reading,
    Snapshot,
    StoredSnapshot,
    TotalState,
    WatchedKey,
)
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window
from reckon.store import Store
from reckon.store.rows import METERS, instant
from reckon.store.tables import KEY, OWNER, WINDOW_TOTAL

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    """Return the instant that *text* names in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def usd(amount: str | int) -> int:
    """Return an amount of dollars in nano-dollars, which it must be a whole number of."""
    nanos = Fraction(amount) * 10**9
    assert nanos.denominator == 1, f"{amount} is finer than a nano-dollar"
    return int(nanos)


def key_hash(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def reading(total: str, daily: str = "0") -> Reading:
    """Return one meter's reading; the week and the month have seen twice and thrice what the day has."""
    return Reading(usd(total), usd(daily), 2 * usd(daily), 3 * usd(daily))


def snapshot(
    when: str | datetime,
    credits_usd: str = "0",
    daily: str = "0",
    *,
    key: str = "key",
    byok: str = "0",
    byok_daily: str = "0",
    created: str | None = None,
    workspace: str | None = None,
    label: str | None = None,
) -> Snapshot:
    return Snapshot(
        key_hash(key),
        at(when) if isinstance(when, str) else when,
        reading(credits_usd, daily),
        reading(byok, byok_daily),
        label=label,
        created_at=at(created) if created else None,
        workspace=workspace,
    )


def failure(key: str = "key", *, retry_after_seconds: int | None = None) -> Failure:
    return Failure(key_hash(key), FailureReason.UNAVAILABLE, "HTTP 502", retry_after_seconds)


def watched(key: str = "key", owner: str = "ana") -> WatchedKey:
    return WatchedKey(key_hash(key), owner, key)


def policy(zone: str = "UTC", poll_every: timedelta = MINUTE) -> LedgerPolicy:
    return LedgerPolicy(ZoneInfo(zone), poll_every)


def day(text: str, zone: str = "UTC") -> Window:
    """Return the span between two midnights of *zone*, which must exist and come once."""
    first = date.fromisoformat(text)
    edges = (datetime(d.year, d.month, d.day, tzinfo=ZoneInfo(zone)) for d in (first, first + DAY))
    return Window(*(edge.astimezone(UTC) for edge in edges))


@dataclass
class Book:
    """A ledger that remembers every plan it was given. `poll` decides as the daemon does; `write` only writes."""

    zone: str = "UTC"
    watched: Sequence[WatchedKey] = (WatchedKey(key_hash("key"), "ana", "key"),)
    keys: dict[str, KeyState] = field(default_factory=dict)
    snapshots: defaultdict[str, list[StoredSnapshot]] = field(default_factory=lambda: defaultdict(list))
    corrections: defaultdict[str, list[Correction]] = field(default_factory=lambda: defaultdict(list))
    gaps: dict[tuple[str, int], Gap] = field(default_factory=dict)
    windows: defaultdict[tuple[datetime, str, str, Meter], list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0, 0])
    )
    owners: dict[str, OwnerState] = field(default_factory=dict)
    days: dict[tuple[str, date], OwnerDay] = field(default_factory=dict)
    balances: dict[str, Balance] = field(default_factory=dict)
    swept: dict[str, datetime] = field(default_factory=dict)
    zone_key: str | None = None

    def poll(
        self, *answers: Snapshot | Failure, now: str | datetime | None = None, swept: Mapping[str, str] = {}
    ) -> Plan:
        """Let one poll's answers be decided on, and write the plan. The poll began when its first answer came."""
        snapshots = tuple(answer for answer in answers if isinstance(answer, Snapshot))
        failures = tuple(answer for answer in answers if isinstance(answer, Failure))
        began = at(now) if isinstance(now, str) else now or min(answer.at for answer in snapshots)
        asked = Poll(snapshots, failures, swept={workspace: at(when) for workspace, when in swept.items()})
        plan = plans.after_poll(self.state(began), asked, self.watched, policy(self.zone), began)
        self.write(plan)
        return plan

    def state(self, now: datetime) -> State:
        """Return what the next plan needs to know."""
        days = OpenDays(dict(self.owners), first_money_at=self.first_money_at(), zone_key=self.zone_key)
        zone = ZoneInfo(self.zone)
        if to_close := days_to_close(days, zone, now):
            unsettled = [place for place, row in self.days.items() if row.state is not TotalState.SETTLED]
            to_read = days_to_read(to_close, unsettled, zone)
            held = dict(zip(to_read, self.totals(*to_read.values()), strict=True))
            days = replace(days, unsettled=unsettled, held=held, gaps=list(self.gaps.values()))
        return State(dict(self.keys), self._dips(), days, dict(self.swept))

    def first_money_at(self) -> datetime | None:
        return min((start for start, *_ in self.windows), default=None)

    def _dips(self) -> dict[str, Sequence[StoredSnapshot]]:
        found = {}
        for key in self.keys.values():
            counters = (key.counters.credits, key.counters.byok) if key.counters else ()
            if firsts := [counter.dip.first_n for counter in counters if counter.dip]:
                found[key.hash] = self.snapshots[key.hash][min(firsts) - 2 :]
        return found

    def write(self, plan: Plan) -> None:
        self.keys |= {key.hash: key for key in plan.keys}
        for name, seen_at in plan.seen:
            key = self.keys[name]
            self.keys[name] = replace(key, counters=replace(key.counters, last_seen_at=seen_at))
        for name, row in plan.snapshots:
            self.snapshots[name].append(row)
        for name, correction in plan.corrections:
            self.corrections[name].append(correction)
            self.corrections[name].sort(key=lambda known: (known.last_n, known.meter))
        for gap in plan.gaps:
            before = self.gaps.get((gap.key_hash, gap.n))
            self.gaps[gap.key_hash, gap.n] = replace(gap, nanos=gap.nanos + (before.nanos if before else 0))
        for window in plan.windows:
            total = self.windows[window.start, window.owner, window.key_hash, window.meter]
            total[0] += window.spend_nanos
            total[1] += window.correction_nanos
        self.owners |= {owner.name: owner for owner in plan.owners}
        if plan.rebuild_days:
            self.days.clear()
        for new in plan.owner_days:
            old = self.days.get((new.owner, new.day))
            self.days[new.owner, new.day] = replace(new, amounts=new.amounts + (old.amounts if old else Amounts()))
        self.balances |= {balance.seen_by: balance for balance in plan.balances}
        self.swept |= plan.swept
        self.zone_key = plan.zone_key

    # --- Asking it -------------------------------------------------------------------------------------------------

    def totals(self, *spans: Window) -> list[list[KeyTotal]]:
        """Return what each key spent within each of *spans*, by owner, key and meter."""
        places = sorted(self.windows, key=lambda place: place[0])
        starts = [start for start, *_ in places]
        return [self._totals(places[bisect_left(starts, a) : bisect_left(starts, b)]) for a, b in map(_edges, spans)]

    def _totals(self, places: Iterable[tuple[datetime, str, str, Meter]]) -> list[KeyTotal]:
        found: defaultdict[tuple[str, str, Meter], list[int]] = defaultdict(lambda: [0, 0])
        for place in places:
            total, (spend_nanos, correction_nanos) = found[place[1:]], self.windows[place]
            total[0] += spend_nanos
            total[1] += correction_nanos
        by_meter = list(Meter).index
        order = sorted(found.items(), key=lambda item: (*item[0][:2], by_meter(item[0][2])))
        return [KeyTotal(*place, *amounts) for place, amounts in order]

    def amounts(self, owner: str = "ana", span: Window | None = None) -> Amounts:
        """Return what *owner* spent within *span*, or ever."""
        return total_of(
            Amounts.of(meter, *amounts)
            for (start, name, _, meter), amounts in self.windows.items()
            if name == owner and (span is None or start in span)
        )

    def day(self, text: str, owner: str = "ana") -> OwnerDay | None:
        """Return the closed row of an owner's day, if there is one."""
        return self.days.get((owner, date.fromisoformat(text)))

    def key(self, name: str = "key") -> KeyState:
        return self.keys[key_hash(name)]


def _edges(span: Window) -> tuple[datetime, datetime]:
    return span.start, span.end


def total_of(amounts: Iterable[Amounts]) -> Amounts:
    return sum(amounts, Amounts())


def book_of(store: Store) -> Book:
    """Return all that a database holds. It knows no owner map, and its zone is the one it last closed days in."""
    with store.reading() as ledger:
        held = Book(watched=())
        held.keys |= {key.hash: key for key in ledger.every_key()}
        held.owners |= {owner.name: owner for owner in ledger.every_owner()}
        held.days |= {(row.owner, row.day): row for row in ledger.owner_days()}
        held.gaps |= {(gap.key_hash, gap.n): gap for gap in ledger.gaps()}
        held.balances |= {balance.seen_by: balance for balance in ledger.balances()}
        for history in ledger.histories():
            if history.snapshots:
                held.snapshots[history.key.hash] = list(history.snapshots)
            if history.corrections:
                held.corrections[history.key.hash] = sorted(history.corrections, key=lambda it: (it.last_n, it.meter))
        for row in ledger.connection.execute(_WINDOWS):
            place = (instant(row.start), row.owner, row.hash, METERS[row.meter])
            held.windows[place] = [row.spend_nanos, row.correction_nanos]
        last_sweeps = ledger.state(policy(), at("2024-01-01 00:00")).last_sweeps
        held.swept |= last_sweeps
        zone = ledger.zone()
        held.zone_key = zone and zone.key
    return held


def contents(book: Book) -> dict[str, object]:
    """Return what a book holds, apart from the settings it was polled with."""
    return {field.name: getattr(book, field.name) for field in fields(book) if field.name not in {"zone", "watched"}}


_WINDOWS = (
    select(WINDOW_TOTAL, OWNER.c.name.label("owner"), KEY.c.hash)
    .join(OWNER, OWNER.c.id == WINDOW_TOTAL.c.owner_id)
    .join(KEY, KEY.c.id == WINDOW_TOTAL.c.key_id)
)
