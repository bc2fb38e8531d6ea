"""The tables. Money is 64-bit nano-dollars, instants are whole epoch seconds in UTC, dates are ISO text.

Integers throughout, because neither database then rounds, converts or drops an offset, and because a stored snapshot is
the row there are most of: about thirty bytes on SQLite. SQLite's tables are STRICT, so that nothing but an integer can
stand where money does, and those with a key of their own are WITHOUT ROWID. Uniqueness is the guard: one row per
`(key, n)` means one delta per predecessor, whoever else may be writing.

SQLModel declares them; statements go through SQLAlchemy Core (`TABLE.c.column`), since ORM objects make a poll's write
twelve times slower.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

# STRICT tables on SQLite accept only its own type names.
BIG: Final = BigInteger().with_variant(Integer, "sqlite")
SMALL: Final = SmallInteger().with_variant(Integer, "sqlite")

_STRICT: Final = {"sqlite_strict": True}
_STRICT_KEYED: Final = {"sqlite_strict": True, "sqlite_with_rowid": False}


def _column(type_: Any, *args: Any, nullable: bool = False, **kwargs: Any) -> Any:
    return Field(sa_column=Column(type_, *args, nullable=nullable, **kwargs))


def _partial_index(name: str, column: str, where: str) -> Index:
    return Index(name, column, sqlite_where=text(where), postgresql_where=text(where))


class OwnerRow(SQLModel, table=True):
    """Who answers for keys, how far their days are closed, when their keys are due, and which replica asks them now.

    Rows are never deleted: the past keeps its owners.
    """

    __tablename__: ClassVar[str] = "owner"
    __table_args__: ClassVar[Any] = (_STRICT,)

    id: int | None = _column(Integer, primary_key=True)
    name: str = _column(Text, unique=True)
    began_at: int | None = _column(BIG, nullable=True)
    open_day: str | None = _column(Text, nullable=True)
    guessed_credits_nanos: int = _column(BIG, server_default=text("0"))
    guessed_byok_nanos: int = _column(BIG, server_default=text("0"))
    due_at: int | None = _column(BIG, nullable=True)
    lease_until: int | None = _column(BIG, nullable=True)
    holder: str | None = _column(Text, nullable=True)


class KeyRow(SQLModel, table=True):
    """One API key and both its counters as last seen; from `opened_at` on all is null until its first sight."""

    __tablename__: ClassVar[str] = "key"
    __table_args__: ClassVar[Any] = (_STRICT,)

    id: int | None = _column(Integer, primary_key=True)
    hash: str = _column(Text, unique=True)
    owner_id: int = _column(Integer, ForeignKey("owner.id"), index=True)
    name: str = _column(Text)
    watched: int = _column(SMALL)
    label: str | None = _column(Text, nullable=True)
    failure: str | None = _column(Text, nullable=True)
    failing_since: int | None = _column(BIG, nullable=True)
    retry_at: int | None = _column(BIG, nullable=True)
    opened_at: int | None = _column(BIG, nullable=True)
    last_seen_at: int | None = _column(BIG, nullable=True)
    n: int | None = _column(Integer, nullable=True)
    credits_opening_nanos: int | None = _column(BIG, nullable=True)
    credits_opening_daily_nanos: int | None = _column(BIG, nullable=True)
    credits_opening_weekly_nanos: int | None = _column(BIG, nullable=True)
    credits_opening_monthly_nanos: int | None = _column(BIG, nullable=True)
    credits_mark_nanos: int | None = _column(BIG, nullable=True)
    credits_nanos: int | None = _column(BIG, nullable=True)
    credits_daily_nanos: int | None = _column(BIG, nullable=True)
    credits_dip_after: int | None = _column(BIG, nullable=True)
    credits_dip_since: int | None = _column(BIG, nullable=True)
    credits_dip_lowest_nanos: int | None = _column(BIG, nullable=True)
    credits_dip_polls: int | None = _column(Integer, nullable=True)
    credits_dip_first_n: int | None = _column(Integer, nullable=True)
    byok_opening_nanos: int | None = _column(BIG, nullable=True)
    byok_opening_daily_nanos: int | None = _column(BIG, nullable=True)
    byok_opening_weekly_nanos: int | None = _column(BIG, nullable=True)
    byok_opening_monthly_nanos: int | None = _column(BIG, nullable=True)
    byok_mark_nanos: int | None = _column(BIG, nullable=True)
    byok_nanos: int | None = _column(BIG, nullable=True)
    byok_daily_nanos: int | None = _column(BIG, nullable=True)
    byok_dip_after: int | None = _column(BIG, nullable=True)
    byok_dip_since: int | None = _column(BIG, nullable=True)
    byok_dip_lowest_nanos: int | None = _column(BIG, nullable=True)
    byok_dip_polls: int | None = _column(Integer, nullable=True)
    byok_dip_first_n: int | None = _column(Integer, nullable=True)
    workspace: str | None = _column(Text, nullable=True)
    missing: int = _column(SMALL, server_default=text("0"))


class SnapshotRow(SQLModel, table=True):
    """One snapshot that changed something: the raw fact everything else can be recomputed from.

    Most keys never spend through an upstream key of their own, and on Postgres null takes no room: it stands for 0.
    """

    __tablename__: ClassVar[str] = "snapshot"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    n: int = _column(Integer, primary_key=True, autoincrement=False)
    at: int = _column(BIG)
    stretch_seconds: int = _column(Integer)
    credits_nanos: int = _column(BIG)
    credits_daily_nanos: int = _column(BIG)
    byok_nanos: int | None = _column(BIG, nullable=True)
    byok_daily_nanos: int | None = _column(BIG, nullable=True)


class CorrectionRow(SQLModel, table=True):
    """A fall that stayed, dated when it began. One for each meter and last snapshot at most."""

    __tablename__: ClassVar[str] = "correction"
    __table_args__: ClassVar[Any] = (CheckConstraint("nanos < 0", name="correction_is_negative"), _STRICT_KEYED)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    last_n: int = _column(Integer, primary_key=True, autoincrement=False)
    meter: str = _column(Text, primary_key=True)
    kind: str = _column(Text)
    at: int = _column(BIG)
    nanos: int = _column(BIG)
    first_n: int = _column(Integer)
    decided_at: int = _column(BIG)


class GapRow(SQLModel, table=True):
    """A stretch longer than expected with money in it, and the midnight at which the day counter proves its split."""

    __tablename__: ClassVar[str] = "gap"
    __table_args__: ClassVar[Any] = (Index("gap_at", "at"), _STRICT_KEYED)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    n: int = _column(Integer, primary_key=True, autoincrement=False)
    since: int = _column(BIG)
    at: int = _column(BIG)
    midnight: int | None = _column(BIG, nullable=True)
    nanos: int = _column(BIG)


class WindowTotalRow(SQLModel, table=True):
    """What one key spent under one owner in one quarter hour. Ordered by time, since every report asks for a span."""

    __tablename__: ClassVar[str] = "window_total"
    __table_args__: ClassVar[Any] = (
        CheckConstraint("spend_nanos >= 0", name="spend_is_never_negative"),
        CheckConstraint("correction_nanos <= 0", name="correction_is_never_positive"),
        _STRICT_KEYED,
    )

    start: int = _column(BIG, primary_key=True, autoincrement=False)
    owner_id: int = _column(Integer, ForeignKey("owner.id"), primary_key=True, autoincrement=False)
    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    meter: int = _column(SMALL, primary_key=True, autoincrement=False)
    spend_nanos: int = _column(BIG)
    correction_nanos: int = _column(BIG)


class OwnerDayRow(SQLModel, table=True):
    """One owner's local day, judged at its close: the history that baselines read."""

    __tablename__: ClassVar[str] = "owner_day"
    __table_args__: ClassVar[Any] = (
        _partial_index("owner_day_unsettled", "owner_id", "state <> 'settled'"),
        _STRICT_KEYED,
    )

    owner_id: int = _column(Integer, ForeignKey("owner.id"), primary_key=True, autoincrement=False)
    day: str = _column(Text, primary_key=True)
    spend_nanos: int = _column(BIG)
    correction_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    byok_correction_nanos: int = _column(BIG)
    state: str = _column(Text)
    from_activity: int = _column(SMALL, server_default=text("0"))


