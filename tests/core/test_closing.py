"""Owners' local days: closed once, added to when money comes late, and always the sum of their windows."""

from dataclasses import replace
from datetime import date

import pytest

from reckon.core.records import Amounts, TotalState
from tests.builders import DAY, MINUTE, Book, at, day, failure, key_hash, snapshot, usd, watched


def closed(book, owner="ana"):
    """Return what an owner's closed days say, day by day: (credits, state)."""
    return {
        place[1].isoformat(): (row.amounts.spend_nanos, row.state.value)
        for place, row in sorted(book.days.items())
        if place[0] == owner
    }


def assert_every_closed_day_is_the_sum_of_its_windows(book):
    for owner in book.owners.values():
        for n in range(-10, 10):
            local = date(2026, 11, 20) + n * DAY
            row = book.days.get((owner.name, local))
            is_closed = owner.open_day and local < owner.open_day
            expected = book.amounts(owner.name, day(local.isoformat(), book.zone)) if is_closed else Amounts()
            assert (row.amounts if row else Amounts()) == expected, (owner.name, local)


# --- A day ends ----------------------------------------------------------------------------------------------------


def test_a_day_is_closed_by_the_first_poll_after_it_ended_and_not_before():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 23:59", "11"))
    assert closed(book) == {}

    book.poll(snapshot("2026-11-21 00:00", "11.5"))

    assert closed(book) == {"2026-11-20": (usd("1.5"), "settled")}
    assert book.owners["ana"].open_day == date(2026, 11, 21)


def test_a_day_is_judged_once_and_a_second_poll_adds_nothing():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 23:59", "11"))
    book.poll(snapshot("2026-11-21 00:01", "11"))

    plan = book.poll(snapshot("2026-11-21 00:02", "11"))

    assert plan.owner_days == ()
    assert closed(book) == {"2026-11-20": (usd("1"), "settled")}


def test_a_day_that_was_seen_and_idle_is_a_zero():
    book = Book()
    for when in ("2026-11-20 12:00", "2026-11-21 00:01", "2026-11-22 00:01"):
        book.poll(snapshot(when, "10"))

    assert closed(book)["2026-11-21"] == (0, "settled")


def test_a_day_of_which_nothing_was_seen_is_unknown_until_a_later_sight_proves_it():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    for when in ("2026-11-21 12:00", "2026-11-22 12:00"):
        book.poll(failure(), now=when)
    assert closed(book) == {"2026-11-20": (0, "provisional"), "2026-11-21": (0, "unknown")}

    book.poll(snapshot("2026-11-23 12:00", "10"))

    assert closed(book) == {f"2026-11-{n}": (0, "settled") for n in (20, 21, 22)}


def test_credits_and_byok_and_corrections_stand_side_by_side():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10", byok="5"))
    book.poll(snapshot("2026-11-20 12:01", "9", byok="5.5"))
    for minute in (10, 20):
        book.poll(snapshot(f"2026-11-20 12:{minute}", "9.25", byok="5.5"))

    book.poll(snapshot("2026-11-21 00:01", "9.25", byok="5.5"))

    assert book.day("2026-11-20").amounts == Amounts(usd("0.25"), usd("-1"), usd("0.5"), 0)


def test_days_are_those_of_the_owners_zone():
    book = Book(zone="Asia/Kathmandu")  # its midnight is 18:15 UTC
    book.poll(snapshot("2026-11-20 18:00", "10"))
    book.poll(snapshot("2026-11-20 18:14", "11"))

    book.poll(snapshot("2026-11-20 18:16", "13"))

    assert closed(book) == {"2026-11-20": (usd("2"), "settled")}  # half of the second stretch lies before


def test_a_date_that_a_zone_skipped_is_no_day():
    book = Book(zone="Pacific/Apia")
    book.poll(snapshot("2011-12-29 12:00", "10"))

    book.poll(snapshot("2012-01-01 12:00", "10"))

    assert sorted(closed(book)) == ["2011-12-29", "2011-12-31", "2012-01-01"]


# --- Money that comes late -----------------------------------------------------------------------------------------


def late(book):
    """Let a key be unreadable from the 20th at noon until the 22nd; a cent goes each quarter hour until midnight."""
    book.poll(snapshot("2026-11-20 12:00", "10"))
    for when in ("2026-11-20 18:00", "2026-11-21 00:01", "2026-11-22 00:01"):
        book.poll(failure(), now=when)
    book.poll(snapshot("2026-11-22 12:00", "11.94", "0.5"))


