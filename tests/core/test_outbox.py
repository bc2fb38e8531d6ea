"""What may become of a message, whose turn it is, and how long it waits."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckon.core import outbox
from reckon.core.messages import Message
from reckon.core.outbox import Delivery, DeliveryState, Manner, Outcome, Receipt
from tests.builders import DAY, HOUR, MINUTE, SECOND, at

NOON = at("2026-11-20 12:00")
HALF_A_SECOND = SECOND / 2
RECEIPT = Receipt("C0FFEE", "1795176000.000100")


def waiting(number=1, **changes):
    standard = {
        "id": number,
        "intent": f"alert:{number}",
        "message": Message(f"alert {number}"),
        "manner": Manner.POST,
        "to": None,
        "created_at": NOON,
        "due_at": NOON,
    }
    return Delivery(**{**standard, **changes})


def again(number=1, due_at=NOON + MINUTE, **changes):
    """Return a message that was attempted, and waits to be attempted again."""
    return waiting(number, **{"attempts": 1, "due_at": due_at, **changes})


def sending(**changes):
    return outbox.begun(waiting(**changes), NOON)


def turn(*deliveries, last=None, now=NOON):
    """Return the number of the message whose turn it is."""
    found = outbox.next_in_turn(deliveries, last or {}, now)
    return found.id if found else None


# --- Transitions -----------------------------------------------------------------------------------------------------


def test_what_is_begun_says_so_before_anything_is_sent():
    begun = outbox.begun(waiting(attempts=2), NOON + HALF_A_SECOND)

    assert (begun.state, begun.attempts, begun.attempted_at) == (DeliveryState.SENDING, 3, NOON + SECOND)


def test_what_was_delivered_keeps_where_it_is_and_forgets_its_troubles():
    begun = replace(sending(), trouble="HTTP 502", may_have_been_said=True)

    done = outbox.ended(begun, Outcome.DELIVERED, NOON + MINUTE, receipt=RECEIPT)

    assert (done.state, done.receipt, done.delivered_at) == (DeliveryState.DELIVERED, RECEIPT, NOON + MINUTE)
    assert (done.trouble, done.may_have_been_said) == (None, False)


@pytest.mark.parametrize(
    ("outcome", "state"), [(Outcome.REFUSED, DeliveryState.DEAD), (Outcome.UNNEEDED, DeliveryState.UNNEEDED)]
)
def test_what_no_repetition_would_help_ends_with_its_reason(outcome, state):
    done = outbox.ended(sending(), outcome, NOON, trouble="the channel is archived")

    assert (done.state, done.trouble) == (state, "the channel is archived")


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 5), (2, 15), (3, 60), (4, 300), (5, 300), (50, 300)])
def test_what_was_certainly_not_said_is_tried_again_at_ever_longer_intervals(attempts, seconds):
    done = outbox.ended(sending(attempts=attempts - 1), Outcome.NOT_DELIVERED, NOON, trouble="refused")

    assert (done.state, done.due_at) == (DeliveryState.WAITING, NOON + seconds * SECOND)
    assert (done.may_have_been_said, done.trouble) == (False, "refused")


def test_what_was_perhaps_said_once_stays_so_while_later_attempts_fail():
    doubtful = replace(sending(), may_have_been_said=True)

    assert outbox.ended(doubtful, Outcome.NOT_DELIVERED, NOON).may_have_been_said


@pytest.mark.parametrize(
    ("asked", "waits"),
    [
        (None, 10 * SECOND),
        (1 * SECOND, 10 * SECOND),  # Slack needs a moment until what it has taken can be found
        (30 * SECOND, 30 * SECOND),
        (2 * HOUR, HOUR),
    ],
)
def test_what_was_perhaps_said_is_looked_for_after_a_while(asked, waits):
    done = outbox.ended(sending(), Outcome.AMBIGUOUS, NOON, wait=asked)

    assert (done.state, done.may_have_been_said) == (DeliveryState.WAITING, True)
    assert done.due_at == NOON + waits


@pytest.mark.parametrize(("asked", "waits"), [(SECOND, SECOND), (MINUTE, MINUTE), (DAY, HOUR)])
def test_a_wait_that_was_asked_for_is_kept_up_to_an_hour(asked, waits):
    assert outbox.ended(sending(), Outcome.NOT_DELIVERED, NOON, wait=asked).due_at == NOON + waits


def test_a_wait_ends_at_a_whole_second_and_never_too_soon():
    done = outbox.ended(sending(), Outcome.NOT_DELIVERED, NOON + HALF_A_SECOND, wait=SECOND)

    assert done.due_at == NOON + 2 * SECOND


def test_a_wait_of_an_hour_that_began_within_a_second_is_kept():
    now = NOON + HALF_A_SECOND
    done = outbox.ended(sending(), Outcome.NOT_DELIVERED, now, wait=HOUR)

    assert turn(done, now=now) is None
    assert turn(done, now=done.due_at) == 1


def test_a_message_whose_sender_died_may_have_been_said():
    done = outbox.interrupted(sending(), NOON)

    assert (done.state, done.may_have_been_said, done.due_at) == (DeliveryState.WAITING, True, NOON + 10 * SECOND)
    assert "interrupted" in done.trouble


# --- Whose turn it is -------------------------------------------------------------------------------------------------


def test_messages_to_one_place_go_in_order():
    first = again(1)

    assert turn(waiting(1), waiting(2)) == 1
    assert turn(first, waiting(2)) is None
    assert turn(first, waiting(2), now=NOON + MINUTE) == 1


def test_one_place_does_not_hold_up_another():
    assert turn(again(1), waiting(2, to="C0OTHER")) == 2


def test_a_message_found_as_being_sent_is_the_first_to_be_settled():
    assert turn(replace(sending(), id=1), waiting(2)) == 1


def test_a_place_is_told_nothing_within_a_second_of_the_last_time():
    last = {None: NOON}

    assert turn(waiting(1), last=last, now=NOON + HALF_A_SECOND) is None
    assert turn(waiting(1), last=last, now=NOON + SECOND) == 1
    assert turn(waiting(1), waiting(2, to="C0OTHER"), last=last, now=NOON + HALF_A_SECOND) == 2


@pytest.mark.parametrize("state", [DeliveryState.WAITING, DeliveryState.SENDING])
def test_an_answer_waits_for_what_it_answers_and_holds_up_nobody(state):
    answer = waiting(1, manner=Manner.REPLY, about="alert:0", parent_state=state)

    assert turn(answer, waiting(2)) == 2


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.UNNEEDED])
def test_an_answer_goes_when_what_it_answers_is_settled(state):
    assert turn(waiting(1, manner=Manner.REPLY, about="alert:0", parent_state=state)) == 1


def test_a_message_that_nobody_could_send_three_times_lets_the_others_pass_and_goes_last():
    poison = waiting(1, attempts=3, may_have_been_said=True)

    assert turn(replace(poison, due_at=NOON + MINUTE), waiting(2)) == 2
    assert turn(poison, waiting(2)) == 2
    assert turn(poison, again(2)) == 1
    assert turn(replace(poison, attempts=2, due_at=NOON + MINUTE), waiting(2)) is None


def test_one_that_was_certainly_not_said_keeps_its_place_however_often_it_failed():
    assert turn(again(1, attempts=30), waiting(2)) is None


# --- When to look again -----------------------------------------------------------------------------------------------


def test_nothing_waits_for_nothing():
    assert outbox.next_look([], {}, NOON) is None


@pytest.mark.parametrize(
    ("deliveries", "last", "seconds"),
    [
        ([again(1)], {}, 60),
        ([waiting(1)], {None: NOON}, 1),
        ([again(1)], {None: NOON}, 60),
        ([again(1), waiting(2)], {}, 60),
        ([again(1), again(2, NOON + 9 * SECOND, to="C0OTHER")], {}, 9),
        ([again(1), again(2, NOON + HOUR)], {}, 60),
    ],
)
def test_the_next_look_is_when_the_first_may_go_that_nobody_holds_up(deliveries, last, seconds):
    assert turn(*deliveries, last=last) is None
    assert outbox.next_look(deliveries, last, NOON) == NOON + seconds * SECOND


def test_where_each_waits_for_another_it_is_looked_again_soon():
    answer = waiting(1, manner=Manner.REPLY, about="alert:0", parent_state=DeliveryState.WAITING)

    assert outbox.next_look([answer], {}, NOON) == NOON + SECOND


# --- Clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [2 * HOUR, DAY, 400 * DAY])
def test_a_clock_that_was_set_back_far_holds_up_nothing(back):
    assert turn(again(1), now=NOON - back) == 1


@pytest.mark.parametrize("back", [SECOND, 10 * MINUTE, HOUR])
def test_a_wait_survives_a_clock_that_was_set_back_by_no_more_than_an_hour(back):
    held = again(1, NOON)

    assert turn(held, now=NOON - back) is None
    assert outbox.next_look([held], {}, NOON - back) == NOON


@pytest.mark.parametrize("back", [SECOND, HOUR, DAY])
def test_a_message_that_was_never_attempted_waits_for_no_clock(back):
    assert turn(waiting(1), now=NOON - back) == 1


@pytest.mark.parametrize("back", [3 * SECOND, 10 * MINUTE, HOUR, DAY])
def test_the_pace_is_not_kept_towards_a_message_that_is_still_to_come(back):
    assert turn(waiting(1), last={None: NOON}, now=NOON - back) == 1


@pytest.mark.parametrize("forward", [MINUTE, DAY, 400 * DAY])
def test_a_clock_that_was_set_forward_holds_up_nothing(forward):
    assert turn(again(1), last={None: NOON}, now=NOON + forward) == 1


# --- All of it -------------------------------------------------------------------------------------------------------

PLACES = st.sampled_from([None, "C0ONE", "C0TWO"])
OUTCOMES = st.sampled_from([Outcome.DELIVERED, Outcome.NOT_DELIVERED, Outcome.AMBIGUOUS, Outcome.REFUSED])
WAITS = st.sampled_from([None, SECOND, 40 * SECOND, HOUR])


@given(st.lists(PLACES, min_size=1, max_size=8), st.data())
def test_every_message_is_settled_in_order_and_no_place_is_told_twice_in_a_second(places, data):
    held = {number: waiting(number, to=place) for number, place in enumerate(places, 1)}
    now, last, begun_at, settled = NOON, {}, {}, []
    for _ in range(1_000):
        unfinished = [one for one in held.values() if one.state in {DeliveryState.WAITING, DeliveryState.SENDING}]
        if not unfinished:
            break
        one = outbox.next_in_turn(unfinished, last, now)
        if one is None:
            look = outbox.next_look(unfinished, last, now)
            assert now < look <= now + HOUR + SECOND
            now = look
            continue
        assert one.due_at <= now
        assert one.to not in begun_at or now - begun_at[one.to] >= SECOND
        begun_at[one.to] = last[one.to] = now
        outcome = data.draw(OUTCOMES) if one.attempts < 6 else Outcome.DELIVERED
        wait = data.draw(WAITS)
        held[one.id] = done = outbox.ended(outbox.begun(one, now), outcome, now, receipt=RECEIPT, wait=wait)
        if done.state is DeliveryState.WAITING:
            assert done.due_at >= now + (wait or SECOND)
        else:
            settled.append(done)

    assert len(settled) == len(places)
    for place in set(places):
        ids = [one.id for one in settled if one.to == place]
        passed = {one.id for one in settled if one.attempts > 3}
        assert [n for n in ids if n not in passed] == sorted(n for n in ids if n not in passed)
