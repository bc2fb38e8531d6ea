"""One poll: ask every key that is due for its counters, then let the ledger decide, judge and commit.

Nothing is held while the world is asked, but a claim on the owners whose keys are asked, so that no other replica asks
them meanwhile. If the process dies before the commit nothing happened, and the next poll's deltas span the gap; there
is no state in between.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, TypeVar

import structlog

from reckon.core import plans
from reckon.core.money import usd_text
from reckon.core.plans import LedgerPolicy, Plan
from reckon.core.polls import Poll
from reckon.core.records import Failure, FailureReason, WatchedKey
from reckon.errors import ClockUnset, StoreError
from reckon.jobs.holding import held
from reckon.ports import Source
from reckon.store import Claim, Store

_T = TypeVar("_T")
_log = structlog.get_logger()

_ROUNDED: Final = timedelta(seconds=1)
"""An owner is made due at a whole second, which may be a little more than one interval ahead."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a poll is done."""

    holder: str
    """The name of this process among replicas."""
    lease: timedelta
    """How long its claims hold."""
    balances_every: timedelta | None
    """How long the account's last balance will do; None to leave it alone."""
    everything: bool = False
    """Ask every key, due or not, and also those that OpenRouter asked us to leave alone for a while."""
    most_owners: int | None = None
    """How many owners to claim at once; the rest is left for other replicas, or for the next poll."""


@dataclass(frozen=True, slots=True)
class Polled:
    """One poll that was done."""

    owners: frozenset[str]
    """Whose keys were asked."""
    plan: Plan


async def poll(  # noqa: PLR0917 - who, where, what, whose, how and when
    source: Source,
    store: Store,
    watched: Sequence[WatchedKey],
    owners: Collection[str],
    policy: LedgerPolicy,
    terms: Terms,
    now: datetime,
) -> Polled | None:
    """Ask *source* for the keys of *owners* that are due, commit what it means, and return what was decided.

    Returns None if nothing was due, or all of it is being asked by another replica.

    Args:
        source: who is asked.
        store: the ledger.
        watched: the whole owner map.
        owners: whose keys to ask.
        policy: the settings of counting and judging.
        terms: how this poll is done.
        now: the instant of this poll.

    Raises:
        ClockUnset: this machine's clock was never set. Nothing was asked or written.
        Superseded: another replica took over while we asked. Nothing was written.
        StoreError: the ledger could not be read or written. Then nothing was.
    """
    if not plans.is_set(now):
        raise ClockUnset(f"The clock of this machine shows {now:%Y-%m-%d}. Set it; until then nothing is counted.")
    asked_at = asyncio.get_running_loop().time()
    claim = await _in_thread(store, partial(_claim, store, owners, policy, terms, now))
    if owners and not claim.owners:
        return None
    try:
        due, balances_due = await _in_thread(store, partial(_due, store, watched, claim, terms, now))
        async with held(store, partial(store.renew, claim, terms.lease), terms.lease, since=asked_at):
            answers = await source.poll(due)
            # Every key of the map: without a management key each may see another account, whoever claimed it.
            balances_due = balances_due and not _is_silent(answers)
            balances = await source.balances(watched) if balances_due else ()
    except BaseException:
        with suppress(StoreError):  # the lease will run out
            await asyncio.shield(_in_thread(store, partial(store.release, claim)))
        raise
    answers = replace(answers, failures=(*answers.failures, *_unreachable(due, answers)))
    seen = replace(answers, balances=tuple(balances), balances_asked=balances_due)

    commit = partial(
        store.commit_poll,
        lambda state: plans.after_poll(state, seen, watched, policy, now),
        policy,
        now,
        seen=seen,
        watched=watched,
        claim=claim,
        next_due=plans.next_poll(now, policy),
    )
    plan = await _in_thread(store, commit)
    _tell(plan)
    return Polled(claim.owners, plan)


async def _in_thread(store: Store, work: Callable[[], _T]) -> _T:
    return await asyncio.get_running_loop().run_in_executor(store.thread, work)


def _unreachable(asked: Sequence[WatchedKey], answers: Poll) -> Iterator[Failure]:
    """Yield the failure of each key that no source could ask for; a sweep says itself what it could not show."""
    if answers.sweep is None:
        told = {seen.key_hash for seen in answers.snapshots} | {failure.key_hash for failure in answers.failures}
        for key in asked:
            if key.hash not in told:
                why = "known by its hash alone, and no management key sweeps"
                yield Failure(key.hash, FailureReason.ACCESS_DENIED, why)


def _is_silent(answers: Poll) -> bool:
    """Return whether nobody can be reached: then asking for balances would only take long."""
    reasons = {failure.reason for failure in answers.failures}
    return not answers.snapshots and FailureReason.TIMED_OUT in reasons


def _claim(store: Store, owners: Collection[str], policy: LedgerPolicy, terms: Terms, now: datetime) -> Claim:
    return store.claim_owners(
        owners,
        now,
        holder=terms.holder,
        lease=terms.lease,
        every=policy.poll_every + _ROUNDED,
        all_due=terms.everything,
        most=terms.most_owners,
    )


def _due(
    store: Store, watched: Sequence[WatchedKey], claim: Claim, terms: Terms, now: datetime
) -> tuple[Sequence[WatchedKey], bool]:
    """Return the keys to ask now, and whether the account's balance is due."""
    claimed = [entry for entry in watched if entry.owner in claim.owners]
    with store.reading() as ledger:
        every = terms.balances_every
        balances_due = every is not None and plans.is_due(ledger.balances_asked_at(), every, now)
        if terms.everything:
            return claimed, balances_due
        retry_at = ledger.retry_at()
    return [entry for entry in claimed if plans.may_be_asked(retry_at.get(entry.hash), now)], balances_due


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
    if plan.sweep_trouble is not None:
        tell = _log.warning if plan.sweep_failing_since == plan.at else _log.debug
        tell("sweep.failed", trouble=plan.sweep_trouble)
    newly_failing = {key.hash for key in plan.keys if key.failing_since == plan.at}
    for failure in plan.failures:
        tell = _log.warning if failure.key_hash in newly_failing else _log.debug  # a revoked key fails for ever
        tell("key.failed", key=failure.key_hash[:12], reason=failure.reason.value, detail=failure.detail)
    for transition in plan.transitions:
        _log.warning(f"alert.{transition.change.value}", fingerprint=transition.fingerprint, reason=transition.reason)
    _log.info("poll.committed", answered=plan.polled, failed=len(plan.failures), spend_usd=usd_text(plan.spend_nanos))
