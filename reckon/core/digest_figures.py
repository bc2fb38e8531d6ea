"""What a digest tells, in figures: spend by owner over one period, beside what is usual and the month so far.

Every figure is one that `reckon spend` would give for the same span. A day is held against the mean of the past days,
which is the baseline that alerts judge by; a week or a month against the one before, if all of that was watched. The
month to date ends with the period, not with the present instant: so it holds what is told, on the first of the next
month too.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import deltas, reports
from reckon.core.alerts import Alert, AlertState
from reckon.core.baseline import Baseline, history
from reckon.core.digest_calendar import DigestKind, Due, last_day, window_before
from reckon.core.generations import CallTotal
from reckon.core.reconcile import Books
from reckon.core.records import UNOWNED, Amounts, KeyState, OwnerDay, TotalState
from reckon.core.reports import Dimension, Ledger, OwnerMap, SpendReport, SpendRow
from reckon.core.totals import watched_from
from reckon.core.windows import Window, day_start, local_date


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store found for some digests."""

    keys: Sequence[KeyState]
    ledgers: Mapping[Window, Ledger]
    """What the ledger holds for each of `windows_to_read`."""
    owner_days: Sequence[OwnerDay]
    alerts: Sequence[Alert]
    """Every firing one, and every one that ended since the last digest."""
    calls: Mapping[Window, Sequence[CallTotal]] = field(default_factory=dict)
    """The settled generations of each period that is reported, told apart by `CALLS_TOLD_BY`."""
    books: Mapping[Window, Sequence[Books]] = field(default_factory=dict)
    """The books of each of its local days, likewise."""


CALLS_TOLD_BY: Final = frozenset({"owner", "model", "requested_model"})


@dataclass(frozen=True, slots=True)
class TopModel:
    """The model that most of an owner's explained spend went to."""

    model: str
    requested_share: Fraction
    """How much of it was asked for under another name, such as a router's."""
    requested_model: str | None
    """The name that was asked for most, if it is another one."""


@dataclass(frozen=True, slots=True)
class MonthToDate:
    """What was spent from the beginning of the month to the end of the period."""

    spend_nanos: int
    state: TotalState
    watched_from: datetime | None
    before_watching_nanos: int


@dataclass(frozen=True, slots=True)
class Line:
    """What one owner spent, or all together."""

    owner: str | None
    """None for all together."""
    amounts: Amounts
    state: TotalState
    watched_from: datetime | None = None
    before_watching_nanos: int = 0
    usual_nanos: int | None = None
    """What the period is held against; None where there is nothing to hold it against."""
    month: MonthToDate | None = None
    """None where the period is itself a month."""
    former: bool = False
    top_model: TopModel | None = None
    """None where no settled generation names one."""


@dataclass(frozen=True, slots=True)
class Digest:
    """The figures of one digest."""

    due: Due
    zone: ZoneInfo
    now: datetime
    lines: Sequence[Line]
    """Dearest first: every owner of the map, and every other who spent in any of the spans."""
    total: Line
    as_of: datetime | None
    """When the freshest of the snapshots in it was taken."""
    usual_has_byok: bool
    """Money through the team's own upstream keys is in what is usual, and so in the comparison."""
    firing: Sequence[Alert]
    resolved: Sequence[Alert]
    """Those that ended since the last digest of this kind."""
    silent: Sequence[KeyState]
    """The keys that do not answer, by owner and name."""
    keys: Mapping[str, KeyState]
    books: Sequence[Books] = ()
    """Those of each local day of the period."""

    @property
    def spent_nanos(self) -> int:
        """All that was spent, counted as what is usual is."""
        return self.total.amounts.spent(byok=self.usual_has_byok)


def windows_to_read(one: Due, zone: ZoneInfo) -> list[Window]:
    """Return the spans that the figures of a digest are made of."""
    return [window for window in (one.reported, _month_to_date(one, zone), _before(one, zone)) if window]


def figures(one: Due, facts: Facts, owner_map: OwnerMap, *, zone: ZoneInfo, byok: bool, now: datetime) -> Digest:
    """Return the figures of a digest.

    Args:
        one: which.
        facts: what the store found.
        owner_map: whom to name even if they spent nothing.
        zone: whose days.
        byok: whether what is usual counts money through the team's own upstream keys.
        now: the instant it is told.
    """

    def spend_in(window: Window) -> SpendReport:
        return reports.spend(facts.ledgers[window], owner_map, [Dimension.OWNER], window, zone=zone, now=now)

    period = spend_in(one.reported)
    month = spend_in(window) if (window := _month_to_date(one, zone)) else None
    before = spend_in(window) if (window := _before(one, zone)) else None
    rows, months, rows_before = _by_owner(period), _by_owner(month), _by_owner(before)
    present = {UNOWNED, *owner_map.teams}
    names = [*dict.fromkeys([*rows, *months, *rows_before])]
    usual = (
        _period_before(before, facts.keys, byok=byok)
        if before
        else _past_days({*names} & present, one.first, facts, zone, byok=byok)
    )
    top_models = _top_models(facts.calls.get(one.reported, ()))
    lines = [
        Line(
            owner=name,
            amounts=row.amounts if (row := rows.get(name)) else Amounts(),
            state=row.state if row else TotalState.UNKNOWN,
            watched_from=row.watched_from if row else None,
            before_watching_nanos=row.before_watching_nanos if row else 0,
            usual_nanos=usual.by_owner.get(name),
            month=_month_of(months.get(name)) if month else None,
            former=name not in present,
            top_model=top_models.get(name),
        )
        for name in names
    ]
    return Digest(
        due=one,
        zone=zone,
        now=now,
        lines=sorted(lines, key=_dearest_first),
        total=Line(
            owner=None,
            amounts=period.total,
            state=period.state,
            watched_from=watched_from(facts.keys, one.reported),
            before_watching_nanos=period.before_watching_nanos,
            usual_nanos=usual.total_nanos,
            month=_whole_month(month, facts.keys) if month else None,
        ),
        as_of=period.as_of,
        usual_has_byok=usual.has_byok or (byok and bool(period.total.byok_nanos)),
        firing=[alert for alert in facts.alerts if alert.state is AlertState.FIRING],
        resolved=[alert for alert in facts.alerts if alert.resolved_at and one.news_since < alert.resolved_at <= now],
        silent=sorted((key for key in facts.keys if key.watched and key.failing_since), key=_by_name),
        keys={key.hash: key for key in facts.keys},
        books=facts.books.get(one.reported, ()),
    )


