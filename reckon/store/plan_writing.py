"""Writing a plan: a handful of statements, whatever the number of keys and owners."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Column, Connection, Table, bindparam, select, update

from reckon.core.account_alerts import AccountPlan
from reckon.core.plans import Plan
from reckon.store import abouts, account_told, activity, alerts, histories, outbox, rows
from reckon.store.matching import among
from reckon.store.reading import (
    BALANCES_ASKED_AT,
    POLLED_AT,
    SWEEP_FAILING_SINCE,
    SWEEP_TROUBLE,
    SWEPT_PREFIX,
    ZONE,
)
from reckon.store.tables import (
    ALERT,
    BALANCE,
    CORRECTION,
    GAP,
    KEY,
    META,
    OWNER,
    OWNER_DAY,
    SNAPSHOT,
    TRANSITION,
    WINDOW_TOTAL,
)
from reckon.store.writing import insert_rows, update_rows, upsert_rows


def write_plan(connection: Connection, plan: Plan) -> None:
    """Write all that one poll decided, in the transaction that is open."""
    owner_ids = _save(connection, OWNER, OWNER.c.name, [rows.owner_row(owner) for owner in plan.owners])
    key_ids = _save(connection, KEY, KEY.c.hash, [rows.key_row(key, owner_ids) for key in plan.keys])
    _touch(connection, plan)
    is_all = plan.has_swept and plan.sweep_trouble is None
    abouts.write(connection, plan.abouts, plan.workspaces, key_ids, is_all=is_all)
    insert_rows(connection, SNAPSHOT, [rows.snapshot_row(key_ids[key_hash], row) for key_hash, row in plan.snapshots])
    insert_rows(
        connection,
        CORRECTION,
        [rows.correction_row(key_ids[key_hash], correction) for key_hash, correction in plan.corrections],
    )
    # One stretch can be written twice: for one meter when it ends, for the other when a dip around it is corrected.
    upsert_rows(
        connection,
        GAP,
        [rows.gap_row(key_ids[gap.key_hash], gap) for gap in plan.gaps],
        key=("key_id", "n"),
        add=("nanos",),
    )
    upsert_rows(
        connection,
        WINDOW_TOTAL,
        [rows.window_row(window, owner_ids, key_ids) for window in plan.windows],
        key=("start", "owner_id", "key_id", "meter"),
        add=("spend_nanos", "correction_nanos"),
    )
    if plan.rebuild_days:
        connection.execute(OWNER_DAY.delete())
    else:
        activity.give_way(connection, [(owner_ids[day.owner], day.day) for day in plan.owner_days])
    upsert_rows(
        connection,
        OWNER_DAY,
        [rows.owner_day_row(day, owner_ids) for day in plan.owner_days],
        key=("owner_id", "day"),
        add=("spend_nanos", "correction_nanos", "byok_nanos", "byok_correction_nanos"),
    )
    histories.keep_up(connection, plan.owner_days, rebuilt=plan.rebuild_days)
    if plan.rebuild_days:
        activity.derive(connection, ZoneInfo(plan.zone_key))
    elif plan.moved:  # a key brings the days from before the ledger along
        activity.derive(connection, ZoneInfo(plan.zone_key), plan.moved)
    upsert_rows(connection, BALANCE, [rows.balance_row(balance) for balance in plan.balances], key=("seen_by",))
    account_told.keep_balances(connection, plan.balances, inference_keys=key_ids)
    write_alerts(connection, plan, owner_ids)
    outbox.add(connection, plan.outgoing, plan.at)
    facts = {ZONE: plan.zone_key, POLLED_AT: str(rows.seconds(plan.at))}
    facts |= {SWEPT_PREFIX + workspace: str(rows.seconds(at)) for workspace, at in plan.swept.items()}
    if plan.has_swept:
        since = plan.sweep_failing_since
        facts |= {
            SWEEP_TROUBLE: plan.sweep_trouble or "",
            SWEEP_FAILING_SINCE: str(rows.seconds(since)) if since else "",
        }
    if plan.balances_asked_at:
        facts[BALANCES_ASKED_AT] = str(rows.seconds(plan.balances_asked_at))
    upsert_rows(connection, META, [{"name": name, "value": value} for name, value in facts.items()], key=("name",))


def write_alerts(connection: Connection, plan: Plan | AccountPlan, owner_ids: Mapping[str, int]) -> None:
    """Write the alerts that changed, and why; *owner_ids* are those of whom they are about."""
    if not (plan.alerts or plan.transitions):
        return
    concerned = {alert.fingerprint for alert in plan.alerts} | {change.fingerprint for change in plan.transitions}
    saved = [alerts.alert_row(alert, owner_ids) for alert in plan.alerts]
    alert_ids = _save(connection, ALERT, ALERT.c.fingerprint, saved, only=concerned)
    changes = [alerts.transition_row(transition, alert_ids) for transition in plan.transitions]
    insert_rows(connection, TRANSITION, changes)


def _save(
    connection: Connection,
    table: Table,
    name: Column[str],
    saved: list[dict[str, Any]],
    *,
    only: Collection[str] | None = None,
) -> Mapping[str, int]:
    """Update the rows that are there by *name*, insert the others, and return the ids by name: of *only* these, or all.

    Not an upsert: on Postgres each one that finds its row still takes a number from the sequence of ids, and a poll a
    minute of ten thousand keys would use up all of them within half a year.
    """
    ids = _ids(connection, table, name, only)
    known = [row for row in saved if row[name.name] in ids]
    new = [row for row in saved if row[name.name] not in ids]
    update_rows(connection, table, known, by=name.name)
    if new:
        insert_rows(connection, table, new)
        return _ids(connection, table, name, only)
    return ids


def _ids(connection: Connection, table: Table, name: Column[str], only: Collection[str] | None) -> Mapping[str, int]:
    statement = select(table.c.id, name)
    if only is not None:
        statement = statement.where(among(connection, name, only))
    return {row[1]: row[0] for row in connection.execute(statement)}


def _touch(connection: Connection, plan: Plan) -> None:
    """Advance the last sight of keys that had not changed: one statement for all keys answered in the same second."""
    by_instant: dict[datetime, list[str]] = {}
    for key_hash, at in plan.seen:
        by_instant.setdefault(at, []).append(key_hash)
    statement = (
        update(KEY).where(KEY.c.hash.in_(bindparam("hashes", expanding=True))).values(last_seen_at=bindparam("seen_at"))
    )
    for at, hashes in by_instant.items():
        for first in range(0, len(hashes), 10_000):
            some = hashes[first : first + 10_000]
            connection.execute(statement, {"hashes": some, "seen_at": rows.seconds(at)})