def test_money_that_comes_late_is_added_to_its_own_closed_days_in_the_same_poll():
    book = Book()

    late(book)

    assert book.day("2026-11-20").amounts.spend_nanos == usd("0.48")
    assert book.day("2026-11-21").amounts.spend_nanos == usd("0.96")
    assert book.amounts(span=day("2026-11-22")).spend_nanos == usd("0.5")  # the day counter proves it
    assert_every_closed_day_is_the_sum_of_its_windows(book)


def test_a_day_at_whose_edge_nothing_proves_the_split_stays_provisional():
    book = Book()
    late(book)

    book.poll(snapshot("2026-11-23 00:01", "11.94"))

    assert {name: state for name, (_, state) in closed(book).items()} == {
        "2026-11-20": "provisional",
        "2026-11-21": "provisional",
        "2026-11-22": "settled",
    }


def test_both_days_at_an_edge_that_nothing_proves_stay_provisional():
    book = Book(zone="Europe/Berlin")
    for when, total in (
        ("19 12:00", "10"),
        ("19 22:00", "11"),
        ("20 02:00", "15"),
        ("20 23:00", "16"),
        ("21 23:00", "17"),
    ):
        book.poll(snapshot(f"2026-11-{when}", total, total))

    states = {row.day.isoformat(): row.state for row in book.days.values()}
    assert states["2026-11-19"] is states["2026-11-20"] is TotalState.PROVISIONAL
    assert states["2026-11-21"] is TotalState.SETTLED


def test_a_day_whose_last_edge_the_day_counter_proves_is_settled_by_the_next_close():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(failure(), now="2026-11-21 00:01")
    assert closed(book) == {"2026-11-20": (0, "provisional")}
    book.poll(snapshot("2026-11-21 12:00", "12", "0.5"))
    assert closed(book) == {"2026-11-20": (usd("1.5"), "provisional")}

    book.poll(snapshot("2026-11-22 00:01", "12"))

    assert closed(book)["2026-11-20"] == (usd("1.5"), "settled")


def test_a_correction_decided_after_midnight_belongs_to_the_day_on_which_the_dip_began():
    book = Book()
    book.poll(snapshot("2026-11-20 23:50", "10"))
    book.poll(snapshot("2026-11-20 23:59", "9"))
    book.poll(snapshot("2026-11-21 00:05", "9"))
    assert book.day("2026-11-20").state is TotalState.PROVISIONAL

    book.poll(snapshot("2026-11-21 00:15", "9"))
    book.poll(snapshot("2026-11-22 00:00", "9"))

    assert book.day("2026-11-20").amounts == Amounts(0, usd("-1"), 0, 0)
    assert book.day("2026-11-20").state is TotalState.SETTLED
    assert book.day("2026-11-21").amounts == Amounts()


def test_a_settled_day_does_not_move_when_a_counter_that_began_again_after_midnight_is_believed():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 23:59", "10"))
    book.poll(snapshot("2026-11-21 00:01", "0.05", "0.01"))  # a dip so far; four cents may be yesterday's
    before = book.day("2026-11-20")

    book.poll(snapshot("2026-11-21 00:10", "0.05", "0.01"))
    book.poll(snapshot("2026-11-21 00:20", "0.05", "0.01"))

    assert book.day("2026-11-20").amounts.spend_nanos == usd("0.04")
    assert before.state is TotalState.PROVISIONAL


# --- Owners come, go, and hand keys over ---------------------------------------------------------------------------


def test_an_owner_without_a_single_sight_has_no_days():
    book = Book()
    for when in ("2026-11-20 12:00", "2026-11-21 12:00", "2026-11-22 12:00"):
        book.poll(failure(), now=when)

    assert book.days == {}
    assert (book.owners["ana"].began_at, book.owners["ana"].open_day) == (None, None)


def test_an_owners_days_begin_with_their_first_key():
    book = Book(watched=(watched("a", "ana"), watched("b", "ben")))
    book.poll(snapshot("2026-11-20 12:00", "10", key="a"), failure("b"))
    book.poll(snapshot("2026-11-21 12:00", "10", key="a"), snapshot("2026-11-21 12:00", "10", key="b"))

    book.poll(snapshot("2026-11-22 12:00", "10", key="a"), snapshot("2026-11-22 12:00", "10", key="b"))

    assert sorted(closed(book)) == ["2026-11-20", "2026-11-21"]
    assert sorted(closed(book, "ben")) == ["2026-11-21"]


def test_a_key_that_moves_leaves_its_past_with_the_old_owner():
    book = Book(watched=(watched("key", "ana"),))
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 12:01", "11"))

    book.watched = (watched("key", "ben"),)
    book.poll(snapshot("2026-11-20 12:02", "13"))
    book.poll(snapshot("2026-11-21 00:01", "13"))

    assert closed(book) == {"2026-11-20": (usd("1"), "settled")}
    assert closed(book, "ben") == {"2026-11-20": (usd("2"), "settled")}


