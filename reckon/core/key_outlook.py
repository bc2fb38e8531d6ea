"""Each key with all that is known of it, and what lies ahead: who will be refused, by what and when.

What a key spends at present is what it spent in the last 24 hours, by the ledger. If it goes on so, a limit is reached
at an instant that can be told, unless it resets before: OpenRouter resets its limits at 00:00 UTC, on Mondays and on
the first of a month. It is an outlook, not an alert; nobody is woken by it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from reckon.core.ownership import suggested_owner
from reckon.core.records import UNOWNED, KeyState, Meter
from reckon.core.sweeps import KeyAbout
from reckon.core.totals import KeyTotal
from reckon.core.windows import GRAIN, Window, grain_start, utc_midnight

_DAY: Final = timedelta(days=1)
_SHORTEST: Final = timedelta(hours=1)
_FARTHEST: Final = timedelta(days=365)
_UNKNOWN: Final = KeyAbout("")


class Blocker(StrEnum):
    """What OpenRouter refuses a key's calls for. The value is what `reckon keys --json` prints."""

    DISABLED = "disabled"
    EXPIRY = "expiry"
    LIMIT = "limit"


@dataclass(frozen=True, slots=True)
class Blocked:
    """That a key is refused, or will be."""

    by: Blocker
    at: datetime | None
    """From when on; None for already."""
    until: datetime | None = None
    """When the limit resets by itself; None where it takes a person."""


@dataclass(frozen=True, slots=True)
class KeyOutlook:
    """One key, and what lies ahead of it."""

    key: KeyState
    about: KeyAbout
    """What the last sweep told of it; where none has, nothing is known."""
    workspace: str | None = None
    """What its workspace is called."""
    last_day_nanos: int = 0
    """What it spent in the last 24 hours, credits and BYOK."""
    left_nanos: int | None = None
    """How much of its limit is left."""
    resets_at: datetime | None = None
    """When its limit resets next."""
    blocked: Blocked | None = None
    """What stops it first, if it goes on as it does; None if nothing is in sight."""
    suggested: str | None = None
    """Who might answer for it, if nobody does."""

    @property
    def name(self) -> str:
        """What it is called."""
        return self.key.name

    @property
    def creator(self) -> str | None:
        """OpenRouter's id of the person who made it."""
        return self.about.creator


def last_day(now: datetime) -> Window:
    """Return the whole quarter hours of the last 24 hours, the running one included."""
    return Window(grain_start(now - _DAY), grain_start(now) + GRAIN)


def outlooks(
    keys: Sequence[KeyState],
    abouts: Mapping[str, KeyAbout],
    workspaces: Mapping[str, str | None],
    totals: Iterable[KeyTotal],
    *,
    owners: Sequence[str],
    now: datetime,
) -> list[KeyOutlook]:
    """Return what lies ahead of each of *keys*, in their order.

    Args:
        keys: those to tell of.
        abouts: what sweeps told of them, by hash.
        workspaces: the names of workspaces, by id.
        totals: what keys spent in `last_day`.
        owners: the ids of the owner map.
        now: the instant of the question.
    """
    spent: dict[tuple[str, Meter], int] = {}
    for total in totals:
        place = total.key_hash, total.meter
        spent[place] = spent.get(place, 0) + total.spend_nanos
    found = [_outlook(key, abouts.get(key.hash, _UNKNOWN), workspaces, spent, now) for key in keys]
    return _with_suggestions(found, owners)


def next_reset(interval: str | None, at: datetime) -> datetime | None:
    """Return when a limit that resets `daily`, `weekly` or `monthly` does so next after *at*; None for any other."""
    today = utc_midnight(at)
    resets = {
        "daily": today + _DAY,
        "weekly": today + timedelta(days=7 - today.weekday()),
        "monthly": (today.replace(day=1) + timedelta(days=32)).replace(day=1),
    }
    return resets.get(interval or "")


def _outlook(
    key: KeyState,
    about: KeyAbout,
    workspaces: Mapping[str, str | None],
    spent: Mapping[tuple[str, Meter], int],
    now: datetime,
) -> KeyOutlook:
    credits_nanos, byok_nanos = (spent.get((key.hash, meter), 0) for meter in (Meter.CREDITS, Meter.BYOK))
    left, resets_at = _left(key, about, now), next_reset(about.limit_reset, now)
    limited_nanos = credits_nanos + byok_nanos if about.include_byok_in_limit else credits_nanos
    reached = _reached(left, limited_nanos, _watched(key, now), resets_at, now)
    return KeyOutlook(
        key=key,
        about=about,
        workspace=workspaces.get(key.workspace or ""),
        last_day_nanos=credits_nanos + byok_nanos,
        left_nanos=left,
        resets_at=resets_at if about.limit_nanos is not None else None,
        blocked=_first(about, reached, now) if key.watched else None,
    )


def _left(key: KeyState, about: KeyAbout, now: datetime) -> int | None:
    """Return what is left of the limit: all of it where it has reset since anybody looked."""
    if about.limit_nanos is None or key.counters is None:
        return None
    reset = next_reset(about.limit_reset, key.counters.last_seen_at)
    return about.limit_nanos if reset and reset <= now else about.limit_remaining_nanos


def _watched(key: KeyState, now: datetime) -> timedelta:
    """Return how much of the last 24 hours was watched, and never so little that a moment counts for a day."""
    since = last_day(now).start if key.counters is None else max(last_day(now).start, key.counters.opened_at)
    return max(now - since, _SHORTEST)


def _reached(
    left: int | None, spent_nanos: int, over: timedelta, resets_at: datetime | None, now: datetime
) -> Blocked | None:
    if left is None:
        return None
    if left <= 0:
        return Blocked(Blocker.LIMIT, None, resets_at)
    seconds = int(over.total_seconds()) * left // spent_nanos if spent_nanos else None
    if seconds is None or seconds > _FARTHEST.total_seconds():
        return None
    at = (now + timedelta(seconds=seconds)).replace(microsecond=0)
    return None if resets_at and at >= resets_at else Blocked(Blocker.LIMIT, at, resets_at)


def _first(about: KeyAbout, reached: Blocked | None, now: datetime) -> Blocked | None:
    disabled = Blocked(Blocker.DISABLED, None) if about.disabled else None
    expiring = about.expires_at and Blocked(Blocker.EXPIRY, about.expires_at if about.expires_at > now else None)
    # Of those that stop it already, the one that time does not mend.
    ahead = [blocked for blocked in (disabled, expiring, reached) if blocked]
    return min(ahead, key=lambda blocked: blocked.at or now, default=None)


def _with_suggestions(found: Sequence[KeyOutlook], owners: Sequence[str]) -> list[KeyOutlook]:
    owned = [(outlook, outlook.key.owner) for outlook in found if outlook.key.owner != UNOWNED]
    by_creator: dict[str | None, str | None] = {}
    told = []
    for outlook in found:
        suggested = None
        if outlook.key.owner == UNOWNED and outlook.key.watched:
            # The many are looked through once for each creator, and not for each key.
            if outlook.creator not in by_creator:
                by_creator[outlook.creator] = suggested_owner(outlook, (), owned)
            suggested = suggested_owner(outlook, owners, ()) or by_creator[outlook.creator]
        told.append(replace(outlook, suggested=suggested))
    return told
