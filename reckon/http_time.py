"""How HTTP speaks of time: a date, or a wait that is a date or a number of seconds. What cannot be read is None."""

import math
import re
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Final

# A server that asks for more has made a mistake, and an hour later costs us one ask.
LONGEST_WAIT_SECONDS: Final = 3600

_SECONDS: Final = re.compile(r"[0-9]{1,99}(\.[0-9]{1,99})?")


def http_date(text: str) -> datetime | None:
    """Return the instant an HTTP date names."""
    try:
        told = parsedate_to_datetime(text)
        return told.replace(tzinfo=UTC) if told.tzinfo is None else told.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after_seconds(text: str | None, now: datetime) -> int | None:
    """Return the wait that `Retry-After: text` asks for at *now*, in whole seconds rounded up, at most an hour.

    A wait that lies in the past is as good as none.
    """
    if text is None:
        return None
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return min(math.ceil(Decimal(text)), LONGEST_WAIT_SECONDS)
    until = http_date(text)
    if until is None or until < now:
        return None
    return min(math.ceil((until - now).total_seconds()), LONGEST_WAIT_SECONDS)
