"""What activity or analytics tells of a UTC day of the account, beside the counters.

Where a key's own part is told, it is held against that key's counters: too much has a reason in the life of the key, or
none, for then the ledger has missed money. Too little may be an old or a partial reading, so it is not held against
anybody but the account as a whole.

What the account spent beyond its keys went through none that was ever listed: the chatroom, if all workspaces were
swept. A teller is late: analytics by minutes, activity until six in the morning and at times for two days more.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from reckon.core.comparing import Comparison, Counted, Teller, Told, summed
from reckon.core.reasons import TOLERANCE_NANOS, Difference, Reason
from reckon.core.records import Amounts, KeyState
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window, grain_start

LATE: Final = timedelta(hours=1)
"""How far behind what analytics tells may be."""
_MORNING: Final = timedelta(hours=6)
_LAST_MORNING: Final = _MORNING + timedelta(days=2)


def late_from(told: Told, span: Window) -> datetime | None:
    """Return the instant from which on *told* may still lack money of *span*; None where nothing of it is sure yet."""
    if told.teller is Teller.ACTIVITY:
        if told.read_at < span.end + _MORNING:
            return None
        return span.start if told.read_at < span.end + _LAST_MORNING else span.end
    return max(span.start, min(span.end, grain_start(told.read_at - LATE)))


def compare(told: Told, counted: Counted, lately: Sequence[KeyTotal]) -> Comparison:
    """Return what was *told* of the span that was *counted*, beside it.

    Args:
        told: by activity or analytics.
        counted: what the ledger has of the same span.
        lately: what the counters tell of it since `late_from`.
    """
    all_of_it = Difference(told.credits_nanos - counted.nanos)
    keys = {key.hash: key for key in counted.keys}
    for key_hash, nanos in told.by_key.items():
        _name_what_is_too_much(nanos, keys[key_hash], told, counted, all_of_it)
    untold = [key for key in counted.keys if key.hash not in told.by_key]
    gaps = sum(counted.over_an_edge.get(key.hash, 0) for key in untold)
    all_of_it.take(Reason.GAP, below=gaps)
    all_of_it.take(Reason.NOT_TOLD_YET, below=sum(summed(lately).values(), Amounts()).spend_nanos)
    name_byok(all_of_it, counted)
    corrected = sum(counted.by_key.get(key.hash, Amounts()).correction_nanos for key in untold)
    all_of_it.take(Reason.CORRECTED, above=-corrected)
    all_of_it.take(Reason.BEFORE_FIRST_POLL, above=sum(_before_first_sight(key, counted.span) for key in untold))
    all_of_it.take(Reason.EDGE, below=sum(counted.near_an_edge.values()))
    name_what_no_key_spent(all_of_it, counted)
    return Comparison(
        told.teller, counted.span, told.credits_nanos, counted.nanos, told.read_at, tuple(all_of_it.explained())
    )


def is_final(comparison: Comparison) -> bool:
    """Return whether all that the account spent is certainly told."""
    return comparison.teller is Teller.ACTIVITY and comparison.as_of >= comparison.span.end + _LAST_MORNING


def name_what_no_key_spent(left: Difference, counted: Counted) -> None:
    """Name whatever the account spent that its keys did not."""
    left.take_all_above(Reason.UNSWEPT_WORKSPACE if counted.unswept else Reason.CHATROOM)


def name_byok(left: Difference, counted: Counted) -> None:
    """Name what is exactly the money through the team's own upstream keys: one of the numbers holds it."""
    byok = counted.all_keys.byok_nanos + counted.all_keys.byok_correction_nanos
    if byok > TOLERANCE_NANOS and abs(abs(left.left) - byok) <= TOLERANCE_NANOS:
        left.take(Reason.BYOK, above=byok, below=byok)


def _name_what_is_too_much(nanos: int, key: KeyState, told: Told, counted: Counted, all_of_it: Difference) -> None:
    """Name by how much more was told of a key than its counters show."""
    amounts = counted.by_key.get(key.hash, Amounts())
    more = Difference(nanos - amounts.spend_nanos - amounts.correction_nanos)
    more.take(Reason.CORRECTED, above=-amounts.correction_nanos)
    gap = counted.over_an_edge.get(key.hash, 0)
    more.take(Reason.GAP, above=gap, below=gap)
    more.take(Reason.BEFORE_FIRST_POLL, above=_before_first_sight(key, counted.span))
    last_seen_at = key.counters.last_seen_at if key.counters else counted.span.start
    if last_seen_at < min(counted.span.end, told.read_at):
        more.take_all_above(Reason.SINCE_LAST_POLL if key.watched else Reason.DELETED_KEY)
    more.take(Reason.EDGE, above=counted.near_an_edge.get(key.hash, 0))
    for reason, part in more.named.items():
        all_of_it.give(reason, part)
    all_of_it.give(Reason.UNEXPLAINED, max(0, more.left))


def _before_first_sight(key: KeyState, span: Window) -> int:
    """Return what a key may have spent of *span* before it was first seen: what its first snapshot showed."""
    if key.counters is None or key.counters.opened_at <= span.start:
        return 0
    opening = key.counters.credits.opening
    return opening.daily_nanos if key.counters.opened_at < span.end else opening.total_nanos
