"""What can be asked of analytics, and the reading of one such question.

Read from the body of a request and checked against what is offered; whatever is not offered is refused.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

from reckon.fakes.counters import start_of_day, start_of_month, start_of_week
from reckon.fakes.endpoints.asked import invalid
from reckon.fakes.journal import Entry, Sums
from reckon.fakes.world import World

# --- What is offered --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Metric:
    """One number that can be asked for."""

    label: str
    of: Callable[[Sums], int | None]
    """The number, None for a component of the price that this account never uses."""
    is_money: bool = False
    is_short: bool = False
    """Whether it is kept for 31 days and not for a year."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing by which rows can be told apart, and filtered."""

    label: str
    of: Callable[[World, Entry], object]
    """The underlying value, which filters take."""
    shown: Callable[[World, Any], str | None] | None = None
    """The text that rows show in its place; without it they show the value."""
    is_short: bool = False


METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {
        "total_usage": Metric("Total Usage", lambda sums: sums.credits_nanos + sums.byok_nanos, is_money=True),
        "credits_usage": Metric("Credits Usage", lambda sums: sums.credits_nanos, is_money=True),
        "openrouter_usage": Metric(
            "OpenRouter Usage", lambda sums: sums.credits_nanos - sums.byok_fees_nanos, is_money=True, is_short=True
        ),
        "byok_usage": Metric("BYOK Usage", lambda sums: sums.byok_nanos, is_money=True),
        "byok_fees": Metric("BYOK Fees", lambda sums: sums.byok_fees_nanos, is_money=True, is_short=True),
        "usage_cache": Metric("Cache", lambda _: None, is_money=True),
        "usage_web": Metric("Web Search", lambda _: None, is_money=True),
        "request_count": Metric("Request Count", lambda sums: sums.requests),
        "byok_request_count": Metric("BYOK Request Count", lambda sums: sums.byok_requests),
        "tokens_total": Metric("Total Tokens", lambda sums: sums.prompt + sums.completion),
        "tokens_prompt": Metric("Prompt Tokens", lambda sums: sums.prompt),
        "tokens_completion": Metric("Completion Tokens", lambda sums: sums.completion),
        "reasoning_tokens": Metric("Reasoning Tokens", lambda sums: sums.reasoning),
        "cached_tokens": Metric("Cached Tokens", lambda sums: sums.cached),
    }
)


def _key_shown(world: World, key_hash: str) -> str | None:
    key = world.key_by_hash(key_hash)
    return None if key is None else key.name if world.analytics.key_shown_by == "name" else key.label


def _workspace_shown(world: World, workspace_id: str) -> str | None:
    workspace = world.workspace(workspace_id)
    return None if workspace is None else workspace.name


DIMENSIONS: Final[Mapping[str, Dimension]] = MappingProxyType(
    {
        "model": Dimension("Model", lambda _, entry: entry.model),
        "variant": Dimension("Variant", lambda _, entry: entry.model.partition(":")[2] or "standard"),
        "api_key_id": Dimension("API Key", lambda _, entry: entry.key_hash, _key_shown),
        "user": Dimension("User", lambda world, entry: world.user_of(entry), lambda _, user: f"Member {user[-4:]}"),
        "workspace": Dimension("Workspace", lambda world, entry: world.workspace_of(entry), _workspace_shown),
        "app": Dimension(
            "App",
            lambda _, entry: entry.generation.app_id if entry.generation else None,
            lambda _, app_id: f"App {app_id}",
        ),
        "generation_id": Dimension(
            "Generation", lambda _, entry: entry.generation.id if entry.generation else None, is_short=True
        ),
        "provider": Dimension("Provider", lambda _, entry: entry.provider, is_short=True),
        "origin": Dimension(
            "Origin", lambda _, entry: entry.generation.origin if entry.generation else None, is_short=True
        ),
    }
)


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


GRANULARITIES: Final[Mapping[str, Callable[[datetime], datetime]]] = MappingProxyType(
    {"minute": _minute, "hour": _hour, "day": start_of_day, "week": start_of_week, "month": start_of_month}
)
"""Each with the instant at which the stretch around another begins."""

OPERATORS: Final[Mapping[str, Literal["scalar", "array"]]] = MappingProxyType(
    {"eq": "scalar", "neq": "scalar", "in": "array", "not_in": "array"}
)


