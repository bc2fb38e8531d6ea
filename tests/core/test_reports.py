"""A report is the ledger cut the way a person asked: nothing lost, nothing twice, and honest about what it saw."""

from dataclasses import replace
from datetime import timedelta
from itertools import combinations
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import reports
from reckon.core.records import UNOWNED, Amounts, KeyState, Meter, TotalState
from reckon.core.reports import Dimension, Ledger, OwnerMap
from reckon.core.windows import GRAIN, Window
from tests.builders import DAY, HOUR, MINUTE, Book, at, key_hash, snapshot, total_of, usd, watched

TIMES = (Dimension.HOUR, Dimension.DAY, Dimension.WEEK, Dimension.MONTH)
PLACES = (Dimension.OWNER, Dimension.TEAM, Dimension.KEY)
CUTS = [
    [*places, *time]
    for size in range(len(PLACES) + 1)
    for places in combinations(PLACES, size)
    for time in ([], *([unit] for unit in TIMES))
    if places or time
]
TEAMS = {"ana": "red", "bo": "red", "cy": None}
OWNER_MAP = OwnerMap(TEAMS, [("ana", "a1"), ("ana", "a2"), ("bo", "b1"), ("cy", "c1")])


LATER = at("2026-11-05 10:40")


def book(*keys, zone="UTC"):
    """Return an empty ledger of keys, each given as (name, owner)."""
    return Book(zone=zone, watched=[watched(name, owner) for name, owner in keys or [("a1", "ana")]])


def ask(ledger, by, span=None, *, owner_map=OWNER_MAP, now=None, zone="UTC"):
    """Return the report that the command line would get of a `Book`."""
    keys = list(ledger.keys.values())
    present = now or max(key.counters.last_seen_at for key in keys if key.counters)
    window = span or reports.whole_span(keys, present)
    pieces = reports.cut(window, by, ZoneInfo(zone))
    held = ledger.totals(*reports.asked_windows(pieces, everything=span is None))
    gaps = [gap for gap in ledger.gaps.values() if gap.since < window.end and gap.at > window.start]
    return reports.spend(Ledger(keys, pieces, held, gaps), owner_map, by, window, zone=ZoneInfo(zone), now=present)


def figures(report):
    return [(*row.place.values(), row.amounts.spend_nanos) for row in report.rows]


# --- Nothing lost, nothing twice -----------------------------------------------------------------------------------


@st.composite
def lives(draw):
    """A ledger that lived through some days: four keys, spending, falling for good, moving, leaving."""
    names = ["a1", "a2", "b1", "c1"]
    owners = dict(zip(names, ["ana", "ana", "bo", "cy"], strict=True))
    ledger = Book(watched=[watched(name, owner) for name, owner in owners.items()])
    totals = dict.fromkeys(names, (0, 0))
    now = at("2026-10-24 20:00")  # the night on which Lisbon's clocks, and a week later New York's, fall back
    for _ in range(draw(st.integers(1, 8))):
        mover = draw(st.sampled_from([*names, None, None]))
        if mover:
            owners[mover] = draw(st.sampled_from(["ana", "bo", "cy", "gone"]))
        ledger.watched = [watched(name, owner) for name, owner in owners.items() if owner != "gone"]
        answers = []
        for name in draw(st.lists(st.sampled_from(names), min_size=1, unique=True)):
            if owners[name] == "gone":
                continue
            credits_nanos, byok_nanos = totals[name]
            totals[name] = (
                max(0, credits_nanos + draw(st.integers(-(10**9), 5 * 10**9))),
                byok_nanos + draw(st.integers(0, 10**6)),
            )
            one = snapshot(now, key=name)
            answers.append(
                replace(
                    one,
                    credits=replace(one.credits, total_nanos=totals[name][0]),
                    byok=replace(one.byok, total_nanos=totals[name][1]),
                )
            )
        if answers:
            ledger.poll(*answers, now=now)
        now += draw(st.sampled_from([MINUTE, 7 * MINUTE, HOUR, 5 * HOUR, 31 * HOUR]))
    return ledger


@given(lives(), st.sampled_from(CUTS), st.sampled_from(["UTC", "Europe/Lisbon", "Asia/Kathmandu"]))
def test_rows_of_any_cut_add_up_to_the_total_and_the_total_is_all_there_is(ledger, by, zone):
    report = ask(ledger, by, zone=zone, now=LATER)
    everything = total_of(
        Amounts.of(meter, spend, correction) for (_, _, _, meter), (spend, correction) in ledger.windows.items()
    )
    assert report.total == everything
    assert total_of(row.amounts for row in report.rows) == everything
    # No two rows are about the same thing.
    assert len({(*row.place.values(), row.owner, row.key_hash) for row in report.rows}) == len(report.rows)
    assert all(list(row.place) == by for row in report.rows)