class OwnerPastRow(SQLModel, table=True):
    """The older days of one owner's history, folded: derived from them, and void as soon as one of them gets money.

    The sum of squares is more than 64 bits hold, and no database adds it up: it is text.
    """

    __tablename__: ClassVar[str] = "owner_past"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    owner_id: int = _column(Integer, ForeignKey("owner.id"), primary_key=True, autoincrement=False)
    byok: int = _column(SMALL, primary_key=True, autoincrement=False)
    before: str = _column(Text)
    first_day: str | None = _column(Text, nullable=True)
    days: int = _column(Integer)
    total_nanos: int = _column(BIG)
    squares: str = _column(Text)


class BalanceRow(SQLModel, table=True):
    """The account's balance as one key last saw it."""

    __tablename__: ClassVar[str] = "balance"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    seen_by: str = _column(Text, primary_key=True)
    at: int = _column(BIG)
    credits_nanos: int = _column(BIG)
    usage_nanos: int = _column(BIG)


class BalanceSeenRow(SQLModel, table=True):
    """The account's balance as it was at an instant, where a management key told it: what each day used of it."""

    __tablename__: ClassVar[str] = "balance_seen"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    at: int = _column(BIG, primary_key=True, autoincrement=False)
    credits_nanos: int = _column(BIG)
    usage_nanos: int = _column(BIG)


