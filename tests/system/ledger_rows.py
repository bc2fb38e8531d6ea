"""The rows of a ledger, read and put back beside Reckon's own way: for tests that need one ledger many times over."""

from collections.abc import Mapping

from sqlalchemy import Engine, inspect

from reckon.store.tables import METADATA

Rows = Mapping[str, list[dict[str, object]]]
"""By table, in the order of the primary key."""


def stored(engine: Engine) -> Rows:
    """Return every row of the ledger; no table at all where there is no ledger yet."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("owner"):
            return {}
        return {
            table.name: [dict(row) for row in connection.execute(rows).mappings()]
            for table, rows in _EVERYTHING.items()
        }


def lay_down(engine: Engine, rows: Rows) -> None:
    """Make *rows* all that the ledger holds."""
    with engine.begin() as connection:
        for table in reversed(METADATA.sorted_tables):
            connection.execute(table.delete())
        for table in METADATA.sorted_tables:
            if rows[table.name]:
                connection.execute(table.insert(), rows[table.name])


_EVERYTHING = {table: table.select().order_by(*table.primary_key) for table in METADATA.sorted_tables}
