"""Any number of values in one parameter, so that a statement stays one statement however many owners there are."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    String,
    Text,
    any_,
    bindparam,
    column,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.dialects import postgresql


def among(connection: Connection, column: Column[str], values: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that *column* is one of *values*."""
    if connection.dialect.name == "postgresql":
        return column == any_(bindparam(None, sorted(values), postgresql.ARRAY(Text)))
    each = func.json_each(literal(json.dumps(sorted(values)), String)).table_valued("value")
    return column.in_(select(each.c.value))


def listed(connection: Connection, values: Sequence[Sequence[Any]], *columns: Column[Any]) -> FromClause:
    """Return *values* as rows, whose columns have the names and the types of *columns*."""
    dialect = connection.dialect.name
    parameters: list[BindParameter[Any]] = [bindparam(None, each) for each in _packed(dialect, values, len(columns))]
    return _unpacked(dialect, parameters, columns)


def listed_later(dialect: str, *columns: Column[Any]) -> FromClause:
    """Return the same for a statement that is made once and executed with `as_listed` values, however many."""
    count = len(columns) if dialect == "postgresql" else 1
    return _unpacked(dialect, [bindparam(f"listed_{n}") for n in range(count)], columns)


def as_listed(dialect: str, values: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """Return *values*, of which there is at least one, as parameters of a statement with `listed_later` in it."""
    return {f"listed_{n}": packed for n, packed in enumerate(_packed(dialect, values, len(values[0])))}


def _packed(dialect: str, values: Sequence[Sequence[Any]], width: int) -> Sequence[Any]:
    if dialect == "postgresql":
        return [[value[place] for value in values] for place in range(width)]
    return [json.dumps(values)]


def _unpacked(dialect: str, packed: Sequence[BindParameter[Any]], columns: Sequence[Column[Any]]) -> FromClause:
    if dialect == "postgresql":
        arrays = [type_coerce(each, postgresql.ARRAY(like.type)) for each, like in zip(packed, columns, strict=True)]
        unnested = func.unnest(*arrays).table_valued(*(column(like.name, like.type) for like in columns))
        return unnested.render_derived()
    each = func.json_each(type_coerce(packed[0], String)).table_valued("value")
    places = [
        type_coerce(func.json_extract(each.c.value, f"$[{place}]"), like.type).label(like.name)
        for place, like in enumerate(columns)
    ]
    return select(*places).subquery()