@given(lives(), st.sampled_from(CUTS), st.integers(0, 4 * 24 * 7), st.integers(0, 4 * 24 * 7))
def test_two_spans_side_by_side_add_up_to_the_span_of_both(ledger, by, first, second):
    start = at("2026-10-24 00:00")
    middle = start + first * GRAIN
    end = middle + second * GRAIN
    now = LATER
    parts = [ask(ledger, by, span, now=now).total for span in (Window(start, middle), Window(middle, end))]
    assert total_of(parts) == ask(ledger, by, Window(start, end), now=now).total


@given(lives(), st.sampled_from(CUTS), st.sampled_from(["UTC", "America/New_York"]))
def test_with_time_no_row_is_empty_and_without_it_none_of_the_map_is_missing(ledger, by, zone):
    report = ask(ledger, by, zone=zone, now=LATER)
    if {*by} & {*TIMES}:
        assert Amounts() not in [row.amounts for row in report.rows]
        return
    shown = {dimension: {row.place.get(dimension) for row in report.rows} for dimension in by}
    assert shown.get(Dimension.OWNER, set(TEAMS)) >= set(TEAMS)
    assert shown.get(Dimension.TEAM, {"red", None}) == {"red", None}
    assert shown.get(Dimension.KEY, {"a1", "a2", "b1", "c1"}) == {"a1", "a2", "b1", "c1"}


@given(lives(), st.sampled_from(CUTS), st.sampled_from(["UTC", "America/New_York"]))
def test_rows_are_in_the_order_of_time_and_then_dearest_first(ledger, by, zone):
    report = ask(ledger, by, zone=zone, now=LATER)
    pieces = [name for name, _ in reports.cut(report.span, by, ZoneInfo(zone))]
    time = next((dimension for dimension in by if dimension in TIMES), None)
    order = [
        (pieces.index(row.place[time]) if time else 0, -row.amounts.spend_nanos, -row.amounts.byok_nanos)
        for row in report.rows
    ]
    assert order == sorted(order)


@given(st.datetimes(), st.timedeltas(timedelta(0), 3 * DAY))
def test_what_is_summed_for_a_piece_covers_it_and_begins_and_ends_on_the_quarter_hour(naive, length):
    start = naive.replace(year=2026, month=11, microsecond=0, tzinfo=at("2026-11-01").tzinfo, day=min(naive.day, 30))
    piece = Window(start, start + length)
    (asked,) = reports.asked_windows([(None, piece)], everything=False)
    assert asked.start <= piece.start < asked.start + GRAIN
    assert piece.end <= asked.end
    assert (asked.start.minute % 15, asked.end.minute % 15) == (0, 0)


# --- Whose a row is ------------------------------------------------------------------------------------------------


def test_money_stays_with_the_owner_who_held_the_key_then_and_a_key_is_about_the_key():
    ledger = book(("a1", "ana"))
    ledger.poll(snapshot("2026-11-20 10:00", "5", key="a1"))
    ledger.poll(snapshot("2026-11-20 11:00", "8", key="a1"))
    ledger.watched = [watched("a1", "bo")]
    ledger.poll(snapshot("2026-11-20 12:00", "10", key="a1"))
    assert figures(ask(ledger, [Dimension.OWNER])) == [("ana", usd(3)), ("bo", usd(2)), ("cy", 0)]
    assert figures(ask(ledger, [Dimension.TEAM])) == [("red", usd(5)), (None, 0)]
    by_key = ask(ledger, [Dimension.KEY])
    assert by_key.rows[0].owner == "bo"
    assert by_key.rows[0].key_hash == key_hash("a1")
    assert by_key.rows[0].amounts.spend_nanos == usd(5)
    assert figures(ask(ledger, [Dimension.OWNER, Dimension.KEY]))[:2] == [("ana", "a1", usd(3)), ("bo", "a1", usd(2))]


def test_who_and_what_left_the_map_is_former_and_the_unowned_never_is():
    ledger = book(("a1", "ana"), ("b1", "gone"))
    ledger.poll(snapshot("2026-11-20 10:00", "5", key="a1"), snapshot("2026-11-20 10:00", "5", key="b1"))
    ledger.poll(
        snapshot("2026-11-20 11:00", "6", key="a1"),
        snapshot("2026-11-20 11:00", "7", key="b1"),
        snapshot("2026-11-20 11:00", "1", key="stray"),
    )
    ledger.watched = [watched("a2", "ana")]
    ledger.poll(snapshot("2026-11-20 12:00", "3", key="a2"), snapshot("2026-11-20 12:00", "4", key="stray"))
    former = {
        (row.owner, row.key_hash): row.former for row in ask(ledger, [Dimension.KEY], now=at("2026-11-20 12:00")).rows
    }
    assert former["ana", key_hash("a1")] == {Dimension.KEY}
    assert former["ana", key_hash("a2")] == frozenset()
    assert former["gone", key_hash("b1")] == {Dimension.OWNER, Dimension.KEY}
    assert Dimension.OWNER not in former[UNOWNED, key_hash("stray")]
    by_owner = {row.place[Dimension.OWNER]: row.former for row in ask(ledger, [Dimension.OWNER]).rows}
    assert by_owner == {
        "gone": {Dimension.OWNER},
        "ana": frozenset(),
        UNOWNED: frozenset(),
        "bo": frozenset(),
        "cy": frozenset(),
    }


