"""Closed days: the history that baselines read.

When an owner's local day has ended, the next poll closes it: one row with what the ledger holds for it. Money that is
seen later still belongs to its own day and is added to the closed row in the same transaction, and each later close
looks again at the days whose figure could still move. A day that was watched and idle is a zero; a day nobody saw is
*unknown*, which is not a zero. Rows are made from quarter-hour windows, so a change of zone makes them all anew.

An owner with no key left to watch has no more days of their own, but keeps those that still get money.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from reckon.core import totals
from reckon.core.records import Amounts, Gap, KeyState, OwnerDay, OwnerState, TotalState, WindowSpend
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window, dates, day_start, day_window, local_date

_OwnerOnDay = tuple[str, date]


@dataclass(frozen=True, slots=True)
class OpenDays:
    """What the store remembers of the owners' calendars, as far as they are not closed."""

    owners: Mapping[str, OwnerState] = field(default_factory=dict)
    unsettled: Sequence[tuple[str, date]] = ()
    """The closed days, by owner, whose figure could still move. Empty while there is nothing to close."""
    held: Mapping[date, Sequence[KeyTotal]] = field(default_factory=dict)
    """What the ledger holds for each of `days_to_read`."""
    gaps: Sequence[Gap] = ()
    """The gaps that reach into one of those days."""
    first_money_at: datetime | None = None
    """The start of the first window with money in it."""
    zone_key: str | None = None
    """The zone whose days have been closed; None before the first poll."""

    def zone_changed(self, zone: ZoneInfo) -> bool:
        """Return whether the closed days are those of another zone."""
        return self.zone_key is not None and self.zone_key != zone.key

    def closed_before(self, owner: str, zone: ZoneInfo) -> date | None:
        """Return the day of *zone* before which all of an owner's days are closed, even if the clock was set back."""
        state = self.owners.get(owner)
        if state is None or state.open_day is None or self.zone_key is None:
            return None
        return local_date(day_start(state.open_day, ZoneInfo(self.zone_key)), zone)


@dataclass(frozen=True, slots=True)
class ClosedDays:
    """What one poll did to the calendars."""

    owners: tuple[OwnerState, ...]
    """The owners whose state changed."""
    days: tuple[OwnerDay, ...]
    """Amounts to add to each owner's day, and the state it now has."""


def days_to_close(days: OpenDays, zone: ZoneInfo, now: datetime) -> list[date]:
    """Return the local days that have ended by *now* and that some owner has not closed.

    After a change of zone these are all days since the first owner was first seen, or their money first went.
    """
    end = local_date(now, zone)
    open_days = [day for name in days.owners if (day := days.closed_before(name, zone))]
    first = open_days
    if days.zone_changed(zone):
        known = [owner.began_at for owner in days.owners.values()] + [days.first_money_at]
        first = [local_date(at, zone) for at in known if at]
        end = max([end, *open_days, *first])  # an owner's days before their first one count as closed
    return [*_existing(min(first), end, zone)] if first else []


def days_to_read(to_close: Iterable[date], unsettled: Iterable[tuple[str, date]], zone: ZoneInfo) -> dict[date, Window]:
    """Return the days whose money a close has to know, with their windows."""
    return {day: day_window(day, zone) for day in sorted({*to_close, *(day for _, day in unsettled)})}


