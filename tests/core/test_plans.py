"""One poll decided: what is counted, for whom, and what each failure leaves as it was."""

from collections import defaultdict
from copy import deepcopy
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.core.records import UNOWNED, Amounts, Balance, FailureReason, Meter, WatchedKey
from tests.builders import HOUR, MINUTE, SECOND, Book, at, failure, key_hash, policy, snapshot, usd, watched


def spent_by_owner(book):
    found = defaultdict(int)
    for (_, owner, _, _), (spend, _) in book.windows.items():
        found[owner] += spend
    return dict(found)


def everything_in(book):
    return deepcopy((book.keys, book.snapshots, book.windows, book.gaps, book.days, book.owners))


# --- What is counted -----------------------------------------------------------------------------------------------


def test_a_poll_tells_how_many_keys_answered_and_what_was_spent_in_credits():
    book = Book(watched=(watched("a"), watched("b"), watched("c")))
    book.poll(snapshot("2026-11-20 12:00", "10", key="a"), snapshot("2026-11-20 12:00", "5", byok="1", key="b"))

    plan = book.poll(
        snapshot("2026-11-20 12:01", "11", key="a"),
        snapshot("2026-11-20 12:01", "5.5", byok="3", key="b"),
        failure("c"),
    )

    assert (plan.polled, plan.spend_nanos, [failed.key_hash for failed in plan.failures]) == (
        2,
        usd("1.5"),
        [key_hash("c")],
    )
    assert book.amounts() == Amounts(usd("1.5"), 0, usd("2"), 0)


def test_the_first_poll_of_a_key_spends_nothing():
    book = Book()

    plan = book.poll(snapshot("2026-11-20 12:00", "4000", "8", byok="20"))

    assert (plan.spend_nanos, plan.windows, book.key().failure) == (0, (), None)
    assert book.key().counters.credits.opening.total_nanos == usd("4000")


def test_a_key_seen_again_unchanged_costs_no_row():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))

    plan = book.poll(snapshot("2026-11-20 12:01", "10"))

    assert plan.seen == ((key_hash("key"), at("2026-11-20 12:01")),)
    assert (plan.keys, plan.snapshots, plan.windows, plan.owners, plan.owner_days) == ((), (), (), (), ())


def test_the_same_poll_decided_again_changes_nothing():
    book = Book(watched=(watched("a"), watched("b"), watched("c")))
    book.poll(*(snapshot("2026-11-20 12:00", "10", key=name) for name in "abc"))
    answers = (
        snapshot("2026-11-21 12:01", "11", "0.5", key="a"),
        snapshot("2026-11-21 12:01", "9", key="b"),
        failure("c", retry_after_seconds=30),
    )
    book.poll(*answers, now="2026-11-21 12:01")
    before = everything_in(book)

    plan = book.poll(*answers, now="2026-11-21 12:01")

    assert everything_in(book) == before
    assert (plan.spend_nanos, plan.snapshots, plan.windows) == (0, (), ())


def test_money_lies_in_the_quarter_hours_in_which_it_went():
    book = Book()
    book.poll(snapshot("2026-11-20 12:10", "10"))

    book.poll(snapshot("2026-11-20 12:35", "12.50"))

    assert {start: spend for (start, *_), (spend, _) in book.windows.items()} == {
        at("2026-11-20 12:00"): usd("0.50"),
        at("2026-11-20 12:15"): usd("1.50"),
        at("2026-11-20 12:30"): usd("0.50"),
    }


def test_a_correction_lies_in_the_quarter_hour_in_which_the_dip_began():
    book = Book()
    book.poll(snapshot("2026-11-20 12:10", "25.50"))
    for minute in (20, 30, 40):
        book.poll(snapshot(f"2026-11-20 12:{minute}", "25.30"))

    assert dict(book.windows) == {(at("2026-11-20 12:15"), "ana", key_hash("key"), Meter.CREDITS): [0, usd("-0.20")]}


@pytest.mark.parametrize(("minutes", "is_gap"), [(2, False), (3, True)])
def test_a_stretch_of_more_than_two_polls_with_money_in_it_is_a_gap(minutes, is_gap):
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10", byok="1"))

    plan = book.poll(snapshot(at("2026-11-20 12:00") + minutes * MINUTE, "11", byok="3"))

    assert [(gap.since, gap.nanos) for gap in plan.gaps] == ([(at("2026-11-20 12:00"), usd("3"))] if is_gap else [])


def test_a_stretch_without_money_is_no_gap_however_long():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10", "3"))

    assert book.poll(snapshot("2026-11-22 12:00", "10", "0")).gaps == ()


