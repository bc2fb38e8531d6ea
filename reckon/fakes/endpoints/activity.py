"""What `/activity` says: the completed days of the account, by day, model and endpoint, and never by key.

Its sums are those of the counters: what no completion explains stands under one invented model, and what was given
back is taken off the day on which it was.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

from reckon.fakes.answers import Answer
from reckon.fakes.counters import start_of_day
from reckon.fakes.endpoints.asked import Asked, invalid
from reckon.fakes.endpoints.body import found
from reckon.fakes.endpoints.generations import endpoint_id
from reckon.fakes.journal import Entry, Sums

DAYS: Final = 30
_DAY: Final = timedelta(days=1)


def tell_activity(asked: Asked) -> Answer:
    """Tell the last thirty completed days, or one of them."""
    since, until = _days(asked)
    by_workspace = _by_workspace(asked)
    workspace_id = asked.workspace_id()
    sums: defaultdict[_Place, Sums] = defaultdict(Sums)
    for entry in _entries(asked, since, until):
        workspace = asked.world.workspace_of(entry)
        if workspace_id in {None, workspace}:
            place = _Place(entry.at.date(), entry.model, entry.provider, workspace if by_workspace else "")
            sums[place].add(entry)
    newest_first = sorted(sums, key=lambda place: (-place.day.toordinal(), place))
    return found([_row(asked, place, sums[place]) for place in newest_first])


class _Place(NamedTuple):
    """What one row is about."""

    day: date
    model: str
    provider: str
    workspace: str
    """Empty where rows are not split by it."""


def _days(asked: Asked) -> tuple[datetime, datetime]:
    today = start_of_day(asked.world.now)
    text = asked.query.get("date")
    if text is None:
        return today - DAYS * _DAY, today
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise invalid()
    try:
        since = datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        raise invalid() from None
    if not today - DAYS * _DAY <= since < today:
        raise invalid("Date must be within the last 30 (completed) UTC days")
    return since, since + _DAY


def _by_workspace(asked: Asked) -> bool:
    group_by = asked.query.get("group_by")
    if group_by not in {None, "workspace"}:
        raise invalid()
    return group_by is not None


def _entries(asked: Asked, since: datetime, until: datetime) -> Iterable[Entry]:
    key_hash, user = asked.query.get("api_key_hash"), asked.query.get("user_id")
    entries = asked.world.entries(since, until, None if key_hash is None else [key_hash])
    return entries if user is None else (entry for entry in entries if asked.world.user_of(entry) == user)


def _row(asked: Asked, place: _Place, sums: Sums) -> Mapping[str, object]:
    row: dict[str, object] = {
        "date": place.day.isoformat(),
        "model": place.model,
        "model_permaslug": f"{place.model}-20260501",
        "endpoint_id": endpoint_id(place.model, place.provider),
        "provider_name": place.provider,
        "usage": asked.usd(sums.credits_nanos),
        "byok_usage_inference": asked.usd(sums.byok_nanos),
        "requests": sums.requests,
        "prompt_tokens": sums.prompt,
        "completion_tokens": sums.completion,
        "reasoning_tokens": sums.reasoning,
        "cached_tokens": sums.cached,
    }
    return row | {"workspace_id": place.workspace} if place.workspace else row
