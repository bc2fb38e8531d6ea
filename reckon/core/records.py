"""The nouns, as frozen values.

Three groups. What a source brings home: `Snapshot`, `Failure`, `Balance`, gathered in a `polls.Poll`. What the ledger
remembers of one key: `KeyState` with its two `Counter`s. What the ledger writes down for good: `StoredSnapshot`,
`Correction`, `Gap`, `WindowSpend`, `OwnerDay`.

Every instant is aware, in UTC and on a whole second; a source rounds the instant of an answer up, so that an answer
never claims to be older than what it contains.
"""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Final

UNOWNED: Final = "(unowned)"
"""The owner of every key that no entry of the owner map claims."""


class Meter(StrEnum):
    """Which total of a key: money from OpenRouter credits, or through the team's own upstream keys (BYOK)."""

    CREDITS = "credits"
    BYOK = "byok"


# --- What a source brings home -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WatchedKey:
    """One entry of the owner map: a key to watch, known by the hash of its secret."""

    hash: str
    """Lower-case hex SHA-256 of the whole key string, which is also OpenRouter's own name for it."""
    owner: str
    name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One meter of one key at one instant: the lifetime counter, and the running UTC day, week and month."""

    total_nanos: int
    daily_nanos: int
    weekly_nanos: int
    monthly_nanos: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every counter of one key at one instant."""

    key_hash: str
    at: datetime
    credits: Reading
    byok: Reading
    label: str | None = None
    """OpenRouter's own masked form of the key."""
    created_at: datetime | None = None
    """When the key was made, where the source tells (a sweep does, a key asked about itself does not)."""
    workspace: str | None = None


class FailureReason(StrEnum):
    """Why one key yielded no snapshot. The value is what `reckon poll --json` prints."""

    ACCESS_DENIED = "access_denied"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    NOT_JSON = "not_json"
    TOO_LARGE = "too_large"
    REDIRECTED = "redirected"
    UNEXPECTED_ANSWER = "unexpected_answer"
    IMPLAUSIBLE = "implausible"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one key yielded no snapshot: a value, so that one revoked key never costs the poll."""

    key_hash: str
    reason: FailureReason
    detail: str
    """One line for a person: `HTTP 502`, `data.usage: negative money`. Never a body, never a secret."""
    retry_after_seconds: int | None = None
    """How long the answer asked us to wait, already capped."""


@dataclass(frozen=True, slots=True)
class Balance:
    """The account's purchased credits and total usage, as one key was allowed to see them.

    Account-level: never attributed to an owner and never summed over keys. What is left may be negative.
    """

    seen_by: str
    """The hash of the key that was asked."""
    at: datetime
    credits_nanos: int
    usage_nanos: int

    @property
    def left_nanos(self) -> int:
        """What is left of the credits; negative when the account is overdrawn."""
        return self.credits_nanos - self.usage_nanos


# --- What the ledger remembers of one key --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Dip:
    """A counter standing below its mark: not yet believed, not yet counted."""

    after: datetime
    """The last sight above: the fall lies between this and `since`."""
    since: datetime
    """The first sight below."""
    lowest_nanos: int
    polls: int
    """How many polls in a row have seen it below the mark."""
    first_n: int
    """The first stored snapshot below the mark."""


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter as the ledger knows it."""

    opening: Reading
    mark_nanos: int
    """The highest value accepted, or the value a correction brought it down to."""
    total_nanos: int
    """The last value accepted; below the mark only while a dip is pending."""
    daily_nanos: int
    dip: Dip | None = None


@dataclass(frozen=True, slots=True)
class Counters:
    """Both counters of a key that has been seen at least once."""

    opened_at: datetime
    last_seen_at: datetime
    n: int
    """How many snapshots of this key are stored; also the number of the last one."""
    credits: Counter
    byok: Counter


@dataclass(frozen=True, slots=True)
class KeyState:
    """All the ledger remembers of one key. `counters` is None until its first snapshot."""

    hash: str
    owner: str
    name: str
    watched: bool
    """False once the key has left the owner map: its past stays, its future is not asked for."""
    label: str | None = None
    counters: Counters | None = None
    failure: FailureReason | None = None
    """Why the last poll brought nothing; None when it brought a snapshot."""
    failing_since: datetime | None = None
    retry_at: datetime | None = None
    """Not before this instant, as OpenRouter asked."""
    workspace: str | None = None
    """The id of the workspace in which a sweep saw it last; None for a key that no sweep has seen."""
    missing: int = 0
    """In how many complete sweeps of that workspace in a row it was not there."""