class WorkspaceRow(SQLModel, table=True):
    """One part of the account, as the last sweep listed it."""

    __tablename__: ClassVar[str] = "workspace"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    id: str = _column(Text, primary_key=True)
    name: str | None = _column(Text, nullable=True)


class KeyAboutRow(SQLModel, table=True):
    """What the last sweep that saw a key told of it beside its counters. Null is what was not told."""

    __tablename__: ClassVar[str] = "key_about"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    disabled: int | None = _column(SMALL, nullable=True)
    limit_nanos: int | None = _column(BIG, nullable=True)
    limit_remaining_nanos: int | None = _column(BIG, nullable=True)
    limit_reset: str | None = _column(Text, nullable=True)
    include_byok_in_limit: int | None = _column(SMALL, nullable=True)
    created_at: int | None = _column(BIG, nullable=True)
    expires_at: int | None = _column(BIG, nullable=True)
    last_used_at: int | None = _column(BIG, nullable=True)
    creator: str | None = _column(Text, nullable=True)


class ActivityRow(SQLModel, table=True):
    """What one key spent on one finished UTC day at one model of one provider, as OpenRouter's activity tells it.

    Days are kept for ever: OpenRouter forgets them after thirty.
    """

    __tablename__: ClassVar[str] = "activity"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    day: str = _column(Text, primary_key=True)
    model: str = _column(Text, primary_key=True)
    provider: str = _column(Text, primary_key=True)
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    requests: int | None = _column(Integer, nullable=True)


class ActivitySpanRow(SQLModel, table=True):
    """Days of one key that activity or analytics was asked for: of those without a row in `activity`, all were idle.

    The spans of a key do not touch.
    """

    __tablename__: ClassVar[str] = "activity_span"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    since: str = _column(Text, primary_key=True)
    until: str = _column(Text)
    read_at: int = _column(BIG)


class AccountDayRow(SQLModel, table=True):
    """What the whole account spent on one UTC day, by one source that tells it: activity or analytics."""

    __tablename__: ClassVar[str] = "account_day"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    source: str = _column(Text, primary_key=True)
    day: str = _column(Text, primary_key=True)
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    read_at: int = _column(BIG)


class AnalyticsHourRow(SQLModel, table=True):
    """What one key spent in one hour on one model, as OpenRouter's analytics tells it. A running hour is replaced.

    The owner is whoever held the key when the hour was first told. An unknown model is ''.
    """

    __tablename__: ClassVar[str] = "analytics_hour"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    start: int = _column(BIG, primary_key=True, autoincrement=False)
    key_id: int = _column(Integer, ForeignKey("key.id"), primary_key=True, autoincrement=False)
    model: str = _column(Text, primary_key=True)
    owner_id: int = _column(Integer, ForeignKey("owner.id"))
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    requests: int | None = _column(Integer, nullable=True)


