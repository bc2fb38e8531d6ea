"""The ledger's answers as JSON documents: the same on the command line and over HTTP.

Money is an exact decimal string of dollars, an instant is RFC 3339 in UTC, and every document says which schema it
follows. What a person reads is the affair of the command line and of the page.

parameters   what may be asked for, as it is written in an option or in a query
spend, calls, books, alerts, keys   one document each
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

SCHEMA_VERSION: Final = 1


def versioned(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return *document* as it is handed out, with the schema that it follows."""
    return {"schema_version": SCHEMA_VERSION, **document}


def instant(at: datetime | None) -> str | None:
    """Return *at* as RFC 3339 in UTC, to the second; None stays None."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if at else None
