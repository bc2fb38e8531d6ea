"""Sums of settled generations, made by the database, in one shape whatever they are made from.

There are four tables to add up: the generations themselves, the corrections of their costs, and the rollups by day and
by month, which hold corrections already. A correction is dated as the generation it is about. Rows are added up by
number, and only the sums are given names.

A pool of a sum is null as soon as one of its parts is: SQL would leave the unknown out, and call the rest the whole.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Integer,
    Select,
    Subquery,
    Table,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
    union_all,
)

from reckon.store.generation_rows import POOLS
from reckon.store.tables import (
    BIG,
    GENERATION,
    GENERATION_CORRECTION,
    GENERATION_MONTH,
    GENERATION_TOTAL,
    KEY,
    OWNER,
    OWNER_MODEL,
    ROUTE,
    SESSION,
)

Amounts = tuple[int | None, ...]
"""What `AMOUNTS` names, in that order."""
AMOUNTS: Final = ("generations", "credits_nanos", "byok_nanos", *POOLS)

FIELDS: Final = ("owner", "key_hash", "model", "requested_model", "provider", "app", "session")
"""What sums can be told apart by, in the order in which their names are returned."""
ROLLED_UP: Final = frozenset({"owner", "model", "requested_model"})
"""What rollups can tell apart."""

_SPANS_AT_ONCE: Final = 100  # SQLite takes at most 500 parts of a union


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open span `[lower, upper)` in epoch seconds, which belongs to the *place*-th thing that was asked."""

    place: int
    lower: int
    upper: int


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Something to add up."""

    rows: FromClause
    at: ColumnElement[int]
    """What dates a row."""
    amounts: Sequence[ColumnElement[Any]]
    numbered: Mapping[str, Column[Any]]
    """In which column the number stands that tells a field."""
    owned: ColumnElement[bool]
    """Whether a row is of one of the owners asked for."""
    every_row: ColumnElement[bool]
    """What is true of every row, where saying so shows SQLite the way to them."""
    named: Callable[[Subquery, Sequence[str]], tuple[FromClause, list[ColumnElement[Any]]]]
    """Returns the sums joined with the names of some fields, and those names."""


def summed(
    connection: Connection,
    source: Source,
    fields: Sequence[str],
    spans: Sequence[Span],
    owners: Collection[str] | None = None,
) -> Iterator[tuple[int, tuple[str | None, ...], Amounts]]:
    """Yield (place, names, amounts) for whatever of *owners* lies in each of *spans*, told apart by *fields*.

    The same names may come more than once. A name that is not known is '' or None.
    """
    amounts_at = 1 + len(fields)
    for first in range(0, len(spans), _SPANS_AT_ONCE):
        some = spans[first : first + _SPANS_AT_ONCE]
        asked: dict[str, Any] = {f"lower_{n}": span.lower for n, span in enumerate(some)}
        asked |= {f"upper_{n}": span.upper for n, span in enumerate(some)}
        if owners is not None:
            asked["owners"] = sorted(owners)
        statement = _statement(source, tuple(fields), len(some), of_all=owners is None)
        for row in connection.execute(statement, asked).all():
            yield some[row[0]].place, row[1:amounts_at], row[amounts_at:]


def plus(some: Amounts, others: Amounts) -> Amounts:
    """Return the sum of both; unknown where one of them is."""
    return tuple([None if a is None or b is None else a + b for a, b in zip(some, others, strict=True)])


@cache
def _statement(source: Source, fields: Sequence[str], spans: int, *, of_all: bool) -> Select[Any]:
    """Return the statement that adds up *source* within so many spans. Made once, because that takes a while.

    One span alone is no part of what is grouped by, so that rows which come in the order of a number are not sorted.
    """
    numbers = tuple(dict.fromkeys(source.numbered[field] for field in fields))
    amounts = [amount.label(name) for name, amount in zip(AMOUNTS, source.amounts, strict=True)]
    if spans == 1:
        place: ColumnElement[int] = literal_column("0", Integer).label("place")
        rows = select(place, *numbers, *amounts).select_from(source.rows).where(_within(source, *_edges(0)))
        grouped = rows.group_by(*numbers) if numbers else rows.having(func.count() > 0)
    else:
        asked = union_all(*(select(literal_column(str(n), Integer).label("place"), *_edges(n)) for n in range(spans)))
        each = asked.cte("spans")
        rows = select(each.c.place, *numbers, *amounts).select_from(each)
        rows = rows.join(source.rows, _within(source, each.c.lower, each.c.upper))
        grouped = rows.group_by(each.c.place, *numbers)
    sums = grouped.where(source.every_row if of_all else source.owned).subquery("sums")
    joined, names = source.named(sums, fields)
    return select(sums.c.place, *names, *(sums.c[name] for name in AMOUNTS)).select_from(joined)


def _edges(n: int) -> tuple[ColumnElement[int], ColumnElement[int]]:
    return (
        bindparam(f"lower_{n}", type_=BigInteger).label("lower"),
        bindparam(f"upper_{n}", type_=BigInteger).label("upper"),
    )


def _within(source: Source, lower: ColumnElement[int], upper: ColumnElement[int]) -> ColumnElement[bool]:
    return (source.at >= lower) & (source.at < upper)


# --- The generations themselves, and the corrections of their costs ------------------------------------------------

_NUMBERED: Final[Mapping[str, Column[Any]]] = {
    "owner": GENERATION.c.owner_id,
    "key_hash": GENERATION.c.key_id,
    "session": GENERATION.c.session_id,
    **dict.fromkeys(("model", "requested_model", "provider", "app"), GENERATION.c.route_id),
}
_ASKED_FOR: Final = OWNER.c.name.in_(bindparam("owners", expanding=True))
_NAMES: Final[Mapping[str, Column[Any]]] = {
    "owner": OWNER.c.name,
    "key_hash": KEY.c.hash,
    "session": SESSION.c.name,
    **{name: ROUTE.c[name] for name in ("model", "requested_model", "provider", "app")},
}


def _with_names(sums: Subquery, fields: Sequence[str]) -> tuple[FromClause, list[ColumnElement[Any]]]:
    joined: FromClause = sums
    for table, number in {_NAMES[field].table: _NUMBERED[field] for field in fields}.items():
        joined = joined.join(table, table.c.id == sums.c[number.name], isouter=bool(number.nullable))
    return joined, [_NAMES[field] for field in fields]


def _whole(amount: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(func.sum(amount), BIG)


def _known(pool: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((func.count(pool) == func.count(), _whole(pool)))


RAW: Final = Source(
    GENERATION,
    GENERATION.c.created_at,
    (
        func.count(),
        _whole(GENERATION.c.credits_nanos),
        func.coalesce(_whole(GENERATION.c.byok_nanos), 0),
        *(_known(GENERATION.c[pool]) for pool in POOLS),
    ),
    _NUMBERED,
    GENERATION.c.owner_id.in_(select(OWNER.c.id).where(_ASKED_FOR)),
    true(),
    _with_names,
)

CORRECTIONS: Final = Source(
    GENERATION_CORRECTION.join(GENERATION, GENERATION.c.id == GENERATION_CORRECTION.c.id),
    GENERATION.c.created_at + 0,  # not by that index: corrections are few, and each names its generation
    (
        literal(0, Integer),
        _whole(GENERATION_CORRECTION.c.credits_nanos),
        _whole(GENERATION_CORRECTION.c.byok_nanos),
        *(literal(0, Integer) for _ in POOLS),
    ),
    _NUMBERED,
    GENERATION.c.owner_id.in_(select(OWNER.c.id).where(_ASKED_FOR)),
    true(),
    _with_names,
)


# --- Their sums by day and month -----------------------------------------------------------------------------------

_ROLLED_UP_NAMES: Final[Mapping[str, Column[Any]]] = {
    "owner": OWNER.c.name,
    "model": OWNER_MODEL.c.model,
    "requested_model": OWNER_MODEL.c.requested_model,
}


def _with_owner_and_model(sums: Subquery, fields: Sequence[str]) -> tuple[FromClause, list[ColumnElement[Any]]]:
    if not fields:
        return sums, []
    joined = sums.join(OWNER_MODEL, OWNER_MODEL.c.id == sums.c.owner_model_id).join(
        OWNER, OWNER.c.id == OWNER_MODEL.c.owner_id
    )
    return joined, [_ROLLED_UP_NAMES[field] for field in fields]


def _rollup(table: Table, *, by_owner_and_model: bool) -> Source:
    every = select(OWNER_MODEL.c.id)
    return Source(
        table,
        table.c.start,
        [_whole(table.c[name]) for name in AMOUNTS[:3]] + [_known(table.c[pool]) for pool in POOLS],
        dict.fromkeys(ROLLED_UP, table.c.owner_model_id),
        table.c.owner_model_id.in_(every.join(OWNER).where(_ASKED_FOR)),
        table.c.owner_model_id.in_(every) if by_owner_and_model else true(),
        _with_owner_and_model,
    )


DAYS: Final = _rollup(GENERATION_TOTAL, by_owner_and_model=False)
MONTHS: Final = _rollup(GENERATION_MONTH, by_owner_and_model=True)