class AlertRow(SQLModel, table=True):
    """A finding that persists, as it stands now. Of keys it holds the hashes alone."""

    __tablename__: ClassVar[str] = "alert"
    __table_args__: ClassVar[Any] = (
        Index("alert_day", "day"),
        _partial_index("alert_firing", "opened_at", "state = 'firing'"),
        Index("alert_resolved_at", "resolved_at"),
        _STRICT,
    )

    id: int | None = _column(Integer, primary_key=True)
    fingerprint: str = _column(Text, unique=True)
    rule: str = _column(Text)
    owner_id: int | None = _column(Integer, ForeignKey("owner.id"), nullable=True)
    day: str = _column(Text)
    state: str = _column(Text)
    opened_at: int = _column(BIG)
    resolved_at: int | None = _column(BIG, nullable=True)
    told_at: int = _column(BIG)
    told_nanos: int | None = _column(BIG, nullable=True)
    openings: int = _column(Integer)
    gap_nanos: int = _column(BIG)
    spend_nanos: int | None = _column(BIG, nullable=True)
    threshold_nanos: int | None = _column(BIG, nullable=True)
    usual_nanos: int | None = _column(BIG, nullable=True)
    history_days: int | None = _column(Integer, nullable=True)
    since: int | None = _column(BIG, nullable=True)
    key_hashes: str = _column(Text)


class TransitionRow(SQLModel, table=True):
    """One change in an alert, and its reason. Rows are never changed or deleted."""

    __tablename__: ClassVar[str] = "transition"
    __table_args__: ClassVar[Any] = (_STRICT,)

    id: int | None = _column(Integer, primary_key=True)
    alert_id: int = _column(Integer, ForeignKey("alert.id"), index=True)
    at: int = _column(BIG)
    change: str = _column(Text)
    reason: str = _column(Text)
    spend_nanos: int | None = _column(BIG, nullable=True)


class OutboxRow(SQLModel, table=True):
    """One message and what became of it. Its intent is unique: what was decided once is said once."""

    __tablename__: ClassVar[str] = "outbox"
    __table_args__: ClassVar[Any] = (
        _partial_index("outbox_unfinished", "id", "state IN ('waiting', 'sending')"),
        Index("outbox_state", "state"),
        Index("outbox_attempt", "place_to", "attempted_at"),
        _STRICT,
    )

    id: int | None = _column(Integer, primary_key=True)
    intent: str = _column(Text, unique=True)
    manner: str = _column(Text)
    about: str | None = _column(Text, nullable=True)
    place_to: str | None = _column(Text, nullable=True)
    message: str = _column(Text)
    created_at: int = _column(BIG)
    due_at: int = _column(BIG)
    state: str = _column(Text)
    attempts: int = _column(Integer)
    attempted_at: int | None = _column(BIG, nullable=True)
    may_have_been_said: int = _column(SMALL)
    trouble: str | None = _column(Text, nullable=True)
    receipt_place: str | None = _column(Text, nullable=True)
    receipt_name: str | None = _column(Text, nullable=True)
    delivered_at: int | None = _column(BIG, nullable=True)


class RouteRow(SQLModel, table=True):
    """The names of many generations, once: what was asked for, what served it, where, for which app. Unknown is ''."""

    __tablename__: ClassVar[str] = "route"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("model", "requested_model", "provider", "app", name="route_names"),
        _STRICT,
    )

    id: int | None = _column(Integer, primary_key=True)
    model: str = _column(Text)
    requested_model: str = _column(Text)
    provider: str = _column(Text)
    app: str = _column(Text)


class SessionRow(SQLModel, table=True):
    """The name of a session, which may hold many generations."""

    __tablename__: ClassVar[str] = "session"
    __table_args__: ClassVar[Any] = (_STRICT,)

    id: int | None = _column(Integer, primary_key=True)
    name: str = _column(Text, unique=True)


