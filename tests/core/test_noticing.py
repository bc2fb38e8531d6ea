"""Noticing, poll by poll: what opens an alert, what becomes of it, and what is said of it, to whom it concerns.

Days begin with a look at their first instant, as the daemon's do, unless a test says otherwise; so the money of each
day is the day's own.
"""

from dataclasses import replace
from datetime import date
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from reckon.core import plans
from reckon.core.alert_messages import Person
from reckon.core.alerts import AlertState, Change
from reckon.core.detectors import AnomalyPolicy
from reckon.core.noticing import NoticePolicy, last_hour, owners_concerned
from reckon.core.outbox import Manner
from reckon.core.plans import LedgerPolicy
from reckon.core.polls import Poll
from reckon.core.records import UNOWNED, Failure, FailureReason
from reckon.core.windows import Window
from tests.builders import DAY, HOUR, MINUTE, at, failure, key_hash, snapshot, usd, watched
from tests.core.desk import Desk

# --- What has to be read for it ------------------------------------------------------------------------------------


def concerned(desk, *answers, now):
    state = desk.state(at(now))
    return {
        *owners_concerned(
            state.keys,
            state.days,
            desk.alerts.values(),
            seen=Poll(answers),
            watched=desk.watched,
            zone=ZoneInfo(desk.zone),
            now=at(now),
        )
    }


def test_only_who_spent_or_has_an_alert_or_a_day_that_is_over_is_concerned():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben"), watched("c", "cleo")]).lives(names="abc")
    same = [snapshot("2026-11-10 12:00", "9", key=name) for name in "abc"]

    assert concerned(desk, *same, now="2026-11-10 12:00") == set()
    assert concerned(desk, snapshot("2026-11-10 12:00", "9.5", key="b"), now="2026-11-10 12:00") == {"ben"}
    assert concerned(desk, snapshot("2026-11-10 12:00", "9", byok="1", key="b"), now="2026-11-10 12:00") == {"ben"}
    assert concerned(desk, now="2026-11-11 00:00") == {"ana", "ben", "cleo"}
    desk.sees("2026-11-10 12:00", a="30", b="0", c="0")
    assert concerned(desk, now="2026-11-10 12:01") == {"ana"}


def test_a_key_is_its_new_owners_concern_and_one_that_nobody_owns_is_nobodys():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben")]).lives(names="ab")
    desk.watched = [watched("a", "ben")]
    more = [snapshot("2026-11-10 12:00", "10", key=name) for name in "ab"]

    assert concerned(desk, *more, now="2026-11-10 12:00") == {"ben", UNOWNED}


def test_a_key_never_seen_concerns_somebody_only_if_it_has_spent():
    desk = Desk(watched=[watched("new")])

    assert concerned(desk, snapshot("2026-11-10 12:00", key="new"), now="2026-11-10 12:00") == set()
    assert concerned(desk, snapshot("2026-11-10 12:00", byok="1", key="new"), now="2026-11-10 12:00") == {"ana"}


def test_days_are_needed_one_by_one_since_whatever_the_poll_may_bring_money_to():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ana")]).lives(names="ab")
    for day in range(11, 18):
        desk.sees(f"2026-11-{day} 00:00", a="1")

    def since(*answers, now="2026-11-17 12:00"):
        state = desk.state(at(now))
        zone, about = ZoneInfo(desk.zone), {"seen": Poll(answers), "watched": desk.watched}
        found = owners_concerned(state.keys, state.days, (), zone=zone, now=at(now), **about)
        return found["ana"].since.isoformat()

    assert since(snapshot("2026-11-17 12:00", "99", key="a")) == "2026-11-15"
    assert since(snapshot("2026-11-17 12:00", "99", key="b")) == "2026-11-10"  # not seen since
    desk.watched.append(watched("new", "ana"))
    made = replace(snapshot("2026-11-17 12:00", "99", key="new"), created_at=at("2026-11-13 07:00"))
    assert since(made) == "2026-11-13"
    plan = desk.poll(snapshot("2026-11-17 12:00", "99", "9", key="b"))
    assert {row.day.isoformat() for row in plan.owner_days} >= {f"2026-11-{day}" for day in range(10, 17)}


def test_the_last_hour_is_made_of_whole_windows():
    assert last_hour(at("2026-11-10 11:05")) == Window(at("2026-11-10 10:15"), at("2026-11-10 11:15"))


# --- A day that is unusual -----------------------------------------------------------------------------------------

TODAY = "sigma:ana:2026-11-10"


def test_a_runaway_is_told_at_the_poll_that_shows_it_and_to_nobody_else():
    people = {"ana": Person("Ana", "U1", "C-platform"), "ben": Person("Ben", "U2")}
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben")], people=people).lives(names="ab")

    desk.sees("2026-11-10 00:05", a="2", b="1.50")
    assert desk.outbox == {}
    plan = desk.sees("2026-11-10 00:06", a="0.01", b="0.01")

    (opened,) = plan.outgoing
    assert opened.message.headline == "Ana spent $2.01 today - usually $1.00 a day"
    assert (opened.intent, opened.manner, opened.about) == (f"alert:{TODAY}:opened", Manner.POST, None)
    assert (opened.to, opened.message.mention) == ("C-platform", "U1")
    (alert,) = plan.alerts
    assert (alert.state, alert.opened_at, alert.told_nanos) == (
        AlertState.FIRING,
        at("2026-11-10 00:06"),
        usd("2.01"),
    )
    (transition,) = plan.transitions
    assert (transition.change, transition.spend_nanos) == (Change.OPENED, usd("2.01"))
    assert transition.reason == "$2.01 is above the threshold of $1.00; the mean of 9 days is $1.00"


