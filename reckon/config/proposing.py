"""An owner map that could be, from what a sweep shows of an account.

People name keys after whoever uses them: `dana-laptop`, `dana-ci`. So keys whose names begin alike, up to a sign that
divides words, are one owner's, and so will be the next one that is named like them. A name that stands alone is an
owner of its own; but where several people make keys, it belongs with the others of whoever made it, if these are one
owner's.

It is a proposal for a person to read and to change. What it guarantees is that the configuration accepts it, and that
by it each key belongs to the owner it says.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from reckon.config.grammar import is_label
from reckon.core.ownership import OwnerRule
from reckon.core.sweeps import SweptKey

MOST_OWNERS: Final = 60
"""More of them nobody would read; the keys of the others, who spent less this month, stay unowned for now."""

_LONGEST_NAME: Final = 80
_LONGEST_ID: Final = 40
_HEAD: Final = re.compile(r"([^-_. ]+)([-_. ])")
_NOBODY_HOLDS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProposedKey:
    """A key that the map names: by a reference to its secret where there is one, else by its hash."""

    name: str
    hash: str
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class ProposedOwner:
    """One owner, and what makes keys theirs: their being named, or a glob."""

    id: str
    """A bare key of TOML, unlike every other owner's."""
    keys: tuple[ProposedKey, ...] = ()
    name_glob: str | None = None
    creator_glob: str | None = None
    claimed: tuple[str, ...] = ()
    """What the keys are called that a glob claims."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """The owners of an account's keys, those with a glob for names first."""

    owners: tuple[ProposedOwner, ...] = ()
    unowned: int = 0
    """How many of the keys stay nobody's: without a name that tells anything, or of owners beyond the most."""


def propose(keys: Iterable[SweptKey], held: Mapping[str, str] = _NOBODY_HOLDS) -> Proposal:
    """Return whose *keys* could be.

    Args:
        keys: what a sweep shows.
        held: references to the secrets of some keys, by hash; those are named by them.
    """
    known = sorted(keys, key=lambda key: (key.name or "", key.hash))
    crews = [*_crews(known)]
    crews.sort(key=lambda crew: -sum(map(_spent_this_month, crew.keys)))
    taken: set[str] = set()
    owners = [_owner(crew, free_id(crew.called, taken), held) for crew in crews[:MOST_OWNERS]]
    unseen = [ProposedKey("main", key_hash, held[key_hash]) for key_hash in held.keys() - {key.hash for key in known}]
    if unseen:
        owners.append(ProposedOwner(free_id("me", taken), tuple(_with_names_of_their_own(unseen))))
    owners.sort(key=lambda owner: (owner.name_glob is None, owner.creator_glob is None, owner.id))
    named = {key.hash for owner in owners for key in owner.keys}
    rules = [rule for owner in owners if (rule := _rule(owner))]
    unowned = [key for key in known if key.hash not in named and not any(rule.claims(key, None) for rule in rules)]
    return Proposal(tuple(owners), len(unowned))


# --- Who belongs together --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Crew:
    """Keys that are one owner's."""

    called: str
    keys: Sequence[SweptKey] = field(repr=False)
    name_glob: str | None = None
    creator_glob: str | None = None

    @property
    def makers(self) -> set[str | None]:
        return {key.creator for key in self.keys}


def _crews(keys: Sequence[SweptKey]) -> Iterator[_Crew]:
    """Yield every crew there is among *keys*, each key in one of them at most."""
    alike: dict[str, list[SweptKey]] = {}
    for key in keys:
        if _tells_something(key):
            alike.setdefault(_stem(key).lower(), []).append(key)
    families = [_family(stem, found) for stem, found in alike.items() if len(found) > 1]
    alone = [found[0] for found in alike.values() if len(found) == 1]
    if len({key.creator for key in keys if key.creator}) < 2:  # one person makes the keys of everybody
        yield from families
        yield from map(_single, alone)
        return
    for family in families:
        (maker, *others) = family.makers
        is_all_of_theirs = not others and [maker in other.makers for other in families].count(True) == 1
        joining = [key for key in alone if is_all_of_theirs and key.creator == maker is not None]
        yield replace(family, keys=[*family.keys, *joining])
        alone = [key for key in alone if key not in joining]
    yield from _by_maker(alone, {maker for family in families for maker in family.makers})