class PendingGenerationRow(SQLModel, table=True):
    """A generation whose cost is to be asked for, or that was given up, and what is known of it so far.

    Where `again` is 1 its cost has settled before, and is asked for once more.
    """

    __tablename__: ClassVar[str] = "pending_generation"
    __table_args__: ClassVar[Any] = (
        _partial_index("pending_generation_due", "due_at", "expired IS NULL"),
        _STRICT_KEYED,
    )

    id: str = _column(Text, primary_key=True)
    owner_id: int = _column(Integer, ForeignKey("owner.id"))
    key_id: int | None = _column(Integer, ForeignKey("key.id"), nullable=True)
    handed_in_at: int = _column(BIG)
    due_at: int | None = _column(BIG, nullable=True)
    attempts: int = _column(Integer)
    refusals: int = _column(Integer)
    expired: str | None = _column(Text, nullable=True)
    again: int = _column(SMALL)
    created_at: int | None = _column(BIG, nullable=True)
    model: str | None = _column(Text, nullable=True)
    requested_model: str | None = _column(Text, nullable=True)
    provider: str | None = _column(Text, nullable=True)
    app: str | None = _column(Text, nullable=True)
    session: str | None = _column(Text, nullable=True)
    credits_nanos: int | None = _column(BIG, nullable=True)
    byok_nanos: int | None = _column(BIG, nullable=True)
    input_tokens: int | None = _column(BIG, nullable=True)
    output_tokens: int | None = _column(BIG, nullable=True)
    cache_read_tokens: int | None = _column(BIG, nullable=True)
    cache_write_tokens: int | None = _column(BIG, nullable=True)
    audio_input_tokens: int | None = _column(BIG, nullable=True)
    reasoning_tokens: int | None = _column(BIG, nullable=True)
    lease_until: int | None = _column(BIG, nullable=True)
    holder: str | None = _column(Text, nullable=True)


class GenerationRow(SQLModel, table=True):
    """One settled generation, ordered by time, since every report asks for a span. Rows are never changed.

    Null is no money through keys of the team's own, and a pool that is not known.
    """

    __tablename__: ClassVar[str] = "generation"
    __table_args__: ClassVar[Any] = (Index("generation_id", "id", unique=True), _STRICT_KEYED)

    created_at: int = _column(BIG, primary_key=True, autoincrement=False)
    id: str = _column(Text, primary_key=True)
    credits_nanos: int = _column(BIG)
    byok_nanos: int | None = _column(BIG, nullable=True)
    owner_id: int = _column(Integer, ForeignKey("owner.id"))
    key_id: int | None = _column(Integer, ForeignKey("key.id"), nullable=True)
    route_id: int = _column(Integer, ForeignKey("route.id"))
    session_id: int | None = _column(Integer, ForeignKey("session.id"), nullable=True)
    settled_after_seconds: int = _column(Integer)
    input_tokens: int | None = _column(BIG, nullable=True)
    output_tokens: int | None = _column(BIG, nullable=True)
    cache_read_tokens: int | None = _column(BIG, nullable=True)
    cache_write_tokens: int | None = _column(BIG, nullable=True)
    audio_input_tokens: int | None = _column(BIG, nullable=True)
    reasoning_tokens: int | None = _column(BIG, nullable=True)


class GenerationCorrectionRow(SQLModel, table=True):
    """What is to be added to the cost of a generation that turned out different after it had settled."""

    __tablename__: ClassVar[str] = "generation_correction"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    id: str = _column(Text, primary_key=True)
    at: int = _column(BIG, primary_key=True, autoincrement=False)
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)


class OwnerModelRow(SQLModel, table=True):
    """An owner and a model as it was asked for and as it served: what rollups are kept by. Unknown is ''."""

    __tablename__: ClassVar[str] = "owner_model"
    __table_args__: ClassVar[Any] = (
        UniqueConstraint("owner_id", "model", "requested_model", name="owner_model_names"),
        _STRICT,
    )

    id: int | None = _column(Integer, primary_key=True)
    owner_id: int = _column(Integer, ForeignKey("owner.id"))
    model: str = _column(Text)
    requested_model: str = _column(Text)


class GenerationTotalRow(SQLModel, table=True):
    """The settled generations of one local day, added up by owner and model, corrections included.

    The day is known by its first instant. A pool is null if one of its parts was. No foreign key guards what can be
    made again from the rows at any time: on Postgres it would cost as much as all the rest.
    """

    __tablename__: ClassVar[str] = "generation_total"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    start: int = _column(BIG, primary_key=True, autoincrement=False)
    owner_model_id: int = _column(Integer, primary_key=True, autoincrement=False)
    generations: int = _column(Integer)
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    input_tokens: int | None = _column(BIG, nullable=True)
    output_tokens: int | None = _column(BIG, nullable=True)
    cache_read_tokens: int | None = _column(BIG, nullable=True)
    cache_write_tokens: int | None = _column(BIG, nullable=True)
    audio_input_tokens: int | None = _column(BIG, nullable=True)
    reasoning_tokens: int | None = _column(BIG, nullable=True)


