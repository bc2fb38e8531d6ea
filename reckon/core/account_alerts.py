"""Alerts about the account and not about one owner: books that stay open, and credits that run out.

Books are open while some of a day's money has no reason. That can pass by itself, with the next poll or when somebody
else catches up, so only books that have been open for two hours are told, once for each day; they are closed when they
balance. What is remembered meanwhile is since when each day's books have been open.

Funds are told when they will not last another day, again whenever half of what was told is gone, and no more once they
last two days. A balance that nobody has seen for an hour, or that an inference key told, decides nothing.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reckon.core import account_messages as say
from reckon.core.alert_book import AlertBook
from reckon.core.alert_messages import Moment
from reckon.core.alerts import Alert, Finding, Rule, Transition
from reckon.core.funds import Funds
from reckon.core.outbox import Outgoing
from reckon.core.reasons import TOLERANCE_NANOS
from reckon.core.reconcile import Books
from reckon.core.windows import day_window, local_date

OPEN_FOR: Final = timedelta(hours=2)
"""How long books may stay open before anybody is told."""
_DAYS_LOOKED_BACK: Final = 3
"""Activity may still change for so many days."""
_FRESH_FOR: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class AccountFound:
    """What the store remembers, as far as these alerts need it."""

    books: Sequence[Books] = ()
    """Those of `days_to_judge`."""
    open_since: Mapping[date, datetime] = field(default_factory=dict)
    """Since when the books of each day have been open, where they were at the last look."""
    funds: Funds | None = None
    alerts: Mapping[str, Alert] = field(default_factory=dict)
    """By fingerprint: every firing one, and every one about the days that are judged."""


@dataclass(frozen=True, slots=True)
class AccountPlan:
    """All that one look decided. Writing it is one transaction."""

    at: datetime
    open_since: Mapping[date, datetime]
    """All days whose books are open now."""
    alerts: tuple[Alert, ...] = ()
    transitions: tuple[Transition, ...] = ()
    outgoing: tuple[Outgoing, ...] = ()

    def changes(self, found: AccountFound) -> bool:
        """Return whether anything is to be written that was not *found*."""
        return bool(self.alerts or self.transitions or self.outgoing) or self.open_since != found.open_since


def days_to_judge(first_opening: datetime | None, alerts: Iterable[Alert], zone: ZoneInfo, now: datetime) -> list[date]:
    """Return the days whose books are looked at: today, the last few, and those that were told to be open."""
    if first_opening is None:
        return []
    today = local_date(now, zone)
    recent = {today - timedelta(days=back) for back in range(_DAYS_LOOKED_BACK + 1)}
    told = {alert.finding.day for alert in firing(alerts, Rule.BOOKS)}
    windows = {day: day_window(day, zone) for day in sorted(recent | told) if day <= today}
    return [day for day, window in windows.items() if window.end > max(window.start, first_opening)]


def judge(found: AccountFound, zone: ZoneInfo, now: datetime) -> AccountPlan:
    """Return what is to be told of the account *now*."""
    book, moment = AlertBook(found.alerts, {}, now), Moment(now, zone)
    open_since = dict(
        _judge_books(each, found.open_since, book, moment) for each in found.books if not each.is_balanced
    )
    _close_books([each for each in found.books if each.is_balanced], book)
    if found.funds and found.funds.seen_by is None and timedelta(0) <= now - found.funds.at <= _FRESH_FOR:
        _judge_funds(found.funds, book, moment)
    return AccountPlan(now, open_since, *book.changes())


def firing(alerts: Iterable[Alert], rule: Rule) -> list[Alert]:
    """Return those of *alerts* that fire by *rule*."""
    return [alert for alert in alerts if alert.finding.rule is rule and alert.resolved_at is None]


# --- Books -----------------------------------------------------------------------------------------------------------


def _judge_books(
    books: Books, open_since: Mapping[date, datetime], book: AlertBook, moment: Moment
) -> tuple[date, datetime]:
    """Follow or tell the alert of books that are open; return their day, and since when they are."""
    since = min(open_since.get(books.day, moment.now), moment.now)  # the clock may have been set back
    finding = Finding(
        Rule.BOOKS, None, books.day, spend_nanos=books.open_nanos, threshold_nanos=TOLERANCE_NANOS, since=since
    )
    known = book.find(finding)
    if known and known.resolved_at is None:
        book.keep(replace(known, finding=replace(finding, since=known.finding.since)))
    elif moment.now - since >= OPEN_FOR:
        book.open(finding, say.open_books(books, since, moment), say.why_open(books))
    return books.day, since


def _close_books(balanced: Collection[Books], book: AlertBook) -> None:
    by_day = {books.day: books for books in balanced}
    for alert in firing(book.alerts, Rule.BOOKS):
        if books := by_day.get(alert.finding.day):
            message = say.closed_books(books)
            book.resolve(replace(alert, finding=replace(alert.finding, spend_nanos=0)), message.headline, message)


# --- Funds -----------------------------------------------------------------------------------------------------------


def _judge_funds(funds: Funds, book: AlertBook, moment: Moment) -> None:
    known = next(iter(firing(book.alerts, Rule.LOW_BALANCE)), None)
    if known is None:
        if funds.are_low:
            day = local_date(moment.now, moment.zone)
            finding = Finding(Rule.LOW_BALANCE, None, day, usual_nanos=funds.daily_nanos, since=moment.now)
            told = book.open(finding, say.low_funds(funds, moment), say.why_low(funds))
            book.keep(replace(told, told_nanos=funds.left_nanos))
    elif funds.are_ample:
        message = say.ample_funds(funds)
        book.resolve(known, message.headline, message)
    elif known.told_nanos is not None and _has_halved(funds.left_nanos, known.told_nanos):
        book.remind(
            replace(known, told_nanos=funds.left_nanos), say.low_funds(funds, moment), say.why_low_still(funds, known)
        )


def _has_halved(left_nanos: int, told_nanos: int) -> bool:
    """Return whether half of what was told is gone, or all of it; of less than nothing there is no half."""
    return told_nanos > 0 and 2 * left_nanos <= told_nanos
