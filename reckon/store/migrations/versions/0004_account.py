"""The whole account: where a sweep saw each key and what it told of it; what activity and analytics say of spend."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")
_STRICT_KEYED = {"sqlite_strict": True, "sqlite_with_rowid": False}


def upgrade() -> None:
    """Create the new tables and columns; every row stays what it was."""
    op.add_column("key", sa.Column("workspace", sa.Text))
    op.add_column("key", sa.Column("missing", SMALL, nullable=False, server_default=sa.text("0")))
    op.add_column("owner_day", sa.Column("from_activity", SMALL, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "workspace",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text),
        **_STRICT_KEYED,
    )
    op.create_table(
        "key_about",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("disabled", SMALL),
        sa.Column("limit_nanos", BIG),
        sa.Column("limit_remaining_nanos", BIG),
        sa.Column("limit_reset", sa.Text),
        sa.Column("include_byok_in_limit", SMALL),
        sa.Column("created_at", BIG),
        sa.Column("expires_at", BIG),
        sa.Column("last_used_at", BIG),
        sa.Column("creator", sa.Text),
        **_STRICT_KEYED,
    )
    op.create_table(
        "activity",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sa.Column("requests", sa.Integer),
        **_STRICT_KEYED,
    )
    op.create_table(
        "activity_span",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("since", sa.Text, primary_key=True),
        sa.Column("until", sa.Text, nullable=False),
        sa.Column("read_at", BIG, nullable=False),
        **_STRICT_KEYED,
    )
    op.create_table(
        "account_day",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sa.Column("read_at", BIG, nullable=False),
        **_STRICT_KEYED,
    )
    op.create_table(
        "analytics_hour",
        sa.Column("start", BIG, primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), nullable=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sa.Column("requests", sa.Integer),
        **_STRICT_KEYED,
    )
    op.create_table(
        "balance_seen",
        sa.Column("at", BIG, primary_key=True, autoincrement=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("usage_nanos", BIG, nullable=False),
        **_STRICT_KEYED,
    )
