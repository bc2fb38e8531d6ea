"""Watching the account: whether its books balance, and how long its credits last.

Most looks change nothing, and cost one reading. Where one would, everything is read again in the transaction that
decides and writes, so that an alert opens once, whichever replica comes first.
"""

import asyncio
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import structlog

from reckon.core import account_alerts
from reckon.core.account_alerts import AccountFound, AccountPlan
from reckon.store import Store
from reckon.store import account_alerts as stored
from reckon.store.reading import Reading

_log = structlog.get_logger()


async def watch_account(store: Store, zone: ZoneInfo, now: datetime) -> AccountPlan:
    """Judge the account as it stands at *now*, write what that means, and return it.

    Raises:
        StoreError: the ledger could not be read or written. Then nothing was.
    """
    return await asyncio.get_running_loop().run_in_executor(store.thread, partial(_watch, store, zone, now))


def _watch(store: Store, zone: ZoneInfo, now: datetime) -> AccountPlan:
    now = now.replace(microsecond=0)  # as it is remembered

    def read(ledger: Reading) -> AccountFound:
        return stored.found(ledger, zone, now)

    def decide(found: AccountFound) -> AccountPlan:
        return account_alerts.judge(found, zone, now)

    with store.reading() as ledger:
        found = read(ledger)
    plan = decide(found)
    if plan.changes(found):
        plan = store.transact(read, decide, stored.write)
    for transition in plan.transitions:
        _log.warning(f"alert.{transition.change.value}", fingerprint=transition.fingerprint, reason=transition.reason)
    return plan
