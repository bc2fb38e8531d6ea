"""Noticing: what one poll, once counted, means for the alerts.

Called inside the poll's own transaction, after the ledger has decided what the money is: so an alert exists if and only
if the counters that justify it are stored. An owner is looked at when money of theirs was seen or a day of theirs
ended. A day is judged while it runs, on what is known to be its own, and once more when it is closed; so money that was
seen late is judged in its own day. Only the day just before today is judged at a close: what a ledger learns about
older days, after a long outage or a restored backup, is history and not news.

What a change in an alert consists of is the affair of `alert_book`, how it is told that of `alert_messages`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import alert_messages as say
from reckon.core import deltas, silences
from reckon.core.alert_book import AlertBook
from reckon.core.alerts import Alert, AlertState, Finding, Rule, Transition
from reckon.core.baseline import NO_PAST, History, Past, usual
from reckon.core.closing import OpenDays
from reckon.core.detectors import DETECTORS, AnomalyPolicy, DayView, staleness
from reckon.core.generations import CallTotal
from reckon.core.messages import Message
from reckon.core.outbox import Outgoing
from reckon.core.polls import Poll
from reckon.core.records import (
    UNOWNED,
    Amounts,
    Balance,
    KeyState,
    OwnerDay,
    OwnerState,
    Snapshot,
    TotalState,
    WatchedKey,
    WindowSpend,
)
from reckon.core.totals import KeyTotal
from reckon.core.windows import GRAIN, Window, day_window, grain_start, local_date

_A_ROUND_AT_MOST: Final = timedelta(minutes=15)
"""How long after a day's end an owner's keys may still be about to be asked for the first time."""
_A_BALANCE_HOLDS_FOR: Final = timedelta(hours=1)
_WORTH_AN_EDIT: Final = 10
"""A message is edited when the figure has grown by a tenth of what it says: often at first, seldom later."""


CALLS_TOLD_BY: Final = frozenset({"owner", "model", "requested_model", "session"})
_DAYS_AT_HAND: Final = timedelta(days=2)
"""Alerts of the day before yesterday can still be those of a running day, in another zone or by a clock set back."""


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
    """What each key of the owners concerned has spent on the running local day, before this poll."""
    totals_last_hour: Sequence[KeyTotal] = ()
    """The same, within `last_hour`."""
    histories: Mapping[str, History] = field(default_factory=dict)
    """The closed days of the owners concerned, as far as `owners_concerned` says, and folded beyond that."""
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    """By fingerprint, in the order in which they first opened: every firing one, and every one of the last days."""
    calls: Mapping[tuple[str, date], Sequence[CallTotal]] = field(default_factory=dict)
    """The settled generations of `days_told`, by owner and day, told apart by `CALLS_TOLD_BY`. Nothing is decided by
    them: they only say what drives it."""
    balances: Sequence[Balance] = ()
    """The account's balance as it was seen lately, newest first. Nothing is decided by it either."""


@dataclass(frozen=True, slots=True)
class Concern:
    """Which closed days of an owner a poll has to know one by one."""

    since: date
    """From this one on: the poll may judge them, tell of them, or add to them."""
    half_seen: frozenset[date] = frozenset()
    """And these: a key was first seen on them that may have spent before."""


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
    """What each key that answered has spent since it was last seen."""


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
) -> dict[str, Concern]:
    """Return the owners whose history the poll *seen* may need: who spent, whose day is over, whose alert is firing.

    All the money that the poll can bring an owner, and every alert about a day of theirs, is of the days since.
    """
    holders = {entry.hash: entry.owner for entry in watched}
    today = local_date(now, zone)
    since: defaultdict[str, date] = defaultdict(lambda: today - _DAYS_AT_HAND)
    for snapshot in seen.snapshots:
        key = keys.get(snapshot.key_hash)
        if _may_bring_money(snapshot, key):
            owner = holders.get(snapshot.key_hash, UNOWNED)
            since[owner] = min(since[owner], local_date(_earliest_money(snapshot, key), zone))
    for owner in calendar.owners:
        if (day := calendar.closed_before(owner, zone)) and day < today:
            since[owner] = min(since[owner], day)
    for alert in alerts:
        name = alert.finding.owner
        if alert.state is AlertState.FIRING and name is not None:
            known = since[name]
            since[name] = min(known, alert.finding.day) if alert.finding.rule is Rule.SIGMA else known

    half_seen: defaultdict[str, set[date]] = defaultdict(set)
    for key in keys.values():
        # Whoever holds it after the poll: the owner map may have changed, and what is not in it is nobody's.
        theirs = [owner for owner in (key.owner, holders.get(key.hash, UNOWNED)) if owner in since]
        if theirs and (day := _half_seen_day(key, zone)):
            for owner in theirs:
                half_seen[owner].add(day)
    return {owner: Concern(first, frozenset(half_seen[owner])) for owner, first in since.items()}


