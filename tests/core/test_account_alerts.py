"""Alerts about the account: books that stay open are told once a day, and credits before they are gone."""

from dataclasses import replace
from datetime import date, timedelta
from zoneinfo import ZoneInfo

import pytest

from reckon.core.account_alerts import AccountFound, days_to_judge, judge
from reckon.core.account_messages import books_line
from reckon.core.alerts import AlertState, Change
from reckon.core.comparing import Comparison, Teller
from reckon.core.funds import Funds
from reckon.core.reasons import Reason
from reckon.core.reconcile import Books
from reckon.core.windows import day_window
from tests.builders import DAY, HOUR, MINUTE, at, usd

UTC, VIENNA = ZoneInfo("UTC"), ZoneInfo("Europe/Vienna")
TODAY = date(2026, 11, 20)
NOON = at("2026-11-20 12:00")


def comparison(teller=Teller.ACTIVITY, amount="41.20", day=TODAY, **explained):
    named = [(Reason(name), usd(part)) for name, part in explained.items()]
    told = usd(amount)
    return Comparison(teller, day_window(day, UTC), told, told - sum(part for _, part in named), NOON, named)


def books(*compared, day=TODAY, settled=None, zone=UTC, counters="41.20", **explained):
    named = [(Reason(name), usd(part)) for name, part in explained.items()]
    nanos = usd(counters)
    settled_nanos = nanos - sum(part for _, part in named) if settled is None else usd(settled)
    return Books(day, day_window(day, zone), nanos, settled_nanos, 0 if settled is None else 1, 0, 0, named, compared)


OPEN = books(comparison(amount="42.20", unexplained="1"))
BALANCED = books(comparison())


class Watch:
    """Looks at an account again and again, and remembers what a database would."""

    def __init__(self):
        self.alerts, self.open_since, self.said, self.changes = {}, {}, [], []

    def look(self, now, *days, funds=None):
        found = AccountFound(days, self.open_since, funds, self.alerts)
        plan = judge(found, UTC, now)
        assert judge(found, UTC, now) == plan
        assert plan.changes(found) == bool(plan.outgoing or plan.alerts or plan.open_since != self.open_since)
        self.open_since = plan.open_since
        self.alerts |= {alert.fingerprint: alert for alert in plan.alerts}
        self.said += [outgoing.message.headline for outgoing in plan.outgoing]
        intents = [outgoing.intent for outgoing in plan.outgoing]
        assert len({*intents}) == len(intents)
        self.changes += [transition.change for transition in plan.transitions]
        return plan


# --- Books ---------------------------------------------------------------------------------------------------------


def test_books_are_told_once_they_have_been_open_for_two_hours_and_again_when_they_balance():
    watch = Watch()
    for minutes in range(0, 120, 10):
        watch.look(NOON + minutes * MINUTE, OPEN)
    assert watch.said == []
    for minutes in range(120, 300, 10):
        watch.look(NOON + minutes * MINUTE, OPEN)
    assert watch.said == ["Books of Fri 20 Nov: $1.00 without a reason"]
    watch.look(NOON + 6 * HOUR, BALANCED)
    watch.look(NOON + 7 * HOUR, BALANCED)
    assert watch.said[1:] == ["Books of Fri 20 Nov balance"]
    (alert,) = watch.alerts.values()
    assert (alert.fingerprint, alert.state, alert.finding.owner) == ("books::2026-11-20", AlertState.RESOLVED, None)
    assert watch.changes == [Change.OPENED, Change.RESOLVED]


def test_books_that_balance_in_between_begin_anew():
    watch = Watch()
    for minutes in range(0, 110, 10):
        watch.look(NOON + minutes * MINUTE, OPEN)
    watch.look(NOON + 115 * MINUTE, BALANCED)
    watch.look(NOON + 120 * MINUTE, OPEN)
    watch.look(NOON + 239 * MINUTE, OPEN)
    assert watch.said == []
    watch.look(NOON + 240 * MINUTE, OPEN)
    assert len(watch.said) == 1


def test_books_that_are_open_only_for_others_reasons_are_not_open():
    watch = Watch()
    for hours in range(5):
        watch.look(NOON + hours * HOUR, books(comparison(amount="43.20", chatroom="2", not_told_yet="-1")))
    assert (watch.said, watch.open_since) == ([], {})


def test_each_day_has_an_alert_of_its_own_and_its_figures_are_followed_in_silence():
    watch, yesterday = Watch(), replace(OPEN, day=TODAY - DAY)
    for hours in range(4):
        watch.look(NOON + hours * HOUR, yesterday, OPEN)
    watch.look(NOON + 5 * HOUR, yesterday, books(comparison(amount="50", unexplained="8")))
    assert len(watch.said) == 2
    assert watch.alerts["books::2026-11-20"].finding.spend_nanos == usd(8)