# --- What is usual -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Usual:
    """What a period is held against. An owner without an entry has nothing to be held against."""

    by_owner: Mapping[str, int]
    total_nanos: int | None
    has_byok: bool


def _past_days(owners: Collection[str], day: date, facts: Facts, zone: ZoneInfo, *, byok: bool) -> _Usual:
    """Return the mean of each owner's days before *day*. All together are the sum, as a table shows it."""
    days: defaultdict[str, list[OwnerDay]] = defaultdict(list)
    for owner_day in facts.owner_days:
        if owner_day.owner in owners:
            days[owner_day.owner].append(owner_day)
    half_seen = _half_seen_days(facts.keys, zone)
    means = {
        owner: Baseline.of(past).mean_nanos
        for owner, theirs in days.items()
        if (past := history(theirs, day, half_seen[owner], byok=byok))
    }
    has_byok = byok and any(one.amounts.byok_nanos for owner in means for one in days[owner])
    return _Usual(means, sum(means.values()) if means else None, has_byok)


def _half_seen_days(keys: Sequence[KeyState], zone: ZoneInfo) -> defaultdict[str, set[date]]:
    """Return the days of each owner on which a key of theirs was first seen, and may have spent before."""
    found: defaultdict[str, set[date]] = defaultdict(set)
    for key in keys:
        if key.counters:
            opened_on = local_date(key.counters.opened_at, zone)
            if deltas.first_whole_day(key.counters, zone) != opened_on:
                found[key.owner].add(opened_on)
    return found


def _period_before(report: SpendReport, keys: Sequence[KeyState], *, byok: bool) -> _Usual:
    """Return what the period before held, where all of it was watched: less would be no comparison."""
    by_owner = {
        name: row.amounts.spent(byok=byok)
        for name, row in _by_owner(report).items()
        if row.state is not TotalState.UNKNOWN and row.watched_from is None
    }
    whole = report.state is not TotalState.UNKNOWN and watched_from(keys, report.span) is None
    total = report.total.spent(byok=byok) if whole else None
    return _Usual(by_owner, total, has_byok=byok and bool(report.total.byok_nanos))


def _top_models(calls: Sequence[CallTotal]) -> dict[str, TopModel]:
    """Return for each owner the model that most was spent on, credits and byok together."""
    spent: defaultdict[str, defaultdict[str, defaultdict[str | None, int]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(int))
    )
    for total in calls:
        if total.place.owner and total.place.model:
            asked = None if total.place.requested_model == total.place.model else total.place.requested_model
            spent[total.place.owner][total.place.model][asked] += total.credits_nanos + total.byok_nanos
    found = {}
    for owner, by_model in spent.items():
        model, by_asked = max(by_model.items(), key=lambda item: (sum(item[1].values()), item[0]))
        elsewhere = {asked: nanos for asked, nanos in by_asked.items() if asked and nanos}
        most = max(elsewhere, key=lambda asked: (elsewhere[asked], asked), default=None)
        whole = sum(by_asked.values())
        share = Fraction(elsewhere[most], whole) if most and whole > 0 else Fraction(0)
        found[owner] = TopModel(model, share, most)
    return found


# --- Parts ---------------------------------------------------------------------------------------------------------


def _month_to_date(one: Due, zone: ZoneInfo) -> Window | None:
    if one.kind is DigestKind.MONTHLY:
        return None
    return Window(day_start(last_day(one.reported, zone).replace(day=1), zone), one.reported.end)


def _before(one: Due, zone: ZoneInfo) -> Window | None:
    return None if one.kind is DigestKind.DAILY else window_before(one, zone)


def _by_owner(report: SpendReport | None) -> dict[str, SpendRow]:
    return {row.place[Dimension.OWNER] or UNOWNED: row for row in report.rows} if report else {}


def _month_of(row: SpendRow | None) -> MonthToDate:
    if row is None:
        return MonthToDate(0, TotalState.UNKNOWN, None, 0)
    return MonthToDate(row.amounts.spend_nanos, row.state, row.watched_from, row.before_watching_nanos)


def _whole_month(report: SpendReport, keys: Sequence[KeyState]) -> MonthToDate:
    since = watched_from(keys, report.span)
    return MonthToDate(report.total.spend_nanos, report.state, since, report.before_watching_nanos)


def _dearest_first(line: Line) -> tuple[int, int, int, str]:
    month_nanos = line.month.spend_nanos if line.month else 0
    return (-line.amounts.spend_nanos, -line.amounts.byok_nanos, -month_nanos, line.owner or "")


def _by_name(key: KeyState) -> tuple[str, str]:
    return key.owner, key.name
