"""The figures of a digest are the ledger's, and each is held against what it can be held against."""

from dataclasses import replace
from datetime import date, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import digest as digests
from reckon.core import reports
from reckon.core.alert_messages import Person
from reckon.core.alerts import Alert, AlertState, Finding, Rule
from reckon.core.digest import DigestPolicy
from reckon.core.digest_calendar import DigestKind, DigestTime, latest
from reckon.core.digest_figures import Facts, windows_to_read
from reckon.core.records import UNOWNED, Amounts, TotalState
from reckon.core.reports import Dimension, Ledger, OwnerMap
from reckon.core.windows import CalendarUnit, Window, calendar
from tests.builders import DAY, HOUR, MINUTE, Book, at, day, failure, reading, snapshot, total_of, usd, watched

DAILY = DigestTime(DigestKind.DAILY, time(9))
WEEKLY = DigestTime(DigestKind.WEEKLY, time(9), day=0)
MONTHLY = DigestTime(DigestKind.MONTHLY, time(9), day=1)
OWNER_MAP = OwnerMap({"ana": None, "bo": None, "cy": None}, [("ana", "a1"), ("bo", "b1"), ("cy", "c1")])
NINE = at("2026-11-20 09:00")


def policy(*, zone="UTC", byok=True, times=(DAILY, WEEKLY, MONTHLY), owner_map=OWNER_MAP):
    return DigestPolicy(ZoneInfo(zone), times, {"ana": Person("Ana (ana)")}, owner_map, byok)


def team(zone="UTC"):
    """Return an empty ledger of one key each for ana, bo and cy."""
    return Book(zone=zone, watched=[watched("a1", "ana"), watched("b1", "bo"), watched("c1", "cy")])


def facts_of(ledger, dues, terms, alerts=()):
    keys = [*ledger.keys.values()]
    windows = {window for one in dues for window in windows_to_read(one, terms.zone)}

    def held(window):
        gaps = [gap for gap in ledger.gaps.values() if gap.since < window.end and gap.at > window.start]
        return Ledger(keys, [(None, window)], ledger.totals(window), gaps)

    return Facts(keys, {window: held(window) for window in windows}, [*ledger.days.values()], alerts)


def digest_of(ledger, kind=DigestKind.DAILY, now=NINE, terms=None, alerts=(), **changed):
    terms = terms or policy(zone=ledger.zone)
    one = replace(latest(kind, terms.zone, now), **changed)
    return digests.digest_of(one, facts_of(ledger, [one], terms, alerts), terms, now)


def live(ledger, days, *, first="2026-11-01", byok=None, also_at_nine=True):
    """Poll at the beginning, noon and end of every day; *days* are what each key spends on it, in dollars, at noon."""
    totals = dict.fromkeys(days, 0)
    byoks = dict.fromkeys(days, 0)
    start = at(f"{first} 00:00")

    def poll(now):
        ledger.poll(
            *(
                replace(
                    snapshot(now, key=key),
                    credits=replace(reading("0"), total_nanos=totals[key]),
                    byok=replace(reading("0"), total_nanos=byoks[key]),
                )
                for key in days
            ),
            now=now,
        )

    count = max(map(len, days.values()))
    for n in range(count):
        poll(start + n * DAY)
        poll(start + n * DAY + 12 * HOUR - MINUTE)
        for key, spends in days.items():
            totals[key] += usd(spends[n])
            byoks[key] += usd((byok or {}).get(key, ["0"] * count)[n])
        poll(start + n * DAY + 12 * HOUR)
    poll(start + count * DAY)
    if also_at_nine:
        poll(start + count * DAY + 9 * HOUR - MINUTE)


def figures(lines):
    return {line.owner: (line.amounts.spend_nanos, line.usual_nanos) for line in lines}


# --- Spend ---------------------------------------------------------------------------------------------------------