def test_an_owner_without_a_person_is_called_by_their_own_name():
    desk = Desk().lives()

    desk.sees("2026-11-10 12:00", key="30")

    (opened,) = desk.outbox.values()
    assert (opened.message.headline, opened.to) == ("ana spent $30.00 today - usually $1.00 a day", None)


def test_nothing_is_unusual_before_seven_days_have_been_closed():
    desk = Desk().lives(days=6)
    desk.sees("2026-11-07 12:00", key="500")
    assert desk.alerts == {}

    desk.sees("2026-11-08 00:00", key="0")
    desk.sees("2026-11-08 12:00", key="5000")
    assert [*desk.alerts] == ["sigma:ana:2026-11-08"]


def test_the_floor_lets_pass_what_is_hardly_above_the_mean_and_at_zero_a_cent_is_told():
    for min_nanos, found in ((usd("1"), []), (0, [TODAY])):
        desk = Desk(anomaly=AnomalyPolicy(min_nanos=min_nanos)).lives()
        desk.sees("2026-11-10 12:00", key="1.01")
        assert [*desk.alerts] == found


def test_a_poll_without_money_judges_nobody():
    desk = Desk().lives(per_day=["0", *["1"] * 8])

    desk.sees("2026-11-10 12:00", key="0")

    assert desk.outbox == {}


@pytest.mark.parametrize(("byok", "told"), [(True, ["ana spent $9.00 today - usually $1.00 a day"]), (False, [])])
def test_money_through_own_upstream_keys_is_judged_where_it_counts_and_the_message_names_its_share(byok, told):
    desk = Desk(anomaly=AnomalyPolicy(byok=byok)).lives()

    desk.poll(snapshot("2026-11-10 12:00", "10", "1", byok="8", byok_daily="8"))

    assert desk.said() == told
    assert byok_shares(desk) == ["$8.00 of it went through your own upstream keys"] * len(told)


def test_money_through_own_upstream_keys_is_neither_usual_nor_named_where_it_does_not_count():
    desk = Desk(anomaly=AnomalyPolicy(byok=False)).lives()
    desk.poll(snapshot("2026-11-09 12:00", "9", "1", byok="500", byok_daily="500"))
    desk.sees("2026-11-10 00:00", key="0")

    desk.poll(snapshot("2026-11-10 12:00", "30", "21", byok="600", byok_daily="100"))

    assert desk.said() == ["ana spent $21.00 today - usually $1.00 a day"]
    assert byok_shares(desk) == []


def byok_shares(desk):
    return [fact.text for one in desk.outbox.values() for fact in one.message.facts if fact.label == "BYOK"]


def test_the_message_names_the_key_that_spent_most_and_the_pace_of_the_last_hour():
    desk = Desk(watched=[watched("a"), watched("b")]).lives(names="ab")
    desk.sees("2026-11-10 06:00", a="0", b="4")
    desk.sees("2026-11-10 10:00", a="0.25", b="0")

    desk.sees("2026-11-10 11:00", a="12", b="0")

    facts = {fact.label: fact.text for fact in [*desk.outbox.values()][-1].message.facts}
    assert facts["Driver"] == "key a 75%"
    assert facts["If it goes on"] == "$172.25 by the end of the day, at $12.00 an hour"


def test_money_nobody_owns_is_watched_like_an_owners():
    desk = Desk(watched=()).lives()

    desk.sees("2026-11-10 12:00", key="30")

    assert desk.said() == ["(unowned) spent $30.00 today - usually $1.00 a day"]


# --- Its life ------------------------------------------------------------------------------------------------------


def test_an_alert_fires_until_its_day_is_closed_and_is_resolved_with_the_final_figure():
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="30")
    desk.sees("2026-11-10 23:59", key="1")
    assert desk.alert(TODAY).state is AlertState.FIRING

    plan = desk.sees("2026-11-11 00:00", key="0.50")

    (resolved,) = plan.outgoing
    assert resolved.message.headline == "ana: Tue 10 Nov ended at $31.50 - usually $1.00 a day"
    assert (resolved.manner, resolved.about) == (Manner.REPLY, f"alert:{TODAY}:opened")
    alert = desk.alert(TODAY)
    assert (alert.state, alert.resolved_at) == (AlertState.RESOLVED, at("2026-11-11 00:00"))
    assert alert.finding.spend_nanos == usd("31.50")
    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    desk.sees("2026-11-11 12:00", key="1")
    assert len(desk.outbox) == 2


