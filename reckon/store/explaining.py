"""What explains the pieces of a report: settled generations, and by model what analytics told as well."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from reckon.core import analytics_merging as merging
from reckon.core.attribution import fields_to_read
from reckon.core.generations import CallTotal, UnsettledTotal
from reckon.core.records import KeyState
from reckon.core.reports import Dimension
from reckon.core.windows import Window
from reckon.store.reading import Reading


class Explaining(NamedTuple):
    """What explains each piece of a report."""

    settled: Sequence[Sequence[CallTotal]]
    unsettled: Sequence[Sequence[UnsettledTotal]]


def explaining(
    ledger: Reading,
    pieces: Sequence[Window],
    by: Sequence[Dimension],
    keys: Iterable[KeyState],
    *,
    zone: ZoneInfo,
    now: datetime,
) -> Explaining:
    """Return what explains each of *pieces*, as far as a report *by* some dimensions has to tell it apart.

    Hours that analytics tells of are read key by key, and only those: all others may come from rollups.
    """
    fields = fields_to_read(by)
    told = {}
    if pieces and merging.can_explain(by):
        told = merging.counted(ledger.model_hours(Window(pieces[0].start, pieces[-1].end)), keys)
    if not told:
        settled = ledger.call_totals([(None, piece) for piece in pieces], fields, zone)
        return Explaining(settled, [[total for _, total in theirs] for theirs in _waiting(ledger, pieces)])
    places: defaultdict[datetime, list[merging.KeyHour]] = defaultdict(list)
    for place in told:
        places[place[0]].append(place)
    cuts = [merging.cut(piece, places, now) for piece in pieces]
    rest = iter(ledger.call_totals([(None, span) for each in cuts for span in each.others], fields, zone))
    hourly = iter(ledger.call_totals([(None, hour) for each in cuts for hour in each.hours], merging.READ_BY, zone))
    settled, unsettled = [], []
    for each, waiting in zip(cuts, _waiting(ledger, pieces), strict=True):
        calls = [(hour.start, total) for hour in each.hours for total in next(hourly)]
        merged = merging.merged(calls, {place: told[place] for hour in each.hours for place in places[hour.start]})
        settled.append([*merged.calls, *(total for _ in each.others for total in next(rest))])
        unsettled.append([total for at, total in waiting if not merged.explains(_hour(at), total.key_hash)])
    return Explaining(settled, unsettled)


def _waiting(ledger: Reading, pieces: Sequence[Window]) -> list[list[tuple[datetime, UnsettledTotal]]]:
    """Return what has not settled of each of *pieces*, with the quarter hour it lies in: read once for all of them."""
    found: list[list[tuple[datetime, UnsettledTotal]]] = [[] for _ in pieces]
    if pieces:
        starts = [piece.start for piece in pieces]
        for at, total in ledger.unsettled_by_window(Window(pieces[0].start, pieces[-1].end)):
            found[max(0, bisect_right(starts, at) - 1)].append((at, total))
    return found


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0)
