"""`reckon keys`: what is watched, how fresh it is, and which key will be refused, by what and when."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from reckon.cli.printing import Column
    from reckon.core.key_outlook import Blocked, KeyOutlook
    from reckon.core.records import KeyState

    Shown = Callable[[datetime], str]

_FINE: Final = "fine"


def add_to(app: typer.Typer) -> None:
    """Add this family's commands."""
    app.command("keys")(keys)


def keys(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Every key: how fresh it is, and what will stop it, and when.

    If it goes on spending as in the last 24 hours; limits reset at 00:00 UTC, on Mondays or on the first of a month.
    """
    import os

    from reckon.app import open_app
    from reckon.cli.printing import print_json, table, when
    from reckon.config import load
    from reckon.documents.keys import keys_document

    with open_app(load(context.obj, os.environ)) as app:
        found = app.key_outlooks()
        zone, now = app.settings.timezone, app.clock()
    if as_json:
        print_json(keys_document(found))
        return

    def shown(at: datetime) -> str:
        return when(at, zone, now=now)

    found.sort(key=lambda outlook: (outlook.key.owner, outlook.key.name))
    table(
        [*_columns(found, shown)],
        title=f"Keys ({zone.key})",
        notes=[] if found else ["The owner map holds no key yet."],
    )


def _columns(found: "Sequence[KeyOutlook]", shown: "Shown") -> "Iterator[Column]":
    """Yield the columns that say something: what a sweep tells stands there only where one has told it."""
    from reckon.cli.printing import Column

    was_swept = any(outlook.key.workspace for outlook in found)
    yield Column("Owner", [outlook.key.owner for outlook in found])
    yield Column("Key", [outlook.key.name for outlook in found])
    if not was_swept:
        yield Column("Label", [outlook.key.label or "" for outlook in found])
    if len({outlook.workspace for outlook in found if outlook.workspace}) > 1:
        yield Column("Workspace", [outlook.workspace or "" for outlook in found])
    if any(outlook.about.limit_nanos is not None for outlook in found):
        yield Column("Left", [_left(outlook) for outlook in found], "prose")
    used = [outlook.about.last_used_at for outlook in found]
    if any(used):
        yield Column("Last used", [shown(at) if at else "" for at in used], "fixed")
    seen = [outlook.key.counters.last_seen_at if outlook.key.counters else None for outlook in found]
    if not any(used) or len({*seen}) > 1:
        yield Column("Last seen", [shown(at) if at else "never" for at in seen], "fixed")
    yield Column("State", [_state(outlook, shown) for outlook in found], "prose")


def _left(outlook: "KeyOutlook") -> str:
    from reckon.core.money import dollars

    about = outlook.about
    if about.limit_nanos is None:
        return ""
    left = "?" if outlook.left_nanos is None else dollars(outlook.left_nanos)
    return f"{left} of {dollars(about.limit_nanos)} {about.limit_reset or ''}".rstrip()


def _state(outlook: "KeyOutlook", shown: "Shown") -> str:
    return "; ".join(_said(outlook, shown))


def _said(outlook: "KeyOutlook", shown: "Shown") -> "Iterator[str]":
    condition = _condition(outlook.key, shown)
    if not (outlook.blocked and condition == _FINE):
        yield condition
    if outlook.blocked:
        yield _stop(outlook.blocked, shown)
    expires_at = outlook.about.expires_at
    if expires_at and outlook.key.watched and not (outlook.blocked and outlook.blocked.by == "expiry"):
        yield f"expires {shown(expires_at)}"
    if outlook.suggested:
        yield f"perhaps {outlook.suggested}'s"


def _condition(key: "KeyState", shown: "Shown") -> str:
    if not key.watched:
        return "former"
    if key.failure:
        since = f" since {shown(key.failing_since)}" if key.failing_since else ""
        return f"{key.failure.value.replace('_', ' ')}{since}"
    if key.counters is None:
        return "not asked yet"
    dips = [counter.dip for counter in (key.counters.credits, key.counters.byok) if counter.dip]
    return f"below its mark since {shown(dips[0].since)}" if dips else _FINE


def _stop(blocked: "Blocked", shown: "Shown") -> str:
    until = f" until {shown(blocked.until)}" if blocked.until else ""
    match blocked.by.value, blocked.at:
        case "disabled", _:
            return "disabled"
        case "expiry", None:
            return "expired"
        case "expiry", datetime() as at:
            return f"expires {shown(at)}"
        case _, None:
            return f"limit used up{until}"
        case _, at:
            return f"limit reached {shown(at)}{until} at this rate"
