"""Settled generations, added up by whatever they have in common, over as few rows as the question allows.

Rollups answer for whole local days and months by owner and model. The edges of a span that are no whole days, and every
other question, are answered from the generations themselves. Either way it is the same sum to the last nano-dollar.
"""

from collections.abc import Collection, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from reckon.core.generations import CallPlace, CallTotal
from reckon.core.tokens import TokenPools
from reckon.core.windows import Window
from reckon.store import rollups
from reckon.store.call_sums import CORRECTIONS, FIELDS, RAW, ROLLED_UP, Amounts, Source, Span, plus, summed
from reckon.store.rows import seconds


def call_totals(
    connection: Connection,
    windows: Sequence[Window],
    fields: Collection[str],
    zone: ZoneInfo,
    owners: Collection[str] | None = None,
) -> list[list[CallTotal]]:
    """Return, for each window, its generations grouped by exactly these fields of `CallPlace`, in no order.

    With *owners*, theirs alone.
    """
    by = [field for field in FIELDS if field in fields]
    spans: dict[Source, list[Span]] = {}
    has_rollups = ROLLED_UP.issuperset(fields) and rollups.kept_in(connection) == zone.key
    for place, window in enumerate(windows):
        for source, part in rollups.cut(window, zone) if has_rollups else ((RAW, window),):
            spans.setdefault(source, []).append(Span(place, seconds(part.start), seconds(part.end)))
    if RAW in spans:
        spans[CORRECTIONS] = spans[RAW]
    found: list[dict[tuple[str | None, ...], Amounts]] = [{} for _ in windows]
    for source, some in spans.items():
        for place, names, amounts in summed(connection, source, by, some, owners):
            held = found[place].get(names)
            found[place][names] = amounts if held is None else plus(held, amounts)
    return [[_total(by, names, amounts) for names, amounts in sums.items()] for sums in found]


def _total(by: Sequence[str], names: Sequence[str | None], amounts: Sequence[Any]) -> CallTotal:
    place = CallPlace(**{field: name or None for field, name in zip(by, names, strict=True)})
    generations, credits_nanos, byok_nanos, *pools = amounts
    return CallTotal(place, generations, credits_nanos, byok_nanos, TokenPools(*pools))
