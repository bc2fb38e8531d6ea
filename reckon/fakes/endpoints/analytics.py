"""What analytics answers: any of the account's sums, nearly as soon as the money is spent.

A key is filtered by its hash and shown by what it is called, so that two keys of one name are two rows that look alike.
A filter for a key that is not known is no error: it finds nothing and says so. A deleted key is still known.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from reckon.fakes.answers import Answer, rate_limited, refusal
from reckon.fakes.endpoints.analytics_question import (
    DIMENSIONS,
    GRANULARITIES,
    METRICS,
    OPERATORS,
    Filter,
    Question,
    question,
)
from reckon.fakes.endpoints.asked import Asked, Refused
from reckon.fakes.endpoints.body import found
from reckon.fakes.journal import Sums
from reckon.fakes.world import World


def tell_meta(asked: Asked) -> Answer:
    """Tell what can be asked."""
    _admit(asked)
    return found(
        {
            "metrics": [
                {
                    "name": name,
                    "display_label": metric.label,
                    "display_format": "currency" if metric.is_money else "number",
                    "is_rate": False,
                }
                for name, metric in METRICS.items()
            ],
            "dimensions": [{"name": name, "display_label": dimension.label} for name, dimension in DIMENSIONS.items()],
            "operators": [{"name": name, "value_type": takes} for name, takes in OPERATORS.items()],
            "granularities": [{"name": name, "display_label": name.capitalize()} for name in GRANULARITIES],
        }
    )


def tell_query(asked: Asked) -> Answer:
    """Answer one question."""
    _admit(asked)
    world = asked.world
    put = question(asked.body, world.now)
    warnings = _warnings(world, put)
    rows = _limited(put, _sorted(put, _grouped(world, put)))
    data: dict[str, object] = {
        "data": [_written(asked, put, row) for row in rows[: put.limit]],
        "metadata": {
            "query_time_ms": 12,
            "row_count": min(len(rows), put.limit),
            "truncated": len(rows) > put.limit,
        },
    }
    if world.analytics_lag:
        data["cachedAt"] = int((world.now - world.analytics_lag).timestamp() * 1000)
    return found(data | ({"warnings": warnings} if warnings else {}))


def _admit(asked: Asked) -> None:
    """Refuse the request if the account has no analytics, or asks too often."""
    world = asked.world
    if not world.analytics_available:
        raise Refused(refusal(*_MISSING[world.analytics_missing_status]))
    if seconds := world.analytics_pace.seconds_to_wait(world.now):
        raise Refused(rate_limited(str(seconds)))


_MISSING: Final = {
    403: (403, "Analytics is not available for this account"),
    404: (404, "Resource not found"),
}


# --- From entries to rows ---------------------------------------------------------------------------------------------


class _Row(NamedTuple):
    begins: datetime | None
    """Of the stretch of time, where rows are told apart by it."""
    values: tuple[object, ...]
    """Of each dimension, as it is underneath."""
    sums: Sums


def _warnings(world: World, put: Question) -> list[str]:
    """Return a warning for each key that *put* asks for and nobody knows."""
    wanted = [value for each in put.filters if each.dimension == "api_key_id" for value in sorted(each.values)]
    return [
        f"Could not resolve api_key_id hash: {value[:6]}..." for value in wanted if world.key_by_hash(value) is None
    ]


def _grouped(world: World, put: Question) -> list[_Row]:
    begins = GRANULARITIES[put.granularity] if put.granularity else None
    values = [DIMENSIONS[name].of for name in put.dimensions]
    tests = [(DIMENSIONS[each.dimension].of, each.lets) for each in put.filters]
    # The very instant up to which the answer knows has happened, as everywhere in the world.
    until = min(put.until, world.now - world.analytics_lag + timedelta(microseconds=1))
    sums: defaultdict[tuple[datetime | None, tuple[object, ...]], Sums] = defaultdict(Sums)
    for entry in world.entries(put.since, until, _only_keys(put.filters)):
        if all(lets(of(world, entry)) for of, lets in tests):
            sums[begins(entry.at) if begins else None, tuple([of(world, entry) for of in values])].add(entry)
    return [_Row(*place, summed) for place, summed in sums.items()]


def _only_keys(filters: Sequence[Filter]) -> frozenset[str] | None:
    """Return the only keys whose entries can pass *filters*; None if any may."""
    for each in filters:
        if each.dimension == "api_key_id" and not each.is_without and not each.with_unset:
            return each.values
    return None


# --- The order of rows ------------------------------------------------------------------------------------------------


def _sorted(put: Question, rows: list[_Row]) -> list[_Row]:
    """Return *rows* in the order asked for, else newest and then dearest first."""
    by_first_metric = _sort_key(put, put.metrics[0])
    rows = sorted(rows, key=lambda row: [str(value) for value in row.values])
    rows.sort(key=by_first_metric, reverse=True)
    rows.sort(key=_sort_key(put, "date"), reverse=True)
    if put.ordered_by is not None:
        rows.sort(key=_sort_key(put, put.ordered_by), reverse=put.descending)
    return rows


def _sort_key(put: Question, name: str) -> Callable[[_Row], Any]:
    if name == "date":
        return lambda row: row.begins.timestamp() if row.begins else 0
    if name in METRICS:
        return lambda row: METRICS[name].of(row.sums) or 0
    place = put.dimensions.index(name)
    return lambda row: str(row.values[place] or "")


def _limited(put: Question, rows: list[_Row]) -> list[_Row]:
    """Return the first rows of each combination of dimensions, as many as may be."""
    if put.group_limit is None or not put.dimensions:
        return rows
    seen: Counter[tuple[object, ...]] = Counter()
    kept = []
    for row in rows:
        seen[row.values] += 1
        if seen[row.values] <= put.group_limit:
            kept.append(row)
    return kept


# --- What a row looks like --------------------------------------------------------------------------------------------


def _written(asked: Asked, put: Question, row: _Row) -> dict[str, object]:
    dialect = asked.world.analytics
    written: dict[str, object] = {}
    if row.begins is not None:
        is_date = dialect.short_days and put.granularity in {"day", "week", "month"}
        form = "%Y-%m-%d" if is_date else "%Y-%m-%dT%H:%M:%S.000Z"
        written[f"{dialect.time_key}__{put.granularity}"] = row.begins.strftime(form)
    for name, value in zip(put.dimensions, row.values, strict=True):
        shown = DIMENSIONS[name].shown
        written[name] = value if value is None or shown is None else shown(asked.world, value)
        if name == "user":
            written["user_email"] = None if value is None else f"{value}@example.com"
    for name in put.metrics:
        metric = METRICS[name]
        number = metric.of(row.sums)
        if number is None:
            written[name] = None
        elif metric.is_money:
            written[name] = asked.usd(number)
        else:
            written[name] = str(number) if dialect.counts_as_text else number
    return written
