"""What fires, and what has fired, as a document."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reckon.core.alerts import Alert, AlertState, Transition
from reckon.core.money import usd_text
from reckon.documents import instant


@dataclass(frozen=True, slots=True)
class ShownAlerts:
    """Every alert that fires, newest first, then those that have ended lately."""

    alerts: Sequence[Alert]
    since: datetime | None
    """Those that had ended before then are not among them; None if all are."""
    ended_earlier: int
    """How many that are."""


def shown_alerts(alerts: Iterable[Alert], since: datetime | None) -> ShownAlerts:
    """Return what is shown of *alerts* if those that ended before *since* are not."""
    every = sorted(alerts, key=lambda alert: (alert.opened_at, alert.id or 0), reverse=True)
    firing = [alert for alert in every if alert.state is AlertState.FIRING]
    ended = [alert for alert in every if alert.state is AlertState.RESOLVED]
    recent = [alert for alert in ended if alert.resolved_at and (since is None or alert.resolved_at >= since)]
    return ShownAlerts([*firing, *recent], since, ended_earlier=len(ended) - len(recent))


def alerts_document(shown: ShownAlerts, last_transitions: Mapping[str, Transition]) -> dict[str, Any]:
    """Return the alerts that are shown as a document; *last_transitions* tells by fingerprint what came of each."""
    return {
        "since": instant(shown.since),
        "ended_earlier": shown.ended_earlier,
        "rows": [_row(alert, last_transitions.get(alert.fingerprint)) for alert in shown.alerts],
    }


def _row(alert: Alert, last_transition: Transition | None) -> dict[str, Any]:
    return {
        "id": alert.id,
        "owner": alert.finding.owner,
        "rule": alert.finding.rule.value,
        "day": alert.finding.day.isoformat(),
        "state": alert.state.value,
        "opened_at": instant(alert.opened_at),
        "resolved_at": instant(alert.resolved_at),
        "spend_usd": _usd(alert.finding.spend_nanos),
        "threshold_usd": _usd(alert.finding.threshold_nanos),
        "reason": last_transition.reason if last_transition else None,
    }


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else usd_text(nanos)