def test_the_days_that_are_judged_are_those_watched_of_late_and_those_still_open():
    watch = Watch()
    old = books(comparison(amount="42.20", unexplained="1", day=date(2026, 11, 10)), day=date(2026, 11, 10))
    for hours in range(3):
        watch.look(NOON + hours * HOUR, old)
    judged = days_to_judge(at("2026-11-01 00:00"), watch.alerts.values(), UTC, NOON)
    assert judged == [date(2026, 11, 10), *(date(2026, 11, day) for day in (17, 18, 19, 20))]
    assert days_to_judge(at("2026-11-19 00:00"), [], UTC, NOON) == [date(2026, 11, 19), TODAY]
    assert days_to_judge(None, [], UTC, NOON) == []


# --- Funds ---------------------------------------------------------------------------------------------------------


def funds(left, a_day, seen_at=NOON, **more):
    return Funds(seen_at, usd(left), usd(a_day), purchased_nanos=usd(1000), **more)


def test_a_low_balance_is_told_once_again_when_half_of_it_is_gone_and_when_it_is_mended():
    watch = Watch()
    steps = [(100, 50), (49, 50), (40, 50), (25, 50), (24, 50), (12, 50), (0, 50), (-5, 50), (99, 50), (101, 50)]
    for minute, (left, a_day) in enumerate(steps):
        when = NOON + minute * MINUTE
        watch.look(when, funds=funds(left, a_day, when))
    assert watch.said == [
        "OpenRouter: $49.00 left; empty in 23 h 31 min, about 21 Nov 11:32 UTC",
        "OpenRouter: $24.00 left; empty in 11 h 31 min, about 23:35 UTC",
        "OpenRouter: $12.00 left; empty in 5 h 45 min, about 17:50 UTC",
        "OpenRouter: the account balance is $0.00",
        "OpenRouter: $101.00 left, which lasts 2 d",
    ]


@pytest.mark.parametrize(
    "balance",
    [
        None,
        funds(100, 0),
        funds(100, 100),
        Funds(NOON, 0, 0),  # nothing was ever purchased, and nothing owed
        funds(1, 50, NOON - 61 * MINUTE),
        funds(1, 50, seen_by="laptop"),
    ],
)
def test_what_nobody_need_know_of_a_balance_is_not_told(balance):
    watch = Watch()
    watch.look(NOON, funds=balance)
    assert watch.said == []


def test_funds_that_nobody_sees_any_more_stay_as_they_were_told():
    watch = Watch()
    watch.look(NOON, funds=funds(1, 50))
    watch.look(NOON + 2 * HOUR, funds=None)
    assert [alert.state for alert in watch.alerts.values()] == [AlertState.FIRING]


@pytest.mark.parametrize(
    ("left", "a_day", "lasts"),
    [(100, 50, 2 * DAY), (-1, 50, timedelta(0)), (100, 0, None), (10**6, "0.000000001", 3650 * DAY)],
)
def test_a_runway_is_how_long_the_rest_does_at_the_pace_of_a_day(left, a_day, lasts):
    assert funds(left, a_day).runway == lasts


# --- The line of every digest --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "zone", "line"),
    [
        ([BALANCED], UTC, "key counters $41.20 = activity $41.20; day = UTC"),
        (
            [books(comparison(Teller.ANALYTICS), settled="41.18", pending="0.02")],
            UTC,
            "key counters $41.20 = analytics $41.20 = settled $41.18 + $0.02 pending; day = UTC",
        ),
        (
            [books(comparison(amount="43.20", chatroom="2"))],
            UTC,
            "key counters $41.20 = activity $43.20 - $2.00 in the chatroom; day = UTC",
        ),
        ([books()], UTC, "key counters $41.20; day = UTC"),
        (
            [books(comparison(amount="40"), zone=VIENNA)],
            VIENNA,
            "key counters $41.20; by UTC days: key counters $40.00 = activity $40.00; day = Europe/Vienna",
        ),
        # A week of which one day is not told has no such number.
        ([BALANCED, books(day=TODAY - DAY)], UTC, "key counters $82.40; day = UTC"),
        ([books(counters="0")], UTC, None),
        ([], UTC, None),
    ],
)
def test_the_books_are_one_line_of_the_numbers_that_exist(days, zone, line):
    assert books_line(days, zone.key) == line
