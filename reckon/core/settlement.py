"""Settlement: a generation's life from handed in to settled or expired, and when it is asked for again.

OpenRouter writes down what a generation cost some time after it ended: half a second, seconds, minutes after a stream
that broke off. Until then it answers 404, which it also says of an id that is wrong or another account's; or 200 with
no tokens and no cost. So each lookup that brings no cost waits longer for the next one, by a schedule, and when that is
used up the generation is given up: listed, and asked for again if a person says so.

A lookup that learnt nothing of the generation itself does not count: a limit of the rate, an outage and a key that was
revoked say nothing about it. An answer that looks unfinished counts, and settles as it stands when the schedule ends.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from reckon.core.generations import (
    CostCorrection,
    ExpiryReason,
    Facts,
    Found,
    Handed,
    Lookup,
    NotFound,
    Pending,
    Settled,
    Unfound,
)
from reckon.core.records import WatchedKey
from reckon.core.windows import whole_second

MOST_ASKERS: Final = 32
"""How many keys are asked about one generation at most; a team has fewer accounts than that."""
_AT_ONCE: Final = timedelta(seconds=1)
_SHORTEST_REST: Final = timedelta(seconds=5)
_LONGEST_REST: Final = timedelta(hours=1)
_REST_FOR_A_PERSON: Final = timedelta(minutes=5)
"""What only a person can mend is not mended within seconds."""


@dataclass(frozen=True, slots=True)
class SettlePolicy:
    """The settings that settlement needs."""

    schedule: Sequence[timedelta]
    """The waits before each lookup that counts, the first included. Never empty."""

    @property
    def longest_wait(self) -> timedelta:
        """How far ahead a lookup is ever put off; one further away was by a clock that has been set back since."""
        return max(*self.schedule, _LONGEST_REST)


@dataclass(frozen=True, slots=True)
class SettlePlan:
    """What some lookups decided. Writing it is one transaction."""

    settled: tuple[Settled, ...] = ()
    waiting: tuple[Pending, ...] = ()
    """Those to be asked for again, and those given up, as they stand now."""


def pending(handed: Handed, policy: SettlePolicy, now: datetime) -> Pending:
    """Return what was handed in *now* as it waits for its first lookup."""
    return Pending(
        id=handed.id,
        owner=handed.owner,
        key_hash=handed.key_hash,
        handed_in_at=whole_second(now),
        due_at=whole_second(now + policy.schedule[0]),
        facts=handed.facts,
    )


def asked_again(given_up: Pending, policy: SettlePolicy, now: datetime) -> Pending:
    """Return what had expired as it begins anew."""
    due_at = whole_second(now + policy.schedule[0])
    return replace(given_up, due_at=due_at, attempts=0, refusals=0, expired=None)


class Askers:
    """Which keys may see a generation, in the order in which they are asked.

    The key that ran it, its owner's other keys, any other key, for one account's keys all see the same; at last the
    management key. Never more than `MOST_ASKERS`.
    """

    def __init__(self, keys: Iterable[WatchedKey], management_key_hash: str | None) -> None:
        self._owned: defaultdict[str, list[str]] = defaultdict(list)
        for key in keys:
            self._owned[key.owner].append(key.hash)
        self._anybody = [key_hash for owned in self._owned.values() for key_hash in owned[:MOST_ASKERS]]
        self._known = {key_hash for owned in self._owned.values() for key_hash in owned}
        self._management_key = [management_key_hash] if management_key_hash else []

    def of(self, waiting: Pending) -> list[str]:
        """Return the hashes of the keys to ask about *waiting*; none if there is nobody to ask."""
        its_own = [waiting.key_hash] if waiting.key_hash in self._known else []
        owners = self._owned[waiting.owner][:MOST_ASKERS] if waiting.owner in self._owned else []
        room = MOST_ASKERS - len(self._management_key)
        in_order = dict.fromkeys([*its_own, *owners, *self._anybody[: 2 * MOST_ASKERS]])
        return [*[*in_order][:room], *self._management_key]

    def next_for(self, waiting: Pending) -> str | None:
        """Return the hash of the key whose turn it is; None if there is nobody to ask."""
        found = self.of(waiting)
        # Another account's id is unknown as well: whoever has not heard of it twice may not be the one to ask.
        unheard = max(0, waiting.attempts - 1) if waiting.key_hash is None else 0
        return found[(waiting.refusals + unheard) % len(found)] if found else None


def after_lookups(asked: Sequence[tuple[Pending, Lookup, int]], policy: SettlePolicy, now: datetime) -> SettlePlan:
    """Return what some lookups mean: for each a generation, what was learnt, and how many keys may be asked for it."""
    outcomes = [after_lookup(*each, policy, now) for each in asked]
    return SettlePlan(
        settled=tuple(outcome for outcome in outcomes if isinstance(outcome, Settled)),
        waiting=tuple(outcome for outcome in outcomes if isinstance(outcome, Pending)),
    )


def after_lookup(
    waiting: Pending, lookup: Lookup, may_be_asked: int, policy: SettlePolicy, now: datetime
) -> Settled | Pending:
    """Return what one *lookup* means for a generation: settled, to be asked for again, or expired.

    Args:
        waiting: the generation as it stood.
        lookup: what was learnt.
        may_be_asked: how many keys there are to ask about it.
        policy: when to ask again.
        now: when it was learnt.
    """
    if isinstance(lookup, Found):
        is_last = waiting.attempts + 1 >= len(policy.schedule)
        if lookup.is_finished or is_last:
            return _settled(waiting, lookup.facts, now)
        return _counted(waiting, ExpiryReason.NEVER_FOUND, policy, now)
    match lookup.reason:
        case Unfound.NOT_YET:
            return _counted(waiting, ExpiryReason.NEVER_FOUND, policy, now)
        case Unfound.UNREADABLE:
            return _counted(waiting, ExpiryReason.UNREADABLE, policy, now)
        case Unfound.BUSY:
            return replace(waiting, due_at=whole_second(now + _rest(waiting, lookup, policy)))
        case Unfound.NOT_OURS | Unfound.KEY_REFUSED:
            return _refused(waiting, lookup, may_be_asked, policy, now)


def correction(before: Settled, again: Settled) -> CostCorrection | None:
    """Return the difference between the cost that settled *before* and the one that was learnt *again*, if any."""
    credits_nanos = (again.facts.credits_nanos or 0) - (before.facts.credits_nanos or 0)
    byok_nanos = (again.facts.byok_nanos or 0) - (before.facts.byok_nanos or 0)
    found = CostCorrection(before.id, again.settled_at, credits_nanos, byok_nanos)
    return found if credits_nanos or byok_nanos else None


def _settled(waiting: Pending, facts: Facts, now: datetime) -> Settled:
    known = facts.over(waiting.facts)
    at = whole_second(now)
    return Settled(waiting.id, waiting.owner, waiting.key_hash, at, replace(known, created_at=known.created_at or at))


def _counted(waiting: Pending, reason: ExpiryReason, policy: SettlePolicy, now: datetime) -> Pending:
    attempts = waiting.attempts + 1
    if attempts >= len(policy.schedule):
        return replace(waiting, attempts=attempts, due_at=None, expired=reason)
    return replace(waiting, attempts=attempts, due_at=whole_second(now + policy.schedule[attempts]))


def _refused(waiting: Pending, lookup: NotFound, may_be_asked: int, policy: SettlePolicy, now: datetime) -> Pending:
    """Ask the next key at once; when all have been refused, wait for a person to mend the keys, or give it up."""
    refusals = waiting.refusals + 1
    if refusals < may_be_asked:
        return replace(waiting, refusals=refusals, due_at=whole_second(now + _AT_ONCE))
    if lookup.reason is Unfound.NOT_OURS:
        return replace(waiting, refusals=refusals, due_at=None, expired=ExpiryReason.ANOTHER_ACCOUNTS)
    rest = max(_REST_FOR_A_PERSON, _rest(waiting, lookup, policy))
    return replace(waiting, refusals=0, due_at=whole_second(now + rest))


def _rest(waiting: Pending, lookup: NotFound, policy: SettlePolicy) -> timedelta:
    """Return how long to leave OpenRouter alone: as long as it said, else as long as the schedule would, in reason.

    A wait of no seconds says nothing: taken at its word, an outage would be asked about without a pause.
    """
    if lookup.retry_after_seconds:
        return timedelta(seconds=lookup.retry_after_seconds)
    return min(_LONGEST_REST, max(_SHORTEST_REST, policy.schedule[min(waiting.attempts, len(policy.schedule) - 1)]))