def close_days(
    days: OpenDays,
    keys: Mapping[str, KeyState],
    windows: Sequence[WindowSpend],
    *,
    opened: Mapping[str, datetime],
    gaps: Sequence[Gap],
    zone: ZoneInfo,
    now: datetime,
) -> ClosedDays:
    """Close what has ended by *now*, and add what came late.

    Args:
        days: the calendars as they stand.
        keys: every key, after the poll.
        windows: the money this poll adds.
        opened: the keys seen for the first time in this poll, by hash, and since when they are known.
        gaps: the gaps this poll adds.
        zone: whose days.
        now: the instant of the poll.
    """
    today = local_date(now, zone)
    zone_changed = days.zone_changed(zone)
    keys_of: defaultdict[str, list[KeyState]] = defaultdict(list)
    for key in keys.values():
        keys_of[key.owner].append(key)
    owners = {
        name: _begun(days.owners.get(name, OwnerState(name)), keys_of[name], opened, now)
        for name in sorted({*days.owners, *keys_of})
    }
    first_open = {
        owner.name: owner.open_day if owner.open_day and not zone_changed else local_date(owner.began_at, zone)
        for owner in owners.values()
        if owner.began_at
    }
    # A clock that steps back opens no day again.
    closed_before = {
        name: max(first, today, days.closed_before(name, zone) or first) for name, first in first_open.items()
    }

    amounts = {place: Amounts() for place in _watched_days(keys_of, first_open, closed_before, zone)}
    if not zone_changed:
        amounts.update((place, Amounts()) for place in days.unsettled)
    spenders: defaultdict[_OwnerOnDay, set[str]] = defaultdict(set)
    for day, held in days.held.items():
        for total in held:
            spenders[total.owner, day].add(total.key_hash)
    money = [*_held_money(days, {} if zone_changed else first_open), *_new_money(windows, zone)]
    for place, key_hash, added in money:
        owner, day = place
        if day < closed_before[owner]:
            amounts[place] = amounts.get(place, Amounts()) + added
            spenders[place].add(key_hash)

    gaps_on = _by_key_and_day([*days.gaps, *gaps], zone)

    def state(name: str, day: date) -> TotalState:
        if day < first_open[name] and (name, day) not in days.unsettled:
            return TotalState.PROVISIONAL  # closed before, and money came late: the next close looks at all of it
        concerned = {key.hash: key for key in keys_of[name]}
        concerned.update((key_hash, keys[key_hash]) for key_hash in spenders[name, day])
        theirs = [gap for key_hash in concerned for gap in gaps_on.get((key_hash, day), ())]
        return totals.state(concerned.values(), theirs, day_window(day, zone), now)

    closed = (replace(owner, open_day=closed_before.get(owner.name)) for owner in owners.values())
    return ClosedDays(
        owners=tuple(owner for owner in closed if owner != days.owners.get(owner.name)),
        days=tuple(OwnerDay(name, day, total, state(name, day)) for (name, day), total in sorted(amounts.items())),
    )


def _begun(owner: OwnerState, keys: Sequence[KeyState], opened: Mapping[str, datetime], now: datetime) -> OwnerState:
    """Return the owner as watched since their first key's opening, or since now if they were given a known key."""
    if owner.began_at:
        return owner
    return replace(owner, began_at=min((opened.get(key.hash, now) for key in keys if key.counters), default=None))


def _watched_days(
    keys_of: Mapping[str, Sequence[KeyState]],
    first_open: Mapping[str, date],
    closed_before: Mapping[str, date],
    zone: ZoneInfo,
) -> Iterator[_OwnerOnDay]:
    """Yield the days to close that an owner had someone to watch on: these are written even with no money in them."""
    for name, first_day in first_open.items():
        if any(key.watched for key in keys_of.get(name, ())):
            yield from ((name, day) for day in _existing(first_day, closed_before[name], zone))


def _existing(first: date, end: date, zone: ZoneInfo) -> Iterator[date]:
    """Yield the dates from *first* up to *end* that the zone did not skip."""
    return (day for day in dates(first, end) if (window := day_window(day, zone)).start < window.end)


def _by_key_and_day(gaps: Iterable[Gap], zone: ZoneInfo) -> dict[tuple[str, date], list[Gap]]:
    """Return the gaps of each key that reach into each local day: none else can leave open what the day came to."""
    found: defaultdict[tuple[str, date], list[Gap]] = defaultdict(list)
    for gap in gaps:
        for day in dates(local_date(gap.since, zone), local_date(gap.at, zone) + timedelta(days=1)):
            found[gap.key_hash, day].append(gap)
    return found


def _held_money(days: OpenDays, first_open: Mapping[str, date]) -> Iterator[tuple[_OwnerOnDay, str, Amounts]]:
    """Yield what the ledger holds for days that their owner has not closed."""
    for day, held in days.held.items():
        for total in held:
            if day >= first_open.get(total.owner, day):
                yield (total.owner, day), total.key_hash, total.amounts


def _new_money(windows: Iterable[WindowSpend], zone: ZoneInfo) -> Iterator[tuple[_OwnerOnDay, str, Amounts]]:
    """Yield what this poll adds, by the local day it belongs to."""
    for window in windows:
        place = window.owner, local_date(window.start, zone)
        yield place, window.key_hash, Amounts.of(window.meter, window.spend_nanos, window.correction_nanos)
