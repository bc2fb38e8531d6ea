"""Staleness: no fresh snapshot where one was due. Not seeing is not the same as nothing happening.

If no key at all answers, it is the source that is silent: one finding, and nothing about single keys, which would only
say the same thing many times. While any key answers, the silent ones are found owner by owner. A silence is counted
from the first poll that failed, so a daemon that was off, and hears well when it comes back, has nothing to report; and
that of a single key, after the whole source was silent, from when the source was heard again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from reckon.core.alerts import Finding, Rule
from reckon.core.records import KeyState
from reckon.core.windows import local_date


def look(
    keys: Iterable[KeyState], after: timedelta, zone: ZoneInfo, now: datetime, heard_at: datetime | None = None
) -> list[Finding]:
    """Return what is stale: nothing, the source, or one finding for each owner with silent keys.

    Args:
        keys: every key the ledger knows, after the poll.
        after: how long a silence may last.
        zone: whose day a finding is about.
        now: the instant of the poll.
        heard_at: when the last silence of the source ended, as far as one is remembered.
    """
    day = local_date(now, zone)
    asked = sorted((key for key in keys if _is_asked(key)), key=lambda key: (key.owner, key.name))
    began = {key.hash: key.failing_since for key in asked if key.failing_since}
    if asked and len(began) == len(asked):
        about = asked if now - max(began.values()) >= after else []
        return [_finding(None, day, about)] if about else []
    silent: defaultdict[str, list[KeyState]] = defaultdict(list)
    for key in asked:
        if key.hash in began and now - max(began[key.hash], heard_at or began[key.hash]) >= after:
            silent[key.owner].append(key)
    return [_finding(owner, day, theirs) for owner, theirs in silent.items()]


def goes_on(finding: Finding, keys: Mapping[str, KeyState]) -> bool:
    """Return whether anything of the silence that was found is still so, for however short a time."""
    if finding.owner is None:
        asked = [key for key in keys.values() if _is_asked(key)]
        return bool(asked) and all(key.failing_since for key in asked)
    return any(is_silent(keys[key_hash], finding.owner) for key_hash in finding.key_hashes)


def is_silent(key: KeyState, owner: str) -> bool:
    """Return whether a key is still that owner's, and still does not answer."""
    return key.watched and key.owner == owner and key.failing_since is not None


def _is_asked(key: KeyState) -> bool:
    """Return whether anybody can ask for this key: one that no source reaches has neither answered nor failed."""
    return key.watched and (key.counters is not None or key.failing_since is not None)


def _finding(owner: str | None, day: date, about: list[KeyState]) -> Finding:
    return Finding(Rule.STALENESS, owner, day, since=_last_sight(about), key_hashes=tuple(key.hash for key in about))


def _last_sight(keys: Iterable[KeyState]) -> datetime:
    """Return when any of *keys* was last seen; for keys never seen, when the first of them began to fail."""
    seen = [key.counters.last_seen_at for key in keys if key.counters]
    return max(seen) if seen else min(key.failing_since for key in keys if key.failing_since)