def test_a_message_is_edited_when_a_tenth_has_come_on_top_of_what_it_says_and_never_posted_twice():
    desk = Desk().lives()
    minute = at("2026-11-10 12:00")
    desk.sees(minute, key="10")
    for amount in ("0.90", "0.09", "0.01", "1.09", "0.01"):
        minute += MINUTE
        desk.sees(minute, key=amount)

    edits = [one for one in desk.outbox.values() if one.manner is Manner.EDIT]
    assert [edit.message.headline for edit in edits] == [
        "ana spent $11.00 today - usually $1.00 a day",
        "ana spent $12.10 today - usually $1.00 a day",
    ]
    assert {edit.about for edit in edits} == {f"alert:{TODAY}:opened"}
    assert edits[-1].message.facts[0].text == "noticed 12:00 UTC; the day ends in 11 h 55 min"
    assert desk.said(Manner.POST) == ["ana spent $10.00 today - usually $1.00 a day"]
    assert [one.reason for one in desk.transitions if one.change is Change.GREW] == [
        "$11.00 is more than a tenth above the $10.00 told last",
        "$12.10 is more than a tenth above the $11.00 told last",
    ]


def test_growth_that_is_not_worth_an_edit_still_moves_the_figures():
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="10")

    plan = desk.sees("2026-11-10 12:01", key="0.50")

    assert (plan.outgoing, plan.transitions) == ((), ())
    assert (desk.alert(TODAY).finding.spend_nanos, desk.alert(TODAY).told_nanos) == (usd("10.50"), usd("10"))


def test_reminders_come_no_sooner_than_they_are_wanted_and_end_with_the_alert():
    desk = Desk(repeat_every=4 * HOUR).lives()
    for hour in range(10, 24):
        desk.sees(f"2026-11-10 {hour}:00", key="10" if hour == 10 else "0")
    desk.sees("2026-11-11 00:00", key="0")
    desk.sees("2026-11-11 12:00", key="0")

    repeated = [one for one in desk.transitions if one.change is Change.REPEATED]
    assert [one.at.hour for one in repeated] == [14, 18, 22]
    assert repeated[1].reason == "still firing, and told last at 14:00 UTC"
    assert (
        desk.said(Manner.POST)[1:]
        == ["ana is at $10.00 on Tue 10 Nov - usually $1.00 a day, told first at 10:00 UTC"] * 3
    )


def test_without_a_wish_for_reminders_there_are_none():
    desk = Desk().lives()
    for hour in range(10, 24):
        desk.sees(f"2026-11-10 {hour}:00", key="10" if hour == 10 else "0")

    assert len(desk.outbox) == 1


def test_a_day_found_unusual_only_at_its_close_is_told_once_and_is_over():
    desk = Desk().lives()
    desk.sees("2026-11-10 23:59", key="1")

    plan = desk.sees("2026-11-11 00:00", key="30")

    (told,) = plan.outgoing
    assert told.message.headline == "ana spent $31.00 on Tue 10 Nov - usually $1.00 a day"
    assert told.message.facts[-1].text == "settled, as of 00:00 UTC"
    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert desk.alert(TODAY).state is AlertState.RESOLVED
    desk.sees("2026-11-11 00:01", key="0.50")
    assert len(desk.outbox) == 1


def test_an_alert_left_firing_by_a_daemon_that_stopped_is_resolved_when_it_comes_back_days_later():
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="30")

    desk.poll(snapshot("2026-11-14 12:00", "39", "0"))

    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert desk.said(Manner.REPLY) == ["ana: Tue 10 Nov ended at $30.00 - usually $1.00 a day"]


def test_an_alert_that_a_clock_far_ahead_has_ended_is_not_opened_again():
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="30")
    desk.sees("2026-11-13 12:00", key="0")  # the clock is three days ahead for one poll

    for minute in range(1, 4):
        desk.sees(f"2026-11-10 12:0{minute}", key="30")

    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert desk.said() == [
        "ana spent $30.00 today - usually $1.00 a day",
        "ana: Tue 10 Nov ended at $30.00 - usually $1.00 a day",
    ]


def test_an_alert_opened_after_a_clock_was_far_ahead_fires_until_its_day_is_really_over():
    desk = Desk().lives()
    desk.sees("2026-11-13 12:00", key="0")
    desk.sees("2026-11-10 12:00", key="30")
    desk.sees("2026-11-10 13:00", key="0")
    assert desk.alert(TODAY).state is AlertState.FIRING

    desk.sees("2026-11-10 23:00", key="2")
    desk.sees("2026-11-11 00:00", key="0")

    assert desk.said()[-1] == "ana: Tue 10 Nov ended at $32.00 - usually $1.00 a day"
    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]


# --- Owners and zones that change ----------------------------------------------------------------------------------


def test_a_key_that_moves_leaves_its_alert_with_the_owner_who_spent():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben")]).lives(names="ab")
    desk.sees("2026-11-10 12:00", a="30", b="0")

    desk.watched = [watched("a", "ben"), watched("b", "ben")]
    desk.sees("2026-11-10 13:00", a="1.50", b="0")
    assert [*desk.alerts] == [TODAY]
    desk.sees("2026-11-10 14:00", a="20", b="0")
    desk.sees("2026-11-11 00:00", a="0", b="0")

    assert desk.said() == [
        "ana spent $30.00 today - usually $1.00 a day",
        "ben spent $21.50 today - usually $1.00 a day",
        "ana: Tue 10 Nov ended at $30.00 - usually $1.00 a day",
        "ben: Tue 10 Nov ended at $21.50 - usually $1.00 a day",
    ]


def test_a_new_owner_is_not_judged_by_the_history_of_a_key_they_were_given():
    desk = Desk().lives()
    desk.watched = [watched("key", "ben")]

    desk.sees("2026-11-10 12:00", key="500")

    assert desk.alerts == {}


