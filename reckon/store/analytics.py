"""What analytics tells, kept by the hour: of each key and model, and of the account by the day.

Rows of analytics come late and running hours grow, so what is told of a key in a span takes the place of all that was
told of it there before. Whose an hour is stays as it was when it was first told, although the key may have moved since:
money belongs to who held the key when it was seen.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from functools import cache
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, cast, delete, func, select

from reckon.core.analytics_plan import AccountDay, KeyHours, ModelHour
from reckon.core.windows import Window
from reckon.store.matching import among
from reckon.store.rows import instant, seconds
from reckon.store.tables import ACCOUNT_DAY, ANALYTICS_HOUR, BIG, GENERATION, KEY, META, OWNER, PENDING
from reckon.store.writing import insert_rows, upsert_rows

SOURCE: Final = "analytics"
"""What `account_day` calls us."""
REREAD: Final = "analytics_reread"
"""The last UTC day that was read once more after it had ended."""


class _Key(NamedTuple):
    id: int
    owner_id: int


def write_hours(connection: Connection, told: Iterable[KeyHours]) -> None:
    """Write what was *told* over what stood there. Keys that the ledger does not know have no place."""
    by_span: defaultdict[Window, list[KeyHours]] = defaultdict(list)
    for each in told:
        by_span[each.span].append(each)
    for span, of_keys in by_span.items():
        keys = _keys(connection, {each.key_hash for each in of_keys})
        first_told = _owners(connection, span, keys)
        ids = select(KEY.c.id).where(among(connection, KEY.c.hash, keys))
        connection.execute(delete(ANALYTICS_HOUR).where(*_within(span), ANALYTICS_HOUR.c.key_id.in_(ids)))
        new = [
            {
                "start": seconds(row.start),
                "key_id": key.id,
                "model": row.model or "",
                "owner_id": first_told.get((seconds(row.start), key.id), key.owner_id),
                "credits_nanos": row.credits_nanos,
                "byok_nanos": row.byok_nanos,
                "requests": row.requests,
            }
            for each in of_keys
            if (key := keys.get(each.key_hash))
            for row in each.rows
            if row.start in span
        ]
        insert_rows(connection, ANALYTICS_HOUR, sorted(new, key=lambda row: (row["start"], row["key_id"])))


def write_days(connection: Connection, days: Sequence[AccountDay]) -> None:
    """Write what the account spent on some *days*, unless what stands there is of a later instant."""
    read_at = {
        row.day: row.read_at
        for row in connection.execute(
            select(ACCOUNT_DAY.c.day, ACCOUNT_DAY.c.read_at).where(
                ACCOUNT_DAY.c.source == SOURCE,
                among(connection, ACCOUNT_DAY.c.day, {each.day.isoformat() for each in days}),
            )
        )
    }
    new = [
        {
            "source": SOURCE,
            "day": each.day.isoformat(),
            "credits_nanos": each.credits_nanos,
            "byok_nanos": each.byok_nanos,
            "read_at": seconds(each.as_of),
        }
        for each in days
        if seconds(each.as_of) >= read_at.get(each.day.isoformat(), 0)
    ]
    upsert_rows(connection, ACCOUNT_DAY, new, key=("source", "day"))


def hours(connection: Connection, span: Window) -> list[ModelHour]:
    """Return what was told of the hours that begin in *span*, in the order of time."""
    statement = (
        select(ANALYTICS_HOUR, KEY.c.hash, OWNER.c.name.label("owner"))
        .join(KEY, KEY.c.id == ANALYTICS_HOUR.c.key_id)
        .join(OWNER, OWNER.c.id == ANALYTICS_HOUR.c.owner_id)
        .where(*_within(span))
        .order_by(ANALYTICS_HOUR.c.start, ANALYTICS_HOUR.c.key_id, ANALYTICS_HOUR.c.model)
    )
    at = cache(instant)  # an hour has many rows
    return [
        ModelHour(
            at(row.start),
            row.hash,
            row.model or None,
            row.credits_nanos,
            row.byok_nanos,
            row.requests,
            row.owner,
        )
        for row in connection.execute(statement)
    ]


def told(connection: Connection, span: Window) -> dict[str, int]:
    """Return how much of each key's money was told in *span*, both meters together, by hash."""
    nanos = cast(func.sum(ANALYTICS_HOUR.c.credits_nanos + ANALYTICS_HOUR.c.byok_nanos), BIG)
    statement = select(KEY.c.hash, nanos).select_from(ANALYTICS_HOUR).join(KEY).where(*_within(span))
    return {row[0]: int(row[1]) for row in connection.execute(statement.group_by(KEY.c.hash))}


def known_generations(connection: Connection, ids: Collection[str]) -> set[str]:
    """Return those of *ids* that were handed in already, whatever became of them."""
    return {
        id_
        for table in (PENDING, GENERATION)
        for id_ in connection.scalars(select(table.c.id).where(among(connection, table.c.id, ids)))
    }


def reread(connection: Connection) -> date | None:
    """Return the last UTC day that was read once more after it had ended; None before the first."""
    day: str | None = connection.scalar(select(META.c.value).where(META.c.name == REREAD))
    return date.fromisoformat(day) if day else None


def write_reread(connection: Connection, day: date) -> None:
    """Remember that *day* was read once more."""
    upsert_rows(connection, META, [{"name": REREAD, "value": day.isoformat()}], key=("name",))


# --- Parts ---------------------------------------------------------------------------------------------------------


def _within(span: Window) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return ANALYTICS_HOUR.c.start >= seconds(span.start), ANALYTICS_HOUR.c.start < seconds(span.end)


def _keys(connection: Connection, hashes: Collection[str]) -> dict[str, _Key]:
    statement = select(KEY.c.hash, KEY.c.id, KEY.c.owner_id).where(among(connection, KEY.c.hash, hashes))
    return {row.hash: _Key(row.id, row.owner_id) for row in connection.execute(statement)}


def _owners(connection: Connection, span: Window, keys: dict[str, _Key]) -> dict[tuple[int, int], int]:
    """Return whose each hour of *keys* is that stands in the ledger: by its beginning and the key's number."""
    statement = (
        select(ANALYTICS_HOUR.c.start, ANALYTICS_HOUR.c.key_id, ANALYTICS_HOUR.c.owner_id)
        .join(KEY, KEY.c.id == ANALYTICS_HOUR.c.key_id)
        .where(*_within(span), among(connection, KEY.c.hash, keys))
    )
    return {(row.start, row.key_id): row.owner_id for row in connection.execute(statement)}
