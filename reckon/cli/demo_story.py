"""What `reckon demo` tells: the money, the one alert on the console and as Slack's JSON, the digest, the check.

Each piece is what the real thing prints or posts. Outside of the JSON no line is longer than 80 columns.
"""

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from io import BytesIO, TextIOWrapper
from typing import Any, Final

from reckon.app import App
from reckon.cli.books import show as show_books
from reckon.cli.ledger import verified
from reckon.cli.printing import counted, when
from reckon.cli.spend_table import show
from reckon.core.digest_calendar import DigestKind
from reckon.core.outbox import Delivery, DeliveryState
from reckon.core.reports import Dimension
from reckon.core.windows import Window
from reckon.fakes.month import RUNAWAY_OWNER, Month
from reckon.sinks.console import WIDTH, ConsoleSink
from reckon.sinks.slack.blocks import compose

_A_WEEK: Final = timedelta(days=7)


async def tell(app: App, invented: Month, *, polls: int, said: Sequence[Delivery]) -> None:
    """Print the month: what was spent in it, and what was *said* when."""
    keys = sum(len(owner.keys) for owner in invented.owners.values())
    print(f"An invented team: {len(invented.owners)} owners with {keys} keys, polled {polls:,} times over a month.\n")
    show(app.spend([Dimension.OWNER]))
    print()
    show(app.spend([Dimension.DAY], Window(invented.ends_at - _A_WEEK, invented.ends_at)))

    print()
    show(app.spend([Dimension.REQUESTED_MODEL, Dimension.MODEL]))

    told = [delivery for delivery in said if delivery.state is DeliveryState.DELIVERED]
    await _tell_alert(app, invented, told)
    await _tell_digest(app, invented, told)

    print("\nThe books of that day. One key is used by hand, and nobody tells of that:\n")
    last_day = invented.last_day_starts_at.date()
    show_books(app.books(last_day), zone_key=app.settings.timezone.key)
    print()
    verdict = verified(app)
    found = counted(len(verdict.differences), "difference")
    print(f"verify: {counted(verdict.checked, 'snapshot')} read again, {found}.", flush=True)


async def _tell_alert(app: App, invented: Month, told: Sequence[Delivery]) -> None:
    """Print the message about the runaway as it went out, and as Slack would have got it."""
    zone = app.settings.timezone
    alert, *others = (delivery for delivery in told if delivery.intent.startswith("alert:"))
    print(f"\n{when(invented.runaway_starts_at, zone)}: {RUNAWAY_OWNER} runs away.")
    print(f"{when(alert.created_at, zone)}: the month's {'first' if others else 'only'} alert goes out.\n")
    print(await _printed(alert), end="")
    print("With a Slack webhook it would have been this post:\n")
    print(_laid_out(compose(alert.message)))


async def _tell_digest(app: App, invented: Month, told: Sequence[Delivery]) -> None:
    """Print the digest of the last day."""
    intent = f"{DigestKind.DAILY.key}:{invented.last_day_starts_at.date().isoformat()}"
    digest = next(delivery for delivery in told if delivery.intent == intent)
    print(f"\n{when(digest.created_at, app.settings.timezone)}: the day's digest goes out.\n")
    print(await _printed(digest), end="")


async def _printed(delivery: Delivery) -> str:
    """Return *delivery* as the console prints it, in letters that standard output has."""
    page = TextIOWrapper(BytesIO(), encoding=sys.stdout.encoding)
    await ConsoleSink(page).deliver(delivery)
    page.seek(0)
    return page.read()


def _laid_out(value: Any, indent: str = "", lead: str = "", tail: str = "") -> str:
    """Return *value* as JSON, what fits into a line on one line. In ASCII: what a terminal copies stays JSON."""
    line = f"{indent}{lead}{json.dumps(value)}{tail}"
    if len(line) <= WIDTH or not isinstance(value, dict | list):
        return line
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    leads = [f"{json.dumps(name)}: " for name in value] if isinstance(value, dict) else [""] * len(value)
    members = [*value.values()] if isinstance(value, dict) else value
    tails = [","] * (len(members) - 1) + [""]
    inner = [_laid_out(member, f"{indent}  ", *around) for member, *around in zip(members, leads, tails, strict=True)]
    return "\n".join([f"{indent}{lead}{opening}", *inner, f"{indent}{closing}{tail}"])
