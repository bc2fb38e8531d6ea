"""Single generations: those whose cost is still to be asked for, the settled ones, and their sums by day and month."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
POOLS = ("input", "output", "cache_read", "cache_write", "audio_input", "reasoning")


def upgrade() -> None:
    """Create the tables; nothing that stands is touched."""
    _create_names()
    _create_pending()
    _create_settled()
    _create_rollup("generation_total", "start", "owner_model_id")
    _create_rollup("generation_month", "owner_model_id", "start")


def _create_names() -> None:
    op.create_table(
        "route",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("app", sa.Text, nullable=False),
        sa.UniqueConstraint("model", "requested_model", "provider", "app", name="route_names"),
        sqlite_strict=True,
    )
    op.create_table(
        "session",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sqlite_strict=True,
    )
    op.create_table(
        "owner_model",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("requested_model", sa.Text, nullable=False),
        sa.UniqueConstraint("owner_id", "model", "requested_model", name="owner_model_names"),
        sqlite_strict=True,
    )


def _create_pending() -> None:
    op.create_table(
        "pending_generation",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), nullable=False),
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id")),
        sa.Column("handed_in_at", BIG, nullable=False),
        sa.Column("due_at", BIG),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("refusals", sa.Integer, nullable=False),
        sa.Column("expired", sa.Text),
        sa.Column("again", SMALL, nullable=False),
        sa.Column("created_at", BIG),
        *(sa.Column(name, sa.Text) for name in ("model", "requested_model", "provider", "app", "session")),
        sa.Column("credits_nanos", BIG),
        sa.Column("byok_nanos", BIG),
        *_pools(),
        sa.Column("lease_until", BIG),
        sa.Column("holder", sa.Text),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    is_due = sa.text("expired IS NULL")
    op.create_index(
        "pending_generation_due", "pending_generation", ["due_at"], sqlite_where=is_due, postgresql_where=is_due
    )


def _create_settled() -> None:
    op.create_table(
        "generation",
        sa.Column("created_at", BIG, primary_key=True, autoincrement=False),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), nullable=False),
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id")),
        sa.Column("route_id", sa.Integer, sa.ForeignKey("route.id"), nullable=False),
        sa.Column("session_id", sa.Integer, sa.ForeignKey("session.id")),
        sa.Column("settled_after_seconds", sa.Integer, nullable=False),
        *_pools(),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("generation_id", "generation", ["id"], unique=True)
    op.create_table(
        "generation_correction",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("at", BIG, primary_key=True, autoincrement=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _create_rollup(name: str, *key: str) -> None:
    columns: dict[str, sa.Column[int]] = {
        "start": sa.Column("start", BIG, primary_key=True, autoincrement=False),
        "owner_model_id": sa.Column("owner_model_id", sa.Integer, primary_key=True, autoincrement=False),
    }
    op.create_table(
        name,
        *(columns[column] for column in key),
        sa.Column("generations", sa.Integer, nullable=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        *_pools(),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _pools() -> list[sa.Column[int]]:
    return [sa.Column(f"{pool}_tokens", BIG) for pool in POOLS]
