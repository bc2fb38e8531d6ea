"""The ledger, recomputed from its raw rows.

Stored snapshots are the facts; marks, window totals, corrections and closed days are what was concluded from them at
the time, one poll after another. This module draws the conclusions again, all at once, and names every difference. It
believes nothing that it can compute: not the mark, not the amount of a correction, not where a delta was booked.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from reckon.core import deltas
from reckon.core.deltas import Replay
from reckon.core.records import (
    Amounts,
    Correction,
    Counter,
    Gap,
    KeyState,
    Meter,
    OwnerDay,
    OwnerState,
    StoredSnapshot,
)
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window, dates, day_window, grain_start, local_date


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """All that is stored of one key."""

    key: KeyState
    snapshots: Sequence[StoredSnapshot]
    windows: Mapping[tuple[Meter, datetime], tuple[int, int]]
    """(spend, correction) of each quarter hour, all owners together."""
    corrections: Sequence[Correction]
    gaps: Sequence[Gap]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as the raw rows say."""

    subject: str
    """The key or owner it is about."""
    what: str
    expected: str
    found: str


def check_key(history: KeyHistory) -> list[Difference]:
    """Return every way in which one key's books differ from its snapshots.

    Where old snapshots have been pruned, the account begins with the first that is kept.
    """
    pairs = _key_pairs(history)
    subject = f"{history.key.owner}/{history.key.name}"
    return [
        Difference(subject, what, str(expected), str(found)) for what, expected, found in pairs if expected != found
    ]


def days_to_check(owners: Sequence[OwnerState], days: Sequence[OwnerDay], zone: ZoneInfo) -> list[tuple[date, Window]]:
    """Return every local day that some owner has closed, with its window.

    A clock that was behind may have dated money before anything was watched.
    """
    begun = [owner for owner in owners if owner.began_at and owner.open_day]
    if not begun:
        return []
    began_on = [local_date(owner.began_at, zone) for owner in begun if owner.began_at]
    first = min(began_on + [row.day for row in days])
    end = max(owner.open_day for owner in begun if owner.open_day)
    return [(day, day_window(day, zone)) for day in dates(first, end)]


def check_days(
    held: Mapping[date, Sequence[KeyTotal]], owners: Sequence[OwnerState], days: Sequence[OwnerDay]
) -> Iterator[Difference]:
    """Yield every closed day that differs from the sum of its windows.

    Args:
        held: what the windows hold for each of `days_to_check`.
        owners: every owner.
        days: every closed day.
    """
    open_days = {owner.name: owner.open_day for owner in owners}
    expected: defaultdict[tuple[str, date], Amounts] = defaultdict(Amounts)
    for day, day_totals in held.items():
        for total in day_totals:
            open_day = open_days.get(total.owner)
            if open_day and day < open_day:
                expected[total.owner, day] += total.amounts
    found = {(row.owner, row.day): row.amounts for row in days}
    for owner, day in sorted(found):
        open_day = open_days.get(owner)
        if open_day is None or day >= open_day:
            yield Difference(owner, f"closed day {day}", f"none from {open_day} on", "one")
    for place in sorted({*expected, *found}):
        wanted, amounts = expected.get(place, Amounts()), found.get(place, Amounts())
        if wanted != amounts:
            owner, day = place
            yield Difference(owner, f"closed day {day}", str(wanted), str(amounts))


# --- What is compared: (what, expected, found) ---------------------------------------------------------------------

_Pair = tuple[str, object, object]


def _key_pairs(history: KeyHistory) -> Iterator[_Pair]:
    counters, rows = history.key.counters, history.snapshots
    if counters is None or not rows:
        yield "stored snapshots", counters.n if counters else 0, len(rows)
        yield "windows of a key never seen", 0, len(history.windows)
        return
    first_n = rows[0].n
    yield "numbers of the snapshots", list(range(first_n, counters.n + 1)), [row.n for row in rows]
    yield "snapshots that end before they begin", [], [row.n for row in rows if row.since > row.at]
    if first_n == 1:
        yield "first sight", counters.opened_at, rows[0].at
    yield from _counter_pairs(history, Meter.CREDITS, counters.credits)
    yield from _counter_pairs(history, Meter.BYOK, counters.byok)
    # Which stretches were gaps at the time, and so how much of their money is told, hangs on a setting no row keeps.
    stretches = {row.n: (row.since, row.at, deltas.midnight_inside(row)) for row in rows}
    for gap in history.gaps:
        if gap.n > first_n:
            yield f"gap at snapshot {gap.n}", stretches.get(gap.n), (gap.since, gap.at, gap.midnight)


def _counter_pairs(history: KeyHistory, meter: Meter, counter: Counter) -> Iterator[_Pair]:
    rows = history.snapshots
    stored = [correction for correction in history.corrections if correction.meter is meter]
    again = deltas.replay(meter, rows, {correction.last_n: correction.decided_at for correction in stored})
    if rows[0].n == 1:
        grown = sum(delta.nanos for delta in again.deltas)
        fallen = sum(correction.nanos for correction in stored)
        yield f"{meter} opening", rows[0].total_nanos(meter), counter.opening.total_nanos
        yield f"{meter} opening's day counter", rows[0].daily_nanos(meter), counter.opening.daily_nanos
        yield (
            f"{meter} opening + deltas + corrections",
            counter.opening.total_nanos + grown + fallen,
            counter.mark_nanos,
        )
    yield f"{meter} mark", again.mark_nanos, counter.mark_nanos
    yield f"{meter} counter", rows[-1].total_nanos(meter), counter.total_nanos
    yield f"{meter} day counter", rows[-1].daily_nanos(meter), counter.daily_nanos
    # How many polls saw a dip left no row.
    yield f"{meter} dip", again.dip, replace(counter.dip, polls=0) if counter.dip else None
    yield f"{meter} corrections", list(again.corrections), [row for row in stored if row.first_n > rows[0].n]
    hasty = [row for row in stored if abs(row.decided_at - row.at) < deltas.TIME_BEFORE_BELIEF]
    yield f"{meter} corrections too early to be believed", [], hasty
    yield from _window_pairs(history, meter, again)


def _window_pairs(history: KeyHistory, meter: Meter, again: Replay) -> Iterator[_Pair]:
    """Yield each quarter hour's (spend, correction): what the deltas and corrections add up to, and what is stored."""
    expected: defaultdict[datetime, list[int]] = defaultdict(lambda: [0, 0])
    for delta in again.deltas:
        for start, nanos in deltas.apportioned(delta):
            expected[start][0] += nanos
    for correction in again.corrections:
        expected[grain_start(correction.at)][1] += correction.nanos
    # A window that a pruned snapshot also paid into cannot be recomputed.
    first = history.snapshots[0]
    whole_after = grain_start(first.at) if first.n > 1 else None
    found = {start: amounts for (of, start), amounts in history.windows.items() if of is meter}
    for start in sorted({*expected, *found}):
        if whole_after is None or start > whole_after:
            yield f"{meter} window {start:%Y-%m-%dT%H:%MZ}", tuple(expected[start]), found.get(start, (0, 0))