@dataclass(frozen=True, slots=True)
class OwnerState:
    """How far one owner's calendar has been closed."""

    name: str
    began_at: datetime | None = None
    """Since when this owner is watched; None until a key of theirs has been seen."""
    open_day: date | None = None
    """The first local day not yet closed; None as long as `began_at` is."""
    guessed_credits_nanos: int = 0
    """How much of the open day's spend is a guess: the share, by time, of a gap over its beginning."""
    guessed_byok_nanos: int = 0


# --- What the ledger writes down for good --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredSnapshot:
    """One row of the ledger: what changed, and the stretch `[since, at)` in which it did."""

    n: int
    at: datetime
    since: datetime
    credits_nanos: int
    credits_daily_nanos: int
    byok_nanos: int
    byok_daily_nanos: int

    def total_nanos(self, meter: Meter) -> int:
        """Return the lifetime counter of *meter*."""
        return self.credits_nanos if meter is Meter.CREDITS else self.byok_nanos

    def daily_nanos(self, meter: Meter) -> int:
        """Return the UTC day's counter of *meter*."""
        return self.credits_daily_nanos if meter is Meter.CREDITS else self.byok_daily_nanos


@dataclass(frozen=True, slots=True)
class Delta:
    """Growth of one counter over `[since, at)`, closed by stored snapshot *n*. Always positive."""

    meter: Meter
    n: int
    since: datetime
    at: datetime
    nanos: int
    midnight: datetime | None = None
    """The 00:00 UTC inside the stretch at which the day counter proves the split, if there is one."""
    after_midnight_nanos: int = 0


class CorrectionKind(StrEnum):
    """A counter that stayed down: part of it was taken back, or it began again."""

    CORRECTION = "correction"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Correction:
    """A fall that stayed: the signed amount from the mark down to the dip's lowest value (to zero for a reset)."""

    meter: Meter
    kind: CorrectionKind
    at: datetime
    """When the dip began, which is the date the money is booked on."""
    nanos: int
    first_n: int
    """The first stored snapshot of the dip."""
    last_n: int
    """The last stored snapshot when it was decided: growth up to it has been counted."""
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch longer than expected with money in it: how it divides over its inside is an estimate.

    At `midnight`, where there is one, the day counter proves the division.
    """

    key_hash: str
    n: int
    since: datetime
    at: datetime
    midnight: datetime | None
    nanos: int

    def leaves_open(self, edge: datetime) -> bool:
        """Return whether this gap makes it uncertain how much lies before *edge*."""
        return self.since < edge < self.at and edge != self.midnight


@dataclass(frozen=True, slots=True)
class WindowSpend:
    """Money to add to one quarter-hour window of one key, under the owner who held it when it was observed."""

    start: datetime
    owner: str
    key_hash: str
    meter: Meter
    spend_nanos: int
    correction_nanos: int


class TotalState(StrEnum):
    """How much a total can be trusted. The value is what reports print."""

    UNKNOWN = "unknown"
    PROVISIONAL = "provisional"
    SETTLED = "settled"


@dataclass(frozen=True, slots=True)
class Amounts:
    """Both meters side by side, spend and corrections apart: spend is never negative, corrections never positive."""

    spend_nanos: int = 0
    correction_nanos: int = 0
    byok_nanos: int = 0
    byok_correction_nanos: int = 0

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(
            self.spend_nanos + other.spend_nanos,
            self.correction_nanos + other.correction_nanos,
            self.byok_nanos + other.byok_nanos,
            self.byok_correction_nanos + other.byok_correction_nanos,
        )

    def spent(self, *, byok: bool) -> int:
        """Return the spend, with that through the team's own upstream keys or without."""
        return self.spend_nanos + self.byok_nanos if byok else self.spend_nanos

    @classmethod
    def of(cls, meter: Meter, spend_nanos: int, correction_nanos: int) -> "Amounts":
        """Return the amounts of one meter, with nothing in the other."""
        if meter is Meter.CREDITS:
            return cls(spend_nanos, correction_nanos, 0, 0)
        return cls(0, 0, spend_nanos, correction_nanos)


@dataclass(frozen=True, slots=True)
class OwnerDay:
    """One owner's local day, judged at its close. In a plan, the amounts are to be added to what the row holds."""

    owner: str
    day: date
    amounts: Amounts
    state: TotalState
