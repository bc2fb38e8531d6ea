"""OpenRouter, read from outside: what each key has spent, and what the account has left.

From the wire inward: `lanes` carries a request, `body` reads what comes back without trusting its size,
`strict_json` without trusting its spelling, `client` turns one ask into a JSON value or one
`trouble.NoAnswer`, `wire` turns the value into records, and `source` asks for many keys at once.
"""

from reckon.sources.openrouter.client import EGRESS, OpenRouterClient
from reckon.sources.openrouter.lanes import LaneTransport
from reckon.sources.openrouter.source import Examined, OpenRouterSource

__all__ = ["EGRESS", "Examined", "LaneTransport", "OpenRouterClient", "OpenRouterSource"]
