"""Counters to deltas. What a world spent is known here from its own list of events, in whole nano-dollars."""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reckon.core.deltas import apportioned, began_at, first_whole_day, is_plausible, observe, open_key, replay
from reckon.core.records import CorrectionKind, Delta, Meter, Reading, Snapshot
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, key_hash, reading, snapshot, usd


class Watch:
    """One key, watched from its first sight on, and all that was written down about it."""

    def __init__(self, first, *, began=None):
        self.counters = None
        self.rows, self.deltas, self.corrections = [], [], []
        self._take(open_key(first, began))

    def see(self, *args, **kwargs):
        return self.look(snapshot(*args, **kwargs))

    def look(self, seen):
        pending = [counter.dip.first_n for counter in (self.counters.credits, self.counters.byok) if counter.dip]
        return self._take(observe(self.counters, seen, self.rows[min(pending) - 2 :] if pending else ()))

    def _take(self, sight):
        self.counters = sight.counters
        self.rows += [row for row in (sight.opening_row, sight.row) if row]
        self.deltas += sight.deltas
        self.corrections += sight.corrections
        return sight

    def spent(self, meter=Meter.CREDITS):
        return sum(delta.nanos for delta in self.deltas if delta.meter is meter)

    def corrected(self, meter=Meter.CREDITS):
        return sum(correction.nanos for correction in self.corrections if correction.meter is meter)


def stretch(delta):
    return f"{delta.since:%H:%M}-{delta.at:%H:%M}", delta.nanos


# --- Openings and growth -------------------------------------------------------------------------------------------


def test_a_first_snapshot_counts_nothing_whatever_the_day_counter_says():
    watch = Watch(snapshot("2026-11-20 12:00", "4000", "8", byok="7", byok_daily="3"))

    assert (watch.deltas, watch.corrections) == ([], [])
    assert [(row.n, row.since, row.at) for row in watch.rows] == [(1, at("2026-11-20 12:00"), at("2026-11-20 12:00"))]
    assert watch.counters.credits.opening == reading("4000", "8")
    assert watch.counters.byok.opening == reading("7", "3")
    assert watch.counters.opened_at == at("2026-11-20 12:00")


def test_growth_counts_from_the_last_sight_whether_or_not_that_one_left_a_row():
    watch = Watch(snapshot("2026-11-20 12:00", "10"))
    watch.see("2026-11-20 12:05", "10")

    sight = watch.see("2026-11-20 12:06", "10.25")

    assert sight.deltas == (Delta(Meter.CREDITS, 2, at("2026-11-20 12:05"), at("2026-11-20 12:06"), usd("0.25")),)


def test_a_sight_that_changes_nothing_leaves_no_row_and_advances_the_last_sight():
    watch = Watch(snapshot("2026-11-20 12:00", "10", "1", byok="5", byok_daily="2"))
    before = watch.counters

    sight = watch.see("2026-11-20 12:01", "10", "1", byok="5", byok_daily="2")

    assert sight.row is None
    assert sight.counters == replace(before, last_seen_at=at("2026-11-20 12:01"))


@pytest.mark.parametrize(
    "changed",
    [{"credits_usd": "11"}, {"daily": "0"}, {"byok": "6"}, {"byok_daily": "0"}],
    ids=lambda changed: next(iter(changed)),
)
def test_a_sight_that_changes_any_one_counter_leaves_a_row(changed):
    values = {"credits_usd": "10", "daily": "1", "byok": "5", "byok_daily": "2"}
    watch = Watch(snapshot("2026-11-20 12:00", **values))

    sight = watch.see("2026-11-20 12:01", **(values | changed))

    assert sight.row.n == 2
    assert sight.counters.n == 2


def test_the_two_meters_of_a_key_never_mix():
    watch = Watch(snapshot("2026-11-20 12:00", "10", byok="5"))

    watch.see("2026-11-20 12:01", "10.5", byok="5.25")
    watch.see("2026-11-20 12:02", "10.5", byok="4")

    assert watch.spent() == usd("0.5")
    assert watch.spent(Meter.BYOK) == usd("0.25")
    assert watch.counters.credits.dip is None
    assert watch.counters.byok.dip.lowest_nanos == usd("4")


