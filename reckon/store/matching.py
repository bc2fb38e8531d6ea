"""Any number of values in one parameter, so that a statement stays one statement however many owners there are."""

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
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
    if connection.dialect.name == "postgresql":
        arrays = [
            bindparam(None, [value[place] for value in values], postgresql.ARRAY(like.type))
            for place, like in enumerate(columns)
        ]
        unnested = func.unnest(*arrays).table_valued(*(column(like.name, like.type) for like in columns))
        return unnested.render_derived()
    each = func.json_each(literal(json.dumps(values), String)).table_valued("value")
    places = [
        type_coerce(func.json_extract(each.c.value, f"$[{place}]"), like.type).label(like.name)
        for place, like in enumerate(columns)
    ]
    return select(*places).subquery()