def days_told(alerts: Iterable[Alert]) -> set[tuple[str, date]]:
    """Return the days, each with its owner, whose spend the messages about *alerts* tell."""
    findings = [alert.finding for alert in alerts if alert.finding.rule is Rule.SIGMA]
    return {(finding.owner, finding.day) for finding in findings if finding.owner is not None}


def last_hour(now: datetime) -> Window:
    """Return the whole windows that the last hour is made of, the running one included."""
    running = grain_start(now)
    return Window(running - 3 * GRAIN, running + GRAIN)


def notice(before: Remembered, counted: Counted, policy: NoticePolicy, now: datetime) -> Noticed:
    """Return what the poll that was *counted* means for the alerts *before* it."""
    book = AlertBook(before.alerts, policy.people, now)
    moment = say.Moment(now, policy.zone)
    _judge_days(_Days(before, counted, policy, now), policy.anomaly, book, moment)
    silences.judge(counted.keys, _held_by_silences(counted), policy.staleness_after, book, moment)
    if policy.repeat_every:
        _remind(counted, policy.repeat_every, book, moment)
    return Noticed(*book.changes())


def _held_by_silences(counted: Counted) -> dict[str, int]:
    """Return the money of the keys that answer again, by hash: what had grown while they were silent."""
    return {
        key.hash: counted.nanos_by_key.get(key.hash, 0) for key in counted.keys_before.values() if key.failing_since
    }


def _may_bring_money(snapshot: Snapshot, key: KeyState | None) -> bool:
    """Return whether *snapshot* may count: as growth, as a true zero's first value, or as what grew inside a dip."""
    if key is None or key.counters is None:
        return snapshot.credits.total_nanos + snapshot.byok.total_nanos > 0
    return any(
        counter.dip or counter.total_nanos != reading.total_nanos
        for counter, reading in ((key.counters.credits, snapshot.credits), (key.counters.byok, snapshot.byok))
    )


def _earliest_money(snapshot: Snapshot, key: KeyState | None) -> datetime:
    """Return an instant before which nothing of what *snapshot* may count was spent."""
    if key is None or key.counters is None:
        return min(snapshot.at, snapshot.created_at or snapshot.at)
    dips = [counter.dip.after for counter in (key.counters.credits, key.counters.byok) if counter.dip]
    return min(snapshot.at, key.counters.last_seen_at, *dips)


def _half_seen_day(key: KeyState, zone: ZoneInfo) -> date | None:
    """Return the day on which *key* was first seen, if it may have spent before on that day."""
    if key.counters is None:
        return None
    opened_on = local_date(key.counters.opened_at, zone)
    return opened_on if opened_on != deltas.first_whole_day(key.counters, zone) else None


# --- Days ----------------------------------------------------------------------------------------------------------


def _judge_days(days: "_Days", policy: AnomalyPolicy, book: AlertBook, moment: say.Moment) -> None:
    for finding, facts in days.findings_at_the_close():
        if not book.find(finding):
            message = say.unusual_day(finding, facts, policy, book.person(finding), moment)
            alert = book.open(finding, message, say.why_unusual(finding))
            book.resolve(alert, "the day was over when its money was seen")

    for alert in book.alerts:
        if alert.finding.rule is not Rule.SIGMA:
            continue
        if alert.state is AlertState.FIRING and days.is_over(alert.finding):
            final, state = days.final(alert.finding)
            message = say.day_is_over(final, book.person(final), say.data(state, moment))
            book.resolve(replace(alert, finding=final), message.headline, message)
        elif alert.state is AlertState.RESOLVED and days.has_moved(alert.finding):
            final, _ = days.final(alert.finding)
            book.keep(replace(alert, finding=final))

    for finding, facts in days.findings_so_far():
        firing = book.find(finding)
        if firing is None:
            message = say.unusual_day(finding, facts, policy, book.person(finding), moment)
            book.open(finding, message, say.why_unusual(finding))
        elif firing.state is AlertState.FIRING:
            message = say.unusual_day(finding, facts, policy, book.person(finding), moment, noticed_at=firing.opened_at)
            _follow(firing, finding, message, book)


