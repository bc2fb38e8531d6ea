"""Counters to deltas: what one more snapshot means for the ledger.

We believe that a lifetime counter kept by somebody else can be read late, read stale, corrected, or begun again, but
that nothing except growth is spend. So each counter has a *mark*, the highest value accepted, and spend is growth of
the mark and nothing else:

- The first snapshot is an *opening*: it sets the mark and counts nothing, since nobody knows when that money went.
  Only a counter known to begin at nothing (a *true zero*) counts its first value in full.
- At or above the mark, the growth is a delta over `[since, at)`, `since` being the instant the key was last seen.
- Below the mark, a *dip* is pending and nothing counts: a stale replica looks just like this. Back at the mark it is
  forgotten. After three polls in a row and a quarter of an hour it is believed: one signed correction, dated when the
  dip began, takes the mark down to the lowest value seen, and what grew again from there counts at its own times. A
  fall to under a hundredth of the mark is a counter that began again: the correction goes to zero.

These rules guarantee, whatever is polled and whenever: opening + deltas + corrections = mark, exactly. OpenTelemetry's
data model calls the same ideas resets, gaps and true resets; Prometheus would call every fall a reset and count the
whole new value as spend, which turns a refund of twenty cents into a spike of twenty-five dollars.

`replay` does the same from stored rows, so that `reckon verify` and the running ledger cannot disagree in silence.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core.money import HIGHEST_PLAUSIBLE_GROWTH_NANOS
from reckon.core.records import (
    Correction,
    CorrectionKind,
    Counter,
    Counters,
    Delta,
    Dip,
    Meter,
    Reading,
    Snapshot,
    StoredSnapshot,
)
from reckon.core.windows import apportion, day_start, local_date, utc_midnight, whole_second

POLLS_BEFORE_BELIEF: Final = 3
TIME_BEFORE_BELIEF: Final = timedelta(minutes=15)
RESET_DIVISOR: Final = 100
"""A fall to under one part in this many of the mark is a counter that began again."""
TRUE_ZERO_ALLOWANCE: Final = timedelta(minutes=10)
"""How far OpenRouter's clock and ours, or its list and its truth, may lie apart."""
_NOTHING: Final = Reading(0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What one snapshot did to one key: its counters afterwards, and what is to be written down."""

    counters: Counters
    row: StoredSnapshot | None = None
    """None when no counter changed: then only `last_seen_at` has moved."""
    opening_row: StoredSnapshot | None = None
    """The zero a true zero began at; written before `row`."""
    deltas: tuple[Delta, ...] = ()
    corrections: tuple[Correction, ...] = ()


def is_plausible(sight: Sight) -> bool:
    """Return whether no counter grew by more than $1,000,000 at once."""
    return all(delta.nanos <= HIGHEST_PLAUSIBLE_GROWTH_NANOS for delta in sight.deltas)


def began_at(snapshot: Snapshot, last_sweeps: Mapping[str, datetime]) -> datetime | None:
    """Return when a key never seen before began at nothing, or None where nobody knows.

    *last_sweeps* tells, for each workspace whose previous sweep was complete, when that sweep began. A key that was not
    in it, and was made no more than ten minutes before it, has had its whole life since.
    """
    if snapshot.created_at is None or snapshot.workspace is None:
        return None
    last_sweep = last_sweeps.get(snapshot.workspace)
    created_at = whole_second(snapshot.created_at)
    if last_sweep is None or created_at < last_sweep - TRUE_ZERO_ALLOWANCE:
        return None
    return min(created_at, snapshot.at)


def open_key(snapshot: Snapshot, began: datetime | None = None) -> Sight:
    """Return the first sight of a key: an opening, or the first spend of a key that began at nothing at *began*."""
    if began is None:
        counters = Counters(
            opened_at=snapshot.at,
            last_seen_at=snapshot.at,
            n=1,
            credits=_opened(snapshot.credits),
            byok=_opened(snapshot.byok),
        )
        return Sight(counters, row=_row(snapshot, n=1, since=snapshot.at))
    zero = Counters(opened_at=began, last_seen_at=began, n=1, credits=_opened(_NOTHING), byok=_opened(_NOTHING))
    opening_row = StoredSnapshot(1, began, began, 0, 0, 0, 0)
    return replace(observe(zero, snapshot, [opening_row]), opening_row=opening_row)


def observe(before: Counters, snapshot: Snapshot, rows: Sequence[StoredSnapshot] = ()) -> Sight:
    """Return what *snapshot* means for a key seen before.

    Args:
        before: the counters as of the key's last sight.
        snapshot: what was seen now. If its instant lies before the last sight, our clock stepped back: the stretch
            then has no length, and its money goes whole into the window of the snapshot.
        rows: while a dip is pending, the stored snapshots from the one before the dip on.
    """
    since = min(before.last_seen_at, snapshot.at)
    changed = _values(snapshot) != (
        before.credits.total_nanos,
        before.credits.daily_nanos,
        before.byok.total_nanos,
        before.byok.daily_nanos,
    )
    n = before.n + 1 if changed else before.n
    row = _row(snapshot, n=n, since=since) if changed else None
    history = [*rows, row] if row else rows

    deltas: list[Delta] = []
    corrections: list[Correction] = []
    after: dict[Meter, Counter] = {}
    for meter, counter, reading in (
        (Meter.CREDITS, before.credits, snapshot.credits),
        (Meter.BYOK, before.byok, snapshot.byok),
    ):
        moved = _moved(counter, reading, since=since, at=snapshot.at, n=n)
        if snapshot.at == before.last_seen_at and counter.dip and moved.dip:
            moved = replace(moved, dip=replace(moved.dip, polls=counter.dip.polls))  # the same sight, told twice
        if reading.total_nanos > counter.mark_nanos and row:
            growth = reading.total_nanos - counter.mark_nanos
            deltas.append(_delta(meter, row, growth, daily_before_nanos=counter.daily_nanos))
        if moved.dip and _is_believed(moved.dip, at=snapshot.at):
            correction = _correction(meter, moved, moved.dip, last_n=n, decided_at=snapshot.at)
            corrections.append(correction)
            deltas.extend(_regrowth(correction, moved.mark_nanos, history))
            moved = replace(moved, mark_nanos=moved.total_nanos, dip=None)
        after[meter] = moved

    counters = Counters(before.opened_at, snapshot.at, n, after[Meter.CREDITS], after[Meter.BYOK])
    return Sight(counters, row, None, tuple(deltas), tuple(corrections))


def apportioned(delta: Delta) -> Iterator[tuple[datetime, int]]:
    """Yield the delta as (quarter-hour window start, nanos): exact at the midnight it proves, by time between."""
    for nanos, start, end in _proven_parts(delta):
        yield from apportion(nanos, start, end)


def guessed_after(delta: Delta, edge: datetime) -> int:
    """Return how much of the delta lies after *edge* by nothing better than the share of time."""
    return sum(
        share
        for nanos, start, end in _proven_parts(delta)
        if start < edge < end
        for window, share in apportion(nanos, start, end)
        if window >= edge
    )


def _proven_parts(delta: Delta) -> Iterator[tuple[int, datetime, datetime]]:
    """Yield (nanos, start, end) of the parts into which the counters prove that the delta falls."""
    if delta.midnight is None:
        yield delta.nanos, delta.since, delta.at
        return
    before_midnight_nanos = delta.nanos - delta.after_midnight_nanos
    if before_midnight_nanos:
        yield before_midnight_nanos, delta.since, delta.midnight
    if delta.after_midnight_nanos:
        yield delta.after_midnight_nanos, delta.midnight, delta.at


def first_whole_day(counters: Counters, zone: ZoneInfo) -> date:
    """Return the first local day of which Reckon saw everything.

    The day of the opening is not one, unless nothing had been spent on it before: the day counters were 0, and the
    local day began no earlier than the UTC day they speak of, or nothing had ever been spent at all.
    """
    day = local_date(counters.opened_at, zone)
    openings = (counters.credits.opening, counters.byok.opening)
    spent_today = any(opening.daily_nanos for opening in openings)
    spent_ever = any(opening.total_nanos for opening in openings)
    if not spent_today and (not spent_ever or day_start(day, zone) >= utc_midnight(counters.opened_at)):
        return day
    return day + timedelta(days=1)


def midnight_inside(row: StoredSnapshot) -> datetime | None:
    """Return the last 00:00 UTC inside the row's stretch, where the day counter proves a split; None without one."""
    midnight = utc_midnight(row.at)
    return midnight if row.since < midnight < row.at else None


@dataclass(frozen=True, slots=True)
class Replay:
    """What the stored rows of one counter say when they are read again from the first."""

    mark_nanos: int
    deltas: tuple[Delta, ...]
    corrections: tuple[Correction, ...]
    """Computed anew; only when they were decided is taken from the stored ones."""
    dip: Dip | None
    """The dip still pending; how many polls saw it leaves no row and is 0."""


def replay(meter: Meter, rows: Iterable[StoredSnapshot], decided_at: Mapping[int, datetime]) -> Replay:
    """Read one counter's *rows* again, from the first that is kept.

    Whether to believe a dip depends on polls that left no row, so *decided_at* tells after which rows a correction was
    decided, and when. Everything else is computed anew and is the caller's to compare.
    """
    deltas: list[Delta] = []
    corrections: list[Correction] = []
    counter: Counter | None = None
    history: list[StoredSnapshot] = []
    for row in rows:
        reading = Reading(row.total_nanos(meter), row.daily_nanos(meter), 0, 0)
        if counter is None:
            counter, history = _opened(reading), [row]
            continue
        growth = reading.total_nanos - counter.mark_nanos
        if growth > 0:
            deltas.append(_delta(meter, row, growth, daily_before_nanos=counter.daily_nanos))
        moved = _moved(counter, reading, since=row.since, at=row.at, n=row.n)
        history = [*history, row] if moved.dip else [row]
        if moved.dip and row.n in decided_at:
            correction = _correction(meter, moved, moved.dip, last_n=row.n, decided_at=decided_at[row.n])
            corrections.append(correction)
            deltas.extend(_regrowth(correction, moved.mark_nanos, history))
            moved, history = replace(moved, mark_nanos=moved.total_nanos, dip=None), [row]
        counter = moved
    if counter is None:
        return Replay(0, (), (), None)
    return Replay(
        counter.mark_nanos,
        tuple(deltas),
        tuple(corrections),
        replace(counter.dip, polls=0) if counter.dip else None,
    )


# --- One counter ---------------------------------------------------------------------------------------------------


def _opened(reading: Reading) -> Counter:
    return Counter(reading, reading.total_nanos, reading.total_nanos, reading.daily_nanos)


def _values(snapshot: Snapshot) -> tuple[int, int, int, int]:
    spent, own = snapshot.credits, snapshot.byok
    return spent.total_nanos, spent.daily_nanos, own.total_nanos, own.daily_nanos


def _row(snapshot: Snapshot, *, n: int, since: datetime) -> StoredSnapshot:
    return StoredSnapshot(n, snapshot.at, since, *_values(snapshot))


def _moved(counter: Counter, reading: Reading, *, since: datetime, at: datetime, n: int) -> Counter:
    """Return the counter after one look: its mark raised, or its dip begun, deepened or forgotten."""
    if reading.total_nanos >= counter.mark_nanos:
        return Counter(counter.opening, reading.total_nanos, reading.total_nanos, reading.daily_nanos)
    begun = counter.dip or Dip(after=since, since=at, lowest_nanos=reading.total_nanos, polls=0, first_n=n)
    dip = replace(begun, lowest_nanos=min(begun.lowest_nanos, reading.total_nanos), polls=begun.polls + 1)
    return Counter(counter.opening, counter.mark_nanos, reading.total_nanos, reading.daily_nanos, dip)


def _is_believed(dip: Dip, *, at: datetime) -> bool:
    # A clock set back since the dip began must not keep it pending for ever.
    return dip.polls >= POLLS_BEFORE_BELIEF and abs(at - dip.since) >= TIME_BEFORE_BELIEF


def _correction(meter: Meter, counter: Counter, dip: Dip, *, last_n: int, decided_at: datetime) -> Correction:
    is_reset = dip.lowest_nanos * RESET_DIVISOR < counter.mark_nanos
    return Correction(
        meter=meter,
        kind=CorrectionKind.RESET if is_reset else CorrectionKind.CORRECTION,
        at=dip.since,
        nanos=(0 if is_reset else dip.lowest_nanos) - counter.mark_nanos,
        first_n=dip.first_n,
        last_n=last_n,
        decided_at=decided_at,
    )


def _regrowth(correction: Correction, mark_nanos: int, rows: Sequence[StoredSnapshot]) -> Iterator[Delta]:
    """Yield what grew inside a dip, from the value the correction went down to up to the last row's, at its own times.

    A value inside the dip counts as far as it lasted: the path followed is the lowest value from each row on, which
    begins at the dip's lowest, never falls and ends at the present value, so the growth sums to exactly what is left.
    *rows* begin with the one before the dip.
    """
    meter = correction.meter
    inside = [row for row in rows if correction.first_n <= row.n <= correction.last_n]
    daily_before = {row.n + 1: row.daily_nanos(meter) for row in rows}
    lasting: list[int] = []
    lowest = inside[-1].total_nanos(meter)
    for row in reversed(inside):
        lowest = min(lowest, row.total_nanos(meter))
        lasting.append(lowest)
    reached = mark_nanos + correction.nanos
    for row, value in zip(inside, reversed(lasting), strict=True):
        if value > reached:
            yield _delta(meter, row, value - reached, daily_before_nanos=daily_before.get(row.n, 0))
        reached = value


def _delta(meter: Meter, row: StoredSnapshot, nanos: int, *, daily_before_nanos: int) -> Delta:
    """Return *nanos* of growth over the row's stretch, split at the last 00:00 UTC inside it.

    The day counter says how much came after midnight, clamped to what came at all: it is a separate number and may run
    a poll behind. It may also not have rolled over yet: if it was above zero before and grew by just what the lifetime
    counter did, it still speaks of the day before, and nothing came after midnight. (A counter that did roll over
    cannot look like this: it would show more for today than came since a moment of yesterday.)
    """
    midnight = midnight_inside(row)
    if midnight is None:
        return Delta(meter, row.n, row.since, row.at, nanos)
    daily_nanos = row.daily_nanos(meter)
    not_rolled_over = daily_before_nanos > 0 and daily_nanos - daily_before_nanos == nanos
    after_nanos = 0 if not_rolled_over else min(daily_nanos, nanos)
    return Delta(meter, row.n, row.since, row.at, nanos, midnight, after_nanos)
