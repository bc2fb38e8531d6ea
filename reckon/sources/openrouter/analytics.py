"""Questions to analytics, never more than 64 a minute, whoever asks.

OpenRouter counts what arrives, and we only see when an answer came, which is later. So there are as many permits as
questions in a minute, and one is good again a minute after its answer: however long a question is on its way, no minute
anywhere holds more of them. Who finds no permit waits for one, in turn, and for no more than a minute or so.

When OpenRouter asks for a rest all the same, nobody asks until it is over; questions put meanwhile are refused at once,
since that rest may be long.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pydantic import SecretStr

from reckon.core.account import AnalyticsAnswer, Capabilities, Question
from reckon.core.records import FailureReason
from reckon.sources.openrouter.analytics_wire import analytics_answer, capabilities, question_body
from reckon.sources.openrouter.client import OpenRouterClient
from reckon.sources.openrouter.trouble import NoAnswer

MOST_A_MINUTE: Final = 64


class Analytics:
    """Asks analytics with one management key. One of these serves everybody who asks, or the limit does not hold."""

    def __init__(
        self,
        client: OpenRouterClient,
        management_key: SecretStr,
        *,
        monotonic_seconds: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._management_key = management_key
        self._monotonic_seconds = monotonic_seconds
        self._sleep = sleep
        self._permits: asyncio.PriorityQueue[float] = asyncio.PriorityQueue()
        """When each permit is good again, the next one first."""
        for _ in range(MOST_A_MINUTE):
            self._permits.put_nowait(-math.inf)
        self._rest_until_seconds = -math.inf

    async def meta(self) -> Capabilities:
        """Return what can be asked.

        Raises:
            NoAnswer: nothing was learnt; an account without analytics says 403 or 404.
        """
        return capabilities(await self._in_turn(lambda: self._client.get("/analytics/meta", self._management_key)))

    async def query(self, question: Question) -> AnalyticsAnswer:
        """Return the answer to *question*.

        Raises:
            NoAnswer: there is none to be believed.
        """
        body = question_body(question)
        value = await self._in_turn(lambda: self._client.post("/analytics/query", self._management_key, body))
        return analytics_answer(value, question)

    async def _in_turn(self, ask: Callable[[], Awaitable[Any]]) -> Any:
        self._refuse_during_a_rest()
        good_at_seconds = await self._permits.get()
        try:
            while (early_seconds := good_at_seconds - self._monotonic_seconds()) > 0:
                await self._sleep(early_seconds)
            self._refuse_during_a_rest()
            try:
                return await ask()
            except NoAnswer as trouble:
                self._rest_after(trouble)
                raise
            finally:
                good_at_seconds = self._monotonic_seconds() + _MINUTE_SECONDS
        finally:
            self._permits.put_nowait(good_at_seconds)

    def _rest_after(self, trouble: NoAnswer) -> None:
        if trouble.reason is not FailureReason.RATE_LIMITED and trouble.retry_after_seconds is None:
            return
        rest_seconds = _MINUTE_SECONDS if trouble.retry_after_seconds is None else trouble.retry_after_seconds
        self._rest_until_seconds = max(self._rest_until_seconds, self._monotonic_seconds() + rest_seconds)

    def _refuse_during_a_rest(self) -> None:
        left_seconds = math.ceil(max(0, self._rest_until_seconds - self._monotonic_seconds()))
        if left_seconds:
            raise NoAnswer(
                FailureReason.RATE_LIMITED,
                "not asked, since analytics wants a rest",
                retry_after_seconds=left_seconds,
            )


_MINUTE_SECONDS: Final = 60