def test_a_clock_that_stepped_back_puts_the_growth_where_it_was_seen():
    watch = Watch(snapshot("2026-11-20 12:00", "10"))

    sight = watch.see("2026-11-20 11:00", "11")

    assert [(delta.since, delta.at, delta.nanos) for delta in sight.deltas] == [
        (at("2026-11-20 11:00"), at("2026-11-20 11:00"), usd("1"))
    ]
    assert list(apportioned(sight.deltas[0])) == [(at("2026-11-20 11:00"), usd("1"))]
    assert sight.counters.last_seen_at == at("2026-11-20 11:00")


@pytest.mark.parametrize(("grown", "plausible"), [("1000000", True), ("1000000.000000001", False)])
def test_growth_beyond_a_million_dollars_at_once_is_not_plausible(grown, plausible):
    watch = Watch(snapshot("2026-11-20 12:00", "0", byok="0"))

    assert is_plausible(watch.look(snapshot("2026-11-20 12:01", grown))) is plausible
    assert is_plausible(Watch(snapshot("2026-11-20 12:00")).look(snapshot("2026-11-20 12:01", byok=grown))) is plausible


# --- True zero -----------------------------------------------------------------------------------------------------

SWEPT = {"team": at("2026-11-20 12:00")}


@pytest.mark.parametrize(
    ("created", "workspace", "began"),
    [
        ("2026-11-20 12:03", "team", "2026-11-20 12:03"),
        ("2026-11-20 11:50", "team", "2026-11-20 11:50"),  # the list may lag the truth by ten minutes
        ("2026-11-20 11:49:59", "team", None),  # older: it was there before, and unseen
        ("2026-11-20 12:03", "another", None),  # nobody has swept that one
        ("2026-11-20 12:03", None, None),
        (None, "team", None),
        ("2026-11-20 12:05:30", "team", "2026-11-20 12:05"),  # their clock is ahead of ours
        ("2026-11-20 12:03:00.25", "team", "2026-11-20 12:03:01"),
    ],
)
def test_a_key_is_known_to_begin_at_nothing_when_the_last_sweep_was_before_it_was_made(created, workspace, began):
    seen = snapshot("2026-11-20 12:05", "3", created=created, workspace=workspace)

    assert began_at(seen, SWEPT) == (began and at(began))


def test_the_first_value_of_a_key_that_began_at_nothing_counts_in_full_from_when_it_was_made():
    watch = Watch(snapshot("2026-11-20 12:05", "3", "3", byok="2"), began=at("2026-11-20 12:03"))

    assert [(delta.meter, *stretch(delta)) for delta in watch.deltas] == [
        (Meter.CREDITS, "12:03-12:05", usd("3")),
        (Meter.BYOK, "12:03-12:05", usd("2")),
    ]
    assert [row.n for row in watch.rows] == [1, 2]
    assert watch.rows[0].total_nanos(Meter.CREDITS) == 0
    assert watch.counters.opened_at == at("2026-11-20 12:03")
    assert watch.counters.credits.opening == reading("0")


def test_a_key_that_began_at_nothing_and_spent_nothing_has_been_seen_all_the_same():
    watch = Watch(snapshot("2026-11-20 12:05"), began=at("2026-11-20 12:03"))

    assert watch.deltas == []
    assert [row.n for row in watch.rows] == [1]
    assert watch.counters.last_seen_at == at("2026-11-20 12:05")


# --- Dips, corrections, resets -------------------------------------------------------------------------------------


def test_a_dip_that_passes_is_forgotten_and_growth_above_the_mark_counts():
    watch = Watch(snapshot("2026-11-20 12:00", "10"))
    watch.see("2026-11-20 12:01", "9.8")
    assert watch.counters.credits.mark_nanos == usd("10")

    watch.see("2026-11-20 12:02", "10.2")

    assert [stretch(delta) for delta in watch.deltas] == [("12:01-12:02", usd("0.2"))]
    assert watch.corrections == []
    assert watch.counters.credits.dip is None


def test_a_refund_is_one_correction_dated_when_it_was_first_seen_and_no_spend():
    watch = Watch(snapshot("2026-11-20 12:00", "25.50"))

    for minute in range(1, 31):
        watch.see(f"2026-11-20 12:{minute:02d}", "25.30")

    (correction,) = watch.corrections
    assert correction.nanos == usd("-0.20")
    assert correction.kind is CorrectionKind.CORRECTION
    assert correction.at == at("2026-11-20 12:01")
    assert correction.decided_at == at("2026-11-20 12:16")
    assert watch.deltas == []
    assert watch.counters.credits.mark_nanos == usd("25.30")


