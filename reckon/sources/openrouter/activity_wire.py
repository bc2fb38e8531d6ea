"""What the account says of its finished days: `GET /activity`. Believed whole or not at all, because it is summed."""

from datetime import date, datetime
from typing import Annotated, Any

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from reckon.core.account import ActivityRow
from reckon.core.tokens import pools
from reckon.sources.openrouter.wire import Count, Name, Nanos, Readable, Slug, Wire, read


def activity_rows(value: Any) -> tuple[ActivityRow, ...]:
    """Return the rows of the answer *value*.

    Raises:
        NoAnswer: it is no such answer, or a day or an amount in it cannot be read.
    """
    return tuple(
        ActivityRow(
            date=row.date,
            model=row.model,
            provider=row.provider_name,
            credits_nanos=row.usage,
            byok_nanos=row.byok_usage_inference,
            requests=row.requests,
            pools=pools(
                prompt=row.prompt_tokens,
                completion=row.completion_tokens,
                cache_read=row.cached_tokens,
                cache_write=None,
                audio_input=None,
                reasoning=row.reasoning_tokens,
            ),
        )
        for row in read(ActivityAnswer, value).data
    )


def _date(text: object) -> date:
    # One format is promised, and others have been seen; a time of day after the date is always midnight.
    try:
        return datetime.fromisoformat(text if isinstance(text, str) else "").date()
    except ValueError:
        raise PydanticCustomError("not_a_date", "not a date") from None


class ActivityRowData(Wire):
    """One day at one model of one provider."""

    date: Annotated[date, PlainValidator(_date)]
    usage: Nanos
    byok_usage_inference: Nanos
    model: Slug = None
    provider_name: Name = None
    requests: Annotated[Count | None, Readable] = None
    prompt_tokens: Annotated[Count | None, Readable] = None
    completion_tokens: Annotated[Count | None, Readable] = None
    reasoning_tokens: Annotated[Count | None, Readable] = None
    cached_tokens: Annotated[Count | None, Readable] = None


class ActivityAnswer(Wire):
    """`GET /activity`."""

    data: list[ActivityRowData]