def test_a_daily_digest_holds_each_owners_day_against_the_mean_of_their_past_days():
    ledger = team()
    live(ledger, {"a1": [*["2"] * 18, "18.40"], "b1": [*["1", "3"] * 9, "4"], "c1": ["0"] * 19})

    digest = digest_of(ledger)

    assert figures(digest.lines) == {"ana": (usd("18.40"), usd(2)), "bo": (usd(4), usd(2)), "cy": (0, None)}
    assert [line.owner for line in digest.lines] == ["ana", "bo", "cy"]
    assert (digest.total.amounts.spend_nanos, digest.total.usual_nanos) == (usd("22.40"), usd(4))
    assert {line.state for line in [*digest.lines, digest.total]} == {TotalState.SETTLED}


def test_the_month_to_date_ends_with_the_day_that_is_told():
    ledger = team()
    live(ledger, {"a1": [*["2"] * 29, "5", "7"], "b1": ["1"] * 31, "c1": ["0"] * 31})

    on_the_last = digest_of(ledger, now=at("2026-11-30 09:00"))
    on_the_first = digest_of(ledger, now=at("2026-12-01 09:00"))

    assert on_the_last.total.month.spend_nanos == usd(29 * 3)
    assert on_the_first.total.month.spend_nanos == usd(29 * 3 + 6)
    assert [line.month.spend_nanos for line in on_the_first.lines] == [usd(63), usd(30), 0]


def test_days_are_those_of_the_zone():
    ledger = team("Asia/Tokyo")
    live(ledger, {"a1": ["5", "0"], "b1": ["0", "0"], "c1": ["0", "0"]}, first="2026-11-18")  # at 21:00 in Tokyo

    assert digest_of(ledger, now=at("2026-11-19 00:00")).total.amounts.spend_nanos == usd(5)
    assert digest_of(ledger, now=at("2026-11-20 00:00")).total.amounts.spend_nanos == 0


def test_a_weekly_digest_holds_the_week_against_the_one_before():
    ledger = team()
    live(ledger, {"a1": [*["1"] * 7, *["3"] * 7], "b1": [*["4"] * 7, *["0"] * 7], "c1": ["0"] * 14}, first="2026-11-02")

    digest = digest_of(ledger, DigestKind.WEEKLY, now=at("2026-11-16 09:00"))

    assert digest.due.name == "2026-W46"
    assert figures(digest.lines) == {"ana": (usd(21), usd(7)), "bo": (0, usd(28)), "cy": (0, 0)}
    assert (digest.total.amounts.spend_nanos, digest.total.usual_nanos) == (usd(21), usd(35))
    assert digest.total.month.spend_nanos == usd(56)


def test_a_monthly_digest_holds_the_month_against_the_one_before_and_needs_no_month_to_date():
    ledger = team()
    spends = {"a1": [*["1"] * 30, *["2"] * 31], "b1": ["0"] * 61, "c1": ["0"] * 61}
    live(ledger, spends, first="2026-11-01")

    digest = digest_of(ledger, DigestKind.MONTHLY, now=at("2027-01-01 09:00"))

    assert (digest.total.amounts.spend_nanos, digest.total.usual_nanos) == (usd(62), usd(30))
    assert digest.total.month is None


def test_a_week_that_was_not_watched_from_its_beginning_is_no_comparison():
    ledger = team()
    live(ledger, {"a1": ["1"] * 11, "b1": ["1"] * 11, "c1": ["0"] * 11}, first="2026-11-05")

    digest = digest_of(ledger, DigestKind.WEEKLY, now=at("2026-11-16 09:00"))

    assert digest.total.amounts.spend_nanos == usd(14)
    assert {line.usual_nanos for line in [*digest.lines, digest.total]} == {None}


def test_a_week_of_which_nothing_was_seen_is_no_comparison():
    ledger = team()
    live(ledger, {"a1": ["1"], "b1": ["1"], "c1": ["0"]}, first="2026-10-30", also_at_nine=False)
    # Then nobody was asked for more than a week, and never those keys again.
    ledger.watched = [watched("a2", "ana")]
    ledger.poll(snapshot("2026-11-10 00:00", key="a2"))
    ledger.poll(snapshot("2026-11-16 00:00", "5", key="a2"))

    digest = digest_of(ledger, DigestKind.WEEKLY, now=at("2026-11-16 09:00"))

    assert digest.total.amounts.spend_nanos == usd(5)
    assert digest.total.state is TotalState.SETTLED
    assert {line.usual_nanos for line in [*digest.lines, digest.total]} == {None}


