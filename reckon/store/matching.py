"""Any number of values in one parameter, so that a statement stays one statement however many owners there are."""

import json
from collections.abc import Collection, Sequence

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
)
from sqlalchemy.dialects import postgresql


def among(connection: Connection, column: Column[str], values: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that *column* is one of *values*."""
    if connection.dialect.name == "postgresql":
        return column == any_(bindparam(None, sorted(values), postgresql.ARRAY(Text)))
    listed = func.json_each(literal(json.dumps(sorted(values)), String)).table_valued("value")
    return column.in_(select(listed.c.value))


def pairs(connection: Connection, values: Sequence[tuple[str, str]], first: str, second: str) -> FromClause:
    """Return *values* as rows of two columns of text, named *first* and *second*."""
    if connection.dialect.name == "postgresql":
        arrays = [bindparam(None, [value[place] for value in values], postgresql.ARRAY(Text)) for place in (0, 1)]
        unnested = func.unnest(*arrays).table_valued(column(first, Text), column(second, Text))
        return unnested.render_derived()
    listed = func.json_each(literal(json.dumps(values), String)).table_valued("value")
    places = [
        func.json_extract(listed.c.value, f"$[{place}]").label(name) for place, name in enumerate((first, second))
    ]
    return select(*places).subquery()