def test_a_gap_that_ends_under_a_new_owner_is_theirs_even_on_days_before_they_had_the_key():
    book = Book(watched=(watched("key", "ana"), watched("other", "ana")))
    book.poll(snapshot("2026-11-19 12:00", "10"), snapshot("2026-11-19 12:00", "0", key="other"))
    book.poll(failure(), snapshot("2026-11-20 12:00", "0", key="other"))

    book.watched = (watched("key", "ben"), watched("other", "ana"))
    book.poll(snapshot("2026-11-21 12:00", "12.44", "1"), snapshot("2026-11-21 12:00", "0", key="other"))
    book.poll(snapshot("2026-11-22 00:01", "12.44"), snapshot("2026-11-22 00:01", "0", key="other"))

    assert {name: spent for name, (spent, _) in closed(book, "ben").items()} == {
        "2026-11-19": usd("0.48"),
        "2026-11-20": usd("0.96"),
        "2026-11-21": usd("1"),
    }
    assert_every_closed_day_is_the_sum_of_its_windows(book)


def test_a_key_that_moved_away_still_counts_when_the_old_owners_open_days_are_looked_at_again():
    book = Book(watched=(watched("key", "ana"),))
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 20:00", "15"))
    book.poll(failure(), now="2026-11-21 00:01")
    assert closed(book) == {"2026-11-20": (usd("5"), "provisional")}

    book.watched = (watched("key", "ben"),)
    book.poll(snapshot("2026-11-21 12:00", "15"))
    book.poll(snapshot("2026-11-22 00:01", "15"))

    assert closed(book) == {"2026-11-20": (usd("5"), "settled")}


def test_a_gap_of_a_key_that_moved_away_still_leaves_the_old_owners_day_open():
    book = Book(zone="Asia/Tokyo", watched=(watched("key", "ana"), watched("other", "ana")))
    # Tokyo's day ends at 15:00 UTC, where no counter proves anything.
    book.poll(snapshot("2026-11-20 12:00", "10"), snapshot("2026-11-20 12:00", "0", key="other"))
    book.poll(snapshot("2026-11-20 18:00", "16"), snapshot("2026-11-20 18:00", "0", key="other"))
    assert book.day("2026-11-20").state is TotalState.PROVISIONAL

    book.watched = (watched("key", "ben"), watched("other", "ana"))
    book.poll(snapshot("2026-11-21 18:00", "16"), snapshot("2026-11-21 18:00", "0", key="other"))

    assert book.day("2026-11-20").amounts.spend_nanos == usd("3")
    assert book.day("2026-11-20").state is TotalState.PROVISIONAL


def test_a_former_key_keeps_its_past_and_no_longer_leaves_days_open():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 18:00", "11"))

    book.watched = ()
    for when in ("2026-11-21 00:01", "2026-11-22 00:01"):
        book.poll(now=when)

    assert closed(book) == {"2026-11-20": (usd("1"), "settled")}
    assert not book.key().watched


def test_a_rotated_key_is_one_owners_one_history():
    book = Book(watched=(watched("old"),))
    book.poll(snapshot("2026-11-20 12:00", "10", key="old"))
    book.poll(snapshot("2026-11-20 13:00", "11", key="old"))

    book.watched = (watched("new"),)
    book.poll(snapshot("2026-11-20 14:00", "0", key="new"))
    book.poll(snapshot("2026-11-20 15:00", "2", key="new"))
    book.poll(snapshot("2026-11-21 00:01", "2", key="new"))

    assert closed(book) == {"2026-11-20": (usd("3"), "settled")}


def test_an_owner_without_a_key_closes_no_empty_days():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.watched = ()
    for when in ("2026-11-21 12:00", "2026-11-22 12:00"):
        book.poll(now=when)

    assert "2026-11-21" not in closed(book)


# --- Another zone --------------------------------------------------------------------------------------------------


def test_a_change_of_zone_makes_every_closed_day_anew_from_its_windows():
    book = Book()
    book.poll(snapshot("2026-11-18 12:00", "10"))
    for n in range(1, 9):
        book.poll(snapshot(at("2026-11-18 12:00") + n * 6 * 60 * MINUTE, str(10 + n)))
    before = {place: row.amounts for place, row in book.days.items()}

    book.zone = "Pacific/Kiritimati"  # fourteen hours ahead
    plan = book.poll(snapshot("2026-11-20 12:01", "18"))

    assert plan.rebuild_days
    assert {place: row.amounts for place, row in book.days.items()} != before
    assert_every_closed_day_is_the_sum_of_its_windows(book)

    book.zone = "UTC"
    book.poll(snapshot("2026-11-20 12:02", "18"))
    assert {place: row.amounts for place, row in book.days.items()} == before