def test_who_spent_only_in_the_week_before_has_a_line():
    ledger = team()
    live(ledger, {"a1": ["1"] * 7, "b1": ["4"] * 7, "c1": ["0"] * 7}, first="2026-10-19", also_at_nine=False)
    ledger.watched = [watched("a1", "ana"), watched("c1", "cy")]
    ledger.poll(snapshot("2026-11-02 00:00", "7", key="a1"), snapshot("2026-11-02 00:00", key="c1"))
    smaller = policy(owner_map=OwnerMap({"ana": None, "cy": None}, [("ana", "a1"), ("cy", "c1")]))

    digest = digest_of(ledger, DigestKind.WEEKLY, now=at("2026-11-02 09:00"), terms=smaller)

    assert figures(digest.lines) == {"ana": (0, usd(7)), "bo": (0, usd(28)), "cy": (0, 0)}
    assert digest.total.usual_nanos == usd(35)


def test_what_is_usual_leaves_out_the_day_of_the_opening_and_days_nobody_saw():
    ledger = team()
    live(ledger, {"a1": ["2", "2", "2"], "b1": ["0"] * 3, "c1": ["0"] * 3}, first="2026-11-16")
    ledger.days["ana", date(2026, 11, 17)] = replace(
        ledger.day("2026-11-17"), state=TotalState.UNKNOWN, amounts=Amounts(usd(500))
    )
    key = ledger.key("a1")
    opening = replace(key.counters.credits.opening, daily_nanos=usd(9))
    credit = replace(key.counters.credits, opening=opening)
    ledger.keys[key.hash] = replace(key, counters=replace(key.counters, credits=credit))
    ledger.days["ana", date(2026, 11, 16)] = replace(ledger.day("2026-11-16"), amounts=Amounts(usd(1000)))

    digest = digest_of(ledger, now=at("2026-11-19 09:00"))

    # Neither the 16th, of which only the end was seen, nor the 17th, of which nothing was: no day is left.
    assert digest.lines[0].usual_nanos is None
    ledger.days["ana", date(2026, 11, 17)] = replace(ledger.day("2026-11-17"), state=TotalState.SETTLED)
    assert digest_of(ledger, now=at("2026-11-19 09:00")).lines[0].usual_nanos == usd(500)


def test_money_through_own_upstream_keys_stands_beside_spend_and_counts_where_alerts_count_it():
    ledger = team()
    spends = {"a1": ["1", "1", "1"], "b1": ["0"] * 3, "c1": ["0"] * 3}
    live(ledger, spends, first="2026-11-17", byok={"a1": ["3", "3", "5"]})

    counted = digest_of(ledger)
    apart = digest_of(ledger, terms=policy(byok=False))

    assert counted.total.amounts == apart.total.amounts == Amounts(spend_nanos=usd(1), byok_nanos=usd(5))
    assert (counted.usual_has_byok, counted.total.usual_nanos, counted.spent_nanos) == (True, usd(4), usd(6))
    assert (apart.usual_has_byok, apart.total.usual_nanos, apart.spent_nanos) == (False, usd(1), usd(1))


@pytest.mark.parametrize(("past", "that_day", "counts"), [("3", "0", True), ("0", "3", True), ("0", "0", False)])
@pytest.mark.parametrize("kind", [DigestKind.DAILY, DigestKind.WEEKLY])
def test_a_comparison_has_upstream_money_in_it_if_either_side_has(past, that_day, counts, kind):
    ledger = team()
    spends = {"a1": ["1"] * 14, "b1": ["0"] * 14, "c1": ["0"] * 14}
    live(ledger, spends, first="2026-11-02", byok={"a1": [*[past] * 7, *["0"] * 6, that_day]})

    assert digest_of(ledger, kind, now=at("2026-11-16 09:00")).usual_has_byok is counts


