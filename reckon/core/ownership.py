"""Which owner a key belongs to, and which keys are watched.

A key is known by the SHA-256 of its secret: OpenRouter documents that hash as the key's own name in its management API
and its web pages, so a key read by its secret and the same key read by a sweep are one counter. The secret itself is
never stored.

An entry of the owner map names one key, and comes first. Every other key that a sweep finds belongs to the first rule
that claims it, and to nobody where none does: it is watched all the same. So one that is made in place of another, and
is named alike, goes on with its owner's history.

A key that a sweep does not show is not gone: pages shift while they are read. One that two complete sweeps of its
workspace did not show is, and keeps its past.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, Protocol

from reckon.core.records import UNOWNED, KeyState, WatchedKey
from reckon.core.sweeps import Sweep, SweptKey

_SWEEPS_UNTIL_GONE: Final = 2
_LONGEST_NAME: Final = 80


def key_hash(secret: str) -> str:
    """Return the lower-case hex SHA-256 of the whole key string, `sk-or-v1-` included."""
    return hashlib.sha256(secret.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OwnerRule:
    """Claims keys for an owner by what a sweep tells of them: globs, all of which have to match; None matches all."""

    owner: str
    name: str | None = None
    workspace: str | None = None
    """The name of the workspace, or its id."""
    creator: str | None = None
    """OpenRouter's id of the person who made the key."""

    def claims(self, key: SweptKey, workspace_name: str | None) -> bool:
        """Return whether *key* is this owner's."""
        return (
            _matches(self.name, key.name)
            and _matches(self.workspace, workspace_name, key.workspace_id)
            and _matches(self.creator, key.creator)
        )


def watched_now(
    known: Mapping[str, KeyState],
    entries: Sequence[WatchedKey],
    rules: Sequence[OwnerRule],
    sweep: Sweep | None,
    *,
    goes_on: bool,
) -> list[WatchedKey]:
    """Return every key that is watched after *sweep*, with whose it is.

    Args:
        known: every key the ledger knows, by hash.
        entries: the keys that the owner map names.
        rules: whose the others are.
        sweep: what was seen of the account; None where nobody has looked this time, and all stays as it is.
        goes_on: whether, if so, somebody will look again.
    """
    if sweep is None and not goes_on:
        return [*entries]
    named = {entry.hash for entry in entries}
    missing = Missing(known.values(), sweep)
    found = [
        WatchedKey(key.hash, key.owner, key.name)
        for key in known.values()
        if key.hash not in named and key.watched and key.workspace is not None and not missing.is_gone(key)
    ]
    if sweep is None:
        return [*entries, *found]
    workspace_names = {swept.workspace.id: swept.workspace.name for swept in sweep.workspaces}
    swept = {key.hash: key for key in sweep.keys if key.hash not in named}
    unseen = [entry for entry in found if entry.hash not in swept]
    ours = [
        WatchedKey(key.hash, _owner(key, rules, workspace_names.get(key.workspace_id or "")), _name(key))
        for key in swept.values()
    ]
    return [*entries, *_with_names_of_their_own([*unseen, *ours], entries)]


class Missing:
    """In how many complete sweeps in a row each key has been missing, the last one included, until it is gone."""

    def __init__(self, known: Iterable[KeyState], sweep: Sweep | None) -> None:
        self._seen = sweep.seen if sweep else frozenset()
        self._believed = sweep.believed(known) if sweep else {}

    def after(self, key: KeyState) -> int:
        """Return that number of *key*."""
        if key.hash in self._seen:
            return 0
        return min(_SWEEPS_UNTIL_GONE, key.missing + (key.workspace in self._believed))

    def is_gone(self, key: KeyState) -> bool:
        """Return whether *key* is no longer there."""
        return self.after(key) >= _SWEEPS_UNTIL_GONE


class Made(Protocol):
    """What tells of a key whose it could be."""

    @property
    def name(self) -> str | None:
        """What people call it."""

    @property
    def creator(self) -> str | None:
        """OpenRouter's id of the person who made it."""


def suggested_owner(key: Made, owners: Iterable[str], others: Iterable[tuple[Made, str]]) -> str | None:
    """Return who most likely answers for a key that nobody claimed; None where nothing tells.

    That is an owner whose id its name begins with, or else the one who owns most keys of the same creator.
    """
    name = (key.name or "").lower()
    named = [owner for owner in owners if name == (id_ := owner.lower()) or name.startswith(tuple(_after(id_)))]
    if named:
        return max(named, key=len)
    made = [owner for other, owner in others if key.creator and other.creator == key.creator and owner != UNOWNED]
    return max(sorted(set(made)), key=made.count, default=None)


def _owner(key: SweptKey, rules: Sequence[OwnerRule], workspace_name: str | None) -> str:
    return next((rule.owner for rule in rules if rule.claims(key, workspace_name)), UNOWNED)


def _after(owner: str) -> Iterator[str]:
    return (owner + sign for sign in "-_ .")


def _matches(glob: str | None, *names: str | None) -> bool:
    return glob is None or any(name is not None and fnmatchcase(name, glob) for name in names)


def _name(key: SweptKey) -> str:
    return (key.name or key.label or key.hash[:12])[:_LONGEST_NAME]


def _with_names_of_their_own(found: Sequence[WatchedKey], entries: Sequence[WatchedKey]) -> list[WatchedKey]:
    """Return *found* with the beginning of its hash beside each name that its owner has twice."""
    held: dict[tuple[str, str], int] = {}
    for entry in (*entries, *found):
        held[entry.owner, entry.name] = held.get((entry.owner, entry.name), 0) + 1
    return [
        WatchedKey(key.hash, key.owner, f"{key.name} {key.hash[:8]}") if held[key.owner, key.name] > 1 else key
        for key in found
    ]