def test_a_true_zero_counts_from_when_it_was_made_and_only_where_the_last_sweep_was_complete():
    book = Book(watched=())
    book.poll(snapshot("2026-11-20 12:00", "10", key="old", workspace="team"), swept={"team": "2026-11-20 12:00"})

    plan = book.poll(
        snapshot("2026-11-20 12:05", "3", key="new", created="2026-11-20 12:03", workspace="team"),
        snapshot("2026-11-20 12:05", "7", key="elsewhere", created="2026-11-20 12:03", workspace="another"),
        swept={"team": "2026-11-20 12:05", "another": "2026-11-20 12:05"},
    )

    assert plan.spend_nanos == usd("3")
    assert [(gap.key_hash, gap.since, gap.at) for gap in plan.gaps] == []
    assert book.key("elsewhere").counters.credits.mark_nanos == usd("7")
    assert book.swept == {"team": at("2026-11-20 12:05"), "another": at("2026-11-20 12:05")}


# --- What is refused -----------------------------------------------------------------------------------------------


def test_growth_of_more_than_a_million_dollars_is_refused_and_loses_nothing_afterwards():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    before = book.key().counters

    plan = book.poll(snapshot("2026-11-20 12:01", "1000010.01"))

    assert [(failed.key_hash, failed.reason) for failed in plan.failures] == [
        (key_hash("key"), FailureReason.IMPLAUSIBLE)
    ]
    assert (plan.polled, plan.spend_nanos, plan.snapshots, plan.windows) == (0, 0, (), ())
    assert (book.key().counters, book.key().failure) == (before, FailureReason.IMPLAUSIBLE)

    book.poll(snapshot("2026-11-20 12:02", "10.5"))
    assert book.amounts().spend_nanos == usd("0.5")
    assert (book.key().failure, book.key().failing_since) == (None, None)


def test_one_implausible_key_does_not_cost_the_others():
    book = Book(watched=(watched("a"), watched("b")))
    book.poll(snapshot("2026-11-20 12:00", "10", key="a"), snapshot("2026-11-20 12:00", "10", key="b"))

    plan = book.poll(snapshot("2026-11-20 12:01", "9999999", key="a"), snapshot("2026-11-20 12:01", "11", key="b"))

    assert (plan.polled, plan.spend_nanos) == (1, usd("1"))


def test_a_failure_keeps_the_counters_and_tells_since_when():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    before = book.key().counters

    book.poll(failure(retry_after_seconds=30), now="2026-11-20 12:01")
    book.poll(failure(), now="2026-11-20 12:02")

    assert (book.key().counters, book.key().failure) == (before, FailureReason.UNAVAILABLE)
    assert book.key().failing_since == at("2026-11-20 12:01")
    assert book.key().retry_at is None
    book.poll(snapshot("2026-11-20 12:10", "12"))
    assert book.amounts().spend_nanos == usd("2")


def test_a_wait_asked_for_is_kept_until_it_is_over():
    book = Book()
    book.poll(failure(retry_after_seconds=30), now="2026-11-20 12:01")

    key = book.key()

    assert not plans.may_be_asked(key.retry_at, at("2026-11-20 12:01:29"))
    assert plans.may_be_asked(key.retry_at, at("2026-11-20 12:01:30"))
    assert plans.may_be_asked(None, at("2026-11-20 12:01"))
    assert plans.may_be_asked(key.retry_at, at("2026-11-19 12:00"))  # the clock has been set back


def test_a_failure_of_a_key_nobody_knows_is_nobodys():
    book = Book(watched=())

    plan = book.poll(failure("stranger"), now="2026-11-20 12:00")

    assert (plan.keys, len(plan.failures)) == ((), 1)


@pytest.mark.parametrize(("now", "is_set"), [("2023-12-31 23:59:59", False), ("2024-01-01 00:00", True)])
def test_a_clock_before_2024_was_never_set(now, is_set):
    assert plans.is_set(at(now)) is is_set


# --- Whose it is ---------------------------------------------------------------------------------------------------


def test_a_delta_belongs_to_the_owner_who_holds_the_key_when_it_is_seen():
    book = Book(watched=(watched("key", "ana"),))
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.poll(snapshot("2026-11-20 12:01", "11"))

    book.watched = (watched("key", "ben"),)
    book.poll(snapshot("2026-11-20 12:02", "13"))

    assert spent_by_owner(book) == {"ana": usd("1"), "ben": usd("2")}


def test_money_of_a_key_nobody_owned_stays_unowned_when_someone_claims_it():
    book = Book(watched=())
    book.poll(snapshot("2026-11-20 12:00", "10", label="sk-or-v1-abc...xyz"))
    book.poll(snapshot("2026-11-20 12:01", "11"))

    book.watched = (watched("key", "ana"),)
    book.poll(snapshot("2026-11-20 12:02", "13"))

    assert spent_by_owner(book) == {UNOWNED: usd("1"), "ana": usd("2")}
    assert book.key().label == "sk-or-v1-abc...xyz"


