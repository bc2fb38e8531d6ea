"""The nouns of a sweep, as frozen values: every key of an account, as one management key was shown them.

The keys of a workspace come in pages, and keys are made and deleted while the pages are read. So a sweep tells what it
saw and how far it can be believed: a workspace of which a page failed is not complete, and what is missing from it may
well be there. That a workspace suddenly shows no key at all is for the reader to judge; how many it showed is told.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Final

from reckon.core.records import Failure, KeyState, Snapshot


@dataclass(frozen=True, slots=True)
class Workspace:
    """One part of an account. Each key lies in one, and may be moved to another."""

    id: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class KeyAbout:
    """What the account tells of a key beside its counters. None is what was not told."""

    hash: str
    disabled: bool | None = None
    limit_nanos: int | None = None
    """What OpenRouter lets it spend; None also without a limit."""
    limit_remaining_nanos: int | None = None
    limit_reset: str | None = None
    """`daily`, `weekly`, `monthly`; None for a limit that never resets."""
    include_byok_in_limit: bool | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    creator: str | None = None
    """OpenRouter's id of the person who made it."""


_EMPTY_FOR: Final = timedelta(hours=1)
_ABOUT: Final = tuple(each.name for each in fields(KeyAbout))


@dataclass(frozen=True, slots=True)
class SweptKey(KeyAbout):
    """One key as the account lists it. Its counters are sure; of everything else, None is what could not be read."""

    snapshot: Snapshot = field(kw_only=True)
    name: str | None = None
    label: str | None = None
    """OpenRouter's own masked form of the key."""
    workspace_id: str | None = None
    updated_at: datetime | None = None

    @property
    def about(self) -> KeyAbout:
        """What is kept of it beside its counters."""
        return KeyAbout(**{name: getattr(self, name) for name in _ABOUT})


def _is_emptied(failing_since: Sequence[datetime | None], now: datetime) -> bool:
    """Return whether none of a workspace's keys has been shown for so long that they are gone."""
    return all(since is not None and since + _EMPTY_FOR <= now for since in failing_since)


@dataclass(frozen=True, slots=True)
class WorkspaceSweep:
    """How the sweep of one workspace went."""

    workspace: Workspace
    began_at: datetime
    keys_seen: int
    """How many different keys it showed, those included that could not be read."""
    trouble: Failure | None = None
    """Why it is not complete."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """One pass over an account: for each key that was seen, either its record or its failure."""

    keys: tuple[SweptKey, ...] = ()
    failures: tuple[Failure, ...] = ()
    workspaces: tuple[WorkspaceSweep, ...] = ()
    trouble: Failure | None = None
    """The first thing that went wrong with the sweep, under the hash of the management key.

    None where every workspace is complete. Without any workspace, it is why they could not be listed.
    """

    @property
    def seen(self) -> frozenset[str]:
        """The hashes of every key that was seen, those included that could not be read."""
        return frozenset(key.hash for key in self.keys) | {failure.key_hash for failure in self.failures}

    def believed(self, known: Iterable[KeyState]) -> dict[str, datetime]:
        """Return the workspaces of which what is missing is missing, each with the instant its sweep began.

        One that suddenly shows no key at all is not among them, where *known* keys should be there, unless it has shown
        none for an hour while others did; nor is one that is not listed, unless others were read completely: then it
        is no longer there, and nor are its keys.
        """
        shown = {swept.workspace.id: swept.keys_seen for swept in self.workspaces}
        failing: defaultdict[str, list[datetime | None]] = defaultdict(list)
        for key in known:
            if key.watched and key.workspace is not None:
                failing[key.workspace].append(key.failing_since)
        peopled = {*failing}
        found = {
            id_: began
            for id_, began in self.complete.items()
            if shown[id_] or (any(shown.values()) and _is_emptied(failing[id_], began)) or id_ not in peopled
        }
        if self.trouble is None and any(shown.values()):
            began = min(swept.began_at for swept in self.workspaces)
            found |= dict.fromkeys(peopled - shown.keys(), began)
        return found

    @property
    def complete(self) -> Mapping[str, datetime]:
        """The ids of the workspaces that were seen completely, each with the instant its sweep began."""
        return {swept.workspace.id: swept.began_at for swept in self.workspaces if swept.trouble is None}
