"""The rows of a ledger, read and put back beside Reckon's own way: for tests that need one ledger many times over."""

from collections.abc import Mapping

from sqlalchemy import Engine, inspect

from reckon.store.tables import ALERT, KEY, METADATA, OWNER, TRANSITION

Rows = Mapping[str, list[dict[str, object]]]
"""By table, in the order of the primary key."""


def stored(engine: Engine) -> Rows:
    """Return every row of the ledger; no table at all where there is no ledger yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("owner"):
            return {}
        return {table.name: [dict(row) for row in connection.execute(rows).mappings()] for table, rows in _ROWS}


def lay_down(engine: Engine, rows: Rows) -> None:
    """Make *rows* all that the ledger holds, touching no more tables than differ."""
    with engine.begin() as connection:
        held = {table: [dict(row) for row in connection.execute(statement).mappings()] for table, statement in _ROWS}
        changed = {table for table in held if held[table] != rows[table.name]}
        changed |= {TRANSITION} if ALERT in changed else set()
        for table in reversed(held):
            if table in changed:
                # Almost everything refers to these, and who they are does not change.
                kept = [row["id"] for row in rows[table.name]] if table in _REFERRED_TO else []
                connection.execute(table.delete().where(table.c.id.not_in(kept)) if kept else table.delete())
        for table, before in held.items():
            if table in changed:
                known = {row["id"] for row in before} if table in _REFERRED_TO else set()
                for row in rows[table.name]:
                    if row.get("id") in known:
                        connection.execute(table.update().where(table.c.id == row["id"]).values(row))
                if new := [row for row in rows[table.name] if row.get("id") not in known]:
                    connection.execute(table.insert(), new)


_REFERRED_TO = {OWNER, KEY}
_ROWS = [(table, table.select().order_by(*table.primary_key)) for table in METADATA.sorted_tables]
