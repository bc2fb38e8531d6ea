"""The ticker knocks on, whatever the clock that APScheduler looks at does."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta

import apscheduler.schedulers.base
import pytest

from reckon.ticker import Ticker

TICK = timedelta(milliseconds=20)
DEADLINE_SECONDS = 20.0


@pytest.fixture
def clock(monkeypatch):
    """The clock that APScheduler looks at; it can be stepped."""

    class Stepped(datetime):
        step = timedelta(0)

        @classmethod
        def now(cls, tz=None):
            return super().now(tz) + cls.step

    monkeypatch.setattr(apscheduler.schedulers.base, "datetime", Stepped)
    return Stepped


def tick(act, **rhythm):
    """Run a ticker, with what *act* does to it in the midst; return how often each was knocked at afterwards."""
    knocked = Counter()

    async def run():
        with Ticker(lambda name: knocked.update([name]), rhythm or {"poll": TICK}) as ticker:
            await until(lambda: knocked["poll"] >= 2)
            before = Counter(knocked)
            act(ticker)
            await until(lambda: knocked["poll"] >= before["poll"] + 3, ticker)
            return knocked - before, ticker

    return asyncio.run(run())


async def until(condition, ticker=None):
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            if ticker:
                ticker.wind()
            await asyncio.sleep(0.005)


def test_everybody_is_knocked_at_in_their_own_rhythm():
    knocked, _ = tick(lambda _: None, poll=TICK, digest=100 * TICK)

    assert (knocked["poll"] >= 3, knocked["digest"]) == (True, 0)


def test_it_shows_that_it_lives():
    _, ticker = tick(lambda _: None)

    assert not ticker.beat.is_stuck()
    assert ticker.beat.jobs >= 5


@pytest.mark.parametrize("days", [-400, -1, -0.04, 0.04, 1, 400, 20_000])
def test_a_clock_that_steps_stops_nothing_and_is_made_up_for_by_nothing(clock, days):
    """The last is a machine that was started in 1970, and learns the time."""

    def step(_):
        clock.step = timedelta(days=days)

    knocked, ticker = tick(step)

    assert 3 <= knocked["poll"] < 20
    assert ticker.beat.failed == 0


def test_a_scheduler_that_has_died_is_wound_up_again():
    def die(ticker):
        ticker.scheduler._stop_timer()

    knocked, _ = tick(die)

    assert knocked["poll"] >= 3


def test_one_that_cannot_be_is_seen_to_be_stuck():
    async def run():
        with Ticker(lambda _: None, {"poll": TICK}) as ticker:
            ticker.scheduler.pause()
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not ticker.beat.is_stuck():
                    ticker.wind()
                    await asyncio.sleep(0.005)

    asyncio.run(run())


def test_whoever_fails_to_hear_a_knock_does_not_end_the_knocking():
    knocked = []

    def knock(name):
        knocked.append(name)
        if len(knocked) == 1:
            raise ValueError("nobody is at home")

    async def run():
        with Ticker(knock, {"poll": TICK}) as ticker:
            await until(lambda: len(knocked) >= 3)
            return ticker

    assert asyncio.run(run()).beat.failed == 1
