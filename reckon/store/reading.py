"""What the ledger can be asked, inside one transaction.

Every answer of one `Reading` belongs to the same instant of the database. Sums are made by the database, per key and
owner; naming and folding them is the core's work.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cache
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Connection, Integer, Row, Select, bindparam, func, select, union_all

from reckon.core.alerts import Alert, Rule, Transition
from reckon.core.analytics_plan import ModelHour
from reckon.core.closing import OpenDays, days_to_close, days_to_read
from reckon.core.detectors import AnomalyPolicy
from reckon.core.generations import Call, CallTotal, GenerationState, UnsettledTotal
from reckon.core.noticing import CALLS_TOLD_BY, Remembered, last_hour, owners_concerned
from reckon.core.outbox import Delivery, DeliveryState
from reckon.core.ownership import watched_now
from reckon.core.plans import LedgerPolicy, State
from reckon.core.polls import Poll
from reckon.core.records import Balance, Gap, KeyState, OwnerDay, OwnerState, StoredSnapshot, WatchedKey
from reckon.core.sweeps import KeyAbout
from reckon.core.totals import KeyTotal
from reckon.core.verify import Difference, KeyHistory
from reckon.core.windows import Window, day_window, local_date
from reckon.store import abouts, alerts, analytics, calls, histories, outbox, pending, rollups, rows
from reckon.store.call_totals import call_totals
from reckon.store.matching import among
from reckon.store.tables import BALANCE, CORRECTION, DUE, GAP, KEY, META, OWNER, OWNER_DAY, SNAPSHOT, WINDOW_TOTAL

ZONE: Final = "zone"
POLLED_AT: Final = "polled_at"
BALANCES_ASKED_AT: Final = "balances_asked_at"
SWEEP_TROUBLE: Final = "sweep_trouble"
SWEEP_FAILING_SINCE: Final = "sweep_failing_since"
SWEPT_PREFIX: Final = "swept:"
DIGEST_PREFIX: Final = "digest:"
HOLD_PREFIX: Final = "hold:"

_EDGES_AT_ONCE: Final = 100  # SQLite takes at most 500 parts of a union
_ALERTS_REACH_BACK: Final = timedelta(days=2)
"""Alerts of the day before yesterday can still be those of a running day, in another zone or by a clock set back."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The ledger as one transaction sees it."""

    connection: Connection

    def state(
        self, policy: LedgerPolicy, now: datetime, seen: Poll | None = None, watched: Sequence[WatchedKey] = ()
    ) -> State:
        """Return what the next poll's plan needs to know.

        Args:
            policy: the ledger's settings.
            now: the instant of the poll.
            seen: what the poll brought; with it, what noticing needs to know of the owners concerned is read as well.
            watched: the keys that the owner map names.
        """
        keys = {key.hash: key for key in self.every_key()}
        meta = self.meta()
        zone_key = meta.get(ZONE)
        owners = {owner.name: owner for owner in self.every_owner()}
        calendar = OpenDays(owners, first_money_at=self.first_money_at(), zone_key=zone_key)
        days = calendar
        if to_close := days_to_close(calendar, policy.zone, now):
            unsettled = self._unsettled()
            to_read = days_to_read(to_close, unsettled, policy.zone)
            held = dict(zip(to_read, self.totals([*to_read.values()]), strict=True))
            days = replace(calendar, unsettled=unsettled, held=held, gaps=self.gaps())
        swept = {
            name.removeprefix(SWEPT_PREFIX): rows.instant(int(value))
            for name, value in meta.items()
            if name.startswith(SWEPT_PREFIX)
        }
        remembered, after = Remembered(), None
        if seen:
            after = watched_now(keys, watched, policy.rules, seen.sweep, goes_on=policy.sweeps)
            remembered = self._remembered(keys, calendar, policy, now, seen=seen, watched=after)
        known_of_keys = self.key_abouts() if seen and seen.sweep else {}
        failing_since = meta.get(SWEEP_FAILING_SINCE)
        return State(
            keys=keys,
            dips=self._dips(keys.values()),
            days=days,
            last_sweeps=swept,
            noticing=remembered,
            abouts=known_of_keys,
            sweep_failing_since=rows.instant(int(failing_since)) if failing_since else None,
            watched=after,
        )

    def every_key(self) -> list[KeyState]:
        """Return every key ever known, by owner and name."""
        statement = select(KEY, OWNER.c.name.label("owner")).join(OWNER).order_by(OWNER.c.name, KEY.c.name, KEY.c.id)
        return [rows.key_state(row) for row in self.connection.execute(statement)]

    def retry_at(self) -> dict[str, datetime]:
        """Return, for each key that OpenRouter asked us to leave alone, until when, by hash."""
        statement = select(KEY.c.hash, KEY.c.retry_at).where(KEY.c.retry_at.is_not(None))
        return {row.hash: rows.instant(row.retry_at) for row in self.connection.execute(statement)}

    def first_opening(self) -> datetime | None:
        """Return when the first of all keys was first seen; None while none has been."""
        return rows.maybe_instant(self.connection.scalar(select(func.min(KEY.c.opened_at))))

    def every_owner(self) -> list[OwnerState]:
        """Return every owner ever known."""
        return [rows.owner_state(row) for row in self.connection.execute(select(OWNER).order_by(OWNER.c.name))]

    def totals(self, edges: Sequence[Window], owners: Collection[str] | None = None) -> list[list[KeyTotal]]:
        """Return, for each window of *edges*, what each key spent in it under each owner, one meter at a time.

        The edges lie on quarter hours. Keys that spent nothing have no entry, nor have those of other *owners* if some
        are named.
        """
        found: list[list[KeyTotal]] = [[] for _ in edges]
        theirs = WINDOW_TOTAL.c.owner_id.in_(
            select(OWNER.c.id).where(among(self.connection, OWNER.c.name, owners or ()))
        )
        for first in range(0, len(edges), _EDGES_AT_ONCE):
            some = edges[first : first + _EDGES_AT_ONCE]
            lower = {f"lower_{place}": rows.seconds(edge.start) for place, edge in enumerate(some)}
            upper = {f"upper_{place}": rows.seconds(edge.end) for place, edge in enumerate(some)}
            statement = _totals(len(some)) if owners is None else _named(_sums(len(some)).where(theirs))
            for row in self.connection.execute(statement, lower | upper):
                total = KeyTotal(row.owner, row.hash, rows.METERS[row.meter], int(row.spend), int(row.correction))
                found[first + row.place].append(total)
        return found

    def gaps(self, span: Window | None = None) -> list[Gap]:
        """Return the gaps that reach into *span*, or all of them."""
        statement = select(GAP, KEY.c.hash).join(KEY).order_by(GAP.c.at, GAP.c.key_id, GAP.c.n)
        if span:
            statement = statement.where(GAP.c.at > rows.seconds(span.start), GAP.c.since < rows.seconds(span.end))
        return [rows.gap(row) for row in self.connection.execute(statement)]

    def first_money_at(self) -> datetime | None:
        """Return the start of the first window with money in it."""
        start = self.connection.scalar(select(func.min(WINDOW_TOTAL.c.start)))
        return None if start is None else rows.instant(start)

    def polled_at(self) -> datetime | None:
        """Return the instant of the last poll that was committed; None before the first."""
        value = self.meta().get(POLLED_AT)
        return rows.instant(int(value)) if value else None

    def balances(self) -> list[Balance]:
        """Return the account's balance as each key that may see it last saw it, newest first."""
        return [rows.balance(row) for row in self.connection.execute(select(BALANCE).order_by(BALANCE.c.at.desc()))]

    def balances_asked_at(self) -> datetime | None:
        """Return when the account's balance was last asked for, whether or not anybody was permitted to see it."""
        value = self.meta().get(BALANCES_ASKED_AT)
        return rows.instant(int(value)) if value else None

    def sweep_trouble(self) -> tuple[datetime, str] | None:
        """Return since when sweeps have failed, and why the last one did; None where it did not."""
        meta = self.meta()
        since = meta.get(SWEEP_FAILING_SINCE)
        return (rows.instant(int(since)), meta.get(SWEEP_TROUBLE, "")) if since else None

    def zone(self) -> ZoneInfo | None:
        """Return the zone whose days have been closed; None before the first poll."""
        key = self.meta().get(ZONE)
        return ZoneInfo(key) if key else None

    def meta(self) -> dict[str, str]:
        """Return the facts about the ledger itself."""
        return {row.name: row.value for row in self.connection.execute(select(META))}

    def owner_days(self, owners: Collection[str] | None = None, *, counted_only: bool = False) -> list[OwnerDay]:
        """Return every closed day, or those of some owners, by owner and day.

        With *counted_only*, without those before the ledger's own, which are made of what the account tells.
        """
        statement = select(OWNER_DAY, OWNER.c.name.label("owner")).join(OWNER).order_by(OWNER.c.name, OWNER_DAY.c.day)
        if counted_only:
            statement = statement.where(OWNER_DAY.c.from_activity == 0)
        if owners is not None:
            statement = statement.where(among(self.connection, OWNER.c.name, owners))
        return [rows.owner_day(row) for row in self.connection.execute(statement)]

    def histories(self) -> Iterator[KeyHistory]:
        """Yield all that is stored of each key, key by key, reading as it goes."""
        corrections = self._by_key(select(CORRECTION, KEY.c.hash).join(KEY).order_by(CORRECTION.c.last_n))
        gaps: dict[str, list[Gap]] = {}
        for gap in self.gaps():
            gaps.setdefault(gap.key_hash, []).append(gap)
        with (
            self._stream(select(SNAPSHOT, KEY.c.hash).join(KEY).order_by(SNAPSHOT.c.key_id, SNAPSHOT.c.n)) as stored,
            self._stream(_WINDOWS_BY_KEY) as totals,
        ):
            snapshots, windows = _Aligned(stored), _Aligned(totals)
            statement = select(KEY, OWNER.c.name.label("owner")).join(OWNER).order_by(KEY.c.id)
            for row in self.connection.execute(statement).all():
                key = rows.key_state(row)
                yield KeyHistory(
                    key,
                    [rows.stored_snapshot(found) for found in snapshots.of(key.hash)],
                    {
                        (rows.METERS[found.meter], rows.instant(found.start)): (int(found.spend), int(found.correction))
                        for found in windows.of(key.hash)
                    },
                    [rows.correction(found) for found in corrections.get(key.hash, ())],
                    gaps.get(key.hash, []),
                )

    # --- Alerts, messages, and what is due ---------------------------------------------------------------------------

    def alerts(self, limit: int | None = None) -> list[Alert]:
        """Return every alert there ever was, or the last *limit*, newest first."""
        return alerts.newest_first(self.connection, limit)

    def firing_alerts(self) -> list[Alert]:
        """Return the alerts that are firing, oldest first."""
        return alerts.firing(self.connection)

    def firing_by_rule(self) -> dict[Rule, int]:
        """Return how many alerts of each rule are firing."""
        return alerts.firing_by_rule(self.connection)

    def alerts_since(self, after: datetime) -> list[Alert]:
        """Return the alerts that are firing or ended after an instant, newest first."""
        return alerts.firing_or_resolved_after(self.connection, after)

    def transitions(self, alert_id: int) -> list[Transition]:
        """Return what became of an alert, earliest first."""
        return alerts.transitions(self.connection, alert_id)

    def outbox(self) -> list[Delivery]:
        """Return the messages that are waiting or being sent, oldest first."""
        return outbox.unfinished(self.connection)

    def last_attempts(self) -> dict[str | None, datetime]:
        """Return when a message to each place was last begun."""
        return outbox.last_attempts(self.connection)

    def dead_deliveries(self) -> list[Delivery]:
        """Return the messages that no repetition would bring there, newest first."""
        return outbox.dead(self.connection)

    def outbox_counts(self) -> dict[DeliveryState, int]:
        """Return how many messages are in each state."""
        return outbox.counts(self.connection)

    def held_until(self, sink: str) -> datetime | None:
        """Return the instant before which *sink* asked to be left alone; None if it never did."""
        return rows.maybe_instant(self.connection.scalar(select(DUE.c.due_at).where(DUE.c.what == HOLD_PREFIX + sink)))

    def due_dates(self) -> dict[str, date]:
        """Return the last date that each digest reported, by its name: `digest:daily`."""
        digests = select(DUE.c.what, DUE.c.value).where(DUE.c.what.startswith(DIGEST_PREFIX), DUE.c.value.is_not(None))
        return {row.what: date.fromisoformat(row.value) for row in self.connection.execute(digests)}

    def key_abouts(self) -> dict[str, KeyAbout]:
        """Return what the last sweep that saw each key told of it beside its counters, by hash."""
        return abouts.key_abouts(self.connection)

    def workspaces(self) -> dict[str, str | None]:
        """Return the name of each workspace that a sweep has listed, by id."""
        return abouts.workspaces(self.connection)

    # --- Generations -------------------------------------------------------------------------------------------------

    def pending_counts(self) -> dict[GenerationState, int]:
        """Return how many generations are pending and how many have expired."""
        return pending.counts(self.connection)

    def calls(self, span: Window, limit: int | None = None) -> list[Call]:
        """Return the generations of *span* whatever their state, or the dearest *limit* of them, dearest first.

        Costs are as corrected. One that has not settled lies where it is said to have been made, or was handed in.
        """
        return calls.dearest_first(self.connection, span, limit)

    def call_totals(
        self,
        pieces: Sequence[tuple[str | None, Window]],
        fields: Collection[str],
        zone: ZoneInfo,
        owners: Collection[str] | None = None,
    ) -> list[list[CallTotal]]:
        """Return, for each piece of a report, its settled generations grouped by exactly these fields of `CallPlace`.

        Corrections are included, dated as the generation they are about. The totals of a piece are in no order, and a
        piece without generations has none.

        Args:
            pieces: (name, span) each; the name is the caller's.
            fields: names of fields of `CallPlace`.
            zone: whose days and months the pieces are likely made of.
            owners: whose generations; None for all.
        """
        return call_totals(self.connection, [span for _, span in pieces], fields, zone, owners)

    def calls_of_days(
        self, days: Collection[tuple[str, date]], zone: ZoneInfo
    ) -> dict[tuple[str, date], list[CallTotal]]:
        """Return the settled generations of some owners' local days, told apart by `CALLS_TOLD_BY`; nothing if none."""
        dates = sorted({day for _, day in days})
        owners = {owner for owner, _ in days}
        held = self.call_totals([(None, day_window(day, zone)) for day in dates], CALLS_TOLD_BY, zone, owners)
        found: dict[tuple[str, date], list[CallTotal]] = {}
        for day, totals in zip(dates, held, strict=True):
            for total in totals:
                if (total.place.owner, day) in days:
                    found.setdefault((total.place.owner or "", day), []).append(total)
        return found

    def unsettled(self, span: Window) -> list[UnsettledTotal]:
        """Return what of *span* is pending or expired, by owner, key and state."""
        return calls.unsettled(self.connection, span)

    def unsettled_by_window(self, span: Window) -> list[tuple[datetime, UnsettledTotal]]:
        """Return the same by the hour of UTC as well, each with the beginning of its hour."""
        return calls.unsettled_by_window(self.connection, span)

    def known_generations(self, ids: Collection[str]) -> set[str]:
        """Return those of *ids* that were handed in already, whatever became of them."""
        return analytics.known_generations(self.connection, ids)

    def rollup_differences(self) -> list[Difference]:
        """Return every way in which the sums of generations by day and month differ from the generations themselves."""
        return rollups.differences(self.connection)

    # --- Analytics ---------------------------------------------------------------------------------------------------

    def model_hours(self, span: Window) -> list[ModelHour]:
        """Return what analytics told of the hours that begin in *span*, in the order of time."""
        return analytics.hours(self.connection, span)

    def told_by_analytics(self, span: Window) -> dict[str, int]:
        """Return how much of each key's money analytics told in *span*, both meters together, by hash."""
        return analytics.told(self.connection, span)

    def day_read_again(self) -> date | None:
        """Return the last UTC day that analytics was asked for once more after it had ended; None before the first."""
        return analytics.reread(self.connection)

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _remembered(
        self,
        keys: Mapping[str, KeyState],
        calendar: OpenDays,
        policy: LedgerPolicy,
        now: datetime,
        *,
        seen: Poll,
        watched: Sequence[WatchedKey],
    ) -> Remembered:
        today = local_date(now, policy.zone)
        known = alerts.firing_or_since(self.connection, today - _ALERTS_REACH_BACK)
        concerned = owners_concerned(
            keys, calendar, known.values(), seen=seen, watched=watched, zone=policy.zone, now=now
        )
        if not concerned:
            return Remembered(alerts=known)
        totals_today, totals_last_hour = self.totals([day_window(today, policy.zone), last_hour(now)], concerned)
        byok = policy.notice.anomaly.byok if policy.notice else AnomalyPolicy().byok
        return Remembered(
            totals_today=totals_today,
            totals_last_hour=totals_last_hour,
            # After a change of zone every day is made anew, and nothing is held against the old ones.
            histories={}
            if calendar.zone_changed(policy.zone)
            else histories.read(self.connection, concerned, byok=byok),
            alerts=known,
            balances=sorted([*self.balances(), *seen.balances], key=lambda each: each.at, reverse=True),
        )

    @contextmanager
    def _stream(self, statement: Select[Any]) -> Iterator[Iterator[Row[Any]]]:
        result = self.connection.execute(statement, execution_options={"yield_per": 10_000})
        try:
            yield iter(result)
        finally:
            result.close()

    def _by_key(self, statement: Select[Any]) -> dict[str, list[Row[Any]]]:
        found: dict[str, list[Row[Any]]] = {}
        for row in self.connection.execute(statement):
            found.setdefault(row.hash, []).append(row)
        return found

    def _unsettled(self) -> list[tuple[str, date]]:
        statement = select(OWNER.c.name, OWNER_DAY.c.day).select_from(OWNER_DAY).join(OWNER).where(histories.UNSETTLED)
        return [(row.name, date.fromisoformat(row.day)) for row in self.connection.execute(statement)]

    def _dips(self, keys: Iterable[KeyState]) -> dict[str, list[StoredSnapshot]]:
        """Return, for each key with a dip pending, its snapshots from the one before the dip on."""
        first_needed: dict[str, int] = {}
        for key in keys:
            if key.counters:
                dips = [counter.dip for counter in (key.counters.credits, key.counters.byok) if counter.dip]
                if dips:
                    first_needed[key.hash] = min(dip.first_n for dip in dips) - 1
        if not first_needed:
            return {}
        statement = (
            select(SNAPSHOT, KEY.c.hash)
            .join(KEY)
            .where(KEY.c.hash.in_(first_needed), SNAPSHOT.c.n >= min(first_needed.values()))
            .order_by(SNAPSHOT.c.key_id, SNAPSHOT.c.n)
        )
        found: dict[str, list[StoredSnapshot]] = {key_hash: [] for key_hash in first_needed}
        for row in self.connection.execute(statement):
            if row.n >= first_needed[row.hash]:
                found[row.hash].append(rows.stored_snapshot(row))
        return found


