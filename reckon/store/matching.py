"""Any number of values in one parameter, so that a statement stays one statement however many owners there are."""

import json
from collections.abc import Collection

from sqlalchemy import Column, ColumnElement, Connection, String, Text, any_, bindparam, func, literal, select
from sqlalchemy.dialects import postgresql


def among(connection: Connection, column: Column[str], values: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that *column* is one of *values*."""
    if connection.dialect.name == "postgresql":
        return column == any_(bindparam(None, sorted(values), postgresql.ARRAY(Text)))
    listed = func.json_each(literal(json.dumps(sorted(values)), String)).table_valued("value")
    return column.in_(select(listed.c.value))