def test_an_owner_who_leaves_the_map_while_an_alert_fires_is_told_how_the_day_ended():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben")]).lives(names="ab")
    desk.sees("2026-11-10 12:00", a="30", b="0")
    desk.watched = [watched("b", "ben")]

    desk.sees("2026-11-10 18:00", b="0")
    desk.sees("2026-11-11 00:00", b="0")

    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert desk.said(Manner.REPLY) == ["ana: Tue 10 Nov ended at $30.00 - usually $1.00 a day"]


def test_a_person_who_is_renamed_keeps_the_alert():
    desk = Desk(people={"ana": Person("Ana")}).lives()
    desk.sees("2026-11-10 12:00", key="30")
    desk.people = {"ana": Person("Ana Maria", place="C2")}

    desk.sees("2026-11-11 00:00", key="0")

    assert desk.said() == [
        "Ana spent $30.00 today - usually $1.00 a day",
        "Ana Maria: Tue 10 Nov ended at $30.00 - usually $1.00 a day",
    ]


@pytest.mark.parametrize(
    ("zone", "resolved_at"),
    [
        ("Asia/Kathmandu", "2026-11-10 18:15"),
        ("America/Santiago", "2026-11-11 03:00"),
        ("Pacific/Kiritimati", "2026-11-10 12:01"),  # where the eleventh has begun already
    ],
)
def test_an_alert_outlives_a_change_of_zone_and_ends_once_with_its_day(zone, resolved_at):
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="30")
    desk.zone = zone
    for when in ("2026-11-10 12:01", "2026-11-10 18:15", "2026-11-11 00:00", "2026-11-11 03:00", "2026-11-12 12:00"):
        desk.sees(when, key="0")

    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert desk.alert(TODAY).resolved_at == at(resolved_at)
    assert desk.alert(TODAY).finding.spend_nanos == desk.day("2026-11-10").amounts.spend_nanos
    assert len(desk.alerts) == 1


def test_a_change_of_zone_while_nobody_looked_leaves_no_day_unjudged():
    desk = Desk().lives()
    desk.sees("2026-11-10 12:00", key="1")
    desk.zone = "Asia/Kathmandu"

    desk.poll(snapshot("2026-11-11 12:00", "50", "10"))

    assert desk.said()[0] == "ana spent $16.62 on Tue 10 Nov - usually $1.00 a day"


def test_after_a_change_of_zone_a_day_is_held_against_the_days_of_the_new_one():
    desk = Desk().lives()
    desk.zone = "Asia/Kathmandu"

    desk.sees("2026-11-10 12:00", key="3")

    assert desk.said() == ["ana spent $3.00 today - usually $1.00 a day"]


def test_a_day_that_a_change_of_zone_left_with_nobody_and_nothing_ends_as_it_was_told():
    desk = Desk(watched=[watched("a", "ana"), watched("b", "ben")]).lives(names="ab")
    desk.sees("2026-11-10 01:00", a="30", b="0")
    desk.watched, desk.zone = [watched("b", "ben")], "America/Santiago"  # where it was the ninth

    for when in ("2026-11-10 12:00", "2026-11-11 03:00"):
        desk.sees(when, b="0")

    assert desk.day("2026-11-10") is None
    (resolved,) = [one.message for one in desk.outbox.values() if one.manner is Manner.REPLY]
    assert resolved.headline == "ana: Tue 10 Nov ended at $30.00 - usually $1.00 a day"
    assert resolved.facts[-1].text == "provisional, as of 00:00 -03"


def test_a_change_of_zone_rewrites_no_alert_that_is_over():
    desk = Desk().lives()
    desk.sees("2026-11-10 01:00", key="30")
    desk.sees("2026-11-11 00:00", key="0")
    before = desk.alert(TODAY)

    desk.zone = "America/Santiago"
    desk.sees("2026-11-11 12:00", key="0")

    assert desk.day("2026-11-10").amounts.spend_nanos != before.finding.spend_nanos
    assert desk.alert(TODAY) == before


# --- Money that is seen late ---------------------------------------------------------------------------------------


def test_of_a_gap_over_midnight_the_part_that_the_day_counter_proves_counts_at_once():
    desk = Desk().lives()
    desk.sees("2026-11-10 20:00", key="1")

    desk.poll(snapshot("2026-11-11 04:00", "41", "30.50"))

    assert desk.said() == ["ana spent $30.50 today - usually $1.05 a day"]
    assert (desk.day("2026-11-10").amounts.spend_nanos, desk.alerts.keys()) == (usd("1.50"), {"sigma:ana:2026-11-11"})


def test_of_a_gap_over_another_zones_midnight_nothing_counts_until_the_close_and_then_it_does():
    desk = Desk(zone="Asia/Kathmandu").lives(days=30, first="2026-10-11")
    desk.sees("2026-11-10 16:15", key="1")  # midnight is at 18:15

    desk.poll(snapshot("2026-11-10 22:15", "51", "21"))  # $20 over six hours, two of them before midnight
    desk.counters["key"] = Fraction(51)
    assert desk.said() == ["ana spent $7.67 on Tue 10 Nov - usually $1.00 a day"]
    desk.sees("2026-11-11 12:00", key="1")
    assert len(desk.outbox) == 1

    desk.sees("2026-11-11 18:15", key="0")
    assert desk.said()[1:] == ["ana spent $14.33 on Wed 11 Nov - usually $1.22 a day"]


