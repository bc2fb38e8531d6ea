"""Leases: which replica may do a thing, and until when, by the one clock that all of them share: the database's.

A row that can be leased says who had it last and until when nobody else may take it. Time alone ends a lease, but it
does not end its holder's right to tell what came of the work: that ends when somebody else has taken over. To give a
lease back clears the time and leaves the name, so the last unit of a holder may be run again when its commit was made
and the answer was lost.

A SQLite file has one writing process, and no leases.
"""

from datetime import timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Connection, Table, cast, extract, func, literal, or_, select, update
from sqlalchemy.dialects import postgresql

from reckon.errors import Superseded
from reckon.store.tables import DUE

DELIVER: Final = "deliver"
"""What the one replica has taken that delivers messages."""


def are_kept(connection: Connection) -> bool:
    """Return whether this database is shared by replicas."""
    return connection.dialect.name == "postgresql"


def clocks_differ(connection: Connection) -> timedelta:
    """Return how far the clock of whoever wrote when a thing is due next may be ahead of ours."""
    return timedelta(minutes=10) if are_kept(connection) else timedelta(0)


def is_free(table: Table) -> ColumnElement[bool]:
    """Return the condition that no lease on a row of *table* is running."""
    return or_(table.c.lease_until.is_(None), table.c.lease_until <= _clock(func.floor))


def terms(holder: str, lease: timedelta) -> dict[str, Any]:
    """Return what to write into a row that *holder* takes now, for no less than *lease*."""
    return {"holder": holder, "lease_until": _clock(func.ceil) + ceil(lease.total_seconds())}


def take(connection: Connection, what: str, holder: str, lease: timedelta) -> bool:
    """Take *what*, or keep it for longer, unless another has it; return whether it is now ours."""
    taken = (
        postgresql.insert(DUE)
        .values(what=what, **terms(holder, lease))
        .on_conflict_do_update(
            index_elements=[DUE.c.what],
            set_=terms(holder, lease),
            where=or_(DUE.c.holder == holder, is_free(DUE)),
        )
        .returning(DUE.c.what)
    )
    return connection.scalar(taken) is not None


def give_back(connection: Connection, what: str, holder: str) -> None:
    """Let others take *what* at once, if it is ours."""
    connection.execute(update(DUE).where(DUE.c.what == what, DUE.c.holder == holder).values(lease_until=None))


def require(connection: Connection, what: str, holder: str, *, running: bool) -> None:
    """Return if *what* was last taken by *holder*, and with *running* only while the lease lasts; nobody takes it now.

    Raises:
        Superseded: another has taken it, or might at any moment.
    """
    ours = select(literal(1)).where(DUE.c.what == what, DUE.c.holder == holder)
    if running:
        ours = ours.where(~is_free(DUE))
    if connection.scalar(ours.with_for_update(of=DUE)) is None:
        raise Superseded(f"Another replica has taken over to {what}, or may: our lease has run out.")


def _clock(rounded: Any) -> ColumnElement[int]:
    """Return the database's clock in whole epoch seconds: of the moment, not of the transaction's begin."""
    return cast(rounded(extract("epoch", func.clock_timestamp())), BigInteger)
