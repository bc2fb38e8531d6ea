"""Single generations as they are listed, whatever their state, and what has not settled, added up."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, case, cast, func, literal, null, select

from reckon.core.generations import Call, ExpiryReason, GenerationState, UnsettledTotal
from reckon.core.windows import GRAIN, Window
from reckon.store.generation_rows import POOLS, call
from reckon.store.rows import instant, seconds
from reckon.store.tables import BIG, GENERATION, GENERATION_CORRECTION, KEY, OWNER, PENDING, ROUTE, SESSION


def dearest_first(connection: Connection, span: Window, limit: int | None) -> list[Call]:
    """Return the generations of *span*, or the dearest *limit* of them, by all their money; the unknown is nothing.

    One that has not settled lies where it is said to have been made, or else where it was handed in.
    """
    found = [
        (row.money, call(row, GenerationState(row.state), ExpiryReason(row.expired) if row.expired else None))
        for statement, at in ((_SETTLED, GENERATION.c.created_at), (_UNSETTLED, _UNSETTLED_AT))
        for row in connection.execute(
            statement.where(at >= seconds(span.start), at < seconds(span.end))
            .order_by(statement.selected_columns.money.desc(), at, statement.selected_columns.id)
            .limit(limit)
        )
    ]
    found.sort(key=lambda priced: -priced[0])
    return [each for _, each in found[:limit]]


def unsettled(connection: Connection, span: Window) -> list[UnsettledTotal]:
    """Return what of *span* has not settled, by owner, key and state."""
    return [total for _, total in _unsettled(connection, span, literal(0))]


def unsettled_by_window(connection: Connection, span: Window) -> list[tuple[datetime, UnsettledTotal]]:
    """Return what of *span* has not settled, by owner, key, state and the quarter hour in which it lies."""
    start = _UNSETTLED_AT - _UNSETTLED_AT % _GRAIN_SECONDS
    return [(instant(at), total) for at, total in _unsettled(connection, span, start)]


def _unsettled(connection: Connection, span: Window, start: ColumnElement[int]) -> Iterator[tuple[int, UnsettledTotal]]:
    divided = select(
        start.label("start"), OWNER.c.name.label("owner"), KEY.c.hash, _STATE.label("state"), PENDING.c.credits_nanos
    ).select_from(_WHOSE)
    inside = PENDING.c.again == 0, seconds(span.start) <= _UNSETTLED_AT, seconds(span.end) > _UNSETTLED_AT
    each = divided.where(*inside).subquery("each")
    by = (each.c.start, each.c.owner, each.c.hash, each.c.state)
    statement = (
        select(
            *by,
            func.count(),
            func.coalesce(func.sum(each.c.credits_nanos), 0),
            func.count() - func.count(each.c.credits_nanos),
        )
        .group_by(*by)
        .order_by(*by)
    )
    for at, owner, key_hash, state, generations, credits_nanos, of_unknown_cost in connection.execute(statement):
        yield (
            at,
            UnsettledTotal(owner, key_hash, GenerationState(state), generations, int(credits_nanos), of_unknown_cost),
        )


_GRAIN_SECONDS: Final = int(GRAIN.total_seconds())
_UNSETTLED_AT: Final = func.coalesce(PENDING.c.created_at, PENDING.c.handed_in_at)
_STATE: Final = case((PENDING.c.expired.is_(None), GenerationState.PENDING.value), else_=GenerationState.EXPIRED.value)
_WHOSE: Final = PENDING.join(OWNER, OWNER.c.id == PENDING.c.owner_id).join(
    KEY, KEY.c.id == PENDING.c.key_id, isouter=True
)
_UNSETTLED: Final = (
    select(
        PENDING,
        _STATE.label("state"),
        OWNER.c.name.label("owner"),
        KEY.c.hash,
        KEY.c.name.label("key_name"),
        (func.coalesce(PENDING.c.credits_nanos, 0) + func.coalesce(PENDING.c.byok_nanos, 0)).label("money"),
    )
    .select_from(_WHOSE)
    .where(PENDING.c.again == 0)
)

_CORRECTED: Final = (
    select(
        GENERATION_CORRECTION.c.id,
        cast(func.sum(GENERATION_CORRECTION.c.credits_nanos), BIG).label("credits_nanos"),
        cast(func.sum(GENERATION_CORRECTION.c.byok_nanos), BIG).label("byok_nanos"),
    )
    .group_by(GENERATION_CORRECTION.c.id)
    .subquery("corrected")
)
_CREDITS: Final = GENERATION.c.credits_nanos + func.coalesce(_CORRECTED.c.credits_nanos, 0)
_BYOK: Final = func.coalesce(GENERATION.c.byok_nanos, 0) + func.coalesce(_CORRECTED.c.byok_nanos, 0)
_SETTLED: Final = (
    select(
        GENERATION.c.id,
        GENERATION.c.created_at,
        literal(GenerationState.SETTLED.value).label("state"),
        null().label("expired"),
        OWNER.c.name.label("owner"),
        KEY.c.hash,
        KEY.c.name.label("key_name"),
        ROUTE.c.model,
        ROUTE.c.requested_model,
        ROUTE.c.provider,
        ROUTE.c.app,
        SESSION.c.name.label("session"),
        _CREDITS.label("credits_nanos"),
        _BYOK.label("byok_nanos"),
        *(GENERATION.c[pool] for pool in POOLS),
        (_CREDITS + _BYOK).label("money"),
    )
    .join(OWNER, OWNER.c.id == GENERATION.c.owner_id)
    .join(ROUTE, ROUTE.c.id == GENERATION.c.route_id)
    .join(KEY, KEY.c.id == GENERATION.c.key_id, isouter=True)
    .join(SESSION, SESSION.c.id == GENERATION.c.session_id, isouter=True)
    .join(_CORRECTED, _CORRECTED.c.id == GENERATION.c.id, isouter=True)
)