class _Aligned:
    """A stream of rows in the order of keys, handed out key by key."""

    def __init__(self, stream: Iterator[Row[Any]]) -> None:
        self._groups = groupby(stream, key=lambda row: row.hash)
        self._next = next(self._groups, None)

    def of(self, key_hash: str) -> Iterator[Row[Any]]:
        """Yield the rows of the key, if it is the stream's next."""
        if self._next is not None and self._next[0] == key_hash:
            yield from self._next[1]
            self._next = next(self._groups, None)


_WINDOWS_BY_KEY: Final = (
    select(
        KEY.c.hash,
        WINDOW_TOTAL.c.meter,
        WINDOW_TOTAL.c.start,
        func.sum(WINDOW_TOTAL.c.spend_nanos).label("spend"),
        func.sum(WINDOW_TOTAL.c.correction_nanos).label("correction"),
    )
    .join(KEY, KEY.c.id == WINDOW_TOTAL.c.key_id)
    .group_by(KEY.c.id, KEY.c.hash, WINDOW_TOTAL.c.meter, WINDOW_TOTAL.c.start)
    .order_by(KEY.c.id)
)


@cache
def _totals(edges: int) -> Select[Any]:
    """Return the statement that sums window totals per edge, owner, key and meter, and names them.

    Made once for each number of edges: so many parameters take longer to write down than the sums take.
    """
    return _named(_sums(edges))


