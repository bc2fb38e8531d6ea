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
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Executable, Function, Table, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.expression import ClauseElement

Row = dict[str, Any]

_Names = tuple[str, ...]
_NEW: Final = "new_"
"""Before the names of parameters: SQLAlchemy keeps those of columns to itself."""
_Insert = TypeVar("_Insert", postgresql.Insert, sqlite.Insert)


class _Merge(NamedTuple):
    """What becomes of a row that stands already, found by its *key*; with nothing to replace or to add to, nothing."""

    key: _Names
    replaced: _Names = ()
    added: _Names = ()


def insert_rows(connection: Connection, table: Table, new: list[Row]) -> None:
    """Insert *new* rows; one that stands already is an error."""
    _insert(connection, table, new)


def upsert_rows(connection: Connection, table: Table, new: list[Row], *, key: _Names, add: _Names = ()) -> None:
    """Insert *new* rows; where one of the same *key* stands, add the columns *add* to it and replace the others.

    No two of the new rows have the same key.
    """
    if new:
        replaced = tuple(name for name in new[0] if name not in {*key, *add})
        _insert(connection, table, new, _Merge(key, replaced, add))


def insert_missing(connection: Connection, table: Table, new: list[Row], *, key: _Names) -> None:
    """Insert those of the *new* rows of whose *key* none stands yet, and leave what stands alone."""
    _insert(connection, table, new, _Merge(key))


def update_rows(connection: Connection, table: Table, known: list[Row], *, by: str) -> None:
    """Write *known* rows over those that stand, found *by* one column."""
    if not known:
        return
    names = tuple(known[0])
    if connection.dialect.name == "postgresql":
        connection.execute(_postgres_update(table, names, by), _columns(known))
    else:
        _run_on_sqlite(connection, *_sqlite_update(table, names, by), known)


def _insert(connection: Connection, table: Table, new: list[Row], merge: _Merge | None = None) -> None:
    if not new:
        return
    names = tuple(new[0])
    if connection.dialect.name == "postgresql":
        connection.execute(_postgres_insert(table, names, merge), _columns(new))
    else:
        _run_on_sqlite(connection, *_sqlite_insert(table, names, merge), new)


# --- Postgres: a statement for all rows ----------------------------------------------------------------------------


@cache
def _postgres_insert(table: Table, names: _Names, merge: _Merge | None) -> Executable:
    unnested = select(*_arrays(table, names))
    return _or_merge(postgresql.insert(table).from_select(names, unnested), table, merge)


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
def _sqlite_insert(table: Table, names: _Names, merge: _Merge | None) -> tuple[str, _InOrder]:
    return _compiled(_or_merge(sqlite.insert(table), table, merge), names)


@cache
def _sqlite_update(table: Table, names: _Names, by: str) -> tuple[str, _InOrder]:
    values: dict[str, Any] = {name: bindparam(_new(name)) for name in names if name != by}
    return _compiled(update(table).where(table.c[by] == bindparam(_new(by))).values(values))


def _compiled(statement: ClauseElement, names: _Names = ()) -> tuple[str, _InOrder]:
    compiled: Any = statement.compile(dialect=sqlite.dialect(), column_keys=names or None)
    order = [name.removeprefix(_NEW) for name in compiled.positiontup]
    pick = itemgetter(*order)
    return str(compiled), pick if len(order) > 1 else lambda row: (pick(row),)


def _new(name: str) -> str:
    return _NEW + name


def _or_merge(statement: _Insert, table: Table, merge: _Merge | None) -> _Insert:
    if merge is None:
        return statement
    excluded = statement.excluded
    new: dict[str, ColumnElement[Any]] = {name: excluded[name] for name in merge.replaced}
    new |= {name: table.c[name] + excluded[name] for name in merge.added}
    if not new:
        return statement.on_conflict_do_nothing(index_elements=merge.key)
    return statement.on_conflict_do_update(index_elements=merge.key, set_=new)