class GenerationMonthRow(SQLModel, table=True):
    """As `generation_total`, of one local month; ordered as reports add them up, which ask for months of all sorts."""

    __tablename__: ClassVar[str] = "generation_month"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    owner_model_id: int = _column(Integer, primary_key=True, autoincrement=False)
    start: int = _column(BIG, primary_key=True, autoincrement=False)
    generations: int = _column(Integer)
    credits_nanos: int = _column(BIG)
    byok_nanos: int = _column(BIG)
    input_tokens: int | None = _column(BIG, nullable=True)
    output_tokens: int | None = _column(BIG, nullable=True)
    cache_read_tokens: int | None = _column(BIG, nullable=True)
    cache_write_tokens: int | None = _column(BIG, nullable=True)
    audio_input_tokens: int | None = _column(BIG, nullable=True)
    reasoning_tokens: int | None = _column(BIG, nullable=True)


class DueRow(SQLModel, table=True):
    """What is to be done again or not yet: when, how far it got, and which replica does it now."""

    __tablename__: ClassVar[str] = "due"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    what: str = _column(Text, primary_key=True)
    due_at: int | None = _column(BIG, nullable=True)
    value: str | None = _column(Text, nullable=True)
    lease_until: int | None = _column(BIG, nullable=True)
    holder: str | None = _column(Text, nullable=True)


class MetaRow(SQLModel, table=True):
    """Facts about the ledger itself: whose days are closed, when each workspace was last swept."""

    __tablename__: ClassVar[str] = "meta"
    __table_args__: ClassVar[Any] = (_STRICT_KEYED,)

    name: str = _column(Text, primary_key=True)
    value: str = _column(Text)


def _table(row: type[SQLModel]) -> Table:
    return SQLModel.metadata.tables[str(row.__tablename__)]


OWNER: Final = _table(OwnerRow)
KEY: Final = _table(KeyRow)
SNAPSHOT: Final = _table(SnapshotRow)
CORRECTION: Final = _table(CorrectionRow)
GAP: Final = _table(GapRow)
WINDOW_TOTAL: Final = _table(WindowTotalRow)
OWNER_DAY: Final = _table(OwnerDayRow)
OWNER_PAST: Final = _table(OwnerPastRow)
BALANCE: Final = _table(BalanceRow)
BALANCE_SEEN: Final = _table(BalanceSeenRow)
WORKSPACE: Final = _table(WorkspaceRow)
KEY_ABOUT: Final = _table(KeyAboutRow)
ACTIVITY: Final = _table(ActivityRow)
ACTIVITY_SPAN: Final = _table(ActivitySpanRow)
ACCOUNT_DAY: Final = _table(AccountDayRow)
ANALYTICS_HOUR: Final = _table(AnalyticsHourRow)
ALERT: Final = _table(AlertRow)
TRANSITION: Final = _table(TransitionRow)
OUTBOX: Final = _table(OutboxRow)
ROUTE: Final = _table(RouteRow)
SESSION: Final = _table(SessionRow)
PENDING: Final = _table(PendingGenerationRow)
GENERATION: Final = _table(GenerationRow)
GENERATION_CORRECTION: Final = _table(GenerationCorrectionRow)
OWNER_MODEL: Final = _table(OwnerModelRow)
GENERATION_TOTAL: Final = _table(GenerationTotalRow)
GENERATION_MONTH: Final = _table(GenerationMonthRow)
DUE: Final = _table(DueRow)
META: Final = _table(MetaRow)

TABLES: Final[Sequence[Table]] = (
    *(OWNER, KEY, SNAPSHOT, CORRECTION, GAP, WINDOW_TOTAL, OWNER_DAY, OWNER_PAST, BALANCE),
    *(BALANCE_SEEN, WORKSPACE, KEY_ABOUT, ACTIVITY, ACTIVITY_SPAN, ACCOUNT_DAY, ANALYTICS_HOUR),
    *(ALERT, TRANSITION, OUTBOX, DUE, META),
    *(ROUTE, SESSION, PENDING, GENERATION, GENERATION_CORRECTION),
    *(OWNER_MODEL, GENERATION_TOTAL, GENERATION_MONTH),
)
METADATA: Final = SQLModel.metadata