def test_a_key_nobody_owns_is_watched_for_as_long_as_it_is_seen():
    book = Book(watched=())
    for minute in range(3):
        book.poll(snapshot(f"2026-11-20 12:0{minute}", str(10 + minute), workspace="team"))

    assert book.key().watched
    assert (book.key().owner, book.key().name) == (UNOWNED, key_hash("key")[:12])


def test_what_an_owner_map_changes_about_a_key_changes_nothing_counted():
    book = Book(watched=(watched("key", "ana"),))
    book.poll(snapshot("2026-11-20 12:00", "10", label="sk-or-v1-abc...xyz"))
    before = book.key()

    book.watched = (WatchedKey(key_hash("key"), "ana", "renamed"),)
    book.poll(snapshot("2026-11-20 12:00", "10", label="sk-or-v1-new...new"))

    assert (book.key().name, book.key().label) == ("renamed", "sk-or-v1-new...new")
    assert book.key().counters == before.counters


def test_a_key_that_leaves_the_map_keeps_its_owner_and_comes_back_without_losing_the_gap():
    book = Book()
    book.poll(snapshot("2026-11-20 12:00", "10"))
    book.watched = ()
    book.poll(now="2026-11-20 12:01")
    assert (book.key().watched, book.key().owner) == (False, "ana")

    book.watched = (watched(),)
    book.poll(snapshot("2026-11-20 13:00", "12"))

    assert book.key().watched
    assert spent_by_owner(book) == {"ana": usd("2")}


def test_balances_are_kept_as_seen_and_whoever_asked_is_told_when():
    balance = Balance(key_hash("key"), at("2026-11-20 12:00:02"), usd("100"), usd("112.50"))
    asked = Poll(balances=(balance,), balances_asked=True)
    now = at("2026-11-20 12:00")

    plan = plans.after_poll(plans.State(), asked, (), policy(), now)

    assert (plan.balances, plan.balances_asked_at, balance.left_nanos) == ((balance,), now, usd("-12.50"))
    assert plans.after_poll(plans.State(), Poll(), (), policy(), now).balances_asked_at is None


# --- Any number of keys, owners, polls -----------------------------------------------------------------------------

OWNERS = ("ana", "ben", "cleo")
KEYS = ("a", "b", "c")

one_poll = st.fixed_dictionaries(
    {
        "after": st.sampled_from([1, 30, 60, 600, 4_000, 50_000, 200_000]),
        "answers": st.dictionaries(st.sampled_from(KEYS), st.tuples(st.integers(0, 10**9), st.integers(0, 10**9))),
        "owners": st.tuples(*[st.sampled_from(OWNERS)] * len(KEYS)),
        "zone": st.sampled_from(["UTC", "UTC", "UTC", "Asia/Kathmandu", "America/Santiago"]),
    }
)


@given(st.lists(one_poll, min_size=1, max_size=12))
def test_owners_sum_to_keys_and_closed_days_to_windows_whatever_is_polled(polls):
    book = Book(watched=())
    now = at("2026-11-20 12:00")
    for asked in polls:
        now += asked["after"] * SECOND
        book.zone = asked["zone"]
        book.watched = tuple(map(watched, KEYS, asked["owners"]))
        answers = [
            snapshot(now, key=name, credits_usd=f"{total}e-9", byok=f"{own}e-9")
            for name, (total, own) in asked["answers"].items()
        ]

        plan = book.poll(*answers, *(failure(name) for name in KEYS if name not in asked["answers"]), now=now)

        assert plan.polled == len(answers)
        for key in book.keys.values():
            for meter in Meter:
                counter = key.counters and (key.counters.credits if meter is Meter.CREDITS else key.counters.byok)
                held = [found for place, found in book.windows.items() if place[2:] == (key.hash, meter)]
                accounted = sum(spend + correction for spend, correction in held)
                assert accounted == (counter.mark_nanos - counter.opening.total_nanos if counter else 0)
        for owner in book.owners.values():
            rows = [row.amounts for row in book.days.values() if row.owner == owner.name]
            zone = policy(book.zone).zone
            windows = [
                Amounts.of(meter, *found)
                for (start, name, _, meter), found in book.windows.items()
                if name == owner.name and owner.open_day and (start.astimezone(zone).date() < owner.open_day)
            ]
            assert sum(rows, Amounts()) == sum(windows, Amounts())


def test_the_expected_stretch_is_two_polls():
    assert policy(poll_every=timedelta(minutes=5)).expected_stretch == 10 * MINUTE
    assert policy(poll_every=HOUR).expected_stretch == 2 * HOUR
