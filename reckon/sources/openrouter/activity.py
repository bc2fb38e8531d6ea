"""What the finished days cost, by model: the account's own word, for the last thirty UTC days."""

from datetime import date

from pydantic import SecretStr

from reckon.core.account import ActivityRow
from reckon.sources.openrouter.activity_wire import activity_rows
from reckon.sources.openrouter.client import OpenRouterClient


async def activity(
    client: OpenRouterClient,
    management_key: SecretStr,
    *,
    day: date | None = None,
    api_key_hash: str | None = None,
) -> tuple[ActivityRow, ...]:
    """Return the rows of one UTC *day*, or of all that are on offer, of one key or of the whole account.

    Rows do not tell whose they are, so the days of one key take an ask of their own.

    Raises:
        NoAnswer: there are none to be believed. Its status is 400 for a day that has not finished, or is too long ago.
    """
    params = {}
    if day is not None:
        params["date"] = day.isoformat()
    if api_key_hash is not None:
        params["api_key_hash"] = api_key_hash
    return activity_rows(await client.get("/activity", management_key, params))
