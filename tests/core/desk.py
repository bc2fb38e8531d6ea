"""A desk: the ledger in plain dictionaries, and on it what was noticed.

It remembers alerts, transitions and the outbox as a database would, decides every plan twice, since deciding must not
depend on anything but its arguments, and lets keys spend without a word about their counters.
"""

from bisect import bisect_left, insort
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from fractions import Fraction
from zoneinfo import ZoneInfo

from reckon.core import plans
from reckon.core.alert_messages import Person
from reckon.core.alerts import Alert, AlertState, Change, Transition
from reckon.core.baseline import NO_PAST, History
from reckon.core.detectors import AnomalyPolicy
from reckon.core.noticing import NoticePolicy, Remembered, last_hour, owners_concerned
from reckon.core.outbox import Manner, Outgoing
from reckon.core.plans import LedgerPolicy
from reckon.core.polls import Poll
from reckon.core.records import Failure, Snapshot, TotalState
from reckon.core.windows import day_window, local_date, utc_midnight
from tests.builders import DAY, HOUR, MINUTE, Book, at, snapshot

_TOLD_AS = {
    Change.OPENED: Manner.POST,
    Change.OPENED_AGAIN: Manner.POST,
    Change.GREW: Manner.EDIT,
    Change.REPEATED: Manner.POST,
    Change.RESOLVED: Manner.REPLY,
}


@dataclass
class Desk(Book):
    """A book that also remembers what was noticed, and holds every message to have a reason of its own."""

    anomaly: AnomalyPolicy = field(default_factory=AnomalyPolicy)
    people: dict[str, Person] = field(default_factory=dict)
    staleness_after: timedelta | None = 10 * MINUTE
    repeat_every: timedelta | None = None
    poll_every: timedelta = MINUTE
    decides_twice: bool = True
    alerts: dict[str, Alert] = field(default_factory=dict)
    transitions: list[Transition] = field(default_factory=list)
    outbox: dict[str, Outgoing] = field(default_factory=dict)
    counters: dict[str, Fraction] = field(default_factory=dict)
    places: list[tuple] = field(default_factory=list)

    def poll(self, *answers, now=None, swept: Mapping[str, str] = {}):
        snapshots = tuple(answer for answer in answers if isinstance(answer, Snapshot))
        failures = tuple(answer for answer in answers if isinstance(answer, Failure))
        now = at(now) if isinstance(now, str) else now or min(answer.at for answer in snapshots)
        asked = Poll(snapshots, failures, swept={workspace: at(when) for workspace, when in swept.items()})
        zone = ZoneInfo(self.zone)
        notice = NoticePolicy(zone, self.anomaly, self.people, self.staleness_after, self.repeat_every)
        policy = LedgerPolicy(zone, self.poll_every, notice)
        state = self.remembering(self.state(now), asked, now)
        since = {owner: known.past.before for owner, known in state.noticing.histories.items()}
        plan = plans.after_poll(state, asked, self.watched, policy, now)
        if self.decides_twice:
            assert plans.after_poll(state, asked, self.watched, policy, now) == plan
        for row in () if plan.rebuild_days else plan.owner_days:
            if row.amounts.spent(byok=True):
                assert row.day >= since[row.owner], "what is folded never gets money"
        self.write(plan)
        return plan

    def remembering(self, state, asked, now):
        zone = ZoneInfo(self.zone)
        today = local_date(now, zone)
        known = {
            fingerprint: alert
            for fingerprint, alert in self.alerts.items()
            if alert.state is AlertState.FIRING or alert.finding.day >= today - 2 * DAY
        }
        concerned = owners_concerned(
            state.keys, state.days, known.values(), seen=asked, watched=self.watched, zone=zone, now=now
        )
        totals_today, totals_last_hour = self.totals(day_window(today, zone), last_hour(now))
        histories = {owner: self.history(owner, concern) for owner, concern in concerned.items()}
        return replace(state, noticing=Remembered(totals_today, totals_last_hour, histories, known))

    def history(self, owner, concern):
        """Return an owner's closed days as a database keeps them: folded as far as the poll lets it."""
        rows = sorted((row for row in self.days.values() if row.owner == owner), key=lambda row: row.day)
        old = [row for row in rows if row.day < concern.since]
        singled_out = [row for row in old if row.day in concern.half_seen or row.state is not TotalState.SETTLED]
        totals = ((row.day, row.amounts.spent(byok=self.anomaly.byok)) for row in old)
        return History([*singled_out, *rows[len(old) :]], NO_PAST.with_days(totals, concern.since))

    def write(self, plan):
        for window in plan.windows:
            place = (window.start, window.owner, window.key_hash, window.meter)
            if place not in self.windows:
                insort(self.places, place)
        super().write(plan)
        for alert in plan.alerts:
            known = self.alerts.get(alert.fingerprint)
            assert alert.id == (known.id if known else None), "an alert keeps its number"
            self.alerts[alert.fingerprint] = replace(alert, id=alert.id or len(self.alerts) + 1)
        for transition in plan.transitions:
            assert transition.reason
            self.transitions.append(transition)
        reasons = [(f"alert:{one.fingerprint}:", _TOLD_AS[one.change]) for one in plan.transitions]
        for outgoing in plan.outgoing:
            assert outgoing.intent not in self.outbox, "no two messages ever have the same intent"
            assert outgoing.about is None or outgoing.about in self.outbox
            reason = next(one for one in reasons if outgoing.intent.startswith(one[0]) and outgoing.manner is one[1])
            reasons.remove(reason)
            self.outbox[outgoing.intent] = outgoing

    def first_money_at(self):
        return self.places[0][0] if self.places else None

    def totals(self, *spans):
        edges = [[bisect_left(self.places, (edge,)) for edge in (span.start, span.end)] for span in spans]
        return [self._totals(self.places[first:last]) for first, last in edges]

    # --- Living

    def sees(self, when, **spent):
        """Let keys spend so many dollars since the UTC day or the last look began, and poll them."""
        when = at(when) if isinstance(when, str) else when
        return self.poll(*(self.snapshot(when, name, amount) for name, amount in spent.items()))

    def snapshot(self, when, name, amount):
        total = self.counters[name] = self.counters.get(name, Fraction(0)) + Fraction(amount)
        return snapshot(when, str(total), "0" if when == utc_midnight(when) else str(Fraction(amount)), key=name)

    def lives(self, days=9, per_day="1", first="2026-11-01", names=("key",)):
        """Open every key at the beginning of *first*, and let it spend as much every day, until the last one ends."""
        zone, amounts = ZoneInfo(self.zone), [per_day] * days if isinstance(per_day, str) else per_day
        begin = day_window(date.fromisoformat(first), zone).start
        self.sees(begin, **dict.fromkeys(names, "0"))
        for n, amount in enumerate(amounts):
            day = day_window(date.fromisoformat(first) + n * DAY, zone)
            self.sees(day.start + 9 * HOUR, **dict.fromkeys(names, amount))
            self.sees(day.end, **dict.fromkeys(names, "0"))
        return self

    # --- Asking it

    def alert(self, fingerprint):
        return self.alerts[fingerprint]

    def changes(self, fingerprint):
        return [transition.change for transition in self.transitions if transition.fingerprint == fingerprint]

    def said(self, manner=None):
        return [one.message.headline for one in self.outbox.values() if manner in {None, one.manner}]
