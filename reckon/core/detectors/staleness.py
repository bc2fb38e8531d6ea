"""Staleness: no fresh snapshot where one was due. Not seeing is not the same as nothing happening.

If no key at all answers, it is the source that is silent: one finding, and nothing about single keys, which would only
say the same thing many times. While any key answers, the silent ones are found owner by owner. A silence is counted
from the first poll that failed, so a daemon that was off, and hears well when it comes back, has nothing to report.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from reckon.core.alerts import Finding, Rule
from reckon.core.records import KeyState
from reckon.core.windows import local_date


def look(keys: Iterable[KeyState], after: timedelta, zone: ZoneInfo, now: datetime) -> list[Finding]:
    """Return what is stale: nothing, the source, or one finding for each owner with silent keys.

    Args:
        keys: every key the ledger knows, after the poll.
        after: how long a silence may last.
        zone: whose day a finding is about.
        now: the instant of the poll.
    """
    watched = sorted((key for key in keys if key.watched), key=lambda key: (key.owner, key.name))
    day = local_date(now, zone)
    failing = [key.failing_since for key in watched if key.failing_since]
    if watched and len(failing) == len(watched):
        if now - max(failing) < after:
            return []
        return [Finding(Rule.STALENESS, None, day, since=_last_sight(watched), key_hashes=_hashes(watched))]
    silent: defaultdict[str, list[KeyState]] = defaultdict(list)
    for key in watched:
        if key.failing_since and now - key.failing_since >= after:
            silent[key.owner].append(key)
    return [
        Finding(Rule.STALENESS, owner, day, since=_last_sight(theirs), key_hashes=_hashes(theirs))
        for owner, theirs in silent.items()
    ]


def is_source_silent(keys: Iterable[KeyState]) -> bool:
    """Return whether no watched key answers, for however short a time."""
    watched = [key for key in keys if key.watched]
    return bool(watched) and all(key.failing_since for key in watched)


def _last_sight(keys: Iterable[KeyState]) -> datetime:
    """Return when any of *keys* was last seen; for keys never seen, when the first of them began to fail."""
    seen = [key.counters.last_seen_at for key in keys if key.counters]
    return max(seen) if seen else min(key.failing_since for key in keys if key.failing_since)


def _hashes(keys: Iterable[KeyState]) -> tuple[str, ...]:
    return tuple(key.hash for key in keys)