def test_keys_of_the_map_that_nobody_met_have_a_row_without_a_hash():
    ledger = book(("a1", "ana"))
    ledger.poll(snapshot("2026-11-20 10:00", "5", key="a1"))
    rows = ask(ledger, [Dimension.KEY], now=at("2026-11-20 10:30")).rows
    assert [(row.owner, row.place[Dimension.KEY], row.key_hash, row.state) for row in rows] == [
        ("ana", "a1", key_hash("a1"), TotalState.PROVISIONAL),
        ("ana", "a2", None, TotalState.UNKNOWN),
        ("bo", "b1", None, TotalState.UNKNOWN),
        ("cy", "c1", None, TotalState.UNKNOWN),
    ]


# --- How far it can be trusted -------------------------------------------------------------------------------------

NOON = Window(at("2026-11-20 12:00"), at("2026-11-20 13:00"))


def read_at(*hours):
    ledger = book(("a1", "ana"))
    for hour in hours:
        ledger.poll(snapshot(f"2026-11-20 {hour:02d}:00", str(hour), key="a1"))
    return ledger


@pytest.mark.parametrize(
    ("hours", "now", "state"),
    [
        ((8, 9, 12, 13), "2026-11-20 14:00", TotalState.SETTLED),
        ((8, 9, 12, 13), "2026-11-20 12:30", TotalState.PROVISIONAL),  # it is not over
        ((8, 9, 12), "2026-11-20 14:00", TotalState.PROVISIONAL),  # not read to its end
        ((8, 9, 14), "2026-11-20 14:00", TotalState.PROVISIONAL),  # a gap crosses its edges
        ((8, 9), "2026-11-20 14:00", TotalState.UNKNOWN),
        ((14, 15), "2026-11-20 15:00", TotalState.UNKNOWN),  # first watched after it
    ],
)
def test_rows_and_total_say_how_far_they_can_be_trusted(hours, now, state):
    report = ask(read_at(*hours), [Dimension.OWNER], NOON, now=at(now))
    assert next(row.state for row in report.rows if row.place[Dimension.OWNER] == "ana") is state
    assert report.state is state
    assert {row.state for row in report.rows if row.place[Dimension.OWNER] != "ana"} == {TotalState.UNKNOWN}


def test_a_total_is_only_as_sure_as_its_least_sure_key():
    ledger = book(("a1", "ana"), ("b1", "bo"))
    ledger.poll(snapshot("2026-11-20 11:00", "1", key="a1"), snapshot("2026-11-20 11:00", "1", key="b1"))
    ledger.poll(snapshot("2026-11-20 12:30", "2", key="b1"))
    ledger.poll(snapshot("2026-11-20 13:00", "1", key="a1"))
    report = ask(ledger, [Dimension.OWNER], NOON, now=at("2026-11-20 14:00"))
    assert {row.place[Dimension.OWNER]: row.state.value for row in report.rows} == {
        "ana": "settled",
        "bo": "provisional",
        "cy": "unknown",
    }
    assert report.state is TotalState.PROVISIONAL


def test_each_piece_of_the_calendar_is_judged_by_itself():
    ledger = book(("a1", "ana"))
    for hour in range(10, 14):
        ledger.poll(snapshot(f"2026-11-20 {hour}:30", str(hour), key="a1"), now=f"2026-11-20 {hour}:30")
    report = ask(ledger, [Dimension.HOUR], now=at("2026-11-20 13:40"))
    assert [row.state.value for row in report.rows] == ["provisional"] * 4
    by_day = ask(ledger, [Dimension.DAY], now=at("2026-11-20 13:40"))
    assert [row.state.value for row in by_day.rows] == ["provisional"]


