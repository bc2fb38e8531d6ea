"""Totals to reports: who spent how much, cut the way a person asked.

A report holds exact nano-dollars and says of every row how far it can be trusted; how it looks on a terminal, in JSON
or in a message is the affair of whoever shows it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import totals
from reckon.core.records import UNOWNED, Amounts, Gap, KeyState, TotalState
from reckon.core.tokens import TokenPools
from reckon.core.totals import KeyTotal
from reckon.core.windows import GRAIN, CalendarUnit, Window, calendar, grain_start, utc_midnight


class Dimension(StrEnum):
    """What a spend report can be cut by."""

    OWNER = "owner"
    TEAM = "team"
    KEY = "key"
    MODEL = "model"
    REQUESTED_MODEL = "requested_model"
    PROVIDER = "provider"
    APP = "app"
    SESSION = "session"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


_UNITS: Final = {Dimension(unit): unit for unit in CalendarUnit}
OF_CALLS: Final = frozenset(
    {Dimension.MODEL, Dimension.REQUESTED_MODEL, Dimension.PROVIDER, Dimension.APP, Dimension.SESSION}
)
"""What counters do not tell, and settled generations do; see `attribution`."""
_LONGEST_UNIT: Final = timedelta(days=31)
ALWAYS: Final = Window(datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class OwnerMap:
    """What reports need of the configured owner map: it may name owners and keys the ledger has not met."""

    teams: Mapping[str, str | None]
    """Each owner's team, by owner; None for an owner without one."""
    keys: Sequence[tuple[str, str]]
    """(owner, key name), in the order of the map."""


@dataclass(frozen=True, slots=True)
class SpendRow:
    """One line of a spend report."""

    place: Mapping[Dimension, str | None]
    """What the row is about, in the order asked for. A team of None is that of owners without one."""
    owner: str | None
    """For a row about one key: who answers for it."""
    key_hash: str | None
    amounts: Amounts
    state: TotalState
    watched_from: datetime | None
    former: AbstractSet[Dimension] = frozenset()
    """Which of its owner and key are no longer in the owner map."""
    before_watching_nanos: int = 0
    """The part of the report's that is its own: of the keys that are in its place now."""
    generations: int | None = None
    """How many were handed in of those it is about, whatever their state; None if none was."""
    pools: TokenPools | None = None
    """Of a row of settled generations: their tokens."""
    is_residual: bool = False
    """Whether it is what no settled generation explains of its owner's, key's or time's spend."""


@dataclass(frozen=True, slots=True)
class SpendReport:
    """Spend over one span."""

    zone: ZoneInfo
    span: Window
    as_of: datetime | None
    """When the freshest of the snapshots in it was taken."""
    by: Sequence[Dimension]
    rows: Sequence[SpendRow]
    total: Amounts
    state: TotalState
    """How far the total can be trusted."""
    before_watching_nanos: int
    """Credits that OpenRouter's calendar counters show for the span, from before Reckon watched."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the store found for one report."""

    keys: Sequence[KeyState]
    pieces: Sequence[tuple[str | None, Window]]
    """The span cut by the calendar: (name, window); one piece without a name if no calendar was asked for."""
    held: Sequence[Sequence[KeyTotal]]
    """What the ledger holds for each piece."""
    gaps: Sequence[Gap]


def whole_span(keys: Sequence[KeyState], now: datetime) -> Window:
    """Return the span of everything counted: from the first opening until now.

    Empty only where there is none. An answer's instant is rounded up, so it may lie a moment ahead of *now*.
    """
    openings = [key.counters.opened_at for key in keys if key.counters]
    if not openings:
        return Window(now, now)
    return Window(min(openings), max(now, min(openings) + timedelta(seconds=1)))


def cut(
    span: Window, by: Sequence[Dimension], zone: ZoneInfo, *, first_money_at: datetime = ALWAYS.start
) -> list[tuple[str | None, Window]]:
    """Cut *span* by the calendar dimension among *by*, if there is one.

    Idle spans have no row, so nothing is cut that ended before the first money went: somebody may ask for a century.
    """
    units = [_UNITS[dimension] for dimension in by if dimension in _UNITS]
    if not units:
        return [(None, span)]
    start = max(span.start, grain_start(first_money_at) - _LONGEST_UNIT)
    return [*calendar(Window(start, span.end), units[0], zone)]


def asked_windows(pieces: Sequence[tuple[str | None, Window]], *, everything: bool) -> list[Window]:
    """Return the quarter hours to sum for each of *pieces*: those it begins in and reaches into, whole.

    Only a span that ends now has an end inside a quarter hour, and then what that one holds is all before now; an
    answer's instant is rounded up, so it may lie in the next. When *everything* counted is asked for, the first and the
    last piece also take what a clock that stepped about has stamped outside the span.
    """
    asked = []
    for _, piece in pieces:
        start, end = grain_start(piece.start), grain_start(piece.end)
        asked.append(Window(start, end if end == piece.end else end + 2 * GRAIN))
    if everything and asked:
        asked[0] = replace(asked[0], start=ALWAYS.start)
        asked[-1] = replace(asked[-1], end=ALWAYS.end)
    return asked