def _sums(edges: int) -> Select[Any]:
    """Return the sums by number, a range scan for each edge.

    The edges are parameters. With the edges in it, the statement would be compiled at every poll.
    """
    one_by_one = [
        select(
            bindparam(f"place_{edge}", edge, Integer).label("place"),
            bindparam(f"lower_{edge}", type_=BigInteger).label("lower"),
            bindparam(f"upper_{edge}", type_=BigInteger).label("upper"),
        )
        for edge in range(edges)
    ]
    spans = union_all(*one_by_one).cte("spans")
    of_what = (spans.c.place, WINDOW_TOTAL.c.owner_id, WINDOW_TOTAL.c.key_id, WINDOW_TOTAL.c.meter)
    return (
        select(
            *of_what,
            func.sum(WINDOW_TOTAL.c.spend_nanos).label("spend"),
            func.sum(WINDOW_TOTAL.c.correction_nanos).label("correction"),
        )
        .join(WINDOW_TOTAL, (WINDOW_TOTAL.c.start >= spans.c.lower) & (WINDOW_TOTAL.c.start < spans.c.upper))
        .group_by(*of_what)
    )


def _named(sums_by_number: Select[Any]) -> Select[Any]:
    """Return the sums with names and hashes, which are joined to the sums and not to every row that is summed."""
    sums = sums_by_number.subquery("sums")
    return (
        select(sums.c.place, OWNER.c.name.label("owner"), KEY.c.hash, sums.c.meter, sums.c.spend, sums.c.correction)
        .select_from(sums)
        .join(OWNER, OWNER.c.id == sums.c.owner_id)
        .join(KEY, KEY.c.id == sums.c.key_id)
        .order_by(sums.c.place, OWNER.c.name, KEY.c.hash, sums.c.meter)
    )
