"""Settlement: a generation is asked for by the schedule, by those who may see it, and ends settled or given up."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import settlement
from reckon.core.generations import (
    CostCorrection,
    ExpiryReason,
    Facts,
    Found,
    GenerationState,
    Handed,
    NotFound,
    Pending,
    Settled,
    Unfound,
)
from reckon.core.records import UNOWNED
from reckon.core.settlement import MOST_ASKERS, Askers, SettlePolicy
from reckon.core.tokens import TokenPools
from tests.builders import DAY, HOUR, MINUTE, SECOND, at, key_hash, usd, watched

NOON = at("2026-11-20 12:00")
SCHEDULE = (
    *(SECOND, 2 * SECOND, 5 * SECOND, 15 * SECOND),
    *(MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 6 * HOUR, DAY),
)
POLICY = SettlePolicy(SCHEDULE)
# When each lookup is made if every one is made as soon as it is due: the sums of the waits.
ASKED_AFTER_SECONDS = (1, 3, 8, 23, 83, 383, 1283, 4883, 26483, 112883)

COST = Facts(created_at=NOON - SECOND, model="maker/model-2026", credits_nanos=usd("0.0015"), byok_nanos=0)
FINISHED = Found(COST, is_finished=True)
NO_COST_YET = replace(COST, credits_nanos=0)
UNFINISHED = Found(NO_COST_YET, is_finished=False)


def not_found(reason, retry_after_seconds=None):
    return NotFound(reason, "HTTP 599", retry_after_seconds)


def handed_in(facts=Facts(), *, owner="ana", key="laptop", policy=POLICY):  # noqa: B008 - frozen
    return settlement.pending(Handed("gen-1", owner, key_hash(key), facts), policy, NOON)


def looked_up(waiting, lookup, *, now=None, askers=1, policy=POLICY):
    """Return what *lookup* means, made the moment it was due."""
    return settlement.after_lookup(waiting, lookup, askers, policy, now or waiting.due_at)


def after(waiting, *lookups, askers=1):
    for lookup in lookups:
        waiting = looked_up(waiting, lookup, askers=askers)
    return waiting


# --- The schedule ----------------------------------------------------------------------------------------------------


def test_what_is_handed_in_waits_for_its_first_lookup():
    facts = Facts(session="nightly")
    assert handed_in(facts) == Pending("gen-1", "ana", key_hash("laptop"), NOON, NOON + SECOND, facts=facts)
    assert handed_in().state is GenerationState.PENDING


@pytest.mark.parametrize(
    ("lookup", "reason"),
    [
        (not_found(Unfound.NOT_YET), ExpiryReason.NEVER_FOUND),
        (not_found(Unfound.UNREADABLE), ExpiryReason.UNREADABLE),
    ],
)
def test_one_that_is_never_told_is_asked_for_through_the_whole_schedule_and_then_given_up(lookup, reason):
    waiting = handed_in()
    for attempts, seconds in enumerate(ASKED_AFTER_SECONDS):
        assert (waiting.state, waiting.attempts) == (GenerationState.PENDING, attempts)
        assert waiting.due_at == NOON + timedelta(seconds=seconds)
        waiting = looked_up(waiting, lookup)

    assert (waiting.state, waiting.expired) == (GenerationState.EXPIRED, reason)
    assert (waiting.attempts, waiting.due_at) == (len(SCHEDULE), None)


@pytest.mark.parametrize("lookups_before", range(len(SCHEDULE)))
def test_one_that_is_found_settles_at_whatever_lookup(lookups_before):
    waiting = after(handed_in(), *[not_found(Unfound.NOT_YET)] * lookups_before)
    settled = looked_up(waiting, FINISHED)
    now = NOON + timedelta(seconds=ASKED_AFTER_SECONDS[lookups_before])
    assert settled == Settled("gen-1", "ana", key_hash("laptop"), now, COST)


def test_the_wait_begins_when_the_answer_came_and_not_when_it_was_due():
    late = NOON + HOUR + timedelta(milliseconds=1)
    again = looked_up(handed_in(), not_found(Unfound.NOT_YET), now=late)
    assert again.due_at == NOON + HOUR + 3 * SECOND  # 2 s later, rounded up to a whole second


def test_a_schedule_of_one_lookup_gives_up_after_it():
    once = SettlePolicy([MINUTE])
    waiting = handed_in(policy=once)
    assert waiting.due_at == NOON + MINUTE
    assert looked_up(waiting, not_found(Unfound.NOT_YET), policy=once).expired is ExpiryReason.NEVER_FOUND
    assert looked_up(waiting, UNFINISHED, policy=once).facts == NO_COST_YET


# --- Answers that look unfinished ------------------------------------------------------------------------------------


def test_an_answer_that_looks_unfinished_is_asked_for_again_and_settles_as_it_stands_at_the_end():
    waiting = handed_in()
    for attempts, seconds in enumerate(ASKED_AFTER_SECONDS):
        assert (waiting.attempts, waiting.due_at) == (attempts, NOON + timedelta(seconds=seconds))
        waiting = looked_up(waiting, UNFINISHED)
    end = NOON + timedelta(seconds=ASKED_AFTER_SECONDS[-1])
    assert waiting == Settled("gen-1", "ana", key_hash("laptop"), end, NO_COST_YET)


def test_an_answer_that_looks_unfinished_settles_at_its_cost_once_that_is_told():
    assert after(handed_in(), UNFINISHED, UNFINISHED, FINISHED).facts == COST


def test_an_unfinished_answer_at_the_last_lookup_settles_what_was_never_found_before():
    waiting = after(handed_in(), *[not_found(Unfound.NOT_YET)] * (len(SCHEDULE) - 1))
    assert looked_up(waiting, UNFINISHED).facts == NO_COST_YET


# --- Lookups that learnt nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("attempts", "rest_seconds"), [*enumerate([5, 5, 5, 15, 60, 300, 900, 3600, 3600, 3600])])
@pytest.mark.parametrize("told_seconds", [None, 0])
def test_a_busy_answer_uses_no_attempt_and_rests_as_the_schedule_would_in_reason(attempts, rest_seconds, told_seconds):
    waiting = after(handed_in(), *[not_found(Unfound.NOT_YET)] * attempts)
    again = looked_up(waiting, not_found(Unfound.BUSY, told_seconds))
    assert again == replace(waiting, due_at=waiting.due_at + timedelta(seconds=rest_seconds))


@pytest.mark.parametrize("seconds", [1, 37, 7200])
def test_a_busy_answer_that_names_a_wait_is_believed(seconds):
    waiting = handed_in()
    again = looked_up(waiting, not_found(Unfound.BUSY, seconds))
    assert again == replace(waiting, due_at=waiting.due_at + timedelta(seconds=seconds))


def test_an_outage_of_any_length_gives_nothing_up():
    waiting = after(handed_in(), *[not_found(Unfound.BUSY)] * 500)
    assert (waiting.attempts, waiting.expired) == (0, None)
    assert isinstance(looked_up(waiting, FINISHED), Settled)


# --- Who is asked ----------------------------------------------------------------------------------------------------


def test_a_generation_of_another_account_is_asked_for_with_every_key_and_then_given_up():
    keys = [watched("laptop"), watched("ci"), watched("other", "bo")]
    askers = Askers(keys, key_hash("management"))
    waiting, asked = handed_in(), []
    for number in range(4):
        asked.append(askers.next_for(waiting))
        assert (waiting.refusals, waiting.attempts) == (number, 0)
        waiting = looked_up(waiting, not_found(Unfound.NOT_OURS), askers=len(askers.of(waiting)))
        assert number == 3 or waiting.due_at == NOON + (number + 2) * SECOND
    assert asked == [key_hash(name) for name in ("laptop", "ci", "other", "management")]
    assert (waiting.expired, waiting.due_at, waiting.attempts) == (ExpiryReason.ANOTHER_ACCOUNTS, None, 0)


def test_when_every_key_was_refused_the_generation_waits_for_a_person_and_begins_with_the_first_again():
    waiting = after(handed_in(), not_found(Unfound.NOT_YET))
    refused = after(waiting, *[not_found(Unfound.KEY_REFUSED)] * 3, askers=3)
    assert refused == replace(waiting, due_at=waiting.due_at + SECOND + SECOND + 5 * MINUTE)
    told = looked_up(waiting, not_found(Unfound.KEY_REFUSED, 600))
    assert told == replace(waiting, due_at=waiting.due_at + 10 * MINUTE)
    assert isinstance(looked_up(refused, FINISHED), Settled)


def test_a_key_that_was_refused_is_passed_over_for_the_lookups_that_follow():
    askers = Askers([watched("laptop"), watched("ci")], None)
    waiting = looked_up(handed_in(), not_found(Unfound.KEY_REFUSED), askers=2)
    assert askers.next_for(waiting) == key_hash("ci")
    assert askers.next_for(looked_up(waiting, not_found(Unfound.NOT_YET), askers=2)) == key_hash("ci")


def test_the_key_itself_is_asked_then_its_owners_then_the_others_and_the_management_key_last():
    keys = [watched("b1", "bo"), watched("a1"), watched("a2"), watched("c1", "cy"), watched("a3")]
    askers = Askers(keys, key_hash("management"))

    def order(owner, key):
        waiting = replace(handed_in(owner=owner), key_hash=key and key_hash(key))
        found = {key_hash(name): name for name in ("a1", "a2", "a3", "b1", "c1", "management")}
        return [found[asker] for asker in askers.of(waiting)]

    assert order("ana", "a2") == ["a2", "a1", "a3", "b1", "c1", "management"]
    assert order("ana", None) == ["a1", "a2", "a3", "b1", "c1", "management"]
    assert order("bo", "c1") == ["c1", "b1", "a1", "a2", "a3", "management"]
    # One whose secret we do not have, and an owner nobody knows, are no help.
    assert order("ana", "stranger") == ["a1", "a2", "a3", "b1", "c1", "management"]
    assert order(UNOWNED, None) == ["b1", "a1", "a2", "a3", "c1", "management"]
    assert order("gone", "a3")[0] == "a3"


@pytest.mark.parametrize("owners", [["ana"], ["bo"], ["ana", "bo"], [f"owner {number}" for number in range(40)]])
def test_of_very_many_keys_so_many_are_asked_and_the_management_key_is_among_them(owners):
    keys = [watched(str(number), owners[number % len(owners)]) for number in range(40 * len(owners))]
    waiting = handed_in(key="39")
    without = Askers(keys, None).of(waiting)
    assert len(without) == len({*without}) == MOST_ASKERS
    assert without[0] == key_hash("39")
    assert Askers(keys, key_hash("management")).of(waiting) == [*without[:-1], key_hash("management")]


def test_without_a_key_there_is_nobody_to_ask_and_a_management_key_alone_is_enough():
    assert Askers([], None).of(handed_in()) == []
    assert Askers([], None).next_for(handed_in()) is None
    assert Askers([], key_hash("management")).of(handed_in()) == [key_hash("management")]


@given(
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["ana", "bo", "cy", UNOWNED])), max_size=200),
    st.sampled_from(["ana", "bo", "cy", "gone", UNOWNED]),
    st.integers(0, 120),
    st.booleans(),
)
def test_no_key_is_asked_twice_and_never_more_than_so_many_and_the_management_key_always(keys, owner, ran, has_key):
    owned = {str(number): of for number, of in keys}
    askers = Askers([watched(name, of) for name, of in owned.items()], key_hash("management") if has_key else None)
    waiting = handed_in(owner=owner, key=str(ran))
    found = askers.of(waiting)

    assert len(found) == len({*found}) == min(MOST_ASKERS, len(owned) + has_key)
    assert (key_hash("management") in found) == has_key
    assert not has_key or found[-1] == key_hash("management")
    if str(ran) in owned:
        assert found[0] == key_hash(str(ran)) != key_hash("management")
    # Nobody else's key comes before one of the owner's, the key itself aside.
    mine = [
        asker in {key_hash(name) for name, of in owned.items() if of == owner} for asker in found[str(ran) in owned :]
    ]
    assert mine == sorted(mine, reverse=True)
    # Whatever has been refused so far, somebody is next, and everybody gets a turn.
    turns = [askers.next_for(replace(waiting, refusals=number)) for number in range(len(found))]
    assert turns == found


# --- What was told when it was handed in -----------------------------------------------------------------------------

TOLD = Facts(
    created_at=NOON - HOUR,
    model="told/model",
    requested_model="router/auto",
    provider="Told",
    app="told app",
    session="nightly",
    credits_nanos=usd("9"),
    byok_nanos=usd("8"),
    pools=TokenPools(82, 37, 15, 2, 1, 3),
)


def test_what_was_told_fills_in_what_openrouter_leaves_out_and_nothing_else():
    settled = looked_up(handed_in(TOLD), FINISHED)
    assert settled.facts == replace(
        TOLD, created_at=COST.created_at, model=COST.model, credits_nanos=usd("0.0015"), byok_nanos=0
    )


def test_money_told_never_stands_beside_openrouters_own_not_even_half_of_it():
    for cost in (Facts(credits_nanos=usd("1")), Facts(credits_nanos=0), Facts(credits_nanos=0, byok_nanos=usd("1"))):
        facts = looked_up(handed_in(TOLD), Found(cost, is_finished=True)).facts
        assert (facts.credits_nanos, facts.byok_nanos) == (cost.credits_nanos, cost.byok_nanos)
    unfinished = after(handed_in(TOLD), *[UNFINISHED] * len(SCHEDULE))
    assert unfinished.facts.credits_nanos == 0


def test_what_was_told_survives_every_lookup_that_brought_nothing():
    waiting = after(handed_in(TOLD), *map(not_found, Unfound), UNFINISHED, askers=9)
    assert waiting.facts == TOLD


def test_one_of_which_nobody_says_when_it_was_made_was_made_when_it_settled():
    unknown_when = Found(replace(COST, created_at=None), is_finished=True)
    late = NOON + HOUR + timedelta(milliseconds=300)
    settled = looked_up(handed_in(), unknown_when, now=late)
    assert settled.facts.created_at == settled.settled_at == NOON + HOUR + SECOND
    assert looked_up(handed_in(TOLD), unknown_when).facts.created_at == TOLD.created_at


# --- Afterwards ------------------------------------------------------------------------------------------------------


def test_one_that_was_given_up_begins_anew_when_a_person_says_so():
    given_up = after(handed_in(TOLD), *[not_found(Unfound.NOT_YET)] * len(SCHEDULE))
    anew = settlement.asked_again(given_up, POLICY, NOON + DAY)
    assert anew == replace(handed_in(TOLD), due_at=NOON + DAY + SECOND)
    refused = after(handed_in(), not_found(Unfound.NOT_OURS))
    assert settlement.asked_again(refused, POLICY, NOON).refusals == 0


@pytest.mark.parametrize(
    ("again", "difference"),
    [
        (COST, None),
        (replace(COST, model="another/model"), None),
        (replace(COST, byok_nanos=None), None),
        (replace(COST, credits_nanos=usd("0.001")), (-usd("0.0005"), 0)),
        (replace(COST, byok_nanos=5), (0, 5)),
        (replace(COST, credits_nanos=None), (-usd("0.0015"), 0)),
    ],
)
def test_a_cost_that_differs_later_is_corrected_by_the_difference(again, difference):
    before = Settled("gen-1", "ana", None, NOON, COST)
    found = settlement.correction(before, Settled("gen-1", "ana", None, NOON + HOUR, again))
    assert found == (difference and CostCorrection("gen-1", NOON + HOUR, *difference))


def test_lookups_decided_together_come_to_what_each_comes_to_alone():
    asked = [
        (replace(handed_in(), id=f"gen-{number}"), lookup, 1)
        for number, lookup in enumerate([FINISHED, *map(not_found, Unfound), UNFINISHED])
    ]
    plan = settlement.after_lookups(asked, POLICY, NOON)
    alone = [settlement.after_lookup(*each, POLICY, NOON) for each in asked]
    assert [*plan.settled, *plan.waiting] == alone
    assert [each.id for each in plan.settled] == ["gen-0"]
    assert settlement.after_lookups([], POLICY, NOON) == settlement.SettlePlan()


# --- Whatever comes --------------------------------------------------------------------------------------------------

LOOKUPS = st.one_of(
    st.just(UNFINISHED),
    st.builds(not_found, st.sampled_from(Unfound), st.none() | st.integers(0, 3600)),
)
STEPS = st.lists(st.tuples(LOOKUPS, st.integers(0, 10**8)), max_size=60)
SCHEDULES = st.lists(st.integers(1, 10**6).map(lambda ms: timedelta(milliseconds=ms)), min_size=1, max_size=6)
COUNTED = {Unfound.NOT_YET, Unfound.UNREADABLE}


@given(SCHEDULES, st.integers(1, 5), STEPS)
def test_whatever_lookups_come_to_none_is_made_early_and_their_number_is_bounded(schedule, askers, steps):
    policy = SettlePolicy(schedule)
    waiting, counted = handed_in(policy=policy), 0
    for lookup, late_microseconds in steps:
        now = waiting.due_at + timedelta(microseconds=late_microseconds)
        is_counted = isinstance(lookup, Found) or lookup.reason in COUNTED
        counted += is_counted
        before, waiting = waiting, looked_up(waiting, lookup, now=now, askers=askers, policy=policy)
        if isinstance(waiting, Settled):
            assert isinstance(lookup, Found)
            assert counted == len(schedule)
            return
        assert waiting.attempts == counted <= len(schedule)
        assert (waiting.id, waiting.handed_in_at, waiting.facts) == (before.id, before.handed_in_at, before.facts)
        if waiting.expired:
            assert waiting.due_at is None
            assert counted == len(schedule) or waiting.expired is ExpiryReason.ANOTHER_ACCOUNTS
            return
        assert waiting.due_at.microsecond == 0
        if is_counted:
            assert now + schedule[counted] <= waiting.due_at < now + schedule[counted] + SECOND
        else:
            assert waiting.due_at >= now + SECOND
    assert counted < len(schedule)


@given(SCHEDULES, st.integers(1, 5), STEPS)
def test_once_a_generation_is_found_it_settles_whatever_came_before(schedule, askers, steps):
    policy = SettlePolicy(schedule)
    waiting = handed_in(policy=policy)
    for lookup, _ in steps:
        then = looked_up(waiting, lookup, askers=askers, policy=policy)
        if isinstance(then, Settled) or then.expired:
            break
        waiting = then
    settled = looked_up(waiting, FINISHED, askers=askers, policy=policy)
    assert isinstance(settled, Settled)
    assert settled.facts == COST


def test_no_lookup_is_put_off_for_longer_than_a_clock_that_was_set_back_is_looked_for():
    impatient = SettlePolicy([SECOND])
    waiting = settlement.pending(Handed("gen-1", "ana", None), impatient, NOON)
    for lookup in (not_found(Unfound.BUSY, 3_600), not_found(Unfound.BUSY), not_found(Unfound.KEY_REFUSED)):
        put_off = settlement.after_lookup(waiting, lookup, 1, impatient, NOON)
        assert put_off.due_at - NOON <= impatient.longest_wait + SECOND


def test_whoever_has_not_heard_of_an_id_twice_is_not_the_only_one_to_be_asked():
    askers = Askers([watched("a", "ana"), watched("b", "ben")], None)
    nobodys = replace(handed_in(), key_hash=None)
    asked = [askers.next_for(replace(nobodys, attempts=attempts)) for attempts in range(4)]
    assert asked == [key_hash("a"), key_hash("a"), key_hash("b"), key_hash("a")]
