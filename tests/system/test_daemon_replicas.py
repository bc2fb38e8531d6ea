"""Two daemons on one Postgres: they share the work, say nothing twice, and outlive one another and their database."""

import os
import signal
import threading
import time
from contextlib import closing, contextmanager, suppress

import psycopg
import pytest

from reckon.core.outbox import DeliveryState
from reckon.fakes.slack_workspace import late
from tests.system.daemons import eventually

EVERY_SECONDS = 1.0
LEASE_SECONDS = 1.0
ROUNDED_SECONDS = 0.5
"""An owner is due at a whole second, the nearest one."""
ROOM_SECONDS = 4.0
"""What a busy machine may need on top."""


@pytest.fixture
def team(postgres_url, make_team):
    team = make_team(postgres_url)
    with team.served():
        team.configure(poll__every="1s", openrouter__timeout="500ms", store__lease="1s")
        yield team


@contextmanager
def two_daemons(team):
    with team.running() as one:
        team.configure(http__listen="127.0.0.1:0")
        with team.running() as other:
            yield one, other


@pytest.fixture
def outside(postgres_url):
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        yield connection


def holder(outside):
    """Return the pid of the daemon that has claimed owners, or None."""
    row = outside.execute("SELECT holder FROM owner WHERE lease_until IS NOT NULL LIMIT 1").fetchone()
    return int(row[0].split("/")[1]) if row else None


def test_two_daemons_poll_no_key_twice_in_an_interval_and_say_nothing_twice(team):
    team.configure(digest__daily="09:00")
    with two_daemons(team) as daemons, team.money_flowing():
        eventually(lambda: "OpenRouter" in " ".join(message.text for message in team.posts()), "the digest")
        team.spend_thirty_times_as_much("dana")
        eventually(lambda: team.said_about("dana"), "the alert")
        polled = sum(len(daemon.events("poll.committed")) for daemon in daemons)
        eventually(lambda: sum(len(daemon.events("poll.committed")) for daemon in daemons) >= polled + 3, "more polls")
        for daemon in daemons:
            assert not daemon.events("job.failed")

    assert team.shortest_interval_seconds() > EVERY_SECONDS - ROUNDED_SECONDS - 0.1
    assert len(team.posts()) == 2
    team.assert_kept_the_pace()
    team.asked("poll")
    team.assert_exact()


def test_what_a_killed_daemon_was_asking_is_asked_by_the_other_within_the_lease(team, outside):
    with two_daemons(team) as daemons:
        team.openrouter.gate.clear()
        pid = eventually(lambda: holder(outside), "a claim")
        asked = len(team.openrouter.arrivals)
        killed, heir = daemons if daemons[0].pid == pid else daemons[::-1]
        killed.kill()
        killed_at = time.monotonic()
        team.spend("ana", usd=1)
        team.openrouter.gate.set()
        eventually(lambda: len(team.openrouter.arrivals) >= asked + 4, "the keys to be asked again")
        seconds = time.monotonic() - killed_at
        heir.until_polled()

    assert seconds < LEASE_SECONDS + EVERY_SECONDS + ROOM_SECONDS
    team.assert_exact()


def test_a_daemon_that_was_stopped_beyond_its_lease_writes_nothing_stale(team, outside):
    with two_daemons(team) as daemons:
        team.openrouter.gate.clear()
        pid = eventually(lambda: holder(outside), "a claim")
        stopped, heir = daemons if daemons[0].pid == pid else daemons[::-1]
        stopped.signal(signal.SIGSTOP)
        team.openrouter.gate.set()
        team.spend(*team.keys, usd=1)
        heir.until_polled(2)
        stopped.signal(signal.SIGCONT)
        stopped.until("job.failed", job="poll")
        for daemon in daemons:
            assert not daemon.is_over
        heir.until_polled()

    assert all("lease" in event["error"] for event in stopped.events("job.failed"))
    team.assert_exact()


@pytest.mark.long
def test_a_post_whose_sender_was_stopped_is_found_by_the_other_and_not_said_again(team):
    accepted = threading.Event()
    team.workspace.answer_with("chat.postMessage", late(accepted), times=1)
    with two_daemons(team) as daemons:
        team.spend_thirty_times_as_much("dana")
        eventually(team.posts, "the alert")
        stopped, heir = senders(team, daemons)
        stopped.signal(signal.SIGSTOP)
        accepted.set()
        eventually(lambda: team.messages(DeliveryState.DELIVERED), "the other daemon to know it as delivered")
        assert heir.events("message.delivered")
        stopped.signal(signal.SIGCONT)
        stopped.until("job.failed", job="deliver")

    assert len(team.posts()) == 1
    assert not stopped.events("message.delivered")
    team.assert_exact()


def senders(team, daemons):
    with closing(psycopg.connect(team.store_url)) as connection:
        (told,) = connection.execute("SELECT holder FROM due WHERE what = 'deliver'").fetchone()
    return daemons if daemons[0].pid == int(told.split("/")[1]) else daemons[::-1]


@pytest.mark.skipif("RECKON_TEST_POSTGRES_URL" in os.environ, reason="a server that is not ours is not restarted")
def test_postgres_crashing_under_both_loses_nothing_and_says_nothing_twice(team):
    with two_daemons(team) as daemons, team.money_flowing():
        for crash in range(3):
            if crash == 1:
                team.spend_thirty_times_as_much("dana")
            polled = sum(len(daemon.events("poll.committed")) for daemon in daemons)
            crash_postgres(team.store_url)
            back_at = time.monotonic()
            eventually(lambda n=polled: sum(len(d.events("poll.committed")) for d in daemons) > n, "the next poll")
            assert time.monotonic() - back_at < 10
        eventually(lambda: team.messages(DeliveryState.DELIVERED), "the alert to be known as delivered")
        for daemon in daemons:
            assert not daemon.is_over

    with team.running() as daemon:
        daemon.until_polled()
    assert [message.text.split()[0] for message in team.posts()] == ["dana"]
    team.assert_exact()


def crash_postgres(url):
    """Let a backend die as by SIGKILL: the server ends every connection and recovers from its log. Return then."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGKILL)
        eventually(lambda: is_broken(connection), "the server to notice")
    eventually(lambda: is_answering(url), "the server to be back")


def is_broken(connection):
    try:
        connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def is_answering(url):
    with suppress(psycopg.OperationalError), closing(psycopg.connect(url)) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False
