"""The alert book: every alert while one poll is judged, and all that the poll changes in them.

Each verb is one change in the life of an alert and does what belongs together: how the alert stands afterwards, the
transition with its reason, and the message. What is worth a change is for others to decide. Every intent tells apart
the changes that can follow one another in one alert, so that no message displaces another.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reckon.core.alert_messages import NOBODY, Person
from reckon.core.alerts import Alert, AlertState, Change, Finding, Transition
from reckon.core.messages import Message
from reckon.core.outbox import Manner, Outgoing


class AlertBook:
    """The alerts as they stand now, and what is new about them."""

    def __init__(self, alerts: Mapping[str, Alert], people: Mapping[str, Person], now: datetime) -> None:
        self._alerts = dict(alerts)
        self._people = people
        self._now = now
        self._changed: dict[str, None] = {}
        self._transitions: list[Transition] = []
        self._outgoing: list[Outgoing] = []

    # --- What it holds

    @property
    def alerts(self) -> list[Alert]:
        """Every alert that is remembered, in the order in which they came."""
        return [*self._alerts.values()]

    @property
    def firing(self) -> list[Alert]:
        """Those that are still so."""
        return [alert for alert in self._alerts.values() if alert.state is AlertState.FIRING]

    def find(self, finding: Finding) -> Alert | None:
        """Return the alert that *finding* belongs to, whatever its state."""
        return self._alerts.get(finding.fingerprint)

    def person(self, finding: Finding) -> Person:
        """Return whom *finding* is about."""
        if finding.owner is None:
            return NOBODY
        return self._people.get(finding.owner) or Person(finding.owner)

    def changes(self) -> tuple[tuple[Alert, ...], tuple[Transition, ...], tuple[Outgoing, ...]]:
        """Return the alerts that changed, as they stand now, why, and what is to be said."""
        changed = tuple(self._alerts[fingerprint] for fingerprint in self._changed)
        return changed, tuple(self._transitions), tuple(self._outgoing)

    # --- What may become of one

    def open(self, finding: Finding, message: Message, reason: str) -> Alert:
        """Open the alert of *finding*, or open it again. It keeps its number and when it first opened."""
        alert = Alert(
            finding, AlertState.FIRING, opened_at=self._now, told_at=self._now, told_nanos=finding.spend_nanos
        )
        before = self.find(finding)
        if before:
            alert = replace(alert, opened_at=before.opened_at, openings=before.openings + 1, id=before.id)
        self._note(alert, Change.OPENED_AGAIN if before else Change.OPENED, reason)
        self._say(alert, "opened", message, Manner.POST)
        return alert

    def keep(self, alert: Alert) -> None:
        """Remember *alert* as it stands, if that is news; nobody is told."""
        if self._alerts.get(alert.fingerprint) != alert:
            self._alerts[alert.fingerprint] = alert
            self._changed[alert.fingerprint] = None

    def grow(self, alert: Alert, size: int, message: Message, reason: str) -> None:
        """Put *message* in the place of the one that opened the alert. Its *size* is larger than it ever was."""
        self._note(alert, Change.GREW, reason)
        self._say(alert, f"grew:{size}", message, Manner.EDIT)

    def remind(self, alert: Alert, message: Message, reason: str) -> None:
        """Tell of an alert that is still firing once more."""
        self._note(replace(alert, told_at=self._now), Change.REPEATED, reason)
        self._say(alert, f"repeated:{self._now:%Y%m%dT%H%M%SZ}", message, Manner.POST)

    def resolve(self, alert: Alert, reason: str, message: Message | None = None) -> None:
        """End the alert, with a reply to the message that opened it or without a word."""
        resolved = replace(alert, state=AlertState.RESOLVED, resolved_at=self._now)
        self._note(resolved, Change.RESOLVED, reason)
        if message:
            self._say(resolved, "resolved", message, Manner.REPLY)

    def _note(self, alert: Alert, change: Change, reason: str) -> None:
        self.keep(alert)
        self._transitions.append(Transition(alert.fingerprint, self._now, change, reason, alert.finding.spend_nanos))

    def _say(self, alert: Alert, what: str, message: Message, manner: Manner) -> None:
        about = None if manner is Manner.POST else alert.opened_intent
        place = self.person(alert.finding).place
        self._outgoing.append(Outgoing(alert.intent(what), message, manner, about, place))
