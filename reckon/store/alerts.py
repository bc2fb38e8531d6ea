"""Alerts and their transitions, to rows and back, and what can be asked of them."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, func, select, text

from reckon.core.alerts import Alert, AlertState, Change, Finding, Rule, Transition
from reckon.store.rows import instant, maybe_instant, maybe_seconds, seconds
from reckon.store.tables import ALERT, OWNER, TRANSITION

# In the words of the partial index, or SQLite would not use it.
_FIRING: Final = text("alert.state = 'firing'")


def alert_row(alert: Alert, owner_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return *alert* as its row, without the id."""
    finding = alert.finding
    return {
        "fingerprint": alert.fingerprint,
        "rule": finding.rule.value,
        "owner_id": None if finding.owner is None else owner_ids[finding.owner],
        "day": finding.day.isoformat(),
        "state": alert.state.value,
        "opened_at": seconds(alert.opened_at),
        "resolved_at": maybe_seconds(alert.resolved_at),
        "told_at": seconds(alert.told_at),
        "told_nanos": alert.told_nanos,
        "openings": alert.openings,
        "gap_nanos": alert.gap_nanos,
        "spend_nanos": finding.spend_nanos,
        "threshold_nanos": finding.threshold_nanos,
        "usual_nanos": finding.usual_nanos,
        "history_days": finding.history_days,
        "since": maybe_seconds(finding.since),
        "key_hashes": json.dumps(finding.key_hashes),
    }


def transition_row(transition: Transition, alert_ids: Mapping[str, int]) -> dict[str, Any]:
    """Return *transition* as its row, without the id."""
    return {
        "alert_id": alert_ids[transition.fingerprint],
        "at": seconds(transition.at),
        "change": transition.change.value,
        "reason": transition.reason,
        "spend_nanos": transition.spend_nanos,
    }


def newest_first(connection: Connection, limit: int | None) -> list[Alert]:
    """Return every alert there ever was, or the last *limit*."""
    return _found(connection, _ALERTS.order_by(ALERT.c.id.desc()).limit(limit))


def firing(connection: Connection) -> list[Alert]:
    """Return the alerts that are firing, oldest first."""
    return _found(connection, _ALERTS.where(_FIRING).order_by(ALERT.c.opened_at, ALERT.c.id))


def firing_by_rule(connection: Connection) -> dict[Rule, int]:
    """Return how many alerts of each rule are firing."""
    statement = select(ALERT.c.rule, func.count().label("found")).where(_FIRING).group_by(ALERT.c.rule)
    return {Rule(row.rule): row.found for row in connection.execute(statement)}


def firing_or_resolved_after(connection: Connection, after: datetime) -> list[Alert]:
    """Return the alerts that are firing or ended after an instant, newest first."""
    ended = select(ALERT.c.id).where(ALERT.c.resolved_at > seconds(after))
    wanted = ALERT.c.id.in_(select(ALERT.c.id).where(_FIRING).union(ended))  # each by its own index
    return _found(connection, _ALERTS.where(wanted).order_by(ALERT.c.id.desc()))


def firing_or_since(connection: Connection, day: date) -> dict[str, Alert]:
    """Return the alerts that are firing or are about *day* or a later one, by fingerprint."""
    of_late = select(ALERT.c.id).where(ALERT.c.day >= day.isoformat())
    wanted = ALERT.c.id.in_(select(ALERT.c.id).where(_FIRING).union(of_late))  # each by its own index
    return {alert.fingerprint: alert for alert in _found(connection, _ALERTS.where(wanted).order_by(ALERT.c.id))}


def transitions(connection: Connection, alert_id: int) -> list[Transition]:
    """Return what became of an alert, earliest first."""
    statement = (
        select(TRANSITION, ALERT.c.fingerprint).join(ALERT).where(ALERT.c.id == alert_id).order_by(TRANSITION.c.id)
    )
    return [
        Transition(row.fingerprint, instant(row.at), Change(row.change), row.reason, row.spend_nanos)
        for row in connection.execute(statement)
    ]


_ALERTS: Final = select(ALERT, OWNER.c.name.label("owner")).join(OWNER, isouter=True)


def _found(connection: Connection, statement: Select[Any]) -> list[Alert]:
    return [_alert(row) for row in connection.execute(statement)]


def _alert(row: Row[Any]) -> Alert:
    return Alert(
        finding=Finding(
            rule=Rule(row.rule),
            owner=row.owner,
            day=date.fromisoformat(row.day),
            spend_nanos=row.spend_nanos,
            threshold_nanos=row.threshold_nanos,
            usual_nanos=row.usual_nanos,
            history_days=row.history_days,
            since=maybe_instant(row.since),
            key_hashes=tuple(json.loads(row.key_hashes)),
        ),
        state=AlertState(row.state),
        opened_at=instant(row.opened_at),
        told_at=instant(row.told_at),
        told_nanos=row.told_nanos,
        resolved_at=maybe_instant(row.resolved_at),
        openings=row.openings,
        gap_nanos=row.gap_nanos,
        id=row.id,
    )