def test_who_left_the_map_has_a_line_while_their_money_is_in_a_span_but_nothing_usual():
    ledger = team()
    live(ledger, {"a1": ["2"] * 5, "b1": ["1"] * 5, "c1": ["0"] * 5}, first="2026-11-10", also_at_nine=False)
    ledger.watched = [watched("a1", "ana"), watched("c1", "cy")]
    ledger.poll(snapshot("2026-11-20 00:00", "10", key="a1"), snapshot("2026-11-20 00:00", key="c1"))
    smaller = OwnerMap({"ana": None, "cy": None}, [("ana", "a1"), ("cy", "c1")])

    digest = digest_of(ledger, terms=policy(owner_map=smaller))

    (bo,) = [line for line in digest.lines if line.owner == "bo"]
    assert (bo.former, bo.amounts, bo.usual_nanos, bo.month.spend_nanos) == (True, Amounts(), None, usd(5))
    assert sum(line.month.spend_nanos for line in digest.lines) == digest.total.month.spend_nanos == usd(15)
    assert digest.total.usual_nanos == sum(line.usual_nanos or 0 for line in digest.lines)


def test_keys_that_nobody_owns_have_a_line():
    ledger = team()
    ledger.poll(snapshot("2026-11-19 08:00", "0", key="stray"))
    ledger.poll(snapshot("2026-11-19 08:01", "4", key="stray"))

    assert figures(digest_of(ledger).lines)[UNOWNED] == (usd(4), None)


# --- How far it can be trusted -------------------------------------------------------------------------------------


def test_what_nobody_saw_is_unknown():
    ledger = team()

    digest = digest_of(ledger)

    assert {line.owner: line.state for line in digest.lines} == dict.fromkeys(["ana", "bo", "cy"], TotalState.UNKNOWN)
    assert (digest.total.state, digest.total.month.state, digest.as_of) == (
        TotalState.UNKNOWN,
        TotalState.UNKNOWN,
        None,
    )


def test_a_day_whose_end_was_not_seen_is_provisional_and_its_silent_keys_are_named():
    ledger = team()
    live(ledger, {"a1": ["2"], "b1": ["1"], "c1": ["0"]}, first="2026-11-18", also_at_nine=False)
    ledger.poll(snapshot("2026-11-20 08:00", "2", key="a1"), failure("b1"), snapshot("2026-11-20 08:00", key="c1"))

    digest = digest_of(ledger)

    assert {line.owner: line.state.value for line in digest.lines} == {
        "ana": "settled",
        "bo": "provisional",
        "cy": "settled",
    }
    assert digest.total.state is TotalState.PROVISIONAL
    assert [(key.owner, key.name, key.failing_since) for key in digest.silent] == [("bo", "b1", at("2026-11-20 08:00"))]
    assert digest.as_of == at("2026-11-20 08:00")


def test_a_key_that_is_no_longer_watched_is_not_missed():
    ledger = team()
    ledger.poll(snapshot("2026-11-20 08:00", key="a1"), failure("b1"), snapshot("2026-11-20 08:00", key="c1"))
    ledger.watched = [watched("a1", "ana"), watched("c1", "cy")]
    ledger.poll(snapshot("2026-11-20 08:01", key="a1"), snapshot("2026-11-20 08:01", key="c1"))

    assert ledger.key("b1").failing_since
    assert digest_of(ledger).silent == []


