"""Alerts: findings that persist, each known by its fingerprint, and every change in them with its reason.

There is one alert per owner, rule and local day. It opens once; what is seen again only moves its figures. A sigma
alert fires until its day has been judged at its close, and ends with the day's final figure. A staleness alert ends
with the next good answer, on whatever day; if a silence comes back on the day of an earlier one, the same alert opens
again. Two rules are about the account and nobody's: books that do not balance, for as long as those of that day do not,
and a balance that runs out.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


class Rule(StrEnum):
    """Which detector saw it. The value is what reports print."""

    SIGMA = "sigma"
    STALENESS = "staleness"
    BOOKS = "books"
    LOW_BALANCE = "low_balance"


class AlertState(StrEnum):
    """Whether it is still so."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one detector saw, with its evidence. Fields that a rule knows nothing of are None or empty."""

    rule: Rule
    owner: str | None
    """None where it is not about one owner: the source itself."""
    day: date
    """The owner's local day it is about."""
    spend_nanos: int | None = None
    """Of books that do not balance, what has no reason."""
    threshold_nanos: int | None = None
    usual_nanos: int | None = None
    """What the owner spends on a usual day."""
    history_days: int | None = None
    """How many past days the usual is made of."""
    since: datetime | None = None
    """Since when it has been so."""
    key_hashes: tuple[str, ...] = ()
    """The keys it is about, in the order of their names: for a silence, all that were ever part of it."""

    @property
    def fingerprint(self) -> str:
        """What makes two findings the same alert: `sigma:dana:2026-11-20`, `staleness::2026-11-20`."""
        return f"{self.rule.value}:{self.owner or ''}:{self.day.isoformat()}"


@dataclass(frozen=True, slots=True)
class Alert:
    """A finding that persists: the finding as it stands now, and the life it has had."""

    finding: Finding
    state: AlertState
    opened_at: datetime
    told_at: datetime
    """When somebody was last told of it by a message of its own."""
    told_nanos: int | None = None
    """The spend that was told last, edits included; of a low balance, what was left."""
    resolved_at: datetime | None = None
    openings: int = 1
    """How often it has opened."""
    gap_nanos: int = 0
    """For staleness: the money that the silence held, as the first good answers showed it."""
    id: int | None = None
    """The number people call it by; None until it is stored."""

    @property
    def fingerprint(self) -> str:
        """The same as its finding's."""
        return self.finding.fingerprint

    @property
    def opened_intent(self) -> str:
        """The intent of the message that told of it when it opened last."""
        return self.intent("opened")

    def intent(self, what: str) -> str:
        """Return the intent of a message about *what* became of it since it opened last."""
        again = f":{self.openings}" if self.openings > 1 else ""
        return f"alert:{self.fingerprint}{again}:{what}"


class Change(StrEnum):
    """What a transition did."""

    OPENED = "opened"
    OPENED_AGAIN = "opened_again"
    GREW = "grew"
    REPEATED = "repeated"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change in an alert, and its reason. They are never changed or deleted."""

    fingerprint: str
    at: datetime
    change: Change
    reason: str
    """For a person: `$84.10 is above the threshold of $7.90; the mean of 21 days is $3.10`."""
    spend_nanos: int | None = None
