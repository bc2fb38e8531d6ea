"""One poll: ask every key for its counters, then let the ledger decide and commit.

Nothing is held while the world is asked. If the process dies before the commit nothing happened, and the next poll's
deltas span the gap; there is no state in between.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import structlog

from reckon.core import plans
from reckon.core.money import usd_text
from reckon.core.plans import LedgerPolicy, Plan
from reckon.core.records import Poll, WatchedKey
from reckon.errors import ClockUnset
from reckon.ports import Source
from reckon.store import Store

_log = structlog.get_logger()


async def poll(
    source: Source,
    store: Store,
    watched: Sequence[WatchedKey],
    policy: LedgerPolicy,
    now: datetime,
    *,
    balances_every: timedelta | None,
    heed_waits: bool = True,
) -> Plan:
    """Ask *source* for every watched key, commit what it means, and return what was decided.

    Args:
        source: who is asked.
        store: the ledger.
        watched: the whole owner map.
        policy: the ledger's settings.
        now: the instant of this poll.
        balances_every: how long the account's last balance will do; None to leave it alone.
        heed_waits: leave alone the keys that OpenRouter asked us to wait for; a person at the command line may not.

    Raises:
        ClockUnset: this machine's clock was never set. Nothing was asked or written.
        StoreError: the ledger could not be read or written. Then nothing was.
    """
    if not plans.is_set(now):
        raise ClockUnset(f"The clock of this machine shows {now:%Y-%m-%d}. Set it; until then nothing is counted.")
    in_thread = partial(asyncio.get_running_loop().run_in_executor, store.thread)
    due, balances_due = await in_thread(_due, store, watched, now, balances_every, heed_waits)

    answers = await source.poll(due)
    balances = await source.balances(due) if balances_due else ()
    seen = Poll(answers.snapshots, answers.failures, tuple(balances), balances_due, answers.swept)

    plan = await in_thread(
        store.commit_poll,
        lambda state: plans.after_poll(state, seen, watched, policy, now),
        policy,
        now,
    )
    _tell(plan)
    return plan


def _due(
    store: Store, watched: Sequence[WatchedKey], now: datetime, balances_every: timedelta | None, heed_waits: bool
) -> tuple[Sequence[WatchedKey], bool]:
    """Return the keys to ask now, and whether the account's balance is due."""
    with store.reading() as ledger:
        balances_due = balances_every is not None and plans.is_due(ledger.balances_asked_at(), balances_every, now)
        if not heed_waits:
            return watched, balances_due
        keys = {key.hash: key for key in ledger.every_key()}
    return [entry for entry in watched if plans.may_be_asked(keys.get(entry.hash), now)], balances_due


def _tell(plan: Plan) -> None:
    for key_hash, correction in plan.corrections:
        _log.warning(
            "counter.corrected",
            key=key_hash[:12],
            meter=correction.meter.value,
            kind=correction.kind.value,
            usd=usd_text(correction.nanos),
            since=correction.at.isoformat(),
        )
    for failure in plan.failures:
        _log.warning("key.failed", key=failure.key_hash[:12], reason=failure.reason.value, detail=failure.detail)
    _log.info("poll.committed", answered=plan.polled, failed=len(plan.failures), spend_usd=usd_text(plan.spend_nanos))
