"""Whether this process moves, and what it says when it does not."""

from collections import Counter
from dataclasses import replace
from time import monotonic

import pytest

from reckon.core import plans
from reckon.core.polls import Poll
from reckon.daemon import RHYTHM, longest_step
from reckon.pulse import Beat, Pulse
from tests.builders import DAY, MINUTE, SECOND, at, failure, policy, snapshot, watched

NOON = at("2026-11-20 12:00")
NEVER_SECONDS = 1_000.0
LONG_AGO = -NEVER_SECONDS


@pytest.fixture
def pulse():
    return Pulse(NOON)


def plan(*answers, failures=()):
    poll = Poll(answers, failures)
    return plans.after_poll(plans.State(), poll, (watched(), watched("other")), policy(), NOON)


def still(name, **changes):
    """Return the beat of a worker that made its last mark long ago."""
    return Beat(name, NEVER_SECONDS / 2, marked_at=monotonic() + LONG_AGO, **changes)


# --- Workers ---------------------------------------------------------------------------------------------------------


def test_a_worker_that_was_still_for_longer_than_its_longest_step_is_stuck(pulse):
    pulse.beats["deliver"] = still("deliver")
    pulse.beats["digest"] = Beat("digest", NEVER_SECONDS)

    assert pulse.stuck() == ["deliver"]
    assert pulse.troubles() == ["deliver does not move"]


def test_a_mark_sets_it_going_again(pulse):
    beat = pulse.beats["deliver"] = still("deliver")
    beat.mark()

    assert pulse.stuck() == []


def test_a_long_job_that_gets_on_is_not_stuck_and_one_that_does_not_is():
    steps = [1]
    beat = still("poll", progress=lambda: steps[0])
    assert not beat.is_stuck()  # the first step it shows is one

    beat.marked_at = monotonic() + LONG_AGO
    steps[0] = 2
    assert not beat.is_stuck()

    beat.marked_at = monotonic() + LONG_AGO
    assert beat.is_stuck()


# --- Polls -----------------------------------------------------------------------------------------------------------


def test_it_is_ready_once_what_was_due_at_first_is_done_until_the_end_is_near(pulse):
    assert not pulse.is_ready
    pulse.committed(plan(snapshot(NOON)))
    assert pulse.is_ready

    pulse.stopping = True
    assert not pulse.is_ready


def test_a_replica_that_finds_nothing_to_do_is_ready_and_well(pulse):
    pulse.looked()

    assert (pulse.is_ready, pulse.polled_at, pulse.troubles()) == (True, None, [])


def test_a_poll_in_which_nobody_answered_is_a_poll(pulse):
    pulse.committed(plan(failures=(failure("key"), failure("other"))))
    pulse.committed(plan(snapshot(NOON), failures=(failure("other"),)))

    assert (pulse.polls, pulse.polled_at) == (2, NOON)
    assert (pulse.keys_answered, pulse.keys_failed) == (1, 1)
    assert pulse.failures == Counter(unavailable=3)
    assert pulse.troubles() == []


def test_no_poll_for_five_minutes_is_trouble():
    assert Pulse(NOON, _began_at=monotonic() - 299).troubles() == []
    assert Pulse(NOON, _began_at=monotonic() - 301).troubles() == ["no poll was committed for too long"]


def test_it_is_no_trouble_while_polls_are_meant_to_be_rarer():
    pulse = Pulse(NOON, _began_at=monotonic() - 2 * 3600)
    pulse.expect_a_poll_every(DAY / 24)
    assert pulse.troubles() == []

    pulse.expect_a_poll_every(MINUTE)
    assert pulse.troubles() == ["no poll was committed for too long"]


def test_it_is_no_trouble_while_answers_are_still_coming():
    pulse = Pulse(NOON, _began_at=monotonic() - 301)
    asking = pulse.beats["poll"] = Beat("poll", NEVER_SECONDS, is_under_way=True)
    assert pulse.troubles() == []

    pulse.beats["poll"] = replace(asking, marked_at=monotonic() + 2 * LONG_AGO)
    assert pulse.troubles() == ["poll does not move", "no poll was committed for too long"]


@pytest.mark.parametrize("worker", RHYTHM)
def test_no_worker_is_taken_for_stuck_that_only_waits_for_its_next_knock(worker):
    assert longest_step(worker, SECOND) > 2 * RHYTHM[worker]
    assert longest_step(worker, 10 * MINUTE) >= 30 * MINUTE
