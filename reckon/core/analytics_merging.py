"""Merging: the models of an hour, told by analytics or by the generations that were handed in, and never by both.

Both speak of the same money. Analytics knows all of it within minutes; generations are exact, are there at once where
an application hands them in, and are only those. So each hour of each key is explained by whichever explains more of
it, as a whole: adding one to the other would count twice, and while analytics is behind it must not hide what is known.

A generation of which nobody said by which key it ran may be among those that analytics tells of. It is left out of an
hour in which analytics explains a key of its owner, or any key if it is nobody's: the rest may be too large for a
while, but no money stands under two models.

What counters do not count is not explained either: the hours before a key was watched, unless it began at nothing, and
those after it was last seen. Hours of analytics are UTC's, so where a piece of a report cuts one in two, it is
explained by generations alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reckon.core.analytics_plan import HOUR, ModelHour
from reckon.core.generations import CallPlace, CallTotal
from reckon.core.records import UNOWNED, KeyState
from reckon.core.reports import OF_CALLS, Dimension
from reckon.core.tokens import UNKNOWN
from reckon.core.windows import Window

KeyHour = tuple[datetime, str]
"""When an hour began, and the hash of a key."""

READ_BY: Final = frozenset({"owner", "key_hash", "model"})
"""The fields of `CallPlace` by which the generations of hours that analytics tells of have to be told apart."""


def can_explain(by: Sequence[Dimension]) -> bool:
    """Return whether analytics has a part in a report by these dimensions: by models, and nothing else of its kind."""
    return {*by} & OF_CALLS == {Dimension.MODEL}


def counted(told: Iterable[ModelHour], keys: Iterable[KeyState]) -> dict[KeyHour, list[ModelHour]]:
    """Return what was *told* of hours that the counters of *keys* count as well, by hour and key."""
    spans = {key.hash: span for key in keys if (span := _counted_in(key))}
    found: defaultdict[KeyHour, list[ModelHour]] = defaultdict(list)
    for each in told:
        if each.key_hash in spans and each.start in spans[each.key_hash]:
            found[each.start, each.key_hash].append(each)
    return dict(found)


@dataclass(frozen=True, slots=True)
class Cut:
    """One piece of a report."""

    hours: Sequence[Window]
    """Those that analytics tells of, as far as they lie in the piece: all but a last one that is still running."""
    others: Sequence[Window]
    """What lies between them."""


def cut(piece: Window, told: Iterable[datetime], now: datetime) -> Cut:
    """Return *piece* cut into the hours of which something was *told* and the rest of it.

    An hour that lies in the piece only in part is of the rest, unless what is missing of it lies ahead of *now*.
    """
    ends_ahead = piece.end > now
    hours = [
        Window(start, min(start + HOUR, piece.end))
        for start in sorted({*told})
        if piece.start <= start < piece.end and (ends_ahead or start + HOUR <= piece.end)
    ]
    starts = [piece.start, *(hour.end for hour in hours)]
    ends = [*(hour.start for hour in hours), piece.end]
    others = [Window(start, end) for start, end in zip(starts, ends, strict=True) if start < end]
    return Cut(hours, others)


@dataclass(frozen=True, slots=True)
class Merged:
    """The hours of a piece that analytics tells of, each key's by one of both."""

    calls: Sequence[CallTotal]
    by_analytics: Collection[KeyHour]
    """Which of them analytics explains."""

    def explains(self, start: datetime, key_hash: str | None) -> bool:
        """Return whether a generation that ran in the hour from *start* on is among what analytics explains."""
        return key_hash is not None and (start, key_hash) in self.by_analytics


def merged(calls: Iterable[tuple[datetime, CallTotal]], told: Mapping[KeyHour, Sequence[ModelHour]]) -> Merged:
    """Return what explains some hours.

    Args:
        calls: settled generations by `READ_BY`, each with the beginning of the hour they ran in.
        told: what analytics tells of these hours.
    """
    by_place: defaultdict[tuple[datetime, str | None], list[CallTotal]] = defaultdict(list)
    for start, total in calls:
        by_place[start, total.place.key_hash].append(total)
    chosen = {place: models for place, models in told.items() if _nanos(models) >= _nanos(by_place.get(place, ()))}
    owners = {(start, each.owner) for (start, _), models in chosen.items() for each in models}
    starts = {start for start, _ in chosen}
    found = _added_up(each for models in chosen.values() for each in models)
    for (start, key_hash), totals in by_place.items():
        if key_hash is not None:
            found += totals if (start, key_hash) not in chosen else ()
        else:
            found += [each for each in totals if not _may_be_among(each, start, owners, starts)]
    return Merged(found, chosen.keys())


# --- Parts ---------------------------------------------------------------------------------------------------------


def _counted_in(key: KeyState) -> Window | None:
    """Return in which span the beginning of an hour has to lie for the counters of *key* to count that hour."""
    if key.counters is None:
        return None
    openings = key.counters.credits.opening.total_nanos, key.counters.byok.opening.total_nanos
    began = key.counters.opened_at if any(openings) else datetime.min.replace(tzinfo=key.counters.opened_at.tzinfo)
    return Window(began, max(began, key.counters.last_seen_at))


def _may_be_among(
    total: CallTotal, start: datetime, owners: Collection[tuple[datetime, str | None]], starts: Collection[datetime]
) -> bool:
    """Return whether generations of no known key may be among what analytics explains of the hour from *start* on."""
    return start in starts if total.place.owner == UNOWNED else (start, total.place.owner) in owners


def _nanos(parts: Iterable[ModelHour] | Iterable[CallTotal]) -> int:
    return sum(part.credits_nanos + part.byok_nanos for part in parts)


def _added_up(told: Iterable[ModelHour]) -> list[CallTotal]:
    """Return what was *told*, added up by owner, key and model: a month of a large account is many hours."""
    sums: defaultdict[tuple[str | None, str, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for each in told:
        held = sums[each.owner, each.key_hash, each.model]
        held[0] += each.requests or 0
        held[1] += each.credits_nanos
        held[2] += each.byok_nanos
    return [
        CallTotal(CallPlace(*place), requests, credits_nanos, byok_nanos, UNKNOWN)
        for place, (requests, credits_nanos, byok_nanos) in sums.items()
    ]
