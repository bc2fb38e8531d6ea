"""Alerts, the outbox, and what is due: who polls whose keys, what is delivered, which digest was sent.

An owner's older days come to be kept folded as well. And two columns of `snapshot` come to hold null where they held 0,
which on Postgres saves a sixth of its room.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
SMALL = sa.SmallInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the new tables and change the old ones; every row stays what it was."""
    for name in ("guessed_credits_nanos", "guessed_byok_nanos"):
        op.add_column("owner", sa.Column(name, BIG, nullable=False, server_default=sa.text("0")))
    op.add_column("owner", sa.Column("due_at", BIG))
    op.add_column("owner", sa.Column("lease_until", BIG))
    op.add_column("owner", sa.Column("holder", sa.Text))
    if op.get_bind().dialect.name == "sqlite":
        _copy_snapshots()
    else:
        _rewrite_snapshots()
    _create_pasts()
    _create_alerts()
    _create_outbox()


def _copy_snapshots() -> None:
    """Put the rows into a table that allows null: SQLite cannot allow it afterwards."""
    op.rename_table("snapshot", "snapshot_of_0001")
    op.create_table(
        "snapshot",
        sa.Column("key_id", sa.Integer, sa.ForeignKey("key.id"), primary_key=True, autoincrement=False),
        sa.Column("n", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", BIG, nullable=False),
        sa.Column("stretch_seconds", sa.Integer, nullable=False),
        sa.Column("credits_nanos", BIG, nullable=False),
        sa.Column("credits_daily_nanos", BIG, nullable=False),
        sa.Column("byok_nanos", BIG),
        sa.Column("byok_daily_nanos", BIG),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO snapshot SELECT key_id, n, at, stretch_seconds, credits_nanos, credits_daily_nanos,"
        " nullif(byok_nanos, 0), nullif(byok_daily_nanos, 0) FROM snapshot_of_0001"
    )
    op.drop_table("snapshot_of_0001")


def _rewrite_snapshots() -> None:
    """Let the server write the table anew, once: an update would leave the old rows' room behind."""
    op.execute(
        "ALTER TABLE snapshot"
        " ALTER byok_nanos DROP NOT NULL, ALTER byok_nanos TYPE bigint USING nullif(byok_nanos, 0),"
        " ALTER byok_daily_nanos DROP NOT NULL, ALTER byok_daily_nanos TYPE bigint USING nullif(byok_daily_nanos, 0)"
    )


def _create_pasts() -> None:
    op.create_table(
        "owner_past",
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id"), primary_key=True, autoincrement=False),
        sa.Column("byok", SMALL, primary_key=True, autoincrement=False),
        sa.Column("before", sa.Text, nullable=False),
        sa.Column("first_day", sa.Text),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("total_nanos", BIG, nullable=False),
        sa.Column("squares", sa.Text, nullable=False),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _create_partial_index("owner_day_unsettled", "owner_day", "owner_id", "state <> 'settled'")


def _create_alerts() -> None:
    op.create_table(
        "alert",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False, unique=True),
        sa.Column("rule", sa.Text, nullable=False),
        sa.Column("owner_id", sa.Integer, sa.ForeignKey("owner.id")),
        sa.Column("day", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("opened_at", BIG, nullable=False),
        sa.Column("resolved_at", BIG),
        sa.Column("told_at", BIG, nullable=False),
        sa.Column("told_nanos", BIG),
        sa.Column("openings", sa.Integer, nullable=False),
        sa.Column("gap_nanos", BIG, nullable=False),
        sa.Column("spend_nanos", BIG),
        sa.Column("threshold_nanos", BIG),
        sa.Column("usual_nanos", BIG),
        sa.Column("history_days", sa.Integer),
        sa.Column("since", BIG),
        sa.Column("key_hashes", sa.Text, nullable=False),
        sqlite_strict=True,
    )
    op.create_index("alert_day", "alert", ["day"])
    _create_partial_index("alert_firing", "alert", "opened_at", "state = 'firing'")
    op.create_index("alert_resolved_at", "alert", ["resolved_at"])
    op.create_table(
        "transition",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("alert_id", sa.Integer, sa.ForeignKey("alert.id"), nullable=False, index=True),
        sa.Column("at", BIG, nullable=False),
        sa.Column("change", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("spend_nanos", BIG),
        sqlite_strict=True,
    )


def _create_outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("intent", sa.Text, nullable=False, unique=True),
        sa.Column("manner", sa.Text, nullable=False),
        sa.Column("about", sa.Text),
        sa.Column("place_to", sa.Text),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("due_at", BIG, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("attempted_at", BIG),
        sa.Column("may_have_been_said", SMALL, nullable=False),
        sa.Column("trouble", sa.Text),
        sa.Column("receipt_place", sa.Text),
        sa.Column("receipt_name", sa.Text),
        sa.Column("delivered_at", BIG),
        sqlite_strict=True,
    )
    _create_partial_index("outbox_unfinished", "outbox", "id", "state IN ('waiting', 'sending')")
    op.create_index("outbox_state", "outbox", ["state"])
    op.create_index("outbox_attempt", "outbox", ["place_to", "attempted_at"])
    op.create_table(
        "due",
        sa.Column("what", sa.Text, primary_key=True),
        sa.Column("due_at", BIG),
        sa.Column("value", sa.Text),
        sa.Column("lease_until", BIG),
        sa.Column("holder", sa.Text),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _create_partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