# --- One question -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filter:
    """Which values of one dimension count."""

    dimension: str
    values: frozenset[str]
    is_without: bool
    """Whether all but these count."""
    with_unset: bool

    def lets(self, value: object) -> bool:
        """Return whether *value* counts."""
        if value is None:
            return self.with_unset
        return (str(value) in self.values) is not self.is_without


@dataclass(frozen=True, slots=True)
class Question:
    """One question that can be answered."""

    metrics: Sequence[str]
    dimensions: Sequence[str]
    filters: Sequence[Filter]
    granularity: str | None
    since: datetime
    until: datetime
    ordered_by: str | None
    """A metric, a dimension or `date`."""
    descending: bool
    limit: int
    group_limit: int | None


def question(body: bytes, now: datetime) -> Question:
    """Return what *body* asks, unless it asks what is not offered."""
    asked = _parsed(body)
    metrics = _names(asked, "metrics", METRICS, least=1, most=len(METRICS))
    dimensions = _names(asked, "dimensions", DIMENSIONS, least=0, most=2)
    granularity = asked.get("granularity")
    if granularity is not None and granularity not in GRANULARITIES:
        raise invalid()
    if any(name.startswith("classifier_") for name in asked):
        raise invalid()
    filters = [_filter(each) for each in _items(asked.get("filters", []), most=20)]
    since, until = _span(asked.get("time_range"), now)
    filtered = [each.dimension for each in filters]
    is_short = any(METRICS[name].is_short for name in metrics) or any(
        DIMENSIONS[name].is_short for name in [*dimensions, *filtered]
    )
    if since < now - timedelta(days=31 if is_short else 365):
        raise invalid()
    if granularity == "minute" and until - since > timedelta(hours=3):
        raise invalid()
    ordered_by, descending = _order(asked.get("order_by"), {*metrics, "request_count", *dimensions, "date"})
    return Question(
        metrics,
        dimensions,
        filters,
        granularity,
        since,
        until,
        ordered_by,
        descending,
        limit=_count(asked.get("limit", 1000), most=10_000),
        group_limit=None if asked.get("group_limit") is None else _count(asked["group_limit"], most=10_000),
    )


def _parsed(body: bytes) -> Mapping[str, Any]:
    try:
        asked = json.loads(body)
    except ValueError:
        raise invalid() from None
    if not isinstance(asked, dict):
        raise invalid()
    return asked


def _items(value: object, *, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise invalid()
    return value


def _names(asked: Mapping[str, Any], member: str, known: Mapping[str, object], *, least: int, most: int) -> list[str]:
    names = _items(asked.get(member, []), most=most)
    if len(names) < least or not all(isinstance(name, str) and name in known for name in names):
        raise invalid()
    return names


def _filter(asked: object) -> Filter:
    match asked:
        case {"field": str(field), "operator": str(operator), "value": value, **rest} if field in DIMENSIONS:
            with_unset = rest.get("include_unset") is True and isinstance(value, list)
        case _:
            raise invalid()
    if OPERATORS.get(operator) != ("array" if isinstance(value, list) else "scalar"):
        raise invalid()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) for each in values):
        raise invalid()
    return Filter(
        field,
        # A number may have passed through a reader that knows only doubles.
        frozenset(str(int(each)) if isinstance(each, float) else str(each) for each in values),
        is_without=operator in {"neq", "not_in"},
        with_unset=with_unset,
    )


def _span(asked: object, now: datetime) -> tuple[datetime, datetime]:
    if asked is None:
        return now - timedelta(days=7), now
    match asked:
        case {"start": str(start), "end": str(end)}:
            since, until = _instant(start), _instant(end)
        case _:
            raise invalid()
    if since >= until:
        raise invalid()
    return since, until


def _instant(text: str) -> datetime:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", text, re.ASCII):
        raise invalid()
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise invalid() from None


def _order(asked: object, known: set[str]) -> tuple[str | None, bool]:
    match asked:
        case None:
            return None, True
        case {"field": str(field), "direction": "asc" | "desc" as direction} if field in known:
            return field, direction == "desc"
    raise invalid()


def _count(value: object, *, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:  # `type`, because a bool is an int
        raise invalid()
    return value
