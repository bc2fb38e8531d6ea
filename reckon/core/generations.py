"""The nouns of single generations, as frozen values: what somebody told of one, what is pending, what is settled.

Nothing here can hold a word of a prompt or of an answer: a generation is an id, names out of OpenRouter's catalogue,
counts and money. The one text that a caller may choose is the name of a session, which is short.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from reckon.core.tokens import UNKNOWN, TokenPools


class GenerationState(StrEnum):
    """How far a generation has come. The value is what reports print."""

    PENDING = "pending"
    SETTLED = "settled"
    EXPIRED = "expired"


class ExpiryReason(StrEnum):
    """Why a generation was given up."""

    NEVER_FOUND = "never_found"
    """OpenRouter did not know it, however often it was asked: a wrong id, or another account's."""
    ANOTHER_ACCOUNTS = "another_accounts"
    """No key of ours may see it."""
    UNREADABLE = "unreadable"
    """What OpenRouter answered could not be read, however often it was asked."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one generation, whoever told it. None is unknown."""

    created_at: datetime | None = None
    model: str | None = None
    """Which model served, as the response names it."""
    requested_model: str | None = None
    """What was asked for, if that is told: a router such as `openrouter/auto`, or a model."""
    provider: str | None = None
    """The host that OpenRouter routed to."""
    app: str | None = None
    session: str | None = None
    credits_nanos: int | None = None
    byok_nanos: int | None = None
    """Through an upstream key of the team's own, beside the credits."""
    pools: TokenPools = UNKNOWN

    def over(self, other: "Facts") -> "Facts":
        """Return these facts, and those of *other* where these know nothing. Money is one fact and not two."""
        has_cost = self.credits_nanos is not None
        return Facts(
            created_at=self.created_at or other.created_at,
            model=self.model or other.model,
            requested_model=self.requested_model or other.requested_model,
            provider=self.provider or other.provider,
            app=self.app or other.app,
            session=self.session or other.session,
            credits_nanos=self.credits_nanos if has_cost else other.credits_nanos,
            byok_nanos=self.byok_nanos if has_cost else other.byok_nanos,
            pools=self.pools.over(other.pools),
        )


@dataclass(frozen=True, slots=True)
class Handed:
    """One generation id as it was handed in, with what was said of it then: provisional, all of it."""

    id: str
    owner: str
    """Whose it is, or `UNOWNED` if nobody said."""
    key_hash: str | None
    """By which key it ran, if that was said."""
    facts: Facts = field(default_factory=Facts)


@dataclass(frozen=True, slots=True)
class Pending:
    """One generation whose cost is still to be asked for, or that was given up."""

    id: str
    owner: str
    key_hash: str | None
    handed_in_at: datetime
    due_at: datetime | None
    """Not to be asked for before this instant; None once it has expired."""
    attempts: int = 0
    """How many lookups have counted."""
    refusals: int = 0
    """How many of the keys that might see it have been refused so far, in the order in which they are asked."""
    expired: ExpiryReason | None = None
    facts: Facts = field(default_factory=Facts)

    @property
    def state(self) -> GenerationState:
        """Pending, or expired."""
        return GenerationState.EXPIRED if self.expired else GenerationState.PENDING


@dataclass(frozen=True, slots=True)
class Settled:
    """One generation whose cost will no longer change. Its facts hold when it was made and what it cost."""

    id: str
    owner: str
    key_hash: str | None
    settled_at: datetime
    facts: Facts


@dataclass(frozen=True, slots=True)
class CostCorrection:
    """A cost that turned out different after it had settled: what is to be added to it, signed."""

    id: str
    at: datetime
    credits_nanos: int
    byok_nanos: int


# --- What a lookup came to -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Found:
    """OpenRouter knows the generation."""

    facts: Facts
    is_finished: bool
    """False where tokens and cost are all zero although nothing explains it: the cost has not been written yet."""


class Unfound(StrEnum):
    """Why one lookup told nothing of the generation."""

    NOT_YET = "not_yet"
    """404: not known, which a wrong account is told as well."""
    NOT_OURS = "not_ours"
    """403: it belongs to an account that the asking key may not see."""
    KEY_REFUSED = "key_refused"
    """401: the asking key is no longer one."""
    BUSY = "busy"
    """429, 5xx, a time-out: nothing was learnt, not even that it is unknown."""
    UNREADABLE = "unreadable"
    """An answer, but not one that the documents promise."""


@dataclass(frozen=True, slots=True)
class NotFound:
    """One lookup told nothing of the generation."""

    reason: Unfound
    detail: str
    """One line for a person. Never a body, never a secret."""
    retry_after_seconds: int | None = None


Lookup = Found | NotFound


# --- Sums ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallPlace:
    """What some settled generations have in common: a field is None where it was not asked for, or is not known."""

    owner: str | None = None
    key_hash: str | None = None
    model: str | None = None
    requested_model: str | None = None
    provider: str | None = None
    app: str | None = None
    session: str | None = None


@dataclass(frozen=True, slots=True)
class CallTotal:
    """Some settled generations of one place, added up, corrections included. A pool is None if one of them was."""

    place: CallPlace
    generations: int
    credits_nanos: int
    byok_nanos: int
    pools: TokenPools


@dataclass(frozen=True, slots=True)
class UnsettledTotal:
    """The generations of one owner and key that have not settled, by state."""

    owner: str
    key_hash: str | None
    state: GenerationState
    generations: int
    known_credits_nanos: int
    """What was said of their cost when they were handed in."""
    of_unknown_cost: int
    """Of how many nobody said anything."""


@dataclass(frozen=True, slots=True)
class Call:
    """One generation as it is listed, whatever its state."""

    id: str
    owner: str
    key_hash: str | None
    key_name: str | None
    state: GenerationState
    facts: Facts
    expired: ExpiryReason | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """What became of the generations that were handed in together."""

    accepted: int
    duplicates: int
    rejected: Sequence[tuple[str | None, str]] = ()
    """(id, reason); without an id where none could be read. No reason repeats what was sent."""
    known: Collection[str] = frozenset()
    """The ids that the ledger knew already; an id handed in twice together is a duplicate too, and not among them."""