def test_an_alert_of_a_day_that_began_in_a_gap_counts_what_is_known_and_names_the_rest():
    desk = Desk(zone="Asia/Kathmandu").lives(days=30, first="2026-10-11")
    desk.sees("2026-11-10 16:15", key="1")
    desk.poll(snapshot("2026-11-10 22:15", "40", "9"))  # $9, six of them perhaps today's
    desk.counters["key"] = Fraction(40)

    desk.sees("2026-11-11 12:00", key="30")

    opened = desk.outbox["alert:sigma:ana:2026-11-11:opened"].message
    assert opened.headline == "ana spent $30.00 today - usually $1.10 a day"
    assert opened.facts[-1].text == "provisional, as of 17:45 +0545; up to $6.00 more, from a gap over midnight"
    desk.sees("2026-11-11 18:15", key="0")
    assert desk.said()[-1] == "ana: Wed 11 Nov ended at $36.00 - usually $1.10 a day"


def test_the_guess_of_one_day_is_not_held_against_the_next():
    desk = Desk(zone="Asia/Kathmandu").lives(days=30, first="2026-10-11")
    desk.sees("2026-11-10 16:15", key="1")
    desk.poll(snapshot("2026-11-10 22:15", "40", "9"))
    desk.counters["key"] = Fraction(40)
    desk.sees("2026-11-11 18:15", key="0")

    desk.sees("2026-11-12 12:00", key="30")

    assert desk.said()[-1].startswith("ana spent $30.00 today")
    assert "gap" not in desk.outbox["alert:sigma:ana:2026-11-12:opened"].message.facts[-1].text


@pytest.mark.parametrize(
    ("byok", "known", "shares"),
    [(True, "$30.00", ["$12.00 of it went through your own upstream keys"]), (False, "$18.00", [])],
)
def test_a_guess_is_made_for_each_meter(byok, known, shares):
    desk = Desk(zone="Asia/Kathmandu", anomaly=AnomalyPolicy(byok=byok)).lives(days=30, first="2026-10-11")
    desk.sees("2026-11-10 16:15", key="1")
    desk.poll(snapshot("2026-11-10 22:15", "37", "6", byok="3", byok_daily="3"))

    desk.poll(snapshot("2026-11-11 12:00", "55", "18", byok="15", byok_daily="12"))

    assert desk.said()[-1].startswith(f"ana spent {known} today")
    assert byok_shares(desk)[-1:] == shares


def test_a_poll_over_midnight_that_is_no_gap_divides_its_money_by_time():
    desk = Desk(zone="Asia/Kathmandu", poll_every=5 * MINUTE).lives()
    desk.sees("2026-11-10 18:13", key="1")

    desk.poll(snapshot("2026-11-10 18:18", "30", "30"))

    assert desk.said()[-1] == "ana spent $12.00 today - usually $1.80 a day"


def test_money_of_a_closed_day_that_is_seen_late_is_judged_in_its_own_day():
    desk = Desk(watched=[watched("a"), watched("b")]).lives(names="ab")
    desk.sees("2026-11-10 20:00", a="1", b="1")
    desk.poll(desk.snapshot(at("2026-11-11 00:00"), "a", "0"), failure("b"))
    assert desk.outbox == {}

    desk.poll(
        desk.snapshot(at("2026-11-11 03:00"), "a", "0"), snapshot("2026-11-11 03:00", "40", "0.50", key="b")
    )  # $30 came, all but fifty cents of it before midnight

    assert desk.said() == ["ana spent $31.50 on Tue 10 Nov - usually $2.00 a day"]
    assert desk.outbox[f"alert:{TODAY}:opened"].message.facts[-1].text == "provisional, as of 03:00 UTC"
    assert desk.changes(TODAY) == [Change.OPENED, Change.RESOLVED]
    assert [*desk.alerts] == [TODAY]


def test_late_money_moves_the_figure_of_an_alert_that_is_over_without_a_word():
    desk = Desk(watched=[watched("a"), watched("b")]).lives(names="ab")
    desk.sees("2026-11-10 20:00", a="30", b="1")
    desk.poll(desk.snapshot(at("2026-11-11 00:00"), "a", "0"), failure("b"))
    assert desk.alert(TODAY).finding.spend_nanos == usd("31")
    assert [*desk.outbox.values()][-1].message.facts[-1].text == "provisional, as of 00:00 UTC"
    said = desk.said()

    desk.poll(snapshot("2026-11-11 03:00", "15", "0", key="b"))

    assert desk.alert(TODAY).finding.spend_nanos == usd("36")
    assert (desk.alert(TODAY).state, desk.said()) == (AlertState.RESOLVED, said)