@pytest.mark.parametrize(
    ("minutes", "believed"),
    [
        ([0, 15], False),  # two polls
        ([0, 1, 2, 14], False),  # a minute too soon
        ([0, 1, 15], True),
        ([0, 600], False),
        ([0, 600, 601], True),
    ],
)
def test_a_dip_is_believed_after_three_polls_and_a_quarter_of_an_hour(minutes, believed):
    watch = Watch(snapshot("2026-11-20 11:59", "10"))

    for minute in minutes:
        watch.look(snapshot(at("2026-11-20 12:00") + minute * MINUTE, "9"))

    assert (watch.corrected() == usd("-1")) is believed
    assert (watch.counters.credits.dip is None) is believed


def test_the_same_sight_twice_is_one_poll_of_a_dip():
    # A commit whose outcome was lost is tried again, with the same answers.
    watch = Watch(snapshot("2026-11-20 12:00", "10"))
    watch.see("2026-11-20 12:01", "9")
    before = watch.counters

    sight = watch.see("2026-11-20 12:01", "9")

    assert sight.row is None
    assert sight.counters == before


def test_a_dip_begun_on_a_clock_far_ahead_is_believed_after_a_quarter_of_an_hour_all_the_same():
    watch = Watch(snapshot("2027-12-25 12:00", "10"))
    watch.see("2027-12-25 12:01", "9")

    for minute in range(0, 60, 5):  # the clock was set right
        watch.see(f"2026-11-20 12:{minute:02d}", "9")

    assert watch.corrected() == usd("-1")
    assert watch.counters.credits.dip is None


@pytest.mark.parametrize(
    ("values", "corrected", "grown"),
    [
        (["8", "8.5", "9"], "-2", [("12:00-12:10", "0.5"), ("12:10-12:20", "0.5")]),
        (["8", "8", "9"], "-2", [("12:10-12:20", "1")]),
        (["9", "8", "8.5"], "-2", [("12:10-12:20", "0.5")]),
        (["8", "9", "8.5"], "-2", [("12:00-12:10", "0.5")]),  # what did not last did not happen
        (["9", "8.5", "8"], "-2", []),
        # Under a hundredth of the mark it began again: what is there now has been spent since.
        (["0.09", "0.5", "0.6"], "-10", [("11:50-12:00", "0.09"), ("12:00-12:10", "0.41"), ("12:10-12:20", "0.1")]),
        (["0.1", "0.5", "0.6"], "-9.9", [("12:00-12:10", "0.4"), ("12:10-12:20", "0.1")]),
        (["0", "0", "0"], "-10", []),
        (["5", "0.05", "0.05"], "-10", [("11:50-12:00", "0.05")]),
    ],
)
def test_a_believed_dip_goes_down_to_its_lowest_value_and_what_grew_again_counts_at_its_own_times(
    values, corrected, grown
):
    watch = Watch(snapshot("2026-11-20 11:50", "10"))

    for minute, value in zip(("00", "10", "20"), values, strict=True):
        watch.see(f"2026-11-20 12:{minute}", value)

    (correction,) = watch.corrections
    assert correction.nanos == usd(corrected)
    assert correction.kind is (CorrectionKind.RESET if corrected == "-10" else CorrectionKind.CORRECTION)
    assert [stretch(delta) for delta in watch.deltas] == [(when, usd(amount)) for when, amount in grown]
    assert watch.counters.credits.mark_nanos == usd(values[-1])


def test_growth_after_a_correction_counts_from_what_is_left():
    watch = Watch(snapshot("2026-11-20 12:00", "10"))
    for minute in (1, 10, 20):
        watch.see(f"2026-11-20 12:{minute:02d}", "9")

    watch.see("2026-11-20 12:21", "9.4")

    assert watch.spent() == usd("0.4")
    assert watch.corrected() == usd("-1")


