"""Claims: which replica asks the keys of which owners now.

A replica claims whole owners that are due, so one owner's keys are asked by one replica, and what they spent is counted
in one piece. A claim holds for a lease; the commit that ends it writes when its owners are due next. What a replica
asked while its lease ran out and another took over is refused when it comes to be written, so nothing is said twice,
and nothing is lost: the counters are cumulative, and the other replica sees them too.

One that finds a row locked leaves it to whoever holds it. Rows are locked as an update of them would, and no harder:
money that is being written refers to its owner, and must not wait for a claim nor keep one away.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, or_, select, update

from reckon.errors import Superseded
from reckon.store import leases
from reckon.store.matching import among
from reckon.store.rows import instant, seconds
from reckon.store.tables import OWNER
from reckon.store.writing import insert_missing, update_rows


@dataclass(frozen=True, slots=True)
class Claim:
    """Some owners, whose keys *holder* is to ask now."""

    holder: str
    owners: frozenset[str]


def claim(
    connection: Connection,
    owners: Collection[str],
    now: datetime,
    *,
    holder: str,
    lease: timedelta,
    every: timedelta,
    all_due: bool,
    most: int | None,
) -> Claim:
    """Claim those of *owners* that are due and that no other replica has; see `Store.claim_owners`."""
    _register(connection, owners)
    wanted = select(OWNER.c.id, OWNER.c.name).where(among(connection, OWNER.c.name, owners))
    wanted = wanted.order_by(OWNER.c.id).limit(most)
    shared = leases.are_kept(connection)
    if shared:
        wanted = wanted.where(leases.is_free(OWNER)).with_for_update(skip_locked=True, key_share=True)
    if not all_due:
        wanted = wanted.where(_is_due(now, every, leases.clocks_differ(connection)))
    names = frozenset(row.name for row in connection.execute(wanted))
    if shared and names:
        taken = update(OWNER).where(among(connection, OWNER.c.name, names))
        connection.execute(taken.values(leases.terms(holder, lease)))
    return Claim(holder, names)


def require(connection: Connection, claimed: Claim) -> None:
    """Return if nobody has taken over any owner of the claim; until we have committed nobody can.

    Raises:
        Superseded: somebody has. Says whom it is about.
    """
    if not leases.are_kept(connection) or not claimed.owners:
        return
    ours = select(OWNER.c.name).where(_is_ours(connection, claimed)).order_by(OWNER.c.id)
    held = connection.scalars(ours.with_for_update(key_share=True)).all()
    if lost := claimed.owners.difference(held):
        raise Superseded(
            f"Another replica has taken over {', '.join(sorted(lost))}: our lease ran out while we asked."
            " The answers are dropped; the counters keep what they showed."
        )


def finish(connection: Connection, claimed: Claim, next_due: datetime | None) -> None:
    """Give the owners of the claim back, to be polled again at *next_due*; with None, whenever they were due before."""
    new = {"lease_until": None} if next_due is None else {"lease_until": None, "due_at": seconds(next_due)}
    update_rows(connection, OWNER, [{"name": name, **new} for name in sorted(claimed.owners)], by="name")


def renew(connection: Connection, claimed: Claim, lease: timedelta) -> None:
    """Let what is still ours of the claim hold for *lease* from now on."""
    ours = update(OWNER).where(_is_ours(connection, claimed), OWNER.c.lease_until.is_not(None))
    connection.execute(ours.values(leases.terms(claimed.holder, lease)))


def release(connection: Connection, claimed: Claim) -> None:
    """Give back what is still ours of the claim, as if it had never been made."""
    connection.execute(update(OWNER).where(_is_ours(connection, claimed)).values(lease_until=None))


def next_due(connection: Connection, owners: Collection[str]) -> datetime | None:
    """Return when the first of *owners* is due; None if one of them has never been polled."""
    statement = select(OWNER.c.due_at).where(among(connection, OWNER.c.name, owners))
    due = connection.scalars(statement).all()
    if len(due) < len({*owners}) or None in due:
        return None
    return min((instant(at) for at in due), default=None)


def _register(connection: Connection, owners: Collection[str]) -> None:
    known = {*connection.scalars(select(OWNER.c.name).where(among(connection, OWNER.c.name, owners)))}
    insert_missing(connection, OWNER, [{"name": name} for name in sorted({*owners} - known)], key=("name",))


def _is_ours(connection: Connection, claimed: Claim) -> ColumnElement[bool]:
    return and_(among(connection, OWNER.c.name, claimed.owners), OWNER.c.holder == claimed.holder)


def _is_due(now: datetime, every: timedelta, clocks_differ: timedelta) -> ColumnElement[bool]:
    """Return the condition that an owner is due: one that is due further away than ever was written is due, too.

    A clock that was ahead and has been set back leaves such rows.
    """
    too_far = seconds(now + every + clocks_differ)
    return or_(OWNER.c.due_at.is_(None), OWNER.c.due_at <= seconds(now), OWNER.c.due_at > too_far)
