"""Questions to analytics as OpenRouter wants them put, and its answers: flat rows, named after the question.

Counts come as numbers or as strings, the time under one of two names, and a column of which there is nothing as null.
An amount may be negative: discounts are. Answers are believed whole or not at all, because they are summed; a cell that
cannot be read is the answer's failure.
"""

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import GenericAlias
from typing import Annotated, Any, Final

from pydantic import AliasChoices, Field, PlainValidator, create_model
from pydantic_core import PydanticCustomError

from reckon.core.account import AnalyticsAnswer, AnalyticsRow, Capabilities, Filter, Question
from reckon.sources.openrouter.wire import Count, Instant, Readable, SignedNanos, Slug, Wire, presentable, read


def question_body(question: Question) -> dict[str, Any]:
    """Return *question* as the body of `POST /analytics/query`."""
    body: dict[str, Any] = {
        "metrics": [*question.money, *question.counts],
        "time_range": {"start": _instant_text(question.span.start), "end": _instant_text(question.span.end)},
        "limit": question.most_rows,
    }
    if question.by:
        body["dimensions"] = [*question.by]
    if question.granularity is not None:
        body["granularity"] = question.granularity
    if question.filters:
        body["filters"] = [_filter(each) for each in question.filters]
    if question.dearest_by is not None:
        body["order_by"] = {"field": question.dearest_by, "direction": "desc"}
    return body


def analytics_answer(value: Any, question: Question) -> AnalyticsAnswer:
    """Return what the answer *value* says to *question*.

    Raises:
        NoAnswer: it is no answer to it, or a cell in it cannot be read.
    """
    told = read(QueryAnswer, value).data
    shape = _rows_of(question.money, question.counts, question.by, question.granularity)
    rows: list[Any] = getattr(read(shape, {"rows": told.data}), _ROWS)
    is_truncated = told.metadata.truncated
    return AnalyticsAnswer(
        rows=tuple(_row(row, question) for row in rows),
        is_truncated=len(rows) >= question.most_rows if is_truncated is None else is_truncated,
        warnings=tuple(presentable(warning, 200) for warning in told.warnings or ()),
        cached_at=told.cached_at,
    )


def capabilities(value: Any) -> Capabilities:
    """Return what the answer *value* of `/analytics/meta` offers.

    Raises:
        NoAnswer: it is no such answer.
    """
    told = read(MetaAnswer, value).data
    return Capabilities(
        columns=frozenset(each.name for each in told.metrics),
        dimensions=frozenset(each.name for each in told.dimensions),
        granularities=frozenset(each.name for each in told.granularities),
        operators=frozenset(each.name for each in told.operators),
    )


def _from_milliseconds(number: object) -> datetime:
    if type(number) is not int or not 0 < number < 10**13:
        raise PydanticCustomError("not_an_instant", "not an instant")
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number // 1000)


class QueryMetadata(Wire):
    """What an answer says of itself."""

    truncated: Annotated[bool | None, Readable] = None


class QueryData(Wire):
    """An answer. Its rows have the shape of the question."""

    data: list[Any]
    metadata: QueryMetadata = QueryMetadata()
    warnings: Annotated[list[str] | None, Readable] = None
    cached_at: Annotated[
        Annotated[datetime, PlainValidator(_from_milliseconds)] | None, Readable, Field(validation_alias="cachedAt")
    ] = None


class QueryAnswer(Wire):
    """`POST /analytics/query`."""

    data: QueryData


class Offer(Wire):
    """One thing that can be asked for, by its name."""

    name: str


class MetaData(Wire):
    """Everything that can be asked for."""

    metrics: list[Offer]
    dimensions: list[Offer]
    granularities: list[Offer]
    operators: list[Offer]


class MetaAnswer(Wire):
    """`GET /analytics/meta`."""

    data: MetaData


@lru_cache(maxsize=64)
def _rows_of(*asked: Any) -> type[Wire]:
    """Return the shape of the rows that answer a question for some money, counts, dimensions and granularity."""
    money, counts, by, granularity = asked
    fields: dict[str, Any] = {
        **{column.value: (SignedNanos | None, None) for column in money},
        **{column.value: (Count | None, None) for column in counts},
        **{dimension.value: (Slug, None) for dimension in by},
    }
    if granularity is not None:
        either = AliasChoices(f"date__{granularity}", f"created_at__{granularity}")
        fields[_START] = (Instant, Field(validation_alias=either))
    row = create_model("AnalyticsRowData", __base__=Wire, **fields)
    rows: dict[str, Any] = {_ROWS: (GenericAlias(list, row), ...)}
    return create_model("AnalyticsRows", __base__=Wire, **rows)


_ROWS: Final = "rows"
_START: Final = "span_start"


def _row(row: Any, question: Question) -> AnalyticsRow:
    return AnalyticsRow(
        start=getattr(row, _START, None),
        names={dimension: getattr(row, dimension) for dimension in question.by},
        nanos={column: getattr(row, column) for column in question.money},
        counts={column: getattr(row, column) for column in question.counts},
    )


def _filter(wanted: Filter) -> dict[str, Any]:
    value: Any = wanted.values[0] if len(wanted.values) == 1 else [*wanted.values]
    return {"field": wanted.dimension, "operator": wanted.operator, "value": value}


def _instant_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