def test_two_replicas_that_disagree_for_an_hour_change_nothing_in_the_sum():
    watch = Watch(snapshot("2026-11-20 12:00", "10"))

    for minute in range(1, 61):
        ahead = usd("10") + minute * usd("0.01")
        behind = ahead - usd("0.05")
        nanos = ahead if minute % 2 == 0 else max(behind, usd("10") - usd("0.04"))
        watch.look(replace(snapshot(at("2026-11-20 12:00") + minute * MINUTE), credits=Reading(nanos, 0, 0, 0)))

    assert watch.spent() == usd("0.60")
    assert watch.corrections == []


def test_both_meters_may_be_corrected_by_the_same_sight():
    watch = Watch(snapshot("2026-11-20 12:00", "10", byok="5"))
    watch.see("2026-11-20 12:01", "9", byok="5")
    watch.see("2026-11-20 12:02", "9.5", byok="4")

    watch.see("2026-11-20 12:20", "9.6", byok="4.1")
    watch.see("2026-11-20 12:21", "9.6", byok="4.1")

    assert (watch.corrected(), watch.spent()) == (usd("-1"), usd("0.6"))
    assert (watch.corrected(Meter.BYOK), watch.spent(Meter.BYOK)) == (usd("-1"), usd("0.1"))


# --- Midnights -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "after_midnight"),
    [
        # (instant, total, today's) at each end of the stretch
        (("2026-11-20 23:50", "10", "4"), ("2026-11-21 00:10", "11", "0.25"), "0.25"),
        (("2026-11-20 23:50", "10", "4"), ("2026-11-21 00:10", "11", "0"), "0"),
        (("2026-11-20 23:50", "10", "4"), ("2026-11-21 00:10", "11", "1"), "1"),
        # The day counter ran ahead of the other: no more can have come after midnight than came at all.
        (("2026-11-20 23:50", "10", "4"), ("2026-11-21 00:10", "11", "3"), "1"),
        # It has not begun the new day yet.
        (("2026-11-20 23:59:30", "10", "4"), ("2026-11-21 00:00:01", "11", "5"), "0"),
        # It was at nothing: then equal growth proves nothing.
        (("2026-11-20 23:50", "10", "0"), ("2026-11-21 00:10", "11", "1"), "1"),
        # Of several midnights it proves the last.
        (("2026-11-17 12:00", "10", "4"), ("2026-11-21 06:00", "19", "2"), "2"),
        # The answer was complete just after midnight.
        (("2026-11-20 23:59", "10", "4"), ("2026-11-21 00:00:01", "10.5", "0.01"), "0.01"),
    ],
)
def test_the_day_counter_splits_a_stretch_at_the_last_midnight_inside_it(before, after, after_midnight):
    watch = Watch(snapshot(*before))

    (delta,) = watch.see(*after).deltas

    midnight = at("2026-11-21 00:00")
    assert (delta.midnight, delta.after_midnight_nanos) == (midnight, usd(after_midnight))
    windows = list(apportioned(delta))
    assert sum(nanos for start, nanos in windows if start >= midnight) == usd(after_midnight)
    assert sum(nanos for _, nanos in windows) == delta.nanos
    assert all(nanos > 0 for _, nanos in windows)


@pytest.mark.parametrize(
    ("since", "seen"),
    [
        ("2026-11-20 23:58", "2026-11-20 23:59"),
        ("2026-11-20 23:59", "2026-11-21 00:00"),  # all of it came before
        ("2026-11-21 00:00", "2026-11-21 00:01"),
    ],
)
def test_a_stretch_that_touches_midnight_without_crossing_it_is_not_split(since, seen):
    watch = Watch(snapshot(since, "10", "4"))

    (delta,) = watch.see(seen, "11", "0").deltas

    assert delta.midnight is None
    assert {start.date() for start, _ in apportioned(delta)} == {delta.since.date()}


def test_growth_inside_a_dip_is_split_at_midnight_too():
    watch = Watch(snapshot("2026-11-20 23:40", "10", "5"))
    watch.see("2026-11-20 23:50", "8", "5")
    watch.see("2026-11-21 00:10", "9", "0.25")

    watch.see("2026-11-21 00:20", "9", "0.25")

    (delta,) = watch.deltas
    assert (delta.nanos, delta.midnight, delta.after_midnight_nanos) == (usd("1"), at("2026-11-21 00:00"), usd("0.25"))


