"""Digests: look at the calendar, and queue what is due.

Most looks find nothing, and cost one read. Where one finds something, everything is read again in the transaction that
decides and writes, so a digest is queued once, by whichever replica came first.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import partial

import structlog

from reckon.core import digest as digests
from reckon.core.digest import DigestPlan, DigestPolicy
from reckon.core.digest_calendar import DigestKind, Due, last_day, latest
from reckon.core.digest_figures import CALLS_TOLD_BY, Digest, Facts, windows_to_read
from reckon.core.records import UNOWNED
from reckon.core.reports import Ledger
from reckon.core.windows import Window, dates, local_date
from reckon.store import Store
from reckon.store.books import books_of
from reckon.store.reading import Reading

_log = structlog.get_logger()
_NOTHING = DigestPlan()


async def digest(store: Store, policy: DigestPolicy, now: datetime) -> DigestPlan:
    """Queue every digest that is due at *now*, and return what was decided.

    Raises:
        StoreError: the ledger could not be read or written. Then nothing was, and what is due stays so.
    """
    return await _in_thread(store, partial(_queue_due, store, policy, now))


async def digest_asked_for(store: Store, policy: DigestPolicy, kind: DigestKind, now: datetime) -> DigestPlan:
    """Queue the digest of the latest period that is over at *now*, whether or not it was told before.

    The calendar goes on as if nobody had asked.

    Raises:
        StoreError: the ledger could not be read or written. Then nothing was.
    """
    one = latest(kind, policy.zone, now)
    commit = partial(
        store.commit_digest,
        lambda ledger: _facts(ledger, [one], policy, now),
        lambda facts: digests.asked_for(one, facts, policy, now),
        now,
    )
    plan = await _in_thread(store, commit)
    _tell(plan)
    return plan


def rendered(store: Store, policy: DigestPolicy, kind: DigestKind, now: datetime) -> Digest:
    """Return the digest of the latest period that is over at *now*; nothing is queued.

    Raises:
        StoreError: the ledger could not be read.
    """
    one = latest(kind, policy.zone, now)
    with store.reading() as ledger:
        facts = _facts(ledger, [one], policy, now)
    return digests.digest_of(one, facts, policy, now)


def _queue_due(store: Store, policy: DigestPolicy, now: datetime) -> DigestPlan:
    with store.reading() as ledger:
        if not _due(ledger, policy, now):
            return _NOTHING

    def read(ledger: Reading) -> tuple[Sequence[Due], Facts]:
        dues = _due(ledger, policy, now)
        return dues, _facts(ledger, dues, policy, now)

    def decide(found: tuple[Sequence[Due], Facts]) -> DigestPlan:
        return digests.plan(*found, policy, now)

    plan = store.commit_digest(read, decide, now)
    _tell(plan)
    return plan


def _due(ledger: Reading, policy: DigestPolicy, now: datetime) -> list[Due]:
    return digests.due_now(policy, ledger.first_opening(), ledger.due_dates(), now)


def _facts(ledger: Reading, dues: Sequence[Due], policy: DigestPolicy, now: datetime) -> Facts:
    keys = ledger.every_key()
    windows = [*dict.fromkeys(window for one in dues for window in windows_to_read(one, policy.zone))]
    held = ledger.totals(windows)
    periods = [*dict.fromkeys(one.reported for one in dues)]
    calls = ledger.call_totals([(None, period) for period in periods], CALLS_TOLD_BY, policy.zone)
    needs_days = any(one.kind is DigestKind.DAILY for one in dues)
    return Facts(
        keys=keys,
        ledgers={
            window: Ledger(keys, [(None, window)], [totals], ledger.gaps(window))
            for window, totals in zip(windows, held, strict=True)
        },
        owner_days=ledger.owner_days({UNOWNED, *policy.owner_map.teams}) if needs_days else (),
        alerts=ledger.alerts_since(min(one.news_since for one in dues)) if dues else (),
        calls=dict(zip(periods, calls, strict=True)),
        books={period: books_of(ledger, _days(period, policy), policy.zone, now) for period in periods},
    )


def _days(period: Window, policy: DigestPolicy) -> Iterator[date]:
    return dates(local_date(period.start, policy.zone), last_day(period, policy.zone) + timedelta(days=1))


def _tell(plan: DigestPlan) -> None:
    for outgoing in plan.outgoing:
        _log.info("digest.decided", intent=outgoing.intent, headline=outgoing.message.headline)


async def _in_thread(store: Store, work: Callable[[], DigestPlan]) -> DigestPlan:
    return await asyncio.get_running_loop().run_in_executor(store.thread, work)
