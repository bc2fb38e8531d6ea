"""What the account says of itself beside its counters, as frozen values: finished days, and questions about any span.

Two tellers. *Activity* is final and coarse: the last thirty finished UTC days, by model and host. *Analytics* is fresh
and as fine as one asks: any span, by up to two dimensions. Neither is a counter. They are set beside the counters when
the books are made, so both are believed whole or not at all: a sum over the rows that happened to be readable is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final

from reckon.core.tokens import UNKNOWN, TokenPools
from reckon.core.windows import Window

# --- Activity ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ActivityRow:
    """What one UTC day cost at one model of one provider. Of which key is not told; it is known from the asking."""

    date: date
    model: str | None
    provider: str | None
    credits_nanos: int
    byok_nanos: int
    requests: int | None = None
    pools: TokenPools = UNKNOWN


# --- Analytics -----------------------------------------------------------------------------------------------------


class MoneyColumn(StrEnum):
    """What can be asked for in dollars. The value is OpenRouter's name of it."""

    TOTAL = "total_usage"
    """Credits, and what went through upstream keys of the team's own."""
    CREDITS = "credits_usage"
    """Everything charged to credits, fees on BYOK included."""
    BYOK = "byok_usage"
    BYOK_FEES = "byok_fees"
    """Told of the last 31 days only."""


class CountColumn(StrEnum):
    """What can be asked for as a count. The value is OpenRouter's name of it."""

    REQUESTS = "request_count"
    BYOK_REQUESTS = "byok_request_count"
    TOKENS = "tokens_total"
    PROMPT_TOKENS = "tokens_prompt"
    COMPLETION_TOKENS = "tokens_completion"
    REASONING_TOKENS = "reasoning_tokens"
    CACHED_TOKENS = "cached_tokens"


class Dimension(StrEnum):
    """What the numbers can be divided by. The value is OpenRouter's name of it."""

    MODEL = "model"
    KEY = "api_key_id"
    """A row names the key by a label, which need not be unique; a filter takes its hash."""
    WORKSPACE = "workspace"
    APP = "app"
    USER = "user"
    # The last 31 days only:
    GENERATION = "generation_id"
    PROVIDER = "provider"


class Granularity(StrEnum):
    """How long a time one row covers. By the minute, a question may span three hours."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Filter:
    """Only rows in which *dimension* is one of *values*, of which there is at least one."""

    dimension: Dimension
    values: tuple[str, ...]

    @property
    def operator(self) -> str:
        """OpenRouter's name for this comparison."""
        return "eq" if len(self.values) == 1 else "in"


MOST_ROWS: Final = 10_000
"""More rows than this no answer holds."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question to analytics. At least one column, at most two dimensions."""

    span: Window
    money: tuple[MoneyColumn, ...] = ()
    counts: tuple[CountColumn, ...] = ()
    by: tuple[Dimension, ...] = ()
    granularity: Granularity | None = None
    filters: tuple[Filter, ...] = ()
    dearest_by: MoneyColumn | None = None
    """Order the rows by this, the most first."""
    most_rows: int = MOST_ROWS


@dataclass(frozen=True, slots=True)
class AnalyticsRow:
    """One row of an answer. A column that the answer leaves open is None: nothing of the kind, or not told."""

    start: datetime | None
    """When its span begins; None where no granularity was asked for."""
    names: Mapping[Dimension, str | None]
    nanos: Mapping[MoneyColumn, int | None]
    counts: Mapping[CountColumn, int | None]


@dataclass(frozen=True, slots=True)
class AnalyticsAnswer:
    """What one question brought."""

    rows: tuple[AnalyticsRow, ...]
    is_truncated: bool
    """There is more: these rows are no sum."""
    warnings: tuple[str, ...] = ()
    """In OpenRouter's words. A filter by a hash that it does not know yields no rows and one of these."""
    cached_at: datetime | None = None
    """As of when, if the answer was an older one."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What analytics can be asked on this account."""

    columns: frozenset[str] = field(default_factory=frozenset)
    dimensions: frozenset[str] = field(default_factory=frozenset)
    granularities: frozenset[str] = field(default_factory=frozenset)
    operators: frozenset[str] = field(default_factory=frozenset)

    def can_answer(self, question: Question) -> bool:
        """Return whether everything that *question* names is on offer."""
        return (
            self.columns.issuperset((*question.money, *question.counts))
            and self.dimensions.issuperset((*question.by, *(each.dimension for each in question.filters)))
            and self.operators.issuperset(each.operator for each in question.filters)
            and (question.granularity is None or question.granularity in self.granularities)
        )