def _by_maker(alone: Sequence[SweptKey], settled: Collection[str | None]) -> Iterator[_Crew]:
    """Yield the crews of keys that stand alone: of those who made several of them, and nothing else, one."""
    made = Counter(key.creator for key in alone)
    for maker, number in made.items():
        theirs = [key for key in alone if key.creator == maker]
        if maker is None or maker in settled or number == 1 or not is_label(_escaped(maker), most=_LONGEST_NAME):
            yield from map(_single, theirs)
        else:
            yield _Crew("person", theirs, creator_glob=_escaped(maker))


def _family(stem: str, keys: Sequence[SweptKey]) -> _Crew:
    heads = Counter(found[0] for key in keys if (found := _HEAD.match(key.name or "")))
    head = max(sorted(heads), key=heads.__getitem__, default=None)
    glob = None if head is None else f"{_escaped(head)}*"
    return _Crew(stem, keys, name_glob=glob if glob and is_label(glob, most=_LONGEST_NAME) else None)


def _single(key: SweptKey) -> _Crew:
    return _Crew(key.name or "", [key])


def _stem(key: SweptKey) -> str:
    found = _HEAD.match(key.name or "")
    return found[1] if found else key.name or ""


def _tells_something(key: SweptKey) -> bool:
    """Return whether a person has named *key*, in a way that can stand in a configuration."""
    name = key.name
    return (
        name is not None and name != key.label and not name.startswith("sk-or-") and is_label(name, most=_LONGEST_NAME)
    )


def _spent_this_month(key: SweptKey) -> int:
    return key.snapshot.credits.monthly_nanos + key.snapshot.byok.monthly_nanos


def _escaped(text: str) -> str:
    """Return the glob that matches *text* alone."""
    return re.sub(r"([*?[])", r"[\1]", text)


# --- Whom to call what -----------------------------------------------------------------------------------------------


def _owner(crew: _Crew, owner_id: str, held: Mapping[str, str]) -> ProposedOwner:
    owner = ProposedOwner(owner_id, name_glob=crew.name_glob, creator_glob=crew.creator_glob)
    rule = _rule(owner)
    claimed = {key.hash for key in crew.keys if rule and rule.claims(key, None)} - held.keys()
    named = [ProposedKey(key.name or "", key.hash, held.get(key.hash)) for key in crew.keys if key.hash not in claimed]
    return replace(
        owner,
        keys=tuple(_with_names_of_their_own(named)),
        claimed=tuple(key.name or "" for key in crew.keys if key.hash in claimed),
    )


def _rule(owner: ProposedOwner) -> OwnerRule | None:
    """Return the rule by which *owner* claims keys, if there is one; without a glob it would claim all."""
    if owner.name_glob is None and owner.creator_glob is None:
        return None
    return OwnerRule(owner.id, name=owner.name_glob, creator=owner.creator_glob)


def _with_names_of_their_own(keys: Sequence[ProposedKey]) -> Iterator[ProposedKey]:
    names = Counter(key.name for key in keys)
    for key in keys:
        suffix = f" {key.hash[:8]}"
        name = key.name[: _LONGEST_NAME - len(suffix)].rstrip() + suffix
        yield key if names[key.name] == 1 else replace(key, name=name)


def free_id(called: str, taken: set[str]) -> str:
    """Return an id for an owner whom people call so, which nobody has yet, and add it to *taken*."""
    letters = unicodedata.normalize("NFKD", called).encode("ascii", "ignore").decode().lower()
    id_ = re.sub(r"[^a-z0-9_]+", "-", letters)[:_LONGEST_ID].strip("-")
    if not id_ or not is_label(id_, most=_LONGEST_ID):
        id_ = "owner"
    free = next(
        name for number in range(1, len(taken) + 2) if (name := id_ if number == 1 else f"{id_}-{number}") not in taken
    )
    taken.add(free)
    return free
