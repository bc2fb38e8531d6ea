"""Listing: generations that nobody handed in, found through analytics and handed in by ourselves.

Each id that is listed costs one lookup, and an account may run millions. So only keys are asked about that have spent
what no generation explains, the one with most of it first; of each key the dearest generations first; and no more ids
are handed in than so many an hour. What is left over stays in the rest, named but not resolved. While many lookups wait
already nothing is listed: whatever somebody handed in goes first.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from reckon.core.account import AnalyticsRow, Dimension, Filter, Granularity, MoneyColumn, Question
from reckon.core.generations import CallTotal, Facts, Handed, UnsettledTotal
from reckon.core.records import KeyState
from reckon.core.totals import KeyTotal
from reckon.core.windows import Window, grain_start, whole_second

MOST_LISTINGS: Final = 8
"""Of how many keys one look may list generations."""
MOST_IDS_AN_HOUR: Final = 2_000
"""How many listed generations are handed in within an hour, and so looked up."""
LARGEST_BACKLOG: Final = 1_000
"""While more generations than this wait for their cost, nothing is listed."""

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)


def generations(span: Window, key_hash: str) -> Question:
    """Return the question on the generations that one key ran in *span*, the dearest first."""
    return Question(
        span,
        (MoneyColumn.TOTAL,),
        by=(Dimension.GENERATION, Dimension.MODEL),
        granularity=Granularity.HOUR,
        filters=(Filter(Dimension.KEY, (key_hash,)),),
        dearest_by=MoneyColumn.TOTAL,
    )


def residuals(
    spent: Iterable[KeyTotal], settled: Iterable[CallTotal], unsettled: Iterable[UnsettledTotal]
) -> dict[str, int]:
    """Return what each key has spent that neither settled generations nor known costs of pending ones explain.

    Both meters together; keys of which all is explained are left out.
    """
    left: defaultdict[str | None, int] = defaultdict(int)
    for total in spent:
        left[total.key_hash] += total.spend_nanos
    for call in settled:
        left[call.place.key_hash] -= call.credits_nanos + call.byok_nanos
    for other in unsettled:
        left[other.key_hash] -= other.known_credits_nanos
    return {key_hash: nanos for key_hash, nanos in left.items() if key_hash is not None and nanos > 0}


def to_list(
    residual: Mapping[str, int], spent: Mapping[str, int], listed: Mapping[str, tuple[int, datetime]], now: datetime
) -> list[str]:
    """Return the keys whose generations to list, the one with most unexplained first.

    Args:
        residual: what no generation explains of each.
        spent: what each has spent.
        listed: the same when each was last listed, and when that was: while it has spent no more, there is nothing new
            but what analytics tells late.
        now: the instant of the look.
    """
    wanted = [
        key_hash
        for key_hash in residual
        if key_hash not in listed
        or listed[key_hash][0] != spent.get(key_hash)
        or abs(now - listed[key_hash][1]) >= _HOUR
    ]
    return sorted(wanted, key=lambda each: (-residual[each], each))[:MOST_LISTINGS]


def span_to_list(key: KeyState, now: datetime) -> Window | None:
    """Return the span of which the generations of *key* are listed: the last day, as far as it was watched."""
    if key.counters is None:
        return None
    begin = max(grain_start(now) - _DAY, key.counters.opened_at)
    return Window(begin, whole_second(now)) if begin < now else None


def handed(rows: Sequence[AnalyticsRow], key: KeyState) -> list[Handed]:
    """Return the generations in *rows*, the answer to `generations`, in their order, once each.

    Their owner is whoever holds *key* now. Their cost is not said: it is what is to be asked for.
    """
    found: dict[str, Handed] = {}
    for row in rows:
        generation_id = row.names[Dimension.GENERATION]
        if generation_id is not None:
            facts = Facts(created_at=row.start, model=row.names[Dimension.MODEL])
            found.setdefault(generation_id, Handed(generation_id, key.owner, key.hash, facts))
    return [*found.values()]


class Allowance:
    """How many ids may still be handed in: never more than `MOST_IDS_AN_HOUR` within any hour."""

    def __init__(self) -> None:
        self._taken: list[tuple[datetime, int]] = []

    def left(self, now: datetime) -> int:
        """Return how many may be handed in at *now*."""
        # A clock that was set back puts what was taken far ahead, where it would count for too long.
        self._taken = [(at, number) for at, number in self._taken if abs(now - at) < _HOUR]
        return MOST_IDS_AN_HOUR - sum(number for _, number in self._taken)

    def take(self, number: int, now: datetime) -> None:
        """Remember that so many were handed in at *now*."""
        self._taken.append((now, number))
