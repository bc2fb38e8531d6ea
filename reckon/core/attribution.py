"""Attribution: the spend that counters tell, explained by the generations that have settled.

Counters are exact and say nothing of models; a generation says everything and somebody must have handed it in. So a
report by model takes each owner's (key's, day's) spend from the counters, takes from it what settled generations cost,
and leaves the rest in one row of its own: named, never spread over what is known. The rows always sum to the counters.
That rest may fall below zero for a while, where a generation has settled and the counter has not been read since.

A generation explains the spend of its owner. One of which nobody said whose it is explains nobody's in particular: it
counts where owners are not told apart, and else its money stays in the rest of whoever spent it. Likewise for keys.

Whether totals were made of generations or told by analytics makes no difference here: see `analytics_merging`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from reckon.core.generations import CallTotal, GenerationState, UnsettledTotal
from reckon.core.records import UNOWNED, Amounts, TotalState
from reckon.core.reports import OF_CALLS, Dimension, OwnerMap, SpendReport, SpendRow

NOT_RESOLVED: Final = "(not resolved)"
"""What a row is called that no settled generation explains."""

_Place = tuple[str | None, ...]
_FIELDS: Final = {
    Dimension.OWNER: "owner",
    Dimension.TEAM: "owner",
    Dimension.KEY: "key_hash",
    **{dimension: dimension.value for dimension in OF_CALLS},
}


def fields_to_read(by: Sequence[Dimension]) -> frozenset[str]:
    """Return by what the generations of a report have to be told apart: fields of `CallPlace`.

    Whose they are is always among them, for those of nobody may explain nothing.
    """
    return frozenset({"owner", *(_FIELDS[dimension] for dimension in by if dimension in _FIELDS)})


def explain(
    report: SpendReport,
    by: Sequence[Dimension],
    calls: Sequence[tuple[str | None, Sequence[CallTotal]]],
    unsettled: Sequence[tuple[str | None, Sequence[UnsettledTotal]]],
    owner_map: OwnerMap,
) -> SpendReport:
    """Return *report* with the generations of each row counted, and its rows divided as far as *by* asks for it.

    Args:
        report: the spend, by what counters tell apart.
        by: everything that was asked for, in the order asked.
        calls: for each piece of the span, by its name: the settled generations in it, by `fields_to_read`.
        unsettled: likewise those that have not settled.
        owner_map: whose team an owner is of.
    """
    placing = _Placing(report, owner_map)
    settled: defaultdict[_Place, list[CallTotal]] = defaultdict(list)
    for piece, totals in calls:
        for total in totals:
            if placing.explains(total.place.owner, total.place.key_hash):
                settled[placing.of(total.place.owner, total.place.key_hash, piece)].append(total)
    waiting: defaultdict[_Place, list[UnsettledTotal]] = defaultdict(list)
    for piece, others in unsettled:
        for other in others:
            if placing.explains(other.owner, other.key_hash):
                waiting[placing.of(other.owner, other.key_hash, piece)].append(other)

    asked = [dimension for dimension in by if dimension in OF_CALLS]
    rows: list[SpendRow] = []
    for row in [*report.rows, *placing.missing(settled)]:
        place = placing.of_row(row)
        counted = _counted(row, settled[place], waiting[place])
        rows.extend(_divided(counted, asked, by, settled[place]) if asked else [counted])
    are_pending = any(other.state is GenerationState.PENDING for _, others in unsettled for other in others)
    order = {piece: number for number, (piece, _) in enumerate(calls)}
    rows.sort(key=lambda row: order[_piece(row, report.by)])
    return replace(report, by=by, rows=rows, state=_with_pending(report.state, are_pending=are_pending))


class _Placing:
    """Which row of a report a generation belongs to."""

    def __init__(self, report: SpendReport, owner_map: OwnerMap) -> None:
        self._report = report
        self._by = report.by
        self._teams: Mapping[str, str | None] = owner_map.teams
        self._known = {self.of_row(row): row for row in report.rows}

    def explains(self, owner: str | None, key_hash: str | None) -> bool:
        """Return whether a generation of *owner* and key is known well enough to be told apart as the report does."""
        if Dimension.KEY in self._by and key_hash is None:
            return False
        owners_matter = {Dimension.OWNER, Dimension.TEAM} & {*self._by}
        return not (owners_matter and owner == UNOWNED and key_hash is None)

    def of(self, owner: str | None, key_hash: str | None, piece: str | None) -> _Place:
        by_key = Dimension.KEY in self._by
        return (
            owner if Dimension.OWNER in self._by else None,
            self._teams.get(owner or "") if Dimension.TEAM in self._by and not by_key else None,
            key_hash if by_key else None,
            piece,
        )

    def of_row(self, row: SpendRow) -> _Place:
        by_key = Dimension.KEY in self._by
        return (
            row.place.get(Dimension.OWNER),
            None if by_key else row.place.get(Dimension.TEAM),
            row.key_hash if by_key else None,
            _piece(row, self._by),
        )

    def missing(self, settled: Mapping[_Place, Sequence[CallTotal]]) -> Iterator[SpendRow]:
        """Yield a row without spend for each place that has generations and that no counter has moved in."""
        are_timed = any(_is_calendar(dimension) for dimension in self._by)
        of_keys = {row.key_hash: row for row in self._report.rows if row.key_hash}
        for place, totals in settled.items():
            if place in self._known:
                continue
            owner, team, key_hash, piece = place
            name = None
            if key_hash:
                elsewhere = of_keys.get(key_hash)
                name = elsewhere.place[Dimension.KEY] if elsewhere else key_hash
                owner = owner or (elsewhere.owner if elsewhere else totals[0].place.owner)
                team = self._teams.get(owner or "")
            told = {Dimension.OWNER: owner, Dimension.TEAM: team, Dimension.KEY: name}
            yield SpendRow(
                place={dimension: told.get(dimension, piece) for dimension in self._by},
                owner=owner if key_hash else None,
                key_hash=key_hash,
                amounts=Amounts(),
                state=TotalState.PROVISIONAL if are_timed else self._report.state,
                watched_from=None,
            )


def _counted(row: SpendRow, settled: Iterable[CallTotal], waiting: Sequence[UnsettledTotal]) -> SpendRow:
    number = sum(total.generations for total in settled) + sum(other.generations for other in waiting)
    are_pending = any(other.state is GenerationState.PENDING for other in waiting)
    return replace(row, generations=number or None, state=_with_pending(row.state, are_pending=are_pending))


def _divided(
    row: SpendRow, asked: Sequence[Dimension], by: Sequence[Dimension], settled: Sequence[CallTotal]
) -> Iterator[SpendRow]:
    """Yield the settled generations of *row*, dearest first, and then what they do not explain of it."""

    def placed(names: Mapping[Dimension, str | None]) -> dict[Dimension, str | None]:
        return {dimension: names[dimension] if dimension in names else row.place[dimension] for dimension in by}

    # An owner's generations may stand under several keys, of which this row does not tell apart.
    together: dict[_Place, CallTotal] = {}
    for total in settled:
        names = tuple(getattr(total.place, dimension.value) for dimension in asked)
        together[names] = total if names not in together else _sum(together[names], total)
    dearest_first = sorted(
        together.items(), key=lambda item: (-item[1].credits_nanos, -item[1].byok_nanos, *(n or "" for n in item[0]))
    )
    for names, total in dearest_first:
        yield replace(
            row,
            place=placed(dict(zip(asked, names, strict=True))),
            amounts=Amounts(total.credits_nanos, 0, total.byok_nanos, 0),
            before_watching_nanos=0,
            generations=total.generations or None,
            pools=total.pools,
        )
    explained = sum(total.credits_nanos for total in settled), sum(total.byok_nanos for total in settled)
    rest = replace(
        row.amounts,
        spend_nanos=row.amounts.spend_nanos - explained[0],
        byok_nanos=row.amounts.byok_nanos - explained[1],
    )
    unsettled = (row.generations or 0) - sum(total.generations for total in settled)
    if rest != Amounts() or unsettled or row.before_watching_nanos or not together:
        yield replace(
            row,
            place=placed(dict.fromkeys(asked, NOT_RESOLVED)),
            amounts=rest,
            generations=unsettled or None,
            is_residual=True,
        )


def _sum(one: CallTotal, other: CallTotal) -> CallTotal:
    return replace(
        one,
        generations=one.generations + other.generations,
        credits_nanos=one.credits_nanos + other.credits_nanos,
        byok_nanos=one.byok_nanos + other.byok_nanos,
        pools=one.pools + other.pools,
    )


def _with_pending(state: TotalState, *, are_pending: bool) -> TotalState:
    return TotalState.PROVISIONAL if are_pending and state is TotalState.SETTLED else state


def _piece(row: SpendRow, by: Sequence[Dimension]) -> str | None:
    return next((row.place[dimension] for dimension in by if _is_calendar(dimension)), None)


def _is_calendar(dimension: Dimension) -> bool:
    return dimension not in _FIELDS