def _follow(alert: Alert, finding: Finding, message: Message, book: AlertBook) -> None:
    """Give an alert its new figures, and its message too once they are worth an edit."""
    followed = replace(alert, finding=finding)
    told, spent = alert.told_nanos or 0, finding.spend_nanos or 0
    if spent > told and (spent - told) * _WORTH_AN_EDIT >= told:
        book.grow(replace(followed, told_nanos=spent), spent, message, say.why_told_again(finding, told))
    else:
        book.keep(followed)


class _Days:
    """The owners' days: past, closed by this poll, and running."""

    def __init__(self, before: Remembered, counted: Counted, policy: NoticePolicy, now: datetime) -> None:
        self._before = before
        self._counted = counted
        self._policy = policy.anomaly
        self._zone = policy.zone
        self._now = now
        self._today = local_date(now, policy.zone)
        self._moved = {(day.owner, day.day) for day in counted.closed}

    def findings_at_the_close(self) -> Iterator[tuple[Finding, say.DayFacts]]:
        """Yield what is seen in yesterday, of every owner whose yesterday was closed or given late money by now."""
        if self._counted.rebuild_days and self._had_begun:
            return  # the days were only cut otherwise
        yesterday = self._today - timedelta(days=1)
        for owner in sorted(owner for owner, day in self._moved if day == yesterday):
            closed = self._closed[owner][yesterday]
            for finding in self._look(owner, yesterday, self._spent(closed.amounts)):
                window = day_window(yesterday, self._zone)
                calls = self._before.calls.get((owner, yesterday), ())
                yield finding, say.DayFacts(window, closed.state, byok_nanos=self._byok(closed.amounts), calls=calls)

    def findings_so_far(self) -> Iterator[tuple[Finding, say.DayFacts]]:
        """Yield what is seen in today, of every owner who spent, in what is known to be today's."""
        for owner in sorted({window.owner for window in self._counted.windows if window.spend_nanos}):
            total, guess = _total(self._by_key[owner]), self._guess(owner)
            for finding in self._look(owner, self._today, self._spent(total) - self._spent(guess)):
                yield finding, self._facts_so_far(owner, total, guess)

    def is_over(self, finding: Finding) -> bool:
        """Return whether the day of *finding* has been judged at its close, with all its money."""
        owner = self._counted.owners.get(finding.owner or "")
        # Under a clock that was ahead, days have been closed that are not over.
        is_closed = owner and owner.open_day and finding.day < min(owner.open_day, self._today)
        return bool(is_closed) and not self._may_bring_more(finding)

    def _may_bring_more(self, finding: Finding) -> bool:
        """Return whether keys of an owner are only about to be asked, in another poll of the same round.

        Several replicas divide the owners among them, and the first to commit closes the day of all.
        """
        ended_at = day_window(finding.day, self._zone).end
        if self._now >= ended_at + _A_ROUND_AT_MOST:
            return False
        return any(
            key.watched and key.counters and not key.failing_since and key.counters.last_seen_at < ended_at
            for key in self._keys_of[finding.owner or ""]
        )

    def has_moved(self, finding: Finding) -> bool:
        """Return whether this poll has added to the closed day of *finding*."""
        return (finding.owner, finding.day) in self._moved and not self._counted.rebuild_days

    def final(self, finding: Finding) -> tuple[Finding, TotalState]:
        """Return *finding* with what its day came to, if it is closed, and how far that can be trusted."""
        closed = self._closed[finding.owner or ""].get(finding.day)
        if closed is None:
            return finding, TotalState.PROVISIONAL
        return replace(finding, spend_nanos=self._spent(closed.amounts)), closed.state

    def _look(self, owner: str, day: date, spend_nanos: int) -> Iterator[Finding]:
        known = History([*self._closed[owner].values()], self._past(owner))
        half_seen = {one for key in self._keys_of[owner] if (one := _half_seen_day(key, self._zone))}
        view = DayView(owner, day, spend_nanos, usual(known, day, half_seen, byok=self._policy.byok))
        for look in DETECTORS:
            if finding := look(view, self._policy):
                yield finding

    def _facts_so_far(self, owner: str, total: Amounts, guess: Amounts) -> say.DayFacts:
        by_key = {key_hash: self._spent(amounts) for key_hash, amounts in self._by_key[owner].items()}
        dearest = max(by_key, key=lambda key_hash: by_key[key_hash])
        lately_seconds = int((self._now - last_hour(self._now).start).total_seconds())
        lately = _total(self._lately[owner])
        return say.DayFacts(
            day_window(self._today, self._zone),
            TotalState.PROVISIONAL,
            driver=self._counted.keys[dearest].name,
            driver_share=by_key[dearest] / self._spent(total),
            hourly_nanos=self._spent(lately) * 3600 // lately_seconds,
            hourly_credits_nanos=lately.spend_nanos * 3600 // lately_seconds,
            guessed_nanos=self._spent(guess),
            byok_nanos=self._byok(total) - self._byok(guess),
            calls=self._before.calls.get((owner, self._today), ()),
            balance=self._balance(owner),
        )

    def _balance(self, owner: str) -> Balance | None:
        """Return what is left for an owner: as a management key saw it, or one of theirs. Others may have another."""
        for balance in self._before.balances:
            key = self._counted.keys.get(balance.seen_by)
            if (key is None or key.owner == owner) and balance.at > self._now - _A_BALANCE_HOLDS_FOR:
                return balance
        return None

    def _spent(self, amounts: Amounts) -> int:
        return amounts.spent(byok=self._policy.byok)

    def _byok(self, amounts: Amounts) -> int:
        """Return how much of what is judged went through the team's own upstream keys."""
        return amounts.byok_nanos if self._policy.byok else 0

    def _guess(self, owner: str) -> Amounts:
        """Return how much of an owner's today a gap over midnight has given it by nothing better than time."""
        state = self._counted.owners[owner]
        return Amounts(spend_nanos=state.guessed_credits_nanos, byok_nanos=state.guessed_byok_nanos)

    @property
    def _had_begun(self) -> bool:
        """Whether there was a poll today already."""
        begin = day_window(self._today, self._zone).start
        known = self._counted.keys_before.values()
        return any(key.counters and key.counters.last_seen_at >= begin for key in known)

    def _past(self, owner: str) -> Past:
        """Return what is folded of an owner's history; nothing, where all of it is another zone's."""
        known = None if self._counted.rebuild_days else self._before.histories.get(owner)
        return known.past if known else NO_PAST

    @cached_property
    def _by_key(self) -> "_ByKey":
        return _by_key(self._before.totals_today, self._counted.windows, day_window(self._today, self._zone))

    @cached_property
    def _lately(self) -> "_ByKey":
        return _by_key(self._before.totals_last_hour, self._counted.windows, last_hour(self._now))

    @cached_property
    def _keys_of(self) -> defaultdict[str, list[KeyState]]:
        found: defaultdict[str, list[KeyState]] = defaultdict(list)
        for key in self._counted.keys.values():
            found[key.owner].append(key)
        return found

    @cached_property
    def _closed(self) -> defaultdict[str, dict[date, OwnerDay]]:
        """The closed days that are known one by one, by owner, as this poll leaves them."""
        found: defaultdict[str, dict[date, OwnerDay]] = defaultdict(dict)
        for owner, known in {} if self._counted.rebuild_days else self._before.histories.items():
            found[owner] = {day.day: day for day in known.days}
        for day in self._counted.closed:
            held = found[day.owner].get(day.day)
            found[day.owner][day.day] = replace(day, amounts=held.amounts + day.amounts) if held else day
        return found


_ByKey = defaultdict[str, defaultdict[str, Amounts]]


def _by_key(held: Iterable[KeyTotal], windows: Iterable[WindowSpend], span: Window) -> _ByKey:
    """Return the amounts of a span by owner and key: what the ledger held, and what this poll adds."""
    found: _ByKey = defaultdict(lambda: defaultdict(Amounts))
    for total in held:
        found[total.owner][total.key_hash] += total.amounts
    for window in windows:
        if window.start in span:
            found[window.owner][window.key_hash] += Amounts.of(window.meter, window.spend_nanos, 0)
    return found


def _total(by_key: Mapping[str, Amounts]) -> Amounts:
    return sum(by_key.values(), Amounts())


# --- Reminders -----------------------------------------------------------------------------------------------------


def _remind(counted: Counted, every: timedelta, book: AlertBook, moment: say.Moment) -> None:
    for alert in book.firing:
        if alert.told_at + every <= moment.now:
            owner, about = alert.finding.owner, [counted.keys[key_hash] for key_hash in alert.finding.key_hashes]
            silent = [key for key in about if owner and staleness.is_silent(key, owner)]
            message = say.reminder(alert, book.person(alert.finding), moment, silent)
            book.remind(alert, message, say.why_reminded(alert, moment))
