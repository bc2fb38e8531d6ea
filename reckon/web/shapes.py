"""What goes in and out over HTTP, as models: for `/openapi.json` and for whoever wants to check an answer.

Nothing is read or written through them. That they are true is a test: every answer is held against them.
"""

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from reckon.core.alerts import AlertState, Rule
from reckon.core.comparing import Teller
from reckon.core.generations import ExpiryReason, GenerationState
from reckon.core.key_outlook import Blocker
from reckon.core.reasons import Reason
from reckon.core.records import FailureReason, TotalState
from reckon.documents import SCHEMA_VERSION
from reckon.handing_in import ID_PATTERN, LONGEST_NAME, LONGEST_SESSION, UNREAD

Usd = Annotated[str, Field(pattern=r"^-?\d+\.\d{9}$", examples=["0.001400000"])]
Instant = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", examples=["2026-11-20T12:15:00Z"])]
Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Count = Annotated[int, Field(ge=0)]


class Shape(BaseModel):
    """A document with these members and no others."""

    model_config = ConfigDict(extra="forbid")


class Document(Shape):
    """A document that says which schema it follows."""

    schema_version: Annotated[int, Field(ge=SCHEMA_VERSION, le=SCHEMA_VERSION)]


class Error(Document):
    """Why there is no other answer."""

    error: str


# --- Handing in ------------------------------------------------------------------------------------------------------


class Generation(Shape):
    """One generation, and what is known of it: provisional, until OpenRouter has been asked.

    The whole body of a completion may stand here too: of that, only the members named are read. Null is unknown.
    """

    model_config = ConfigDict(json_schema_extra={"patternProperties": {f"^({'|'.join(sorted(UNREAD))})$": {}}})

    id: Annotated[str, Field(pattern=f"^{ID_PATTERN}$", examples=["gen-1795300000-SampleGenerationId01"])]
    key: Name | None = Field(
        None, description="The key's name in the owner map; with `owner` where that is not unique."
    )
    owner: Name | None = Field(None, description="The owner's id in the owner map.")
    model: Name | None = Field(None, description="Which model served, as the response names it.")
    requested_model: Name | None = Field(None, description="What was asked for, such as `openrouter/auto`.")
    provider: Name | None = None
    session: Annotated[str, Field(min_length=1, max_length=LONGEST_SESSION)] | None = None
    usage: dict[str, Any] | None = Field(None, description="The response's usage object, of either API.")
    created_at: str | float | None = Field(None, description="RFC 3339 (UTC without an offset), or seconds since 1970.")
    created: str | float | None = Field(None, description="What a response's body calls `created_at`.")


class RejectedEntry(Shape):
    """One entry that was not taken."""

    id: str | None
    reason: str


class Intake(Document):
    """What became of the entries. What was accepted is in the ledger for good."""

    accepted: Count
    duplicates: Count
    rejected: list[RejectedEntry]


class Empty(Shape):
    """Nothing is to be said."""


# --- Reports ---------------------------------------------------------------------------------------------------------


class Tokens(Shape):
    """Token counts, none in two pools. Null is unknown."""

    input: Count | None
    output: Count | None
    cache_read: Count | None
    cache_write: Count | None
    reasoning: Count | None
    audio_input: Count | None


class SpendRow(Shape):
    """One line. It has the dimensions that were asked for, and no others."""

    owner: str | None = None
    team: str | None = None
    key: str | None = None
    hash: str | None = None
    model: str | None = None
    requested_model: str | None = None
    provider: str | None = None
    app: str | None = None
    session: str | None = None
    hour: str | None = None
    day: str | None = None
    week: str | None = None
    month: str | None = None
    spend_usd: Usd
    correction_usd: Usd
    byok_usd: Usd
    byok_correction_usd: Usd
    generations: Count | None
    tokens: Tokens | None = None
    state: TotalState
    watched_from: Instant | None


class Spend(Document):
    """Who spent how much."""

    timezone: str
    since: Instant
    until: Instant
    as_of: Instant | None
    total_usd: Usd
    total_correction_usd: Usd
    total_byok_usd: Usd
    total_byok_correction_usd: Usd
    total_state: TotalState
    before_watching_usd: Usd
    rows: list[SpendRow]


class AlertRow(Shape):
    """One alert."""

    id: int | None
    owner: str | None
    rule: Rule
    day: str
    state: AlertState
    opened_at: Instant
    resolved_at: Instant | None
    spend_usd: Usd | None
    threshold_usd: Usd | None
    reason: str | None


class Alerts(Document):
    """Every alert that fires, and those that have ended."""

    since: Instant | None
    ended_earlier: Count
    rows: list[AlertRow]


class BlockedKey(Shape):
    """That a key is refused, or will be if it goes on as it does."""

    by: Blocker
    at: Instant | None
    until: Instant | None


class KeyRow(Shape):
    """One key."""

    owner: str
    key: str
    hash: str | None
    label: str | None
    watched: bool
    opened_at: Instant | None
    last_seen_at: Instant | None
    counter_usd: Usd | None
    failure: FailureReason | None
    failing_since: Instant | None
    workspace: str | None
    suggested_owner: str | None
    disabled: bool | None
    created_at: Instant | None
    last_used_at: Instant | None
    expires_at: Instant | None
    limit_usd: Usd | None
    limit_remaining_usd: Usd | None
    limit_reset: str | None
    limit_resets_at: Instant | None
    limit_includes_byok: bool | None
    last_24h_usd: Usd
    blocked: BlockedKey | None


class Keys(Document):
    """Every key."""

    rows: list[KeyRow]


class CallRow(Shape):
    """One generation. What is unknown is null."""

    id: str
    owner: str
    key: str | None
    model: str | None
    requested_model: str | None
    provider: str | None
    app: str | None
    session: str | None
    cost_usd: Usd | None
    byok_usd: Usd | None
    created_at: Instant | None
    state: GenerationState
    reason: ExpiryReason | None
    tokens: Tokens


class Calls(Document):
    """Single generations, dearest first."""

    rows: list[CallRow]


class Explained(Shape):
    """How much of a difference has one reason."""

    reason: Reason
    usd: Usd


class Compared(Shape):
    """What somebody else tells of a span, beside the counters."""

    with_: Annotated[Teller, Field(alias="with")]
    since: Instant
    until: Instant
    as_of: Instant
    usd: Usd
    counters_usd: Usd
    difference_usd: Usd
    explained: list[Explained]


class Books(Document):
    """One day reconciled. Null is what nobody can tell."""

    day: str
    counters_usd: Usd
    analytics_usd: Usd | None
    activity_usd: Usd | None
    credits_usd: Usd | None
    settled_usd: Usd
    settled: Count
    pending: Count
    expired: Count
    residual_usd: Usd
    explained: list[Explained]
    compared: list[Compared]
    tolerance_usd: Usd
    balanced: bool


# --- How we are ------------------------------------------------------------------------------------------------------


class Health(Shape):
    """How this process is."""

    status: str
    version: str
    started_at: Instant
    last_poll_at: Instant | None
    keys_answered: Count
    keys_failed: Count
    clock_skew_seconds: float | None
    reload_refused: str | None
    needs_restart: list[str]


class Readiness(Health):
    """How this process is, and whether it can read the ledger."""

    database: str


SHAPES: Final[tuple[type[Shape], ...]] = (
    *(Error, Generation, Intake, Empty),
    *(Spend, Calls, Books, Alerts, Keys),
    *(Health, Readiness),
)
