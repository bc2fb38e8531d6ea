"""OpenRouter, read from outside: what each key has spent, what the account has left, what one generation cost.

From the wire inward: `lanes` carries a request, `body` reads what comes back without trusting its size,
`reckon.strict_json` without trusting its spelling, `client` turns one ask into a JSON value or one
`trouble.NoAnswer`, `wire` and the files named after it turn the value into records, and `asking` asks for much at once.

On that stand `source`, which asks each key about itself and about generations, and what takes a management key:
`sweeping` for all keys of the account, `activity` for its finished days, `analytics` for any span and division, and
`days`, which puts these two together for single keys. And `account` polls all keys by sweeps, and single ones where
these do not reach.
"""

from reckon.sources.openrouter.account import AccountSource
from reckon.sources.openrouter.analytics import Analytics
from reckon.sources.openrouter.client import EGRESS, OpenRouterClient
from reckon.sources.openrouter.days import DaySource
from reckon.sources.openrouter.lanes import LaneTransport
from reckon.sources.openrouter.source import Examined, OpenRouterSource
from reckon.sources.openrouter.sweeping import sweep

__all__ = [
    "EGRESS",
    "AccountSource",
    "Analytics",
    "DaySource",
    "Examined",
    "LaneTransport",
    "OpenRouterClient",
    "OpenRouterSource",
    "sweep",
]
