"""Many rows at once, as fast as each database's own driver.

SQLAlchemy knows the tables and writes the statements; the rows go past it, because looking at every value of every row
takes as long as SQLite takes to write it, and ours already hold what the drivers take: integers, text and None.

SQLite's driver runs a statement for each row. On Postgres that would be several times slower unless it were prepared,
which a pooler in between need not remember; so there one statement takes each column as an array, and the server makes
rows of them.
"""

from collections.abc import Callable
from functools import cache
from operator import itemgetter
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Executable, Function, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

Row = dict[str, Any]

_Names = tuple[str, ...]
_NEW: Final = "new_"
"""Before the names of parameters: SQLAlchemy keeps those of columns to itself."""
_Insert = TypeVar("_Insert", postgresql.Insert, sqlite.Insert)


def insert_rows(connection: Connection, table: Table, new: list[Row]) -> None:
    """Insert *new* rows."""
    upsert_rows(connection, table, new, key=())


def upsert_rows(connection: Connection, table: Table, new: list[Row], *, key: _Names, add: _Names = ()) -> None:
    """Insert *new* rows; where one of the same *key* stands, add the columns *add* to it and replace the others.

    No two of the new rows have the same key. Without a *key*, one that stands is an error.
    """
    if not new:
        return
    names = tuple(new[0])
    if connection.dialect.name == "postgresql":
        connection.execute(_postgres_upsert(table, names, key, add), _columns(new))
    else:
        _run_on_sqlite(connection, *_sqlite_upsert(table, names, key, add), new)


def update_rows(connection: Connection, table: Table, known: list[Row], *, by: str) -> None:
    """Write *known* rows over those that stand, found *by* one column."""
    if not known:
        return
    names = tuple(known[0])
    if connection.dialect.name == "postgresql":
        connection.execute(_postgres_update(table, names, by), _columns(known))
    else:
        _run_on_sqlite(connection, *_sqlite_update(table, names, by), known)


# --- Postgres: a statement for all rows ----------------------------------------------------------------------------


@cache
def _postgres_upsert(table: Table, names: _Names, key: _Names, add: _Names) -> Executable:
    unnested = select(*_arrays(table, names))
    return _or_merge(postgresql.insert(table).from_select(names, unnested), table, names, key, add)


@cache
def _postgres_update(table: Table, names: _Names, by: str) -> Executable:
    new = select(*(array.label(name) for name, array in zip(names, _arrays(table, names), strict=True))).subquery("new")
    values = {name: new.c[name] for name in names if name != by}
    return update(table).where(table.c[by] == new.c[by]).values(values)


def _arrays(table: Table, names: _Names) -> list[Function[Any]]:
    return [func.unnest(bindparam(_new(name), type_=postgresql.ARRAY(table.c[name].type))) for name in names]


def _columns(new: list[Row]) -> dict[str, list[Any]]:
    return {_new(name): [row[name] for row in new] for name in new[0]}


# --- SQLite: a statement for each row ------------------------------------------------------------------------------

_InOrder = Callable[[Row], tuple[Any, ...]]
"""Puts the values of a row in the order in which a statement takes them."""


def _run_on_sqlite(connection: Connection, statement: str, in_order: _InOrder, new: list[Row]) -> None:
    connection.exec_driver_sql(statement, [in_order(row) for row in new])


@cache
def _sqlite_upsert(table: Table, names: _Names, key: _Names, add: _Names) -> tuple[str, _InOrder]:
    return _compiled(_or_merge(sqlite.insert(table), table, names, key, add), names)


@cache
def _sqlite_update(table: Table, names: _Names, by: str) -> tuple[str, _InOrder]:
    values: dict[str, Any] = {name: bindparam(_new(name)) for name in names if name != by}
    return _compiled(update(table).where(table.c[by] == bindparam(_new(by))).values(values))


def _compiled(statement: ClauseElement, names: _Names = ()) -> tuple[str, _InOrder]:
    compiled: Any = statement.compile(dialect=sqlite.dialect(), column_keys=names or None)
    order = [name.removeprefix(_NEW) for name in compiled.positiontup]
    return str(compiled), itemgetter(*order)


def _new(name: str) -> str:
    return _NEW + name


def _or_merge(statement: _Insert, table: Table, names: _Names, key: _Names, add: _Names) -> _Insert:
    if not key:
        return statement
    replaced = {
        name: table.c[name] + statement.excluded[name] if name in add else statement.excluded[name]
        for name in names
        if name not in key
    }
    return statement.on_conflict_do_update(index_elements=key, set_=replaced)