@pytest.mark.parametrize(("days", "told"), [(9, []), (60, ["ana spent $106.67 on Thu 12 Nov - usually $4.41 a day"])])
def test_a_ledger_restored_after_three_days_tells_nothing_about_days_before_yesterday(days, told):
    desk = Desk().lives(days, first=str(date(2026, 11, 10) - days * DAY))

    desk.poll(snapshot("2026-11-13 12:00", str(days + 360), "40"))

    late = [desk.day(f"2026-11-{n}").amounts.spend_nanos // 10**9 for n in (10, 11, 12)]
    assert late == [106, 106, 106]  # each of them far above what was usual before
    assert desk.said() == told


def test_a_poll_that_runs_past_midnight_counts_nothing_of_tomorrow_for_today():
    desk = Desk().lives()
    desk.sees("2026-11-10 23:00", key="1")

    desk.poll(snapshot("2026-11-11 00:00:20", "40", "30"), now="2026-11-10 23:59:50")
    assert desk.outbox == {}
    desk.poll(snapshot("2026-11-11 00:01", "40.01", "30.01"))

    assert desk.said() == ["ana spent $30.01 today - usually $1.00 a day"]


def test_what_grew_inside_a_dip_is_judged_when_it_is_believed():
    desk = Desk().lives(days=30, per_day="10", first="2026-10-11")
    for when, total in (("12:00", "200"), ("12:10", "290"), ("12:20", "290")):
        desk.poll(snapshot(f"2026-11-10 {when}", total, "0"))

    assert [amounts[1] for amounts in desk.windows.values() if amounts[1]] == [usd("-100")]
    assert desk.said() == ["ana spent $90.00 today - usually $10.00 a day"]


def test_the_first_value_of_a_key_that_began_at_nothing_is_judged():
    desk = Desk().lives()
    desk.poll(desk.snapshot(at("2026-11-10 12:00"), "key", "0"), swept={"team": "2026-11-10 12:00"})

    desk.watched = [watched("key"), watched("new")]
    desk.poll(
        snapshot("2026-11-10 12:05", "40", "40", key="new", created="2026-11-10 12:03", workspace="team"),
        swept={"team": "2026-11-10 12:05"},
    )

    assert desk.said() == ["ana spent $40.00 today - usually $1.00 a day"]


def test_the_day_on_which_a_key_was_first_seen_is_no_part_of_what_is_usual():
    desk = Desk(watched=[watched("a"), watched("late")]).lives(days=4, per_day="100", names="a")
    desk.poll(snapshot("2026-11-05 12:00", "700", "8", key="late"))
    for n in range(6, 13):
        desk.sees(f"2026-11-{n:02} 00:00", a="100" if n > 6 else "1")

    desk.sees("2026-11-12 12:00", a="102")

    assert desk.said() == ["ana spent $102.00 today - usually $100.00 a day"]
    assert desk.alert("sigma:ana:2026-11-12").finding.history_days == 10


# --- Silence -------------------------------------------------------------------------------------------------------

SOURCE = "staleness::2026-11-20"
ANAS = "staleness:ana:2026-11-20"


def team(**others):
    """Return a desk that has just seen three keys: two of Ana's, one of Ben's."""
    desk = Desk(watched=[watched("a"), watched("b"), watched("c", "ben")], **others)
    desk.sees("2026-11-20 11:59", a="1", b="1", c="1")
    return desk


def goes(desk, *minutes, silent="", reason=FailureReason.TIMED_OUT, day="2026-11-20", **spent):
    """Poll at some minutes after noon; *silent* keys fail, the others answer and spend nothing unless told."""
    for minute in minutes:
        now = at(f"{day} 12:00") + minute * MINUTE
        answers = [
            Failure(key_hash(name), reason, "")
            if name in silent
            else desk.snapshot(now, name, spent.get(name, "0") if minute == minutes[-1] else "0")
            for name in (entry.name for entry in desk.watched)
        ]
        desk.poll(*answers, now=now)


def test_a_silent_source_is_one_alert_and_the_keys_own_are_held():
    desk = team()

    goes(desk, *range(10), silent="abc")
    assert desk.outbox == {}
    goes(desk, *range(10, 120), silent="abc")

    assert [*desk.alerts] == [SOURCE]
    assert desk.said() == ["Nothing seen of OpenRouter since 11:59 UTC: timed out"]
    assert desk.transitions[0].reason == "no snapshot of 3 keys: timed out"
    assert desk.alert(SOURCE).opened_at == at("2026-11-20 12:10")


def test_the_next_good_answer_ends_a_silence_of_the_source_with_the_money_it_held():
    desk = team()
    goes(desk, *range(30), silent="abc")

    goes(desk, 30, a="5", b="0.50", c="2")

    (resolved,) = [one for one in desk.outbox.values() if one.manner is Manner.REPLY]
    assert resolved.message.headline == "OpenRouter answers again after 31 min; $7.50 was spent meanwhile"
    assert resolved.about == f"alert:{SOURCE}:opened"
    assert (desk.alert(SOURCE).state, desk.alert(SOURCE).gap_nanos) == (AlertState.RESOLVED, usd("7.50"))
    assert desk.changes(SOURCE) == [Change.OPENED, Change.RESOLVED]
    goes(desk, 31, 32, a="3")
    assert len(desk.outbox) == 2


def test_a_silent_key_is_told_to_its_owner_with_the_reason_while_others_answer():
    desk = team(people={"ana": Person("Ana", "U1", "C1")})

    goes(desk, *range(60), silent="b", reason=FailureReason.ACCESS_DENIED)

    (opened,) = desk.outbox.values()
    assert opened.message.headline == "Ana: key b unseen since 11:59 UTC: refused (revoked, disabled or expired)"
    assert (opened.to, opened.message.mention) == ("C1", "U1")
    assert desk.alert(ANAS).opened_at == at("2026-11-20 12:10")


def test_a_key_that_answers_again_ends_its_owners_alert_with_the_money_it_held():
    desk = team()
    goes(desk, *range(20), silent="b", c="9")

    goes(desk, 20, b="4.20", a="7")

    assert desk.said(Manner.REPLY) == ["ana: key b seen again after 21 min; $4.20 was spent meanwhile"]
    assert desk.alert(ANAS).gap_nanos == usd("4.20")


def test_keys_that_fall_silent_later_join_their_owners_alert_and_the_message_is_edited():
    desk = team()
    goes(desk, *range(30), silent="b")

    goes(desk, *range(30, 60), silent="ab")

    assert desk.changes(ANAS) == [Change.OPENED, Change.GREW]
    assert desk.said() == [
        "ana: key b unseen since 11:59 UTC: timed out",
        "ana: keys a and b unseen since 12:29 UTC: timed out",
    ]
    assert [*desk.outbox.values()][-1].manner is Manner.EDIT
    assert desk.transitions[-1].at == at("2026-11-20 12:40")
    assert desk.alert(ANAS).finding.since == at("2026-11-20 11:59")


def test_an_alert_about_several_keys_ends_when_the_last_of_them_answers_and_sums_what_they_held():
    desk = team()
    goes(desk, *range(20), silent="ab")
    goes(desk, 20, silent="a", b="3")
    goes(desk, 21, silent="a", b="50")  # which no silence held
    assert desk.alert(ANAS).state is AlertState.FIRING

    goes(desk, 22, a="4")

    assert desk.said(Manner.REPLY) == ["ana: keys a and b seen again after 23 min; $7.00 was spent meanwhile"]


def test_each_owner_hears_of_their_own_keys_only():
    desk = Desk(watched=[watched("a"), watched("b"), watched("c", "ben"), watched("d", "cleo")])
    desk.sees("2026-11-20 11:59", a="1", b="1", c="1", d="1")

    goes(desk, *range(30), silent="bc")

    assert desk.said() == [
        "ana: key b unseen since 11:59 UTC: timed out",
        "ben: key c unseen since 11:59 UTC: timed out",
    ]


def test_a_key_that_was_silent_before_the_source_keeps_its_alert_and_gets_no_other():
    desk = team()
    goes(desk, *range(20), silent="b")
    goes(desk, *range(20, 60), silent="abc")
    goes(desk, *range(60, 120), silent="b")

    assert desk.changes(ANAS) == [Change.OPENED]
    assert desk.changes(SOURCE) == [Change.OPENED, Change.RESOLVED]
    assert desk.said(Manner.REPLY) == ["OpenRouter answers again after 41 min"]


def test_a_key_that_comes_back_a_little_later_than_the_source_is_no_news():
    desk = team()
    goes(desk, *range(30), silent="abc")

    goes(desk, *range(30, 40), silent="b")
    goes(desk, 40)
    assert [*desk.alerts] == [SOURCE]

    goes(desk, *range(60, 90), silent="abc")
    goes(desk, *range(90, 101), silent="b")
    assert desk.said(Manner.POST)[-1] == "ana: key b unseen since 12:40 UTC: timed out"
    assert desk.alert(ANAS).opened_at == at("2026-11-20 13:40")


def test_the_end_of_one_owners_silence_holds_back_nobody_elses():
    desk = team()
    goes(desk, *range(12), silent="c")
    goes(desk, *range(12, 20), silent="bc")

    goes(desk, *range(20, 23), silent="b")

    assert desk.alert(ANAS).opened_at == at("2026-11-20 12:22")


def test_a_silence_that_comes_back_on_the_same_day_opens_the_same_alert_again():
    desk = team()
    goes(desk, *range(20), silent="b")
    goes(desk, 20, b="3")
    first = desk.alert(ANAS)

    goes(desk, *range(40, 60), silent="b")
    goes(desk, 60, b="1")

    assert desk.changes(ANAS) == [Change.OPENED, Change.RESOLVED, Change.OPENED_AGAIN, Change.RESOLVED]
    alert = desk.alert(ANAS)
    assert (alert.id, alert.openings, alert.opened_at) == (first.id, 2, first.opened_at)
    assert (first.gap_nanos, alert.gap_nanos) == (usd("3"), usd("1"))
    again = [one for one in desk.outbox.values() if ":2:" in one.intent]
    assert [(one.manner, one.about) for one in again] == [
        (Manner.POST, None),
        (Manner.REPLY, f"alert:{ANAS}:2:opened"),
    ]
    assert again[-1].message.headline == "ana: key b seen again after 40 min; $1.00 was spent meanwhile"


def test_a_silence_over_midnight_is_one_alert_under_the_day_it_began_on():
    desk = team()
    goes(desk, *range(0, 1440, 7), silent="b")

    goes(desk, 1440, b="2")

    assert [*desk.alerts] == [ANAS]
    assert desk.changes(ANAS) == [Change.OPENED, Change.RESOLVED]
    goes(desk, *range(1500, 1520), silent="b")
    assert [*desk.alerts] == [ANAS, "staleness:ana:2026-11-21"]


@pytest.mark.parametrize("map_of_now", ["ac", "c", "ab"])
def test_a_silent_key_that_leaves_the_map_or_its_owner_ends_the_alert(map_of_now):
    desk = team()
    goes(desk, *range(20), silent="b")

    owners = {"a": "ana", "b": "ben", "c": "ben"}  # where b is still watched, it is Ben's now
    desk.watched = [watched(name, owners[name]) for name in map_of_now]
    goes(desk, 20, silent="b")

    assert desk.said(Manner.REPLY) == ["ana: key b no longer watched for this owner"]
    assert desk.alert(ANAS).state is AlertState.RESOLVED


def test_a_silent_source_that_nobody_watches_any_more_is_over():
    desk = team()
    goes(desk, *range(20), silent="abc")

    desk.watched = []
    goes(desk, 20)

    assert desk.said(Manner.REPLY) == ["No key is left to watch; nothing had been seen of OpenRouter for 21 min"]


def test_a_ledger_that_never_got_an_answer_says_so_and_what_comes_first_is_no_money():
    desk = Desk()
    goes(desk, *range(12), silent="key", reason=FailureReason.ACCESS_DENIED)
    assert desk.said() == ["Nothing seen of OpenRouter since 12:00 UTC: refused (revoked, disabled or expired)"]

    goes(desk, 12, key="4000")

    assert desk.said(Manner.REPLY) == ["OpenRouter answers again after 12 min"]


def test_a_daemon_that_was_off_and_hears_well_has_no_silence_to_report():
    desk = team()

    goes(desk, 600, a="3")

    assert desk.outbox == {}


def test_a_short_silence_is_no_silence():
    desk = team()
    for start in range(0, 100, 10):
        goes(desk, *range(start, start + 9), silent="abc")
        goes(desk, start + 9)

    assert desk.alerts == {}


def test_a_single_poll_at_the_command_line_tells_of_no_silence_and_of_no_end_but_counts_the_money():
    desk = team()
    goes(desk, *range(20), silent="b")
    said = desk.said()

    desk.staleness_after = None
    goes(desk, *range(20, 40), silent="abc")
    goes(desk, 40, b="5")
    assert (desk.said(), [*desk.alerts]) == (said, [ANAS])
    assert (desk.alert(ANAS).state, desk.alert(ANAS).gap_nanos) == (AlertState.FIRING, usd("5"))

    desk.staleness_after = 10 * MINUTE
    goes(desk, 41)
    assert desk.said(Manner.REPLY) == ["ana: key b seen again after 42 min; $5.00 was spent meanwhile"]


def test_reminders_of_a_silence_come_as_often_as_they_are_wanted():
    desk = team(repeat_every=HOUR)

    goes(desk, *range(140), silent="b")

    assert desk.said() == [
        "ana: key b unseen since 11:59 UTC: timed out",
        "ana: key b still unseen, told first at 12:10 UTC",
        "ana: key b still unseen, told first at 12:10 UTC",
    ]


def test_a_reminder_names_the_keys_that_are_silent_still():
    desk = team(repeat_every=HOUR)
    goes(desk, *range(30), silent="ab")

    goes(desk, *range(30, 71), silent="b")

    assert desk.said()[-1] == "ana: key b still unseen, told first at 12:10 UTC"


# --- The same again ------------------------------------------------------------------------------------------------


def test_a_poll_decided_again_after_its_commit_opens_and_tells_nothing_twice():
    desk = Desk(watched=[watched("a"), watched("b", "ben"), watched("c", "cleo")], repeat_every=HOUR)
    desk.lives(names="abc")
    desk.sees("2026-11-10 10:00", a="30", b="0", c="0")
    polls = [
        ("2026-11-10 10:30", [("a", "30"), ("b", "20")]),  # grows, opens
        ("2026-11-10 10:45", [("a", "0"), ("b", "0")]),  # c is silent
        ("2026-11-10 12:00", [("a", "0"), ("b", "0")]),  # repeats
        ("2026-11-11 00:00", [("a", "0"), ("b", "0"), ("c", "9")]),  # ends all, and finds one more
    ]
    for now, spent in polls:
        answers = [desk.snapshot(at(now), *one) for one in spent]
        if len(spent) < 3:
            answers.append(failure("c"))
        plan = desk.poll(*answers, now=now)
        assert plan.outgoing
        before = (dict(desk.alerts), list(desk.transitions), dict(desk.outbox))

        again = desk.poll(*answers, now=now)

        assert (again.alerts, again.transitions, again.outgoing) == ((), (), ())
        assert (desk.alerts, desk.transitions, desk.outbox) == before
    assert {transition.change for transition in desk.transitions} == {*Change} - {Change.OPENED_AGAIN}


def test_a_poll_that_judges_nothing_decides_the_same_about_money():
    desk = Desk().lives()
    answer = desk.snapshot(at("2026-11-10 12:00"), "key", "30")
    asked, zone = Poll((answer,)), ZoneInfo("UTC")
    state = desk.remembering(desk.state(answer.at), asked, answer.at)

    judged = plans.after_poll(
        state, asked, desk.watched, LedgerPolicy(zone, MINUTE, NoticePolicy(zone, AnomalyPolicy(), {})), answer.at
    )
    kept = plans.after_poll(state, asked, desk.watched, LedgerPolicy(zone, MINUTE), answer.at)

    assert judged.outgoing
    assert replace(judged, alerts=(), transitions=(), outgoing=()) == kept