def test_a_change_of_zone_forgets_no_money_from_before_the_owners_first_day():
    book = Book(watched=(watched("first"), watched("born", "ana")))
    book.poll(snapshot("2026-11-21 00:04", "10", key="first"), swept={"team": "2026-11-21 00:04"})
    # Made eight minutes before the sweep that did not show it yet: it began at nothing, on the day before.
    book.poll(
        snapshot("2026-11-21 00:06", "5", "2", key="born", created="2026-11-20 23:56", workspace="team"),
        snapshot("2026-11-21 00:06", "10", key="first"),
    )
    assert book.day("2026-11-20").amounts.spend_nanos == usd("3")

    book.zone = "Etc/GMT"
    book.poll(snapshot("2026-11-21 00:07", "10", key="first"))

    assert book.day("2026-11-20").amounts.spend_nanos == usd("3")


def test_a_change_of_zone_forgets_nothing_that_a_clock_stepping_back_put_before_the_first_day():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-18 12:00", "12"))
    assert book.day("2026-11-18").amounts.spend_nanos == usd("2")

    book.zone = "Etc/GMT"
    book.poll(snapshot("2026-11-20 12:01", "12"))

    assert_every_closed_day_is_the_sum_of_its_windows(book)
    assert book.day("2026-11-18").amounts.spend_nanos == usd("2")


def test_a_change_of_zone_while_the_clock_is_behind_forgets_nothing_of_the_days_after_it():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-18 12:00", "12"))

    book.zone = "Etc/GMT"
    book.poll(snapshot("2026-11-17 12:00", "12"))

    assert_every_closed_day_is_the_sum_of_its_windows(book)
    assert book.day("2026-11-18").amounts.spend_nanos == usd("2")


def test_a_change_of_zone_that_moves_the_first_day_past_the_clock_forgets_nothing_before_it():
    book = Book()
    book.poll(snapshot("2026-11-20 19:00", "10"))
    book.poll(snapshot("2026-11-20 12:00", "12"))

    book.zone = "Asia/Kathmandu"  # where the first sight was on the 21st
    book.poll(snapshot("2026-11-20 12:01", "12"))

    assert_every_closed_day_is_the_sum_of_its_windows(book)
    assert book.day("2026-11-20").amounts.spend_nanos == usd("2")


def test_the_same_zone_is_no_change():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))

    assert not book.poll(snapshot("2026-11-20 12:01", "10")).rebuild_days


# --- Clocks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [-400 * DAY, -DAY, -MINUTE, MINUTE, DAY, 400 * DAY], ids=str)
def test_a_clock_that_steps_closes_no_day_twice_and_loses_no_money(step):
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 23:00", "11"))
    book.poll(snapshot("2026-11-21 00:01", "12"))
    first = book.day("2026-11-20")

    book.poll(snapshot(at("2026-11-21 00:02") + step, "13"))
    book.poll(snapshot(at("2026-11-21 00:03") + step, "14"))
    book.poll(snapshot("2026-11-21 00:04", "15"))
    book.poll(snapshot("2026-11-22 00:04", "16"))

    assert book.amounts().spend_nanos == usd("6")
    assert book.day("2026-11-20").amounts == book.amounts(span=day("2026-11-20"))
    assert book.day("2026-11-20").amounts.spend_nanos >= first.amounts.spend_nanos
    closed_spend = sum(row.amounts.spend_nanos for row in book.days.values())
    open_day = book.owners["ana"].open_day
    open_spend = sum(total[0] for (start, *_), total in book.windows.items() if start.date() >= open_day)
    assert closed_spend + open_spend == usd("6")


def test_a_clock_that_steps_back_over_midnight_opens_no_day_again():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-21 00:01", "11"))

    book.poll(snapshot("2026-11-20 23:50", "12"))
    assert book.owners["ana"].open_day == date(2026, 11, 21)
    plan = book.poll(snapshot("2026-11-21 00:02", "12"))

    assert plan.owner_days == ()
    assert_every_closed_day_is_the_sum_of_its_windows(book)


def test_closing_a_hundred_days_at_once_closes_each():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))

    book.poll(replace(snapshot("2027-02-28 12:00", "110"), key_hash=key_hash("key")))

    assert len(book.days) == 100
    assert sum(row.amounts.spend_nanos for row in book.days.values()) + book.amounts(
        span=day("2027-02-28")
    ).spend_nanos == usd("100")
