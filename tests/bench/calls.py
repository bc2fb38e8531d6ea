"""A team's settled generations, to measure on: many owners, each with a few models of its own that it mostly uses."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from reckon.core.generations import Facts, Settled
from reckon.core.tokens import TokenPools
from reckon.store import Store, rows
from reckon.store.names import numbers, owner_numbers
from reckon.store.tables import GENERATION, ROUTE
from reckon.store.writing import Row, insert_rows

ZONE = ZoneInfo("Europe/Berlin")
FIRST_DAY = datetime(2025, 9, 30, 22, tzinfo=UTC)
"""A local midnight, and the first of a month."""
MODELS = 400
_MODELS_AN_OWNER = 10
_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class Call:
    """One generation, by number."""

    at: int
    id: str
    owner: int
    model: int
    nanos: int
    tokens: tuple[int, int, int]


def calls_of_days(owners: int, days: int, each_day: int) -> Iterator[list[Call]]:
    """Yield the calls of one day after another, earliest first."""
    luck = random.Random(3)  # noqa: S311 - nobody need be unable to guess it
    favourites = [luck.sample(range(MODELS), _MODELS_AN_OWNER) for _ in range(owners)]
    weights = [0.6**place for place in range(_MODELS_AN_OWNER)]
    for day in range(days):
        start = rows.seconds(FIRST_DAY + day * timedelta(days=1))
        whose = luck.choices(range(owners), k=each_day)
        which = luck.choices(range(_MODELS_AN_OWNER), weights, k=each_day)
        yield [
            Call(
                at=at,
                id=f"gen-{at}-{''.join(luck.choices(_LETTERS, k=20))}",
                owner=owner,
                model=favourites[owner][place],
                nanos=luck.randrange(100_000, 40_000_000),
                tokens=(luck.randrange(50, 9_000), luck.randrange(20, 900), luck.choice((0, 0, 1_024))),
            )
            for at, owner, place in zip(
                sorted(luck.randrange(start, start + 86_400) for _ in range(each_day)), whose, which, strict=True
            )
        ]


def owner_name(number: int) -> str:
    return f"owner-{number:04d}"


def model_name(number: int) -> str:
    return f"vendor-{number % 20}/model-{number}"


def settled(call: Call) -> Settled:
    """Return *call* as a lookup finds it."""
    at = rows.instant(call.at)
    used, said, cached = call.tokens
    facts = Facts(
        created_at=at,
        model=model_name(call.model),
        requested_model="openrouter/auto",
        provider="Host",
        credits_nanos=call.nanos,
        byok_nanos=0,
        pools=TokenPools(used, said, cached, None, 0, 0),
    )
    return Settled(call.id, owner_name(call.owner), None, at + timedelta(seconds=8), facts)


class RawRows:
    """Turns calls into rows of `generation`, whose names it has written."""

    def __init__(self, connection: Connection, owners: int) -> None:
        routes = {model: (model_name(model), "openrouter/auto", "Host", "") for model in range(MODELS)}
        found = numbers(connection, ROUTE, routes.values())
        self.route_ids = {model: found[route] for model, route in routes.items()}
        by_name = owner_numbers(connection, map(owner_name, range(owners)))
        self.owner_ids = {number: by_name[owner_name(number)] for number in range(owners)}

    def of(self, calls: list[Call]) -> list[Row]:
        return [
            {
                "created_at": call.at,
                "id": call.id,
                "credits_nanos": call.nanos,
                "byok_nanos": None,
                "owner_id": self.owner_ids[call.owner],
                "key_id": None,
                "route_id": self.route_ids[call.model],
                "session_id": None,
                "settled_after_seconds": 8,
                "input_tokens": call.tokens[0],
                "output_tokens": call.tokens[1],
                "cache_read_tokens": call.tokens[2],
                "cache_write_tokens": None,
                "audio_input_tokens": 0,
                "reasoning_tokens": 0,
            }
            for call in calls
        ]


def write_history(store: Store, days: Iterator[list[Call]], owners: int) -> None:
    """Write the calls of all *days*, and the rollups from them."""
    with store._writer.begin() as connection:
        raw = RawRows(connection, owners)
    for calls in days:
        with store._writer.begin() as connection:
            insert_rows(connection, GENERATION, raw.of(calls))
    store.keep_rollups_in(ZONE)
    if store.is_shared:
        with store._writer.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))
