"""Noticing: what one poll, once counted, means for the alerts.

Called inside the poll's own transaction, after the ledger has decided what the money is: so an alert exists if and only
if the counters that justify it are stored. An owner is looked at when money of theirs was seen or a day of theirs
ended. A day is judged while it runs, on what is known to be its own, and once more when it is closed; so money that was
seen late is judged in its own day. Only the day just before today is judged at a close: what a ledger learns about
older days, after a long outage or a restored backup, is history and not news.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from reckon.core import alert_messages as say
from reckon.core import deltas
from reckon.core.alerts import Alert, AlertState, Change, Finding, Rule, Transition
from reckon.core.baseline import history
from reckon.core.closing import OpenDays
from reckon.core.detectors import DETECTORS, AnomalyPolicy, DayView, staleness
from reckon.core.messages import Message
from reckon.core.outbox import Manner, Outgoing
from reckon.core.records import Amounts, KeyState, OwnerDay, OwnerState, Poll, WatchedKey, WindowSpend
from reckon.core.totals import KeyTotal
from reckon.core.windows import day_window, local_date

_WORTH_AN_EDIT = 10
"""A message is edited when the figure has grown by a tenth of what it says: often at first, seldom later."""


@dataclass(frozen=True, slots=True)
class NoticePolicy:
    """The settings that noticing needs."""

    zone: ZoneInfo
    anomaly: AnomalyPolicy
    people: Mapping[str, say.Person]
    """Whom a message is about, by owner."""
    staleness_after: timedelta | None = None
    """None where staleness is not judged: by a single poll at the command line."""
    repeat_every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the store remembers, as far as noticing needs it."""

    totals_today: Sequence[KeyTotal] = ()
    """What each key has spent on the running local day, before this poll."""
    totals_last_hour: Sequence[KeyTotal] = ()
    histories: Mapping[str, Sequence[OwnerDay]] = field(default_factory=dict)
    """The closed days of the owners concerned."""
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    """By fingerprint: every firing one, and every one of the last days."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What one poll has done to the ledger."""

    keys_before: Mapping[str, KeyState]
    keys: Mapping[str, KeyState]
    owners: Mapping[str, OwnerState]
    windows: Sequence[WindowSpend]
    closed: Sequence[OwnerDay]
    """Amounts to add to each owner's closed days."""
    rebuild_days: bool
    """The days of the histories are another zone's, and are forgotten."""
    nanos_by_key: Mapping[str, int]
    answered: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class Noticed:
    """What noticing adds to the plan."""

    alerts: tuple[Alert, ...] = ()
    """Those that changed, as they stand now."""
    transitions: tuple[Transition, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()


def owners_concerned(
    keys: Mapping[str, KeyState],
    calendar: OpenDays,
    alerts: Iterable[Alert],
    *,
    seen: Poll,
    watched: Sequence[WatchedKey],
    zone: ZoneInfo,
    now: datetime,
) -> set[str]:
    """Return the owners whose history the poll *seen* may need: who spent, whose day is over, whose alert is firing."""
    holders = {entry.hash: entry.owner for entry in watched}
    today = local_date(now, zone)
    spenders = {
        holders[snapshot.key_hash]
        for snapshot in seen.snapshots
        if snapshot.key_hash in holders
        and (key := keys.get(snapshot.key_hash))
        and key.counters
        and (key.counters.credits.total_nanos, key.counters.byok.total_nanos)
        != (snapshot.credits.total_nanos, snapshot.byok.total_nanos)
    }
    turned = {name for name in calendar.owners if (day := calendar.closed_before(name, zone)) and day < today}
    firing = {
        alert.finding.owner for alert in alerts if alert.state is AlertState.FIRING and alert.finding.owner is not None
    }
    return spenders | turned | firing


def notice(before: Remembered, counted: Counted, policy: NoticePolicy, now: datetime) -> Noticed:
    """Return what the poll that was *counted* means for the alerts *before* it."""
    book = _Book(before.alerts, policy, now)
    _judge_days(before, counted, policy, book)
    if policy.staleness_after is not None:
        _judge_silence(counted, policy.staleness_after, policy, book)
    book.repeat()
    return book.noticed()


# --- Days ----------------------------------------------------------------------------------------------------------


def _judge_days(before: Remembered, counted: Counted, policy: NoticePolicy, book: "_Book") -> None:
    today = local_date(book.now, policy.zone)
    yesterday = today - timedelta(days=1)
    days = _Days(before, counted, policy, book.now)
    for owner in sorted({day.owner for day in counted.closed if day.day == yesterday}):
        for finding in days.findings(owner, yesterday, days.closed_spend(owner, yesterday) or 0):
            book.judge_at_close(finding, days.facts(owner, yesterday))
    book.end_days_before(counted.owners, days)
    for owner in sorted({window.owner for window in counted.windows if window.spend_nanos}):
        for finding in days.findings(owner, today, days.known_today(owner)):
            book.judge_while_it_runs(finding, days.facts(owner, today))


class _Days:
    """The owners' days: past, closed by this poll, and running."""

    def __init__(self, before: Remembered, counted: Counted, policy: NoticePolicy, now: datetime) -> None:
        self._counted = counted
        self._policy = policy
        self._byok = policy.anomaly.byok
        self._now = now
        self._today = day_window(local_date(now, policy.zone), policy.zone)
        self._closed: defaultdict[str, dict[date, OwnerDay]] = defaultdict(dict)
        histories = {} if counted.rebuild_days else before.histories
        for owner, days in histories.items():
            self._closed[owner] = {day.day: day for day in days}
        for day in counted.closed:
            held = self._closed[day.owner].get(day.day)
            total = replace(day, amounts=held.amounts + day.amounts) if held else day
            self._closed[day.owner][day.day] = total
        self._by_key = _by_key(before.totals_today, counted.windows, self._today.start, byok=self._byok)
        hour_ago = now - timedelta(hours=1)
        self._last_hour = _by_key(before.totals_last_hour, counted.windows, hour_ago, byok=self._byok)
        self._openings: dict[str, set[date]] | None = None

    def findings(self, owner: str, day: date, spend_nanos: int) -> Iterator[Finding]:
        """Yield what the detectors see in an owner's day."""
        past = history(self._closed[owner].values(), day, self._half_seen(owner), byok=self._byok)
        view = DayView(owner, day, spend_nanos, past)
        for look in DETECTORS:
            if finding := look(view, self._policy.anomaly):
                yield finding

    def closed_spend(self, owner: str, day: date) -> int | None:
        """Return what an owner spent on a closed day; None if nobody watched it."""
        held = self._closed[owner].get(day)
        return held.amounts.spent(byok=self._byok) if held else None

    def known_today(self, owner: str) -> int:
        """Return what the owner is known to have spent today, without what a gap over midnight may have held."""
        return sum(self._by_key[owner].values()) - self._guessed(owner)

    def facts(self, owner: str, day: date) -> say.DayFacts:
        """Return what a message about an owner's day has to tell besides the finding."""
        runs = day == local_date(self._now, self._policy.zone)
        by_key = self._by_key[owner] if runs else {}
        dearest = max(by_key, key=lambda key_hash: by_key[key_hash], default=None)
        return say.DayFacts(
            day=day,
            window=day_window(day, self._policy.zone),
            runs=runs,
            driver=self._counted.keys[dearest].name if dearest else None,
            driver_share=by_key[dearest] / total if dearest and (total := sum(by_key.values())) else 0.0,
            last_hour_nanos=sum(self._last_hour[owner].values()) if runs else 0,
            guessed_nanos=self._guessed(owner) if runs else 0,
        )

    def _guessed(self, owner: str) -> int:
        state = self._counted.owners.get(owner)
        if state is None:
            return 0
        return state.guessed_credits_nanos + (state.guessed_byok_nanos if self._byok else 0)

    def _half_seen(self, owner: str) -> set[date]:
        """Return the days on which a key of the owner was first seen, and may have spent before."""
        if self._openings is None:
            self._openings = {}
            for key in self._counted.keys.values():
                if key.counters:
                    opened_on = local_date(key.counters.opened_at, self._policy.zone)
                    if deltas.first_whole_day(key.counters, self._policy.zone) != opened_on:
                        self._openings.setdefault(key.owner, set()).add(opened_on)
        return self._openings.get(owner, set())


def _by_key(
    held: Iterable[KeyTotal], windows: Iterable[WindowSpend], since: datetime, *, byok: bool
) -> defaultdict[str, defaultdict[str, int]]:
    """Return spend by owner and key: what the ledger held, and what this poll adds since an instant."""
    found: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for total in held:
        found[total.owner][total.key_hash] += total.amounts.spent(byok=byok)
    for window in windows:
        if window.start >= since:
            amounts = Amounts.of(window.meter, window.spend_nanos, 0)
            found[window.owner][window.key_hash] += amounts.spent(byok=byok)
    return found


# --- Silence -------------------------------------------------------------------------------------------------------


def _judge_silence(counted: Counted, after: timedelta, policy: NoticePolicy, book: "_Book") -> None:
    keys = counted.keys
    found = {finding.owner: finding for finding in staleness.look(keys.values(), after, policy.zone, book.now)}
    source_is_silent = staleness.is_source_silent(keys.values())
    for alert in book.firing(Rule.STALENESS):
        owner = alert.finding.owner
        held = sum(counted.nanos_by_key.get(key_hash, 0) for key_hash in _answering_again(alert, counted))
        with_money = replace(alert, gap_nanos=alert.gap_nanos + held)
        if finding := found.pop(owner, None):
            book.carry_on(with_money, finding, keys)
        elif owner is None and source_is_silent:
            book.keep(with_money)
        elif owner is None or not source_is_silent or not _still_watched(alert, counted):
            book.end_silence(with_money, keys)
        else:
            book.keep(with_money)
    for finding in found.values():
        book.open_silence(finding, keys)


def _answering_again(alert: Alert, counted: Counted) -> list[str]:
    """Return the keys of *alert* that answered in this poll, after a silence."""
    return [
        key_hash
        for key_hash in alert.finding.key_hashes
        if key_hash in counted.answered and (was := counted.keys_before.get(key_hash)) and was.failing_since
    ]


def _still_watched(alert: Alert, counted: Counted) -> bool:
    return any(counted.keys[key_hash].watched for key_hash in alert.finding.key_hashes if key_hash in counted.keys)


# --- The alerts ----------------------------------------------------------------------------------------------------


class _Book:
    """The alerts while one poll is judged: what they become, why, and what is to be said."""

    def __init__(self, alerts: Mapping[str, Alert], policy: NoticePolicy, now: datetime) -> None:
        self._alerts = dict(alerts)
        self._policy = policy
        self.now = now
        self._changed: dict[str, None] = {}
        self._transitions: list[Transition] = []
        self._outgoing: list[Outgoing] = []

    def firing(self, rule: Rule) -> list[Alert]:
        """Return the alerts of *rule* that are firing now."""
        return [
            alert for alert in self._alerts.values() if alert.state is AlertState.FIRING and alert.finding.rule is rule
        ]

    def judge_while_it_runs(self, finding: Finding, facts: say.DayFacts) -> None:
        """Open the alert, or move its figures."""
        alert = self._alerts.get(finding.fingerprint)
        if alert is None:
            message = say.unusual_day(finding, facts, self._policy.anomaly, self._person(finding), self._moment)
            self._open(finding, message, say.why_unusual(finding))
        elif alert.state is AlertState.FIRING:
            self._grow(alert, finding, facts)

    def judge_at_close(self, finding: Finding, facts: say.DayFacts) -> None:
        """Open and end the alert of a day that is over, or give the one that fires its last figures."""
        alert = self._alerts.get(finding.fingerprint)
        if alert is None:
            message = say.unusual_day(finding, facts, self._policy.anomaly, self._person(finding), self._moment)
            opened = self._open(finding, message, say.why_unusual(finding))
            self._resolve(opened, "the day was over when its money was seen", None)
        else:
            self.keep(replace(alert, finding=finding))

    def end_days_before(self, owners: Mapping[str, OwnerState], days: _Days) -> None:
        """End the alerts whose day has been judged at its close, with the day's final figure."""
        for alert in [found for found in self._alerts.values() if found.finding.rule is not Rule.STALENESS]:
            finding = alert.finding
            owner = owners.get(finding.owner or "")
            if alert.state is AlertState.RESOLVED or owner is None or not owner.open_day:
                continue
            if finding.day < min(owner.open_day, local_date(self.now, self._policy.zone)):
                final_nanos = days.closed_spend(owner.name, finding.day)
                final = finding if final_nanos is None else replace(finding, spend_nanos=final_nanos)
                message = say.day_is_over(final, self._person(finding))
                self._resolve(replace(alert, finding=final), "the day is over", message)

    def open_silence(self, finding: Finding, keys: Mapping[str, KeyState]) -> None:
        """Open the alert of a silence, or open it again if it had one on the same day."""
        message = say.silence(finding, keys, self._person(finding), self._moment)
        self._open(finding, message, say.why_silent(finding, keys))

    def carry_on(self, alert: Alert, finding: Finding, keys: Mapping[str, KeyState]) -> None:
        """Keep a silence's alert, under the day it began on, about the keys that are silent now."""
        known = {*alert.finding.key_hashes}
        now_about = replace(alert.finding, key_hashes=finding.key_hashes)
        carried = replace(alert, finding=now_about)
        if {*finding.key_hashes} <= known:
            self.keep(carried)
        else:
            self._note(carried, Change.GREW, say.why_silent(finding, keys))
            message = say.silence(now_about, keys, self._person(finding), self._moment)
            self._say(carried, f"grew:{self.now:%Y%m%dT%H%M%SZ}", message, Manner.EDIT)

    def end_silence(self, alert: Alert, keys: Mapping[str, KeyState]) -> None:
        """End the alert of a silence with what it held."""
        message = say.seen_again(alert, keys, self._person(alert.finding), self._moment)
        self._resolve(alert, message.headline, message)

    def keep(self, alert: Alert) -> None:
        """Remember *alert* as it stands, if that is news."""
        if self._alerts.get(alert.fingerprint) != alert:
            self._alerts[alert.fingerprint] = alert
            self._changed[alert.fingerprint] = None

    def repeat(self) -> None:
        """Remind of every alert that has been firing unsaid for long enough, if reminders are wanted."""
        every = self._policy.repeat_every
        if not every:
            return
        for alert in list(self._alerts.values()):
            if alert.state is AlertState.FIRING and alert.told_at + every <= self.now:
                self._note(replace(alert, told_at=self.now), Change.REPEATED, "still firing, and a reminder was due")
                message = say.reminder(alert, self._person(alert.finding), self._moment)
                self._say(alert, f"repeated:{self.now:%Y%m%dT%H%M%SZ}", message, Manner.POST)

    def noticed(self) -> Noticed:
        """Return everything that changed."""
        changed = tuple(self._alerts[fingerprint] for fingerprint in self._changed)
        return Noticed(changed, tuple(self._transitions), tuple(self._outgoing))

    # --- One alert

    def _open(self, finding: Finding, message: Message, reason: str) -> Alert:
        before = self._alerts.get(finding.fingerprint)
        alert = Alert(
            finding,
            AlertState.FIRING,
            opened_at=before.opened_at if before else self.now,
            told_at=self.now,
            told_nanos=finding.spend_nanos,
            openings=before.openings + 1 if before else 1,
            gap_nanos=before.gap_nanos if before else 0,
            id=before.id if before else None,
        )
        self._note(alert, Change.OPENED_AGAIN if before else Change.OPENED, reason)
        self._outgoing.append(Outgoing(alert.opened_intent, message, to=self._person(finding).place))
        return alert

    def _grow(self, alert: Alert, finding: Finding, facts: say.DayFacts) -> None:
        told, spend = alert.told_nanos or 0, finding.spend_nanos or 0
        if (spend - told) * _WORTH_AN_EDIT < told or spend == told:
            self.keep(replace(alert, finding=finding))
            return
        grown = replace(alert, finding=finding, told_nanos=spend)
        self._note(grown, Change.GREW, "grew by a tenth of what was said last")
        message = say.unusual_day(finding, facts, self._policy.anomaly, self._person(finding), self._moment)
        self._say(grown, f"grew:{spend}", message, Manner.EDIT)

    def _resolve(self, alert: Alert, reason: str, message: Message | None) -> None:
        resolved = replace(alert, state=AlertState.RESOLVED, resolved_at=self.now)
        self._note(resolved, Change.RESOLVED, reason)
        if message:
            again = f":{alert.openings}" if alert.openings > 1 else ""
            self._say(resolved, f"resolved{again}", message, Manner.REPLY)

    def _note(self, alert: Alert, change: Change, reason: str) -> None:
        self.keep(alert)
        self._transitions.append(Transition(alert.fingerprint, self.now, change, reason, alert.finding.spend_nanos))

    def _say(self, alert: Alert, what: str, message: Message, manner: Manner) -> None:
        about = None if manner is Manner.POST else alert.opened_intent
        place = self._person(alert.finding).place
        self._outgoing.append(Outgoing(f"alert:{alert.fingerprint}:{what}", message, manner, about, place))

    def _person(self, finding: Finding) -> say.Person:
        if finding.owner is None:
            return say.NOBODY
        return self._policy.people.get(finding.owner) or say.Person(finding.owner)

    @property
    def _moment(self) -> say.Moment:
        return say.Moment(self.now, self._policy.zone)
