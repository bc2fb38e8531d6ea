"""Time that passes by the clock of a database, which nobody passes in."""

import psycopg
from psycopg import errors

_FORGET = "UPDATE {} SET lease_until = NULL, holder = NULL WHERE lease_until IS NOT NULL OR holder IS NOT NULL"


def let_leases_run_out(url: str) -> None:
    """Let what a dead process had claimed be free again, as it would be when its lease has run out.

    On SQLite, and where there is no ledger yet, there is nothing to wait for.
    """
    if not url.startswith("postgresql"):
        return
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://"), autocommit=True) as database:
        for table in ("owner", "due"):
            try:
                database.execute(_FORGET.format(table))
            except (errors.UndefinedTable, errors.UndefinedColumn):
                return