@pytest.mark.parametrize(
    ("opened", "daily", "byok_daily", "zone", "first"),
    [
        ("2026-11-20 12:00", "3", "0", "UTC", "2026-11-21"),
        ("2026-11-20 12:00", "0", "3", "UTC", "2026-11-21"),
        ("2026-11-20 12:00", "0", "0", "UTC", "2026-11-20"),
        # Berlin's day began an hour before the one that the counters speak of, New York's five after.
        ("2026-11-20 12:00", "0", "0", "Europe/Berlin", "2026-11-21"),
        ("2026-11-20 12:00", "0", "0", "America/New_York", "2026-11-20"),
        ("2026-11-20 12:00", "3", "0", "America/New_York", "2026-11-21"),
        ("2026-11-20 03:00", "0", "0", "America/New_York", "2026-11-20"),  # there it is still the 19th
        ("2026-11-20 23:30", "0", "0", "Europe/Berlin", "2026-11-21"),  # there it is already the 21st
    ],
)
def test_the_first_whole_day_is_the_one_after_the_opening_unless_nothing_can_have_been_spent_before(
    opened, daily, byok_daily, zone, first
):
    watch = Watch(snapshot(opened, "10", daily, byok_daily=byok_daily))

    assert first_whole_day(watch.counters, ZoneInfo(zone)) == date.fromisoformat(first)


def test_the_day_of_an_opening_is_whole_wherever_nothing_had_ever_been_spent():
    watch = Watch(snapshot("2026-11-20 12:00", "0"))

    assert first_whole_day(watch.counters, ZoneInfo("Europe/Berlin")) == date(2026, 11, 20)


# --- Properties: a world with its own list of events ---------------------------------------------------------------


@dataclass(frozen=True)
class Happening:
    """One thing that happens in the world, so many seconds after the one before."""

    seconds: int
    kind: str
    nanos: int = 0


START = at("2026-11-20 21:00")

pauses = st.sampled_from([1, 20, 60, 400, 900, 5_000, 40_000, 200_000]) | st.integers(1, 100_000)
amounts = st.integers(1, 9) | st.integers(1, usd("50"))


def happenings(*kinds):
    return st.lists(st.builds(Happening, pauses, st.sampled_from(kinds), amounts), min_size=1, max_size=40)


class World:
    """What really happened to one key, and what OpenRouter's counters show of it at any instant."""

    def __init__(self, story, before):
        self.before = before
        self.moves = []  # (instant, change of the lifetime counter, spent on that UTC day)
        self.looks = []  # (instant, how many seconds behind the truth the replica is that answers)
        now, total = START, before
        for happening in story:
            now += happening.seconds * SECOND
            if happening.kind == "spend":
                self.moves.append((now, happening.nanos, happening.nanos))
                total += happening.nanos
            elif happening.kind == "refund":
                self.moves.append((now, -min(happening.nanos, total), 0))
                total -= min(happening.nanos, total)
            elif happening.kind == "begin again":
                self.moves.append((now, -total, 0))
                total = 0
            else:
                self.looks.append((now, happening.nanos % 3_000 if happening.kind == "stale look" else 0))
        self.end = now + SECOND

    def total(self, now):
        return self.before + sum(change for when, change, _ in self.moves if when < now)

    def spent(self, since, now):
        return sum(spent for when, _, spent in self.moves if since <= when < now)

    def snapshot(self, now, behind_seconds=0):
        truth = max(START, now - behind_seconds * SECOND)
        midnight = datetime.combine(now.date(), datetime.min.time(), now.tzinfo)
        shown = Reading(self.total(truth), self.spent(max(midnight, START), truth), 0, 0)
        return Snapshot(key_hash("key"), now, shown, Reading(0, 0, 0, 0))


def watched(world, looks):
    watch = Watch(world.snapshot(START))
    for when, behind in looks:
        watch.look(world.snapshot(when, behind))
    return watch


def accounted(counter, watch):
    return counter.opening.total_nanos + watch.spent() + watch.corrected()


anything = happenings("spend", "look", "look", "stale look", "refund", "begin again")
growth = happenings("spend", "spend", "look", "look")
openings = st.integers(0, usd("30"))


