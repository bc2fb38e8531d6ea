"""What the account tells of itself beside its counters, as it was kept: UTC days, and its balance through time."""

from collections.abc import Collection, Iterable
from datetime import date
from typing import Final

from sqlalchemy import Connection, and_, func, select

from reckon.core.comparing import Teller, Told, utc_day
from reckon.core.comparing_credits import BalanceSeen
from reckon.core.records import Balance
from reckon.core.windows import GRAIN, Window, grain_start
from reckon.store.rows import instant, seconds
from reckon.store.tables import ACCOUNT_DAY, ACTIVITY, ANALYTICS_HOUR, BALANCE_SEEN, KEY
from reckon.store.writing import insert_missing

_TELLERS: Final = {teller.value: teller for teller in (Teller.ACTIVITY, Teller.ANALYTICS)}


def told_of(connection: Connection, day: date) -> list[Told]:
    """Return what activity and analytics tell of a UTC day, in this order, as far as they do."""
    statement = select(ACCOUNT_DAY).where(ACCOUNT_DAY.c.day == day.isoformat(), ACCOUNT_DAY.c.source.in_(_TELLERS))
    return [
        Told(_TELLERS[row.source], row.credits_nanos, instant(row.read_at), _by_key(connection, row.source, day))
        for row in connection.execute(statement.order_by(ACCOUNT_DAY.c.source))
    ]


def balances_seen(connection: Connection, span: Window) -> list[BalanceSeen]:
    """Return the balance as the management key saw it in *span*, in the order of time."""
    inside = (seconds(span.start) <= BALANCE_SEEN.c.at) & (seconds(span.end) > BALANCE_SEEN.c.at)
    return [
        BalanceSeen(instant(row.at), row.credits_nanos, row.usage_nanos)
        for row in connection.execute(select(BALANCE_SEEN).where(inside).order_by(BALANCE_SEEN.c.at))
    ]


def keep_balances(connection: Connection, balances: Iterable[Balance], inference_keys: Collection[str]) -> None:
    """Keep the balance that a management key told, the first of each quarter of an hour.

    What an inference key is told may be another account's, or none at all.
    """
    for told in balances:
        start = grain_start(told.at)
        if told.seen_by not in inference_keys and not balances_seen(connection, Window(start, start + GRAIN)):
            row = {"at": seconds(told.at), "credits_nanos": told.credits_nanos, "usage_nanos": told.usage_nanos}
            insert_missing(connection, BALANCE_SEEN, [row], key=("at",))


def _by_key(connection: Connection, source: str, day: date) -> dict[str, int]:
    """Return what of a day's credits is told of each key, by hash."""
    if source == Teller.ACTIVITY:
        table, of_the_day = ACTIVITY, and_(ACTIVITY.c.day == day.isoformat())
    else:
        span = utc_day(day)
        starts = ANALYTICS_HOUR.c.start
        table, of_the_day = ANALYTICS_HOUR, and_(starts >= seconds(span.start), starts < seconds(span.end))
    statement = (
        select(KEY.c.hash, func.sum(table.c.credits_nanos).label("credits"))
        .join(table, table.c.key_id == KEY.c.id)
        .where(of_the_day)
        .group_by(KEY.c.hash)
    )
    return {row.hash: int(row.credits) for row in connection.execute(statement)}