def test_a_period_in_which_watching_began_says_since_when_and_what_went_before():
    ledger = team()
    ledger.poll(*(snapshot("2026-11-19 14:00", "100", "8", key=key) for key in ("a1", "b1", "c1")))
    ledger.poll(*(snapshot("2026-11-20 00:00", "101", key=key) for key in ("a1", "b1", "c1")))

    digest = digest_of(ledger)

    assert {line.watched_from for line in [*digest.lines, digest.total]} == {at("2026-11-19 14:00")}
    assert [line.before_watching_nanos for line in digest.lines] == [usd(8)] * 3
    assert digest.total.before_watching_nanos == usd(24)
    # The builder's month has seen thrice what the day has.
    assert [line.month.before_watching_nanos for line in digest.lines] == [usd(24)] * 3
    assert digest.total.month.before_watching_nanos == usd(72)
    assert digest.total.month.watched_from == at("2026-11-19 14:00")


# --- Alerts --------------------------------------------------------------------------------------------------------


def alert(owner, *, resolved=None):
    finding = Finding(Rule.SIGMA, owner, date(2026, 11, 18), usd(84), usd(8), usd(3), 21)
    state = AlertState.RESOLVED if resolved else AlertState.FIRING
    opened_at = at("2026-11-18 01:52")
    return Alert(finding, state, opened_at, opened_at, resolved_at=at(resolved) if resolved else None)


def test_every_firing_alert_is_told_and_of_the_others_those_that_ended_since_the_last_digest():
    alerts = [
        alert("ana"),
        alert("bo", resolved="2026-11-19 09:00"),
        alert("cy", resolved="2026-11-19 09:00:01"),
        alert("dan", resolved="2026-11-20 09:00"),
        alert("eve", resolved="2026-11-20 09:00:01"),
    ]

    digest = digest_of(team(), alerts=alerts, news_since=at("2026-11-19 09:00"))

    assert [one.finding.owner for one in digest.firing] == ["ana"]
    assert [one.finding.owner for one in digest.resolved] == ["cy", "dan"]


# --- Every figure is the ledger's ----------------------------------------------------------------------------------


@st.composite
def lives(draw):
    """A ledger of some weeks: three keys that spend, fall for good, move between owners, or leave."""
    holders = {"a1": "ana", "b1": "bo", "c1": "cy"}
    totals = dict.fromkeys(holders, 0)
    ledger = team(draw(st.sampled_from(["UTC", "Europe/Lisbon", "Asia/Kathmandu"])))
    now = at("2026-10-20 20:00")
    for _ in range(draw(st.integers(1, 12))):
        if mover := draw(st.sampled_from([*holders, None, None])):
            holders[mover] = draw(st.sampled_from(["ana", "bo", "cy", "dan", None]))
        ledger.watched = [watched(key, owner) for key, owner in holders.items() if owner]
        answers = []
        for key in draw(st.lists(st.sampled_from([*holders]), unique=True)):
            if not holders[key]:
                continue
            totals[key] = max(0, totals[key] + draw(st.integers(-(10**9), 9 * 10**9)))
            one = snapshot(now, key=key, daily=draw(st.sampled_from(["0", "1", "8"])))
            answers.append(replace(one, credits=replace(one.credits, total_nanos=totals[key])))
        if answers:
            ledger.poll(*answers, now=now)
        now += draw(st.sampled_from([7 * MINUTE, 5 * HOUR, 31 * HOUR, 4 * DAY]))
    return ledger, now


@given(lives(), st.sampled_from(DigestKind))
def test_lines_add_up_to_what_the_ledger_holds_for_the_period_and_the_month(life, kind):
    ledger, now = life

    digest = digest_of(ledger, kind, now)

    held = total_of(total.amounts for total in ledger.totals(digest.due.reported)[0])
    assert total_of(line.amounts for line in digest.lines) == digest.total.amounts == held
    assert len({line.owner for line in digest.lines}) == len(digest.lines)
    assert {line.owner for line in digest.lines} >= {*OWNER_MAP.teams}
    if month := digest.total.month:
        assert sum(line.month.spend_nanos for line in digest.lines) == month.spend_nanos
    ((name, window),) = calendar(
        digest.due.reported, CalendarUnit({"d": "day", "w": "week", "m": "month"}[kind[0]]), digest.zone
    )
    assert (name, window) == (digest.due.name, digest.due.reported)


