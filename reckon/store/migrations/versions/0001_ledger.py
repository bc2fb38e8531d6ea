"""The ledger: keys and owners, snapshots, corrections, gaps, window totals, closed days, balances."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "owner",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("began_at", BIG),
        sa.Column("open_day", sa.Text),
        sqlite_strict=True,
    )
    op.create_table(
        "key",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("hash", sa.Text, nullable=False, unique=True),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("watched", SMALL, nullable=False),
        sa.Column("label", sa.Text),
        sa.Column("failure", sa.Text),
        sa.Column("failing_since", BIG),
        sa.Column("retry_at", BIG),
        sa.Column("opened_at", BIG),
        sa.Column("last_seen_at", BIG),
        sa.Column("n", sa.Integer),
        *(column for meter in ("credits", "byok") for column in _counter(meter)),
        sqlite_strict=True,
    )
    op.create_table(
        "snapshot",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("stretch_seconds", sa.Integer, nullable=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("credits_daily_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sa.Column("byok_daily_nanos", BIG, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "correction",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("last_n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("meter", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("nanos", BIG, nullable=False),
        sa.Column("first_n", sa.Integer, nullable=False),
        sa.Column("decided_at", BIG, nullable=False),
        sa.CheckConstraint("nanos < 0", name="correction_is_negative"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "gap",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("since", BIG, nullable=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("midnight", BIG),
        sa.Column("nanos", BIG, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_index("gap_at", "gap", ["at"])
    op.create_table(
        "window_total",
        sa.Column("start", BIG, primary_key=True, autoincrement=False),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), primary_key=True, autoincrement=False),
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("meter", SMALL, primary_key=True, autoincrement=False),
        sa.Column("spend_nanos", BIG, nullable=False),
        sa.Column("correction_nanos", BIG, nullable=False),
        sa.CheckConstraint("spend_nanos >= 0", name="spend_is_never_negative"),
        sa.CheckConstraint("correction_nanos <= 0", name="correction_is_never_positive"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "owner_day",
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("spend_nanos", BIG, nullable=False),
        sa.Column("correction_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG, nullable=False),
        sa.Column("byok_correction_nanos", BIG, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "balance",
        sa.Column("seen_by", sa.Text, primary_key=True),
        sa.Column("at", BIG, nullable=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("usage_nanos", BIG, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _counter(meter: str) -> list[sa.Column[int]]:
    """Return one counter's columns: its opening, its mark and last values, and the dip it may be in."""
    return [
        *(
            sa.Column(f"{meter}_{name}_nanos", BIG)
            for name in ("opening", "opening_daily", "opening_weekly", "opening_monthly", "mark")
        ),
        sa.Column(f"{meter}_nanos", BIG),
        sa.Column(f"{meter}_daily_nanos", BIG),
        sa.Column(f"{meter}_dip_after", BIG),
        sa.Column(f"{meter}_dip_since", BIG),
        sa.Column(f"{meter}_dip_lowest_nanos", BIG),
        sa.Column(f"{meter}_dip_polls", sa.Integer),
        sa.Column(f"{meter}_dip_first_n", sa.Integer),
    ]
