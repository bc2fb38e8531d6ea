"""Pending generations: handed in, claimed, asked for, and either settled or given up.

A row stands for a generation from the moment it is handed in until its cost has settled, so a crash at any point leaves
it to be asked for again. The same id may be handed in any number of times: there is one row, and it learns what the
later ones know better.

Replicas claim rows by a lease and skip what others hold; one that finds nobody's lease on it may be asked for. The
answer that settles a generation is a fact whoever brings it; when to ask again is for the one who holds it to say.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, Select, delete, func, select, text, true, update
from sqlalchemy import Row as SqlRow

from reckon.core import settlement
from reckon.core.generations import GenerationState, Handed, Intake, Pending, Settled
from reckon.core.records import UNOWNED, WatchedKey
from reckon.core.settlement import SettlePolicy
from reckon.store import generations, leases
from reckon.store.generation_rows import facts_row, pending, pending_row, schedule_row, whose_row
from reckon.store.generations import Known
from reckon.store.matching import among
from reckon.store.names import key_numbers, owner_numbers
from reckon.store.rows import instant, seconds
from reckon.store.tables import KEY, OWNER, PENDING
from reckon.store.writing import Row, insert_rows, update_rows

# In the words of the partial index, or SQLite would not use it.
_WAITS: Final = text("pending_generation.expired IS NULL")
_Told = TypeVar("_Told", Handed, Pending, Settled)

_EXPIRED: Final = PENDING.c.expired.is_not(None)
_PENDING: Final = (
    select(PENDING, OWNER.c.name.label("owner"), KEY.c.hash)
    .join(OWNER, OWNER.c.id == PENDING.c.owner_id)
    .join(KEY, KEY.c.id == PENDING.c.key_id, isouter=True)
)


def hand_in(
    connection: Connection,
    handed: Sequence[Handed],
    policy: SettlePolicy,
    now: datetime,
    watched: Iterable[WatchedKey],
) -> Intake:
    """Write down what was handed in and is not known yet; see `Store.hand_in`."""
    generations.let_nobody_else_count(connection)
    told = _once_each(handed)
    standing = {row.id: pending(row) for row in _standing(connection, told)}
    settled = generations.known(connection, told)
    new = [
        settlement.pending(each, policy, now)
        for each in told.values()
        if each.id not in standing and each.id not in settled
    ]
    enriched = [
        known
        for each in told.values()
        if each.id in standing and (known := _enriched(standing[each.id], each)) != standing[each.id]
    ]
    owners = owner_numbers(connection, {waiting.owner for waiting in (*new, *enriched)})
    keys = key_numbers(connection, {waiting.key_hash for waiting in (*new, *enriched)}, watched)
    again = [
        _again_row(settlement.pending(each, policy, now), settled[each.id])
        for each in told.values()
        if each.id in settled and each.id not in standing and _differs(each, settled[each.id])
    ]
    insert_rows(
        connection, PENDING, [pending_row(waiting, whose_row(waiting, owners, keys)) for waiting in new] + again
    )
    update_rows(
        connection,
        PENDING,
        [{"id": waiting.id, **whose_row(waiting, owners, keys), **facts_row(waiting.facts)} for waiting in enriched],
        by="id",
    )
    return Intake(len(new), len(handed) - len(new), known={*standing, *settled})


def claim(
    connection: Connection,
    now: datetime,
    *,
    holder: str,
    lease: timedelta,
    most: int,
    besides: Collection[str],
    longest: timedelta,
) -> list[Pending]:
    """Claim some that are due, earliest first; see `Store.claim_pending`."""
    too_far = now + longest + leases.clocks_differ(connection)
    found: list[Pending] = []
    for is_due in (PENDING.c.due_at <= seconds(now), PENDING.c.due_at > seconds(too_far)):
        if len(found) < most:
            wanted = _free(connection, besides).where(is_due).limit(most - len(found))
            if leases.are_kept(connection):
                wanted = wanted.with_for_update(skip_locked=True, of=PENDING)
            found += [pending(row) for row in connection.execute(wanted)]
    if leases.are_kept(connection) and found:
        taken = update(PENDING).where(among(connection, PENDING.c.id, [waiting.id for waiting in found]))
        connection.execute(taken.values(leases.terms(holder, lease)))
    return found


def release(connection: Connection, ids: Collection[str], holder: str) -> None:
    """Give back those of *ids* that *holder* still has; they are due as they were."""
    ours = (among(connection, PENDING.c.id, ids), PENDING.c.holder == holder)
    connection.execute(update(PENDING).where(*ours).values(lease_until=None))


def next_due(connection: Connection, besides: Collection[str]) -> datetime | None:
    """Return when one may be claimed next: the first that is free is due, or a lease on one before it runs out."""
    first = connection.execute(_free(connection, besides).limit(1)).first()
    due = [] if first is None else [first.due_at]
    if leases.are_kept(connection):
        held = select(func.min(PENDING.c.lease_until)).where(_WAITS, ~leases.is_free(PENDING))
        if besides:
            held = held.where(~among(connection, PENDING.c.id, besides))
        if first is not None:
            held = held.where(PENDING.c.due_at < first.due_at)
        due += [lease_until for lease_until in connection.scalars(held) if lease_until is not None]
    return instant(min(due)) if due else None


def take_out(connection: Connection, settled: Sequence[Settled]) -> list[Settled]:
    """Return what has *settled* with what was handed in of it since it was claimed; nobody asks for it any more."""
    told = {row.id: pending(row) for row in _standing(connection, [generation.id for generation in settled])}
    if told:
        connection.execute(delete(PENDING).where(among(connection, PENDING.c.id, told)))
    return [
        _enriched(generation, told[generation.id]) if generation.id in told else generation for generation in settled
    ]


def reschedule(connection: Connection, waiting: Collection[Pending], holder: str) -> None:
    """Write when each is asked for again, or that it is given up, and end its lease; not where another has taken over.

    One that had settled before keeps its cost when it is given up.
    """
    ids = {each.id for each in waiting}
    if leases.are_kept(connection) and ids:
        ours = select(PENDING.c.id).where(among(connection, PENDING.c.id, ids), PENDING.c.holder == holder)
        ids = {*connection.scalars(ours.order_by(PENDING.c.id).with_for_update())}
    rows = [{"id": each.id, **schedule_row(each), "lease_until": None} for each in waiting if each.id in ids]
    update_rows(connection, PENDING, rows, by="id")
    if any(each.expired for each in waiting):
        connection.execute(delete(PENDING).where(among(connection, PENDING.c.id, ids), _EXPIRED, PENDING.c.again == 1))


def ask_again(connection: Connection, ids: Collection[str] | None, policy: SettlePolicy, now: datetime) -> int:
    """Let those of *ids* that expired, or all that did, begin anew; return how many."""
    chosen = true() if ids is None else among(connection, PENDING.c.id, ids)
    given_up = [pending(row) for row in connection.execute(_PENDING.where(_EXPIRED, chosen))]
    anew = [settlement.asked_again(each, policy, now) for each in given_up]
    update_rows(connection, PENDING, [{"id": each.id, **schedule_row(each)} for each in anew], by="id")
    return len(anew)


def counts(connection: Connection) -> dict[GenerationState, int]:
    """Return how many generations are pending and how many have expired; one that settled before is neither."""
    expired = _EXPIRED.label("has_expired")
    statement = select(expired, func.count().label("found")).where(PENDING.c.again == 0).group_by(expired)
    found = {bool(row.has_expired): row.found for row in connection.execute(statement)}
    return {GenerationState.PENDING: found.get(False, 0), GenerationState.EXPIRED: found.get(True, 0)}


# --- Parts ---------------------------------------------------------------------------------------------------------


def _once_each(handed: Iterable[Handed]) -> dict[str, Handed]:
    """Return what was told of each id, by whoever told it first, and by the others what the first did not know."""
    told: dict[str, Handed] = {}
    for each in handed:
        first = told.get(each.id)
        told[each.id] = each if first is None else _enriched(first, each)
    return told


def _enriched(first: _Told, other: Handed | Pending) -> _Told:
    """Return what was told first, with what *other* knows better: whose it is, if nobody said, and unknown facts."""
    return replace(
        first,
        owner=other.owner if first.owner == UNOWNED else first.owner,
        key_hash=first.key_hash or other.key_hash,
        facts=first.facts.over(other.facts),
    )


def _differs(handed: Handed, settled: Known) -> bool:
    """Return whether somebody now says another cost than the one that settled."""
    facts = handed.facts
    return facts.credits_nanos is not None and not settled.costs(facts.credits_nanos, facts.byok_nanos)


def _again_row(waiting: Pending, settled: Known) -> Row:
    whose = {"owner_id": settled.owner_id, "key_id": settled.key_id}
    return pending_row(waiting, whose) | {"again": 1}


def _standing(connection: Connection, ids: Collection[str]) -> Iterable[SqlRow[Any]]:
    return connection.execute(_PENDING.where(among(connection, PENDING.c.id, ids))) if ids else ()


def _free(connection: Connection, besides: Collection[str]) -> Select[Any]:
    """Return the statement for those that wait and that nobody has, besides some, earliest due first."""
    statement = _PENDING.where(_WAITS).order_by(PENDING.c.due_at, PENDING.c.id)
    if besides:
        statement = statement.where(~among(connection, PENDING.c.id, besides))
    if leases.are_kept(connection):
        statement = statement.where(leases.is_free(PENDING))
    return statement