@given(lives(), st.integers(0, 40))
def test_what_went_before_watching_adds_up_in_the_report_of_owners(life, days):
    ledger, now = life
    span = Window(at("2026-10-01 00:00"), at("2026-10-21 00:00") + days * DAY)
    keys = [*ledger.keys.values()]
    found = Ledger(keys, [(None, span)], ledger.totals(span), [])
    wide = OwnerMap({**OWNER_MAP.teams, "dan": None}, OWNER_MAP.keys)

    report = reports.spend(found, wide, [Dimension.OWNER], span, zone=ZoneInfo("UTC"), now=now)

    assert sum(row.before_watching_nanos for row in report.rows) == report.before_watching_nanos


# --- The plan ------------------------------------------------------------------------------------------------------


def lived():
    ledger = team()
    live(ledger, {"a1": ["2"] * 61, "b1": ["1"] * 61, "c1": ["0"] * 61}, first="2026-10-02")
    return ledger


def decide(ledger, last, now, terms):
    dues = digests.due_now(
        terms, min((key.counters.opened_at for key in ledger.keys.values() if key.counters), default=None), last, now
    )
    return digests.plan(dues, facts_of(ledger, dues, terms), terms, now)


def test_all_that_is_due_at_once_is_queued_under_intents_of_its_own_and_remembered():
    ledger, monday = team(), at("2027-02-01 09:00")  # a Monday, and the first of its month
    live(ledger, {"a1": ["2"] * 31, "b1": ["1"] * 31, "c1": ["0"] * 31}, first="2027-01-01")

    decided = decide(ledger, {}, monday, policy())

    assert [one.intent for one in decided.outgoing] == [
        "digest:daily:2027-01-31",
        "digest:weekly:2027-01-25",
        "digest:monthly:2027-01-01",
    ]
    assert decided.due == {
        "digest:daily": date(2027, 1, 31),
        "digest:weekly": date(2027, 1, 25),
        "digest:monthly": date(2027, 1, 1),
    }
    assert decide(ledger, decided.due, monday + MINUTE, policy()) == digests.DigestPlan()


def test_a_kind_that_is_turned_off_is_never_due():
    assert decide(lived(), {}, at("2026-12-01 09:00"), policy(times=())) == digests.DigestPlan()


def test_nothing_is_due_before_a_key_was_seen():
    ledger = team()
    ledger.poll(failure("a1"), now="2026-11-20 08:00")

    assert decide(ledger, {}, NINE, policy()) == digests.DigestPlan()


def test_a_digest_somebody_asked_for_leaves_the_calendar_as_it_is():
    ledger, terms = lived(), policy()
    one = latest(DigestKind.DAILY, terms.zone, NINE)

    decided = digests.asked_for(one, facts_of(ledger, [one], terms), terms, NINE)

    (outgoing,) = decided.outgoing
    assert outgoing.intent == "digest:daily:2026-11-19:asked:20261120T090000Z"
    assert decided.due == {}
    assert "digest:daily:2026-11-19" in [found.intent for found in decide(ledger, {}, NINE, terms).outgoing]


@pytest.mark.parametrize("kind", DigestKind)
def test_spans_to_read_are_whole_local_days(kind):
    zone = ZoneInfo("Europe/Vienna")

    windows = windows_to_read(latest(kind, zone, at("2026-11-02 09:00")), zone)

    assert (
        windows
        == {
            "daily": [day("2026-11-01", "Europe/Vienna"), Window(at("2026-10-31 23:00"), at("2026-11-01 23:00"))],
            "weekly": [
                Window(at("2026-10-25 23:00"), at("2026-11-01 23:00")),
                Window(at("2026-10-31 23:00"), at("2026-11-01 23:00")),
                Window(at("2026-10-18 22:00"), at("2026-10-25 23:00")),
            ],
            "monthly": [
                Window(at("2026-09-30 22:00"), at("2026-10-31 23:00")),
                Window(at("2026-08-31 22:00"), at("2026-09-30 22:00")),
            ],
        }[kind.value]
    )