@given(anything, openings)
def test_opening_and_deltas_and_corrections_are_the_mark_at_every_sight(story, before):
    world = World(story, before)
    watch = Watch(world.snapshot(START))

    for when, behind in world.looks:
        seen = world.snapshot(when, behind)
        watch.look(seen)

        counter = watch.counters.credits
        assert accounted(counter, watch) == counter.mark_nanos
        assert counter.total_nanos == seen.credits.total_nanos
        assert (counter.total_nanos == counter.mark_nanos) == (counter.dip is None)
        assert all(delta.nanos > 0 for delta in watch.deltas)
        assert all(correction.nanos < 0 for correction in watch.corrections)
        assert [row.n for row in watch.rows] == list(range(1, watch.counters.n + 1))


@given(anything, openings, st.sets(st.integers(0, 40)))
def test_however_often_one_looks_the_sum_between_two_sights_is_the_same(story, before, skipped):
    world = World(story, before)
    end = (world.end, 0)
    every = watched(world, [*world.looks, end])
    some = watched(world, [*(look for n, look in enumerate(world.looks) if n not in skipped), end])

    if every.counters.credits.dip is None and some.counters.credits.dip is None:
        assert every.spent() + every.corrected() == some.spent() + some.corrected() == world.total(world.end) - before


@given(growth, openings, st.sets(st.integers(0, 40)))
def test_in_a_world_whose_counters_never_fall_exactly_what_was_spent_is_counted(story, before, skipped):
    world = World(story, before)

    watch = watched(world, [*(look for n, look in enumerate(world.looks) if n not in skipped), (world.end, 0)])

    assert watch.corrections == []
    assert watch.spent() == world.spent(START, world.end)


@given(growth, openings)
def test_every_midnight_that_is_the_last_one_of_its_stretch_divides_the_money_exactly(story, before):
    world = World(story, before)
    looks = [START, *(when for when, _ in world.looks), world.end]

    watch = watched(world, [(when, 0) for when in looks[1:]])

    windows = defaultdict(int)
    for delta in watch.deltas:
        for start, nanos in apportioned(delta):
            windows[start] += nanos
    for since, now in pairwise(looks):
        midnight = datetime.combine(now.date(), datetime.min.time(), now.tzinfo)
        if since < midnight:
            counted = sum(nanos for start, nanos in windows.items() if start < midnight)
            assert counted == world.spent(START, midnight)


def read_again(watch, rows):
    return replay(Meter.CREDITS, rows, {correction.last_n: correction.decided_at for correction in watch.corrections})


def in_order(deltas):
    return sorted(deltas, key=lambda delta: delta.n)


@given(anything, openings)
def test_the_stored_rows_read_again_say_what_was_counted(story, before):
    world = World(story, before)

    watch = watched(world, world.looks)

    counter = watch.counters.credits
    again = read_again(watch, watch.rows)
    assert again.mark_nanos == counter.mark_nanos
    assert again.corrections == tuple(watch.corrections)
    assert in_order(again.deltas) == in_order(watch.deltas)
    assert again.dip == (counter.dip and replace(counter.dip, polls=0))


@given(anything, openings, st.integers(0, 40))
def test_rows_whose_predecessors_were_pruned_still_say_what_was_counted_since(story, before, pruned):
    world = World(story, before)
    watch = watched(world, world.looks)
    first = watch.rows[min(pruned, len(watch.rows) - 1)]
    counter = watch.counters.credits
    dips = [range(correction.first_n, correction.last_n) for correction in watch.corrections]
    assume(first.credits_nanos >= max(row.credits_nanos for row in watch.rows[: first.n]))
    assume(not any(first.n in dip for dip in dips))

    again = read_again(watch, watch.rows[first.n - 1 :])

    assert again.mark_nanos == counter.mark_nanos
    assert again.corrections == tuple(found for found in watch.corrections if found.first_n > first.n)
    assert in_order(again.deltas) == in_order(delta for delta in watch.deltas if delta.n > first.n)


def test_a_day_of_looks_every_minute_is_still_exact():
    story = [Happening(60, "spend" if minute % 7 else "look", minute + 1) for minute in range(1_440)]
    world = World(story, usd("4000"))

    watch = watched(world, [*world.looks, (world.end + HOUR + DAY, 0)])

    assert watch.spent() == world.spent(START, world.end)
