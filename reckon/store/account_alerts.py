"""What alerts about the account are judged by, and writing what was decided.

Since when a day's books have been open stands in `due`: when it is to be told, if that has not passed by itself.
"""

from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, delete, select

from reckon.core.account_alerts import OPEN_FOR, AccountFound, AccountPlan, days_to_judge
from reckon.core.windows import local_date
from reckon.store import alerts, outbox, rows
from reckon.store.books import books_of
from reckon.store.funds import funds_of
from reckon.store.plan_writing import write_alerts
from reckon.store.reading import Reading
from reckon.store.tables import DUE
from reckon.store.writing import insert_rows

_BOOKS_PREFIX: Final = "books:"
_DAYS_AT_HAND: Final = timedelta(days=7)
"""An alert that has ended can open again for as long as its day is judged."""


def found(ledger: Reading, zone: ZoneInfo, now: datetime) -> AccountFound:
    """Return what is judged *now*."""
    known = alerts.firing_or_since(ledger.connection, local_date(now, zone) - _DAYS_AT_HAND)
    days = days_to_judge(ledger.first_opening(), known.values(), zone, now)
    return AccountFound(
        books=books_of(ledger, days, zone, now),
        open_since=_open_since(ledger.connection),
        funds=funds_of(ledger, now),
        alerts=known,
    )


def write(connection: Connection, plan: AccountPlan) -> None:
    """Write all that was decided, in the transaction that is open."""
    write_alerts(connection, plan, {})
    outbox.add(connection, plan.outgoing, plan.at)
    connection.execute(delete(DUE).where(DUE.c.what.startswith(_BOOKS_PREFIX)))
    insert_rows(
        connection,
        DUE,
        [
            {"what": f"{_BOOKS_PREFIX}{day.isoformat()}", "due_at": rows.seconds(since + OPEN_FOR)}
            for day, since in plan.open_since.items()
        ],
    )


def _open_since(connection: Connection) -> dict[date, datetime]:
    stored = select(DUE.c.what, DUE.c.due_at).where(DUE.c.what.startswith(_BOOKS_PREFIX))
    return {
        date.fromisoformat(row.what.removeprefix(_BOOKS_PREFIX)): rows.instant(row.due_at) - OPEN_FOR
        for row in connection.execute(stored)
    }
