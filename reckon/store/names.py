"""Names kept once: a table of them gives each a small number, and rows hold the number.

Nothing here takes a name away, so a number that was found stays right for as long as the ledger lives.
"""

from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import Column, Connection, Select, Table, and_, select

from reckon.core.records import KeyState, WatchedKey
from reckon.store.matching import among, as_listed, listed_later
from reckon.store.rows import key_row
from reckon.store.tables import KEY, OWNER, OWNER_MODEL, ROUTE, SESSION
from reckon.store.writing import insert_missing

Name = tuple[Any, ...]

_CALLED: Final[Mapping[Table, tuple[Column[Any], ...]]] = {
    OWNER: (OWNER.c.name,),
    ROUTE: (ROUTE.c.model, ROUTE.c.requested_model, ROUTE.c.provider, ROUTE.c.app),
    SESSION: (SESSION.c.name,),
    OWNER_MODEL: (OWNER_MODEL.c.owner_id, OWNER_MODEL.c.model, OWNER_MODEL.c.requested_model),
}


def numbers(connection: Connection, table: Table, names: Iterable[Name]) -> dict[Name, int]:
    """Return the number of each name in *table*, which holds all of them afterwards.

    Only those that are missing are inserted: on Postgres each attempt takes a number, whether it succeeds or not.
    """
    wanted = {*names}
    found = _found(connection, table, wanted)
    if missing := sorted(wanted - found.keys()):
        columns = tuple(column.name for column in _CALLED[table])
        insert_missing(connection, table, [dict(zip(columns, name, strict=True)) for name in missing], key=columns)
        found |= _found(connection, table, missing)
    return found


def owner_numbers(connection: Connection, owners: Iterable[str]) -> dict[str, int]:
    """Return the number of each owner; those the ledger had not met are in it afterwards."""
    return {name: number for (name,), number in numbers(connection, OWNER, ((owner,) for owner in owners)).items()}


def key_numbers(
    connection: Connection, hashes: Iterable[str | None], watched: Iterable[WatchedKey] = ()
) -> dict[str, int]:
    """Return the number of each key that the ledger knows; those of the map that it had not met are known afterwards.

    A key that nothing is known of has no number.
    """
    wanted = {key_hash for key_hash in hashes if key_hash}
    found = _known_keys(connection, wanted)
    met = {key.hash: key for key in watched if key.hash in wanted and key.hash not in found}
    if met:
        owners = owner_numbers(connection, (key.owner for key in met.values()))
        new = [
            key_row(KeyState(key.hash, key.owner, key.name, watched=True), owners)
            for key in sorted(met.values(), key=lambda key: key.hash)
        ]
        insert_missing(connection, KEY, new, key=("hash",))
        found |= _known_keys(connection, met)
    return found


def _known_keys(connection: Connection, hashes: Collection[str]) -> dict[str, int]:
    if not hashes:
        return {}
    statement = select(KEY.c.hash, KEY.c.id).where(among(connection, KEY.c.hash, hashes))
    return {row.hash: row.id for row in connection.execute(statement)}


def _found(connection: Connection, table: Table, names: Collection[Name]) -> dict[Name, int]:
    if not names:
        return {}
    dialect = connection.dialect.name
    found = connection.execute(_finding(table, dialect), as_listed(dialect, sorted(names)))
    return {tuple(row[1:]): row[0] for row in found}


@cache
def _finding(table: Table, dialect: str) -> Select[Any]:
    """Return the statement that finds names. Made once: a few names are found sooner than it is put together."""
    columns = _CALLED[table]
    wanted = listed_later(dialect, *columns)
    is_called = and_(*(column == wanted.c[column.name] for column in columns))
    return select(table.c.id, *columns).select_from(wanted).join(table, is_called)
