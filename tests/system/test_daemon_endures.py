"""What a daemon outlives: an OpenRouter that is away, a clock that steps, a job that fails; and what it does not."""

import asyncio
import os
import signal
import sqlite3
from contextlib import asynccontextmanager, closing, suppress
from datetime import datetime, timedelta

import psycopg
import pytest

from reckon.config import load
from reckon.daemon import Daemon, Stuck
from reckon.fakes.answers import refusal
from reckon.fakes.world import EVERYTHING
from tests.system.daemons import PATIENCE_SECONDS, eventually, now

STALE_SECONDS = 3.0
EVERY_SECONDS = 1.0
ROUNDED_SECONDS = 1.0
ROOM_SECONDS = 5.0


@pytest.fixture
def team(sqlite_url, make_team):
    team = make_team(sqlite_url)
    with team.served():
        team.configure(staleness__after="3s")
        yield team


def answers_in(team, message):
    return [one for one in team.workspace.messages(team.channel) if one.thread_ts == message.ts]


# --- OpenRouter ------------------------------------------------------------------------------------------------------


def test_a_revoked_key_is_told_of_alone_and_a_silent_openrouter_once_and_both_when_it_is_over(team):
    with team.running() as daemon:
        daemon.until("poll.committed")
        team.world.disable(team.keys["dana"])
        (revoked,) = eventually(team.posts, "the alert of the key")
        assert revoked.text.startswith("dana")
        assert {event["key"] for event in daemon.events("key.failed")} == {team.keys["dana"].hash[:12]}
        team.world.enable(team.keys["dana"])
        eventually(lambda: answers_in(team, revoked), "the end of the key's silence")

        team.world.answer_with(EVERYTHING, refusal(503, "Service temporarily unavailable"))
        failed_at = eventually(lambda: daemon.events("key.failed")[1:], "the source to fail")[0]
        _, silent = eventually(lambda: team.posts()[1:] and team.posts(), "the alert of the source")
        opened_at = daemon.until("alert.opened", 2)
        team.spend("ana", usd=2)
        eventually(lambda: any("4 did not" in text for text in daemon.manager.told("STATUS")), "the status")
        health, ready = team.http("/healthz"), team.http("/readyz")
        team.world.answer_rightly()
        (answer,) = eventually(lambda: answers_in(team, silent), "the end of the source's silence")
        daemon.until_polled()

    assert "OpenRouter" in silent.text
    seconds = seconds_between(failed_at, opened_at)
    assert seconds + ROUNDED_SECONDS >= STALE_SECONDS
    assert seconds < STALE_SECONDS + EVERY_SECONDS + ROUNDED_SECONDS + ROOM_SECONDS
    assert (health.status_code, ready.status_code) == (200, 200)
    assert health.json()["keys_failed"] == 4
    assert any("did not" in text for text in daemon.manager.told("STATUS"))
    assert "$2.00" in str(answer.arguments)
    assert team.posts() == [revoked, silent]
    team.assert_exact()


def seconds_between(event, later):
    first, last = (datetime.fromisoformat(one["timestamp"]) for one in (event, later))
    return (last - first).total_seconds()


# --- In this process -------------------------------------------------------------------------------------------------


class Clock:
    """The machine's, stepped by as much as one likes, or broken."""

    def __init__(self):
        self.step = timedelta(0)
        self.is_broken = False

    def __call__(self):
        if self.is_broken:
            raise ArithmeticError("the clock has no hands")
        return now() + self.step


@asynccontextmanager
async def living(team, clock, **how):
    daemon = Daemon(lambda: load(team.config, {}), {}, clock=clock, **how)
    running = asyncio.create_task(daemon.run())
    try:
        await polled(daemon, running)
        yield daemon, running
    finally:
        daemon.stop()
        with suppress(Stuck):
            await running


async def polled(daemon, running, more=1):
    """Return once so many more polls are committed."""
    before = daemon.pulse.polls
    await until(lambda: daemon.pulse.polls >= before + more, running)


async def until(condition, running):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            assert not running.done(), running.exception()
            await asyncio.sleep(0.01)


HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def test_a_clock_that_steps_back_and_forth_loses_nothing_and_says_nothing_twice(team):
    clock = Clock()

    async def live():
        async with living(team, clock) as (daemon, running):
            team.spend_thirty_times_as_much("dana")
            await until(team.posts, running)
            for step in (-HOUR, 5 * HOUR, -DAY, timedelta(0)):
                clock.step = step
                team.spend("ben", usd=0.25)
                team.openrouter.arrivals.clear()
                await polled(daemon, running)
                assert len(team.openrouter.to("/auth/key")) <= 2 * 4  # one poll, and perhaps one at the step
            team.spend_thirty_times_as_much("ana")
            await until(lambda: team.said_about("ana"), running)
            clock.step = -400 * DAY
            team.spend("ben", usd=1)
            await polled(daemon, running)

    asyncio.run(live())

    assert [message.text.split()[0] for message in team.posts()] == ["dana", "ana"]
    team.assert_kept_the_pace()
    team.assert_exact()


@pytest.mark.long
def test_a_clock_that_steps_sends_every_digest_once(team):
    team.configure(digest__daily="09:00")
    clock = Clock()

    async def live():
        async with living(team, clock) as (daemon, running):
            await until(lambda: len(team.posts()) == 1, running)
            clock.step = DAY
            await until(lambda: len(team.posts()) == 2, running)
            for step in (timedelta(0), DAY, -HOUR):
                clock.step = step
                looks = daemon.pulse.beats["digest"].jobs
                await until(lambda looks=looks: daemon.pulse.beats["digest"].jobs >= looks + 2, running)

    asyncio.run(live())

    said = [message.text for message in team.posts()]
    assert len(said) == len(set(said)) == 2
    team.assert_exact()


def test_a_clock_that_was_never_set_is_told_and_nothing_is_written_until_it_is(team):
    clock = Clock()

    async def live():
        async with living(team, clock) as (daemon, running):
            clock.step = -30 * 365 * DAY
            asked = len(team.openrouter.arrivals)
            failed = daemon.pulse.beats["poll"].failed
            await until(lambda: daemon.pulse.beats["poll"].failed > failed, running)
            assert len(team.openrouter.arrivals) == asked
            assert not running.done()
            clock.step = timedelta(0)
            team.spend("ana", usd=1)
            await polled(daemon, running)

    asyncio.run(live())
    team.assert_exact()


def test_an_exception_in_a_job_is_told_and_ends_nothing(team, capfd):
    clock = Clock()

    async def live():
        async with living(team, clock) as (daemon, running):
            clock.is_broken = True
            await until(lambda: daemon.pulse.beats["poll"].failed, running)
            assert not running.done()
            assert not daemon.pulse.stuck()
            clock.is_broken = False
            team.spend("ana", usd=1)
            await polled(daemon, running, 2)

    asyncio.run(live())

    assert "the clock has no hands" in capfd.readouterr().err
    team.assert_exact()


def test_a_worker_that_hangs_ends_the_daemon_which_says_so(team):
    ends = []
    file = team.store_url.removeprefix("sqlite:///")

    async def live(other):
        def end_within(code, _seconds):
            ends.append(code)
            if other.in_transaction:
                other.execute("ROLLBACK")  # or this process would have to wait

        async with living(team, Clock(), end_within=end_within) as (daemon, running):
            other.execute("BEGIN IMMEDIATE")
            daemon.pulse.beats["poll"].longest_step_seconds = 2.0
            with pytest.raises(Stuck, match=r"poll.*no progress"):
                await running
            assert not daemon.pulse.is_ready

    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        asyncio.run(live(other))

    assert ends[0] == 69
    team.asked("poll")
    team.assert_exact()


@pytest.mark.long
@pytest.mark.skipif("RECKON_TEST_POSTGRES_URL" in os.environ, reason="a server that is not ours is not stopped")
def test_a_database_that_hangs_ends_the_daemon_with_69_and_nothing_is_lost(postgres_url, make_team):
    team = make_team(postgres_url)
    with team.served():
        team.configure()
        daemon = team.start()
        daemon.until("poll.committed")
        with closing(psycopg.connect(postgres_url, autocommit=True)) as outside:
            others = "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'reckon/%'"
            backends = [pid for (pid,) in outside.execute(others).fetchall()]
            for pid in backends:
                os.kill(pid, signal.SIGSTOP)
            try:
                ended = daemon.ends(within_seconds=120)
            finally:
                for pid in backends:
                    os.kill(pid, signal.SIGCONT)
        team.spend("ana", usd=1)

        assert ended.code == 69
        assert "daemon.stuck" in ended.stderr
        team.asked("poll")
        team.assert_exact()
