"""Digests: what is due is decided, composed and queued in one transaction.

The period reported last is remembered in the transaction that puts its digest into the outbox, so it is told once: not
again after a crash, and not by a second replica. Should that memory fail (a clock that was far ahead), the intent is
taken. A digest that somebody asks for has an intent of its own and moves nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from zoneinfo import ZoneInfo

from reckon.core.alert_messages import Person
from reckon.core.digest_calendar import DigestTime, Due, due
from reckon.core.digest_figures import Digest, Facts, figures
from reckon.core.digest_messages import compose
from reckon.core.messages import Message
from reckon.core.outbox import Outgoing
from reckon.core.reports import OwnerMap


@dataclass(frozen=True, slots=True)
class DigestPolicy:
    """The settings that digests need."""

    zone: ZoneInfo
    times: tuple[DigestTime, ...]
    """One for each kind that is not turned off."""
    people: Mapping[str, Person]
    owner_map: OwnerMap
    byok: bool = True
    """Whether what is usual counts money through the team's own upstream keys, as in `anomaly.byok`."""


@dataclass(frozen=True, slots=True)
class DigestPlan:
    """All that one look at the calendar decided. Writing it is one transaction."""

    outgoing: tuple[Outgoing, ...] = ()
    due: Mapping[str, date] = field(default_factory=dict)
    """The first day of the period that is now the last reported, by what it is remembered under: `digest:daily`."""


def due_now(
    policy: DigestPolicy, first_opening: datetime | None, last_reported: Mapping[str, date], now: datetime
) -> list[Due]:
    """Return the digests that are due at *now*, at most one of each kind; none while no key has been seen."""
    found = (
        due(when, policy.zone, last_reported=last_reported.get(when.kind.key), first_opening=first_opening, now=now)
        for when in policy.times
    )
    return [one for one in found if one]


def plan(dues: Sequence[Due], facts: Facts, policy: DigestPolicy, now: datetime) -> DigestPlan:
    """Return the digests of *dues* as messages to send, and that they are told."""
    return DigestPlan(
        outgoing=tuple(Outgoing(one.intent, _message(one, facts, policy, now)) for one in dues),
        due={one.kind.key: one.first for one in dues},
    )


def asked_for(one: Due, facts: Facts, policy: DigestPolicy, now: datetime) -> DigestPlan:
    """Return the digest of *one* as a message to send beside those of the calendar, which it leaves as it is."""
    intent = f"{one.intent}:asked:{now:%Y%m%dT%H%M%SZ}"
    return DigestPlan(outgoing=(Outgoing(intent, _message(one, facts, policy, now)),))


def digest_of(one: Due, facts: Facts, policy: DigestPolicy, now: datetime) -> Digest:
    """Return the figures of *one*."""
    return figures(one, facts, policy.owner_map, zone=policy.zone, byok=policy.byok, now=now)


def _message(one: Due, facts: Facts, policy: DigestPolicy, now: datetime) -> Message:
    return compose(digest_of(one, facts, policy, now), policy.people)
