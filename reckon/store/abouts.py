"""What a sweep tells of keys beside their counters, and the workspaces they lie in."""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, delete, select

from reckon.core.sweeps import KeyAbout, Workspace
from reckon.store import rows
from reckon.store.matching import among
from reckon.store.tables import KEY, KEY_ABOUT, WORKSPACE
from reckon.store.writing import upsert_rows


def key_abouts(connection: Connection) -> dict[str, KeyAbout]:
    """Return what is known of each key that a sweep has seen, by hash."""
    statement = select(KEY_ABOUT, KEY.c.hash).join(KEY)
    return {
        row.hash: KeyAbout(
            hash=row.hash,
            disabled=None if row.disabled is None else bool(row.disabled),
            limit_nanos=row.limit_nanos,
            limit_remaining_nanos=row.limit_remaining_nanos,
            limit_reset=row.limit_reset,
            include_byok_in_limit=None if row.include_byok_in_limit is None else bool(row.include_byok_in_limit),
            created_at=rows.maybe_instant(row.created_at),
            expires_at=rows.maybe_instant(row.expires_at),
            last_used_at=rows.maybe_instant(row.last_used_at),
            creator=row.creator,
        )
        for row in connection.execute(statement)
    }


def workspaces(connection: Connection) -> dict[str, str | None]:
    """Return the name of each workspace, by id."""
    return {row.id: row.name for row in connection.execute(select(WORKSPACE))}


def write(
    connection: Connection,
    told: Iterable[KeyAbout],
    listed: Sequence[Workspace],
    key_ids: Mapping[str, int],
    *,
    is_all: bool,
) -> None:
    """Write what was *told* of keys, and the workspaces that were *listed*, over what stood there.

    With *is_all* those are all workspaces there are: one that is not among them is forgotten.
    """
    new = [
        {
            "key_id": key_ids[about.hash],
            "disabled": _flag(about.disabled),
            "limit_nanos": about.limit_nanos,
            "limit_remaining_nanos": about.limit_remaining_nanos,
            "limit_reset": about.limit_reset,
            "include_byok_in_limit": _flag(about.include_byok_in_limit),
            "created_at": rows.maybe_seconds(about.created_at),
            "expires_at": rows.maybe_seconds(about.expires_at),
            "last_used_at": rows.maybe_seconds(about.last_used_at),
            "creator": about.creator,
        }
        for about in told
    ]
    upsert_rows(connection, KEY_ABOUT, new, key=("key_id",))
    there = [{"id": each.id, "name": each.name} for each in listed]
    upsert_rows(connection, WORKSPACE, there, key=("id",))
    if is_all and there:
        connection.execute(delete(WORKSPACE).where(~among(connection, WORKSPACE.c.id, [each.id for each in listed])))


def _flag(value: bool | None) -> int | None:
    return None if value is None else int(value)
