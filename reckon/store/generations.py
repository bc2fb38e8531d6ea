"""Settled generations: one row each for good, and a correction beside it where the cost later turns out different.

Whoever settles or hands in a generation reads what is known of it and then writes, so on Postgres one does so at a
time: neither counts twice what both were told.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from operator import itemgetter
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, func, select

from reckon.core import settlement
from reckon.core.generations import CostCorrection, Facts, Settled
from reckon.store import rollups
from reckon.store.generation_rows import POOLS, pools_row, route_name, whose_row
from reckon.store.leases import are_kept
from reckon.store.matching import among
from reckon.store.names import key_numbers, numbers, owner_numbers
from reckon.store.rollups import Part
from reckon.store.rows import seconds
from reckon.store.tables import GENERATION, GENERATION_CORRECTION, OWNER, ROUTE, SESSION
from reckon.store.writing import Row, insert_rows, upsert_rows

_COUNTING: Final = 5_267_614_953  # any number that nobody else uses for a Postgres advisory lock
_POOLS_OF: Final = itemgetter(*POOLS)


class Known(NamedTuple):
    """What has settled of one generation, corrections included."""

    created_at: int
    owner_id: int
    key_id: int | None
    owner: str
    model: str
    requested_model: str
    credits_nanos: int
    byok_nanos: int

    def costs(self, credits_nanos: int, byok_nanos: int | None) -> bool:
        """Return whether this is what it cost."""
        return (self.credits_nanos, self.byok_nanos) == (credits_nanos, byok_nanos or 0)


def let_nobody_else_count(connection: Connection) -> None:
    """Wait until no other replica hands in or settles, and keep all of them from it until we have committed."""
    if are_kept(connection):
        connection.execute(select(func.pg_advisory_xact_lock(_COUNTING)))


def known(connection: Connection, ids: Collection[str]) -> dict[str, Known]:
    """Return those of *ids* that have settled."""
    if not ids:
        return {}
    statement = (
        select(
            GENERATION.c.id,
            GENERATION.c.created_at,
            GENERATION.c.owner_id,
            GENERATION.c.key_id,
            OWNER.c.name,
            ROUTE.c.model,
            ROUTE.c.requested_model,
            GENERATION.c.credits_nanos,
            func.coalesce(GENERATION.c.byok_nanos, 0),
        )
        .join(OWNER, OWNER.c.id == GENERATION.c.owner_id)
        .join(ROUTE, ROUTE.c.id == GENERATION.c.route_id)
        .where(among(connection, GENERATION.c.id, ids))
    )
    found = {row[0]: Known(*row[1:]) for row in connection.execute(statement)}
    if found:
        corrections = select(GENERATION_CORRECTION).where(among(connection, GENERATION_CORRECTION.c.id, found))
        for row in connection.execute(corrections):
            held = found[row.id]
            found[row.id] = held._replace(
                credits_nanos=held.credits_nanos + row.credits_nanos, byok_nanos=held.byok_nanos + row.byok_nanos
            )
    return found


def write(connection: Connection, settled: Iterable[Settled], zone: ZoneInfo) -> None:
    """Write down what has *settled*, and count it in the rollups, which are those of *zone*.

    What had settled before is not written again: a cost that differs is corrected, dated at the call.
    """
    by_id = {generation.id: generation for generation in settled}
    before = known(connection, by_id)
    new = [generation for generation in by_id.values() if generation.id not in before]
    corrected = [
        (before[generation.id], found)
        for generation in by_id.values()
        if generation.id in before and (found := _correction(before[generation.id], generation))
    ]
    new_rows = rows(connection, new)
    insert_rows(connection, GENERATION, new_rows)
    upsert_rows(
        connection,
        GENERATION_CORRECTION,
        [_correction_row(found) for _, found in corrected],
        key=("id", "at"),
        add=("credits_nanos", "byok_nanos"),
    )
    parts = [_part(by_id[row["id"]], row) for row in new_rows] + [_moved(*each) for each in corrected]
    rollups.add(connection, parts, zone)


def rows(connection: Connection, new: Sequence[Settled]) -> list[Row]:
    """Return *new* ones as their rows, in the order of the table, so that its pages fill one after another.

    Their names are in the ledger afterwards.
    """
    owners = owner_numbers(connection, {generation.owner for generation in new})
    keys = key_numbers(connection, {generation.key_hash for generation in new})
    routes = numbers(connection, ROUTE, {route_name(generation.facts) for generation in new})
    sessions = numbers(connection, SESSION, {(name,) for generation in new if (name := generation.facts.session)})
    dated = [(_created_at(generation), generation.id, generation) for generation in new]
    dated.sort(key=itemgetter(0, 1))
    return [
        {
            "created_at": created_at,
            "id": name,
            "credits_nanos": generation.facts.credits_nanos or 0,
            "byok_nanos": generation.facts.byok_nanos or None,
            **whose_row(generation, owners, keys),
            "route_id": routes[route_name(generation.facts)],
            "session_id": sessions.get((generation.facts.session,)),
            "settled_after_seconds": seconds(generation.settled_at) - created_at,
            **pools_row(generation.facts.pools),
        }
        for created_at, name, generation in dated
    ]


def _created_at(generation: Settled) -> int:
    return seconds(generation.facts.created_at or generation.settled_at)


def _part(generation: Settled, row: Row) -> Part:
    model, requested_model, *_ = route_name(generation.facts)
    amounts = (1, row["credits_nanos"], row["byok_nanos"] or 0, *_POOLS_OF(row))
    return (row["created_at"], row["owner_id"], model, requested_model, amounts)


def _correction(before: Known, again: Settled) -> CostCorrection | None:
    cost = Facts(credits_nanos=before.credits_nanos, byok_nanos=before.byok_nanos)
    return settlement.correction(replace(again, facts=cost), again)


def _correction_row(found: CostCorrection) -> dict[str, Any]:
    return {
        "id": found.id,
        "at": seconds(found.at),
        "credits_nanos": found.credits_nanos,
        "byok_nanos": found.byok_nanos,
    }


def _moved(before: Known, found: CostCorrection) -> Part:
    amounts = (0, found.credits_nanos, found.byok_nanos, *[0] * len(POOLS))
    return (before.created_at, before.owner_id, before.model, before.requested_model, amounts)