def spend(
    ledger: Ledger, owner_map: OwnerMap, by: Sequence[Dimension], span: Window, *, zone: ZoneInfo, now: datetime
) -> SpendReport:
    """Return the report of *span*.

    With a calendar dimension, spans in which nothing was spent have no row. Without one every owner, team or key of
    the map has a row, and so has every other one that spent. Rows are in the order of time, dearest first.
    """
    timed = any(dimension in _UNITS for dimension in by)
    place_of = _placing(by, owner_map)
    states = {key.hash: key for key in ledger.keys}
    holders: defaultdict[_Place, set[str]] = defaultdict(set)
    for key in ledger.keys:
        holders[place_of(key.owner, key)].add(key.hash)
    rows: list[SpendRow] = []
    total = Amounts()
    for (name, window), held in zip(ledger.pieces, ledger.held, strict=True):
        found: defaultdict[_Place, Amounts] = defaultdict(Amounts)
        spenders: defaultdict[_Place, set[str]] = defaultdict(set)
        for one in held:
            # Money stays with the owner who held the key then; a report by key alone is about the key, whoever did.
            place = place_of(one.owner, states[one.key_hash])
            found[place] += one.amounts
            spenders[place].add(one.key_hash)
            total += one.amounts
        places = found if timed else {**dict.fromkeys(_expected(by, owner_map, ledger.keys, place_of)), **found}
        for place in _dearest_first(places, found):
            members = holders[place] | spenders[place]
            keys = [states[key_hash] for key_hash in members]
            gaps = [gap for gap in ledger.gaps if gap.key_hash in members]
            rows.append(
                SpendRow(
                    place=_named(by, place, name),
                    owner=place.owner if Dimension.KEY in by else None,
                    key_hash=place.key_hash,
                    amounts=found[place],
                    state=totals.state(keys, gaps, window, now),
                    watched_from=totals.watched_from(keys, window),
                    former=_former(place, owner_map, states),
                    before_watching_nanos=sum(_before_watching(states[held], window) for held in holders[place]),
                )
            )
    seen = [key.counters.last_seen_at for key in ledger.keys if key.counters]
    return SpendReport(
        zone=zone,
        span=span,
        as_of=max(seen, default=None),
        by=by,
        rows=rows,
        total=total,
        state=totals.state(ledger.keys, ledger.gaps, span, now),
        before_watching_nanos=sum(_before_watching(key, span) for key in ledger.keys),
    )


# --- Places: what a row is about -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    owner: str | None = None
    team: str | None = None
    key_name: str | None = None
    key_hash: str | None = None


def _placing(by: Sequence[Dimension], owner_map: OwnerMap) -> Callable[[str, KeyState], _Place]:
    """Return the function from (the owner who held the key then, the key) to the row its money belongs to."""

    def place(owner: str, key: KeyState) -> _Place:
        answers = owner if Dimension.OWNER in by else key.owner
        return _Place(
            owner=answers if {Dimension.OWNER, Dimension.KEY} & {*by} else None,
            team=owner_map.teams.get(answers if Dimension.KEY in by else owner) if Dimension.TEAM in by else None,
            key_name=key.name if Dimension.KEY in by else None,
            key_hash=key.hash if Dimension.KEY in by else None,
        )

    return place


def _expected(
    by: Sequence[Dimension],
    owner_map: OwnerMap,
    keys: Sequence[KeyState],
    place_of: Callable[[str, KeyState], _Place],
) -> Iterator[_Place]:
    """Yield the places that have a row even if nothing was spent: those of the map."""
    met = {(key.owner, key.name): key for key in keys if key.watched}
    for owner, name in owner_map.keys:
        key = met.get((owner, name))
        if key is None:
            unmet = place_of(owner, KeyState("", owner, name, watched=True))
            yield _Place(unmet.owner, unmet.team, unmet.key_name)
        else:
            yield place_of(owner, key)
    if Dimension.KEY not in by:
        for owner in owner_map.teams:
            yield place_of(owner, KeyState("", owner, "", watched=True))


def _former(place: _Place, owner_map: OwnerMap, keys: Mapping[str, KeyState]) -> frozenset[Dimension]:
    gone = {
        Dimension.OWNER: place.owner not in {None, UNOWNED, *owner_map.teams},
        Dimension.KEY: place.key_hash is not None and not keys[place.key_hash].watched,
    }
    return frozenset(dimension for dimension, is_gone in gone.items() if is_gone)


def _named(by: Sequence[Dimension], place: _Place, piece: str | None) -> dict[Dimension, str | None]:
    known = {Dimension.OWNER: place.owner, Dimension.TEAM: place.team, Dimension.KEY: place.key_name}
    return {dimension: known.get(dimension, piece) for dimension in by}


def _dearest_first(places: Iterable[_Place], found: Mapping[_Place, Amounts]) -> list[_Place]:
    def order(place: _Place) -> tuple[int, int, str, str, str]:
        amounts = found.get(place, Amounts())
        names = (place.owner or "", place.team or "", place.key_name or "")
        return (-amounts.spend_nanos, -amounts.byok_nanos, *names)

    return sorted(places, key=order)


# --- Before Reckon watched -----------------------------------------------------------------------------------------


def _before_watching(key: KeyState, span: Window) -> int:
    """Return the credits of *span* that went before the key was first seen, as far as its opening can tell.

    OpenRouter's counters of the running UTC month, week and day speak for themselves if all of that month, week or day
    lies in the span.
    """
    if key.counters is None or key.counters.opened_at not in span:
        return 0
    day = utc_midnight(key.counters.opened_at)
    opening = key.counters.credits.opening
    calendars = (
        (day.replace(day=1), opening.monthly_nanos),
        (day - timedelta(days=day.weekday()), opening.weekly_nanos),
        (day, opening.daily_nanos),
    )
    return max((nanos for start, nanos in calendars if start >= span.start), default=0)
