"""Never more than 64 questions in any minute, whoever asks; time is a number that only sleeping moves."""

import asyncio
import itertools
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from reckon.core.account import MoneyColumn, Question
from reckon.core.records import FailureReason
from reckon.core.windows import Window
from reckon.sources.openrouter import Analytics, OpenRouterClient
from reckon.sources.openrouter.trouble import NoAnswer
from tests.canary import CANARIES
from tests.sources.asking import BASE_URL, Clock, json_answer

QUESTION = Question(
    Window(datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC)), money=(MoneyColumn.TOTAL,)
)


class Time:
    """Stands still until everybody who runs is asleep, then goes on to the first who wants to wake."""

    def __init__(self):
        self.now = 1000.0
        self._sleepers = []
        self._numbers = itertools.count()

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        woken = asyncio.get_running_loop().create_future()
        sleeper = (self.now + seconds, next(self._numbers), woken)
        self._sleepers.append(sleeper)
        try:
            await woken
        except asyncio.CancelledError:
            self._sleepers.remove(sleeper)
            raise

    async def pass_until(self, done):
        """Pass until *done*, which nothing but sleepers may hold up."""
        async with asyncio.timeout(20):
            while not done.done():
                for _ in range(50):  # whoever can run, runs until it sleeps
                    await asyncio.sleep(0)
                if self._sleepers and not done.done():
                    self._sleepers.sort(reverse=True)
                    self.now, _, woken = self._sleepers.pop()
                    woken.set_result(None)
            return await done


class Answering(httpx.AsyncBaseTransport):
    """Answers after *takes(n)* seconds, and notes when each question arrived: at any time while it was on its way."""

    def __init__(self, time, takes=lambda _: 0, status=lambda _: (200, [])):
        self.time, self.takes, self.status = time, takes, status
        self.asked = 0
        self.arrived = []

    async def handle_async_request(self, _):
        number, self.asked = self.asked, self.asked + 1
        # Every second question arrives at the last moment, every other one at the first.
        if number % 2 == 0:
            self.arrived.append(self.time())
        if self.takes(number):
            await self.time.sleep(self.takes(number))
        if number % 2:
            self.arrived.append(self.time())
        status, headers = self.status(number)
        return json_answer({"data": {"data": [{"total_usage": 1}], "metadata": {}}}, status, headers)


def most_in_a_minute(arrived):
    return max(sum(start <= at < start + 60 for at in arrived) for start in arrived)


def asking(time, upstream, scenario):
    """Run *scenario*, a coroutine function of an `Analytics`, while *time* passes."""

    async def run():
        client = OpenRouterClient(BASE_URL, timeout_seconds=600, clock=Clock(), transport=upstream)
        analytics = Analytics(client, SecretStr(CANARIES["management_key"]), monotonic_seconds=time, sleep=time.sleep)
        return await time.pass_until(asyncio.ensure_future(scenario(analytics)))

    return asyncio.run(run())


def test_sixty_four_questions_need_no_waiting():
    time = Time()
    upstream = Answering(time)
    answers = asking(time, upstream, lambda analytics: asyncio.gather(*(analytics.query(QUESTION) for _ in range(64))))
    assert [answer.rows[0].nanos[MoneyColumn.TOTAL] for answer in answers] == [10**9] * 64
    assert time.now == 1000


@pytest.mark.parametrize(
    "takes", [lambda _: 0, lambda _: 7, lambda number: number % 5 * 3], ids=["none", "equal", "uneven"]
)
def test_no_minute_holds_more_than_sixty_four_however_long_they_take(takes):
    time = Time()
    upstream = Answering(time, takes)
    asking(time, upstream, lambda analytics: asyncio.gather(*(analytics.query(QUESTION) for _ in range(200))))
    assert len(upstream.arrived) == 200
    assert most_in_a_minute(upstream.arrived) <= 64
    assert time.now <= 1000 + 4 * (60 + 12)


def test_asking_what_can_be_asked_counts_like_any_question():
    time = Time()
    upstream = Answering(time)

    async def scenario(analytics):
        await asyncio.gather(*(analytics.query(QUESTION) for _ in range(64)))
        with pytest.raises(NoAnswer):
            await analytics.meta()  # its answer is no answer to that question

    asking(time, upstream, scenario)
    assert (upstream.asked, time.now) == (65, 1060)


def test_a_question_that_failed_was_one():
    time = Time()
    upstream = Answering(time, status=lambda _: (500, []))

    async def scenario(analytics):
        return await asyncio.gather(*(analytics.query(QUESTION) for _ in range(65)), return_exceptions=True)

    assert {str(refused) for refused in asking(time, upstream, scenario)} == {"HTTP 500"}
    assert time.now == 1060


@pytest.mark.parametrize(("headers", "rest_seconds"), [([("Retry-After", "90")], 90), ([], 60)])
def test_when_a_rest_is_asked_for_nobody_asks_until_it_is_over(headers, rest_seconds):
    time = Time()
    upstream = Answering(time, status=lambda number: (429, headers) if number == 0 else (200, []))

    async def scenario(analytics):
        with pytest.raises(NoAnswer, match="HTTP 429"):
            await analytics.query(QUESTION)
        time.now += 29.5
        with pytest.raises(NoAnswer) as refused:
            await analytics.query(QUESTION)
        assert refused.value.reason is FailureReason.RATE_LIMITED
        assert refused.value.retry_after_seconds == rest_seconds - 29
        assert upstream.asked == 1
        time.now = 1000 + rest_seconds
        return await analytics.query(QUESTION)

    assert len(asking(time, upstream, scenario).rows) == 1
    assert upstream.asked == 2


def test_a_rest_asked_for_while_others_wait_their_turn_holds_for_them_too():
    time = Time()
    too_often = (429, [("Retry-After", "300")])
    upstream = Answering(time, lambda _: 1, lambda number: too_often if number == 63 else (200, []))

    async def scenario(analytics):
        return await asyncio.gather(*(analytics.query(QUESTION) for _ in range(70)), return_exceptions=True)

    outcomes = asking(time, upstream, scenario)
    assert [getattr(each, "retry_after_seconds", None) for each in outcomes[63:]] == [300, *[240] * 6]
    assert upstream.asked == 64


def test_who_gives_up_waiting_takes_no_turn_from_anybody():
    time = Time()
    upstream = Answering(time)

    async def scenario(analytics):
        await asyncio.gather(*(analytics.query(QUESTION) for _ in range(64)))
        impatient = [asyncio.ensure_future(analytics.query(QUESTION)) for _ in range(64)]
        for _ in range(5):
            await asyncio.sleep(0)
        for each in impatient:
            each.cancel()
        await asyncio.gather(*impatient, return_exceptions=True)
        assert upstream.asked == 64
        return await asyncio.gather(*(analytics.query(QUESTION) for _ in range(64)))

    assert len(asking(time, upstream, scenario)) == 64
    assert (upstream.asked, time.now) == (128, 1060)
