"""What is left of the account's credits, as somebody last saw it, and what the last day took of them."""

from datetime import datetime

from sqlalchemy import select

from reckon.core.funds import Funds, daily_nanos, last_day
from reckon.core.records import Meter
from reckon.store.account_told import balances_seen
from reckon.store.matching import among
from reckon.store.reading import Reading
from reckon.store.tables import KEY


def funds_of(ledger: Reading, now: datetime) -> Funds | None:
    """Return the account's funds as a management key saw them last, else as an inference key did; None if none may."""
    balances = ledger.balances()
    if not balances:
        return None
    seen_by = {balance.seen_by for balance in balances}
    found = ledger.connection.execute(
        select(KEY.c.hash, KEY.c.name).where(among(ledger.connection, KEY.c.hash, seen_by))
    )
    names = {row.hash: row.name for row in found}
    balance = next((each for each in balances if each.seen_by not in names), balances[0])
    day = last_day(now)
    counted = sum(total.spend_nanos for total in ledger.totals([day])[0] if total.meter is Meter.CREDITS)
    is_the_accounts = balance.seen_by not in names
    return Funds(
        at=balance.at,
        left_nanos=balance.left_nanos,
        daily_nanos=daily_nanos(counted, balances_seen(ledger.connection, day) if is_the_accounts else ()),
        seen_by=names.get(balance.seen_by),
        purchased_nanos=balance.credits_nanos,
    )