def test_a_row_says_from_when_its_first_key_was_watched_if_that_is_inside_its_own_span():
    ledger = book(("a1", "ana"), ("a2", "ana"), ("b1", "bo"))
    ledger.poll(snapshot("2026-11-20 12:20", "1", key="a1"))
    ledger.poll(snapshot("2026-11-20 12:40", "1", key="a2"), snapshot("2026-11-20 12:40", "1", key="b1"))
    ledger.poll(*(snapshot("2026-11-21 12:50", "2", "0.5", key=key) for key in ("a1", "a2", "b1")))
    wide = Window(at("2026-11-20 00:00"), at("2026-11-22 00:00"))
    report = ask(ledger, [Dimension.OWNER], wide, now=at("2026-11-22 00:00"))
    since = {row.place[Dimension.OWNER]: row.watched_from for row in report.rows}
    assert since == {"ana": at("2026-11-20 12:20"), "bo": at("2026-11-20 12:40"), "cy": None}
    days = ask(ledger, [Dimension.DAY], wide, now=at("2026-11-22 00:00"))
    assert [row.watched_from for row in days.rows] == [at("2026-11-20 12:20"), None]
    assert {row.watched_from for row in ask(ledger, [Dimension.OWNER], now=at("2026-11-22 00:00")).rows} == {
        None,
        at("2026-11-20 12:40"),
    }


def test_as_of_is_when_the_freshest_key_was_seen_and_nothing_before_the_first():
    assert ask(read_at(8, 9), [Dimension.OWNER], NOON, now=at("2026-11-20 14:00")).as_of == at("2026-11-20 09:00")
    nobody = reports.spend(
        Ledger([KeyState(key_hash("a1"), "ana", "a1", watched=True)], [(None, NOON)], [[]], []),
        OWNER_MAP,
        [Dimension.OWNER],
        NOON,
        zone=ZoneInfo("UTC"),
        now=at("2026-11-20 14:00"),
    )
    assert (nobody.as_of, nobody.state) == (None, TotalState.UNKNOWN)


def test_everything_counted_begins_with_the_first_opening_and_is_never_less_than_empty():
    keys = list(read_at(8, 9).keys.values())
    assert reports.whole_span(keys, NOON.end) == Window(at("2026-11-20 08:00"), NOON.end)
    assert reports.whole_span([], NOON.end) == Window(NOON.end, NOON.end)
    # An answer's instant is rounded up, so a report within the same second comes before it.
    early = at("2026-11-20 08:00") - timedelta(milliseconds=400)
    assert reports.whole_span(keys, early) == Window(at("2026-11-20 08:00"), at("2026-11-20 08:00:01"))


# --- Before Reckon watched -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "dollars"),
    [
        ("2026-11-01 00:00", "60"),  # the whole of OpenRouter's month
        ("2026-11-02 00:00", "40"),  # no longer the month, but the week, which began on Monday the 16th
        ("2026-11-16 00:00", "40"),
        ("2026-11-17 00:00", "20"),  # the day
        ("2026-11-20 00:00", "20"),
        ("2026-11-20 00:15", "0"),  # of a part of a day no counter tells
        ("2026-11-20 12:00", "0"),
    ],
)
def test_what_the_calendar_counters_showed_at_the_opening_is_told_beside_the_total(since, dollars):
    ledger = book(("a1", "ana"))
    # 20 dollars that day, 40 that week, 60 that month; 100 ever.
    ledger.poll(snapshot("2026-11-20 12:00", "100", "20", key="a1"))
    ledger.poll(snapshot("2026-11-20 13:00", "101", "21", key="a1"))
    report = ask(ledger, [Dimension.OWNER], Window(at(since), at("2026-11-20 14:00")), now=at("2026-11-20 14:00"))
    assert report.before_watching_nanos == usd(dollars)
    assert report.total.spend_nanos == usd(1)


def test_byok_from_before_the_watch_is_not_told_as_credits():
    ledger = book(("a1", "ana"))
    ledger.poll(snapshot("2026-11-20 12:00", "0", key="a1", byok="9", byok_daily="9"))
    report = ask(ledger, [Dimension.OWNER], Window(at("2026-11-01"), at("2026-11-21")), now=at("2026-11-21"))
    assert report.before_watching_nanos == 0


def test_a_key_whose_opening_lies_outside_the_span_adds_nothing_from_before():
    ledger = book(("a1", "ana"))
    ledger.poll(snapshot("2026-11-20 12:00", "100", "20", key="a1"))
    for span in (Window(at("2026-11-01"), at("2026-11-20")), Window(at("2026-11-20 12:15"), at("2026-11-21"))):
        assert ask(ledger, [Dimension.OWNER], span, now=at("2026-11-21")).before_watching_nanos == 0


def test_both_meters_stand_side_by_side_in_a_row():
    ledger = book(("a1", "ana"))
    ledger.poll(snapshot("2026-11-20 10:00", "5", key="a1", byok="1"))
    ledger.poll(snapshot("2026-11-20 11:00", "8", key="a1", byok="1.5"))
    (row, *_) = ask(ledger, [Dimension.KEY]).rows
    assert row.amounts == Amounts.of(Meter.CREDITS, usd(3), 0) + Amounts.of(Meter.BYOK, usd("0.5"), 0)
