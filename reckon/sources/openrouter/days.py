"""Finished days of single keys and of the account, whoever tells of them: activity, or analytics for what is older.

An answer speaks of the days that were over when the server gave it, and does not say which those are. So only days are
believed to be in it that were on offer both when it was asked for and when it came: an ask that is on its way while a
UTC day ends does not make a day of silence out of one that had just left.
"""

from collections.abc import Callable
from datetime import UTC, datetime, time
from typing import Final

from pydantic import SecretStr

from reckon.core.account import ActivityRow, AnalyticsAnswer, Dimension, Filter, Granularity, MoneyColumn, Question
from reckon.core.activity_days import DaySpan, DaysTold, NotTold, finished_days
from reckon.core.records import FailureReason
from reckon.core.windows import Window
from reckon.sources.openrouter.activity import activity
from reckon.sources.openrouter.analytics import Analytics
from reckon.sources.openrouter.asking import outcome_of
from reckon.sources.openrouter.client import OpenRouterClient
from reckon.sources.openrouter.trouble import NoAnswer

_GONE: Final = frozenset({403, 404})


class DaySource:
    """Tells finished days with one management key.

    Args:
        client: asks.
        management_key: what it asks with.
        analytics: who asks analytics; the same for everybody, or its limit does not hold.
        clock: tells which days are over.
    """

    def __init__(
        self,
        client: OpenRouterClient,
        management_key: SecretStr,
        analytics: Analytics,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._client = client
        self._management_key = management_key
        self._analytics = analytics
        self._clock = clock

    async def last_days(self, key_hash: str | None = None) -> DaysTold | NotTold:
        """Ask what one key, or the whole account, spent on each of the last thirty finished days.

        Raises nothing of the network.
        """
        asked_for = finished_days(self._clock())
        outcome = await outcome_of(activity(self._client, self._management_key, api_key_hash=key_hash))
        if isinstance(outcome, NoAnswer):
            return _not_told(outcome)
        days = DaySpan(finished_days(self._clock()).since, asked_for.until)
        return DaysTold(days, tuple(row for row in outcome if row.date in days))

    async def older_days(self, key_hash: str, days: DaySpan) -> DaysTold | NotTold:
        """Ask analytics what one key spent on each of *days*, which are over and lie within a year.

        Raises nothing of the network.
        """
        question = Question(
            span=Window(*(datetime.combine(edge, time(), UTC) for edge in (days.since, days.until))),
            money=(MoneyColumn.CREDITS, MoneyColumn.BYOK),
            granularity=Granularity.DAY,
            filters=(Filter(Dimension.KEY, (key_hash,)),),
        )
        outcome = await outcome_of(self._analytics.query(question))
        return _not_told(outcome) if isinstance(outcome, NoAnswer) else _days_of(outcome, days)


def _days_of(answer: AnalyticsAnswer, days: DaySpan) -> DaysTold | NotTold:
    if answer.is_truncated:
        return NotTold(FailureReason.UNEXPECTED_ANSWER, "analytics cut its answer short")
    if answer.warnings and not answer.rows:
        # So it says that it does not know the key, of which silence is then no news.
        return NotTold(FailureReason.UNEXPECTED_ANSWER, f"analytics warns: {answer.warnings[0]}")
    return DaysTold(
        days,
        tuple(
            ActivityRow(
                date=row.start.astimezone(UTC).date(),
                model=None,
                provider=None,
                credits_nanos=row.nanos.get(MoneyColumn.CREDITS) or 0,
                byok_nanos=row.nanos.get(MoneyColumn.BYOK) or 0,
            )
            for row in answer.rows
            if row.start is not None and row.start.astimezone(UTC).date() in days
        ),
    )


def _not_told(trouble: NoAnswer) -> NotTold:
    is_closed = trouble.reason is FailureReason.ACCESS_DENIED or trouble.status in _GONE
    return NotTold(trouble.reason, trouble.detail, trouble.retry_after_seconds, is_closed=is_closed)
