"""What is news about the keys of an account: said once, when a sweep first shows it.

A key that appears or is gone, that was disabled, that will expire soon, that nobody has used for long. Of an account
that is seen for the first time nothing is news; whatever stands in it is for `reckon keys` to show. All the news of one
sweep that go to one place are one message.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from reckon.core.alert_messages import Person, day_of_month
from reckon.core.messages import Fact, Message, Tone
from reckon.core.money import dollars
from reckon.core.outbox import Manner, Outgoing
from reckon.core.ownership import suggested_owner
from reckon.core.records import UNOWNED, KeyState
from reckon.core.sweeps import KeyAbout, Sweep, SweptKey

EXPIRES_SOON: Final = timedelta(days=7)
UNUSED_FOR: Final = timedelta(days=30)
_MOST_FACTS: Final = 12


@dataclass(frozen=True, slots=True)
class KeysBefore:
    """What was known before a sweep."""

    keys: Mapping[str, KeyState]
    abouts: Mapping[str, KeyAbout]
    swept_at: Mapping[str, datetime]
    """When the last complete sweep of each workspace began."""


def tell(
    before: KeysBefore, keys: Mapping[str, KeyState], sweep: Sweep, people: Mapping[str, Person], now: datetime
) -> tuple[Outgoing, ...]:
    """Return what there is to say of the *keys* as they stand after *sweep*."""
    by_place: defaultdict[str | None, list[tuple[str, Fact]]] = defaultdict(list)
    for key, short, fact in _news(before, keys, sweep, [*people], now):
        person = people.get(key.owner)
        by_place[person.place if person else None].append((short, fact))
    return tuple(
        Outgoing(f"keys:{now:%Y%m%dT%H%M%SZ}:{place or ''}", _message(news), Manner.POST, None, place)
        for place, news in by_place.items()
    )


def _message(news: list[tuple[str, Fact]]) -> Message:
    facts = [fact for _, fact in news]
    if len(facts) == 1:
        return Message(f"{facts[0].label}: {facts[0].text}", Tone.PLAIN)
    shown = facts if len(facts) <= _MOST_FACTS else facts[: _MOST_FACTS - 1]
    rest = [Fact("And", f"{len(facts) - len(shown)} more: see `reckon keys`")] if len(facts) > len(shown) else []
    counts: defaultdict[str, int] = defaultdict(int)
    for short, _ in news:
        counts[short] += 1
    summary = ", ".join(f"{number} {short}" for short, number in counts.items())
    return Message(f"API keys: {summary}", Tone.PLAIN, (*shown, *rest))


def _news(
    before: KeysBefore, keys: Mapping[str, KeyState], sweep: Sweep, owners: list[str], now: datetime
) -> Iterator[tuple[KeyState, str, Fact]]:
    """Yield each piece of news: about which key, its kind in a word, and the line that says it."""
    others = [(other, keys[other.hash].owner) for other in sweep.keys]
    for swept in sweep.keys:
        key, seen_at = keys[swept.hash], before.swept_at.get(swept.workspace_id or "")
        if seen_at is None:
            continue
        if swept.hash not in before.keys:
            yield key, "new", Fact("New key", _new(swept, key, owners, others))
            continue
        was, name = before.abouts.get(swept.hash), _named(key)
        if swept.disabled and was and was.disabled is False:
            yield key, "disabled", Fact("Disabled", name)
        if swept.expires_at and _comes_near(swept.expires_at, was, seen_at, now):
            yield key, "expiring", Fact("Expires", f"{name} on {day_of_month(swept.expires_at.date())}")
        if swept.last_used_at and not swept.disabled and seen_at < swept.last_used_at + UNUSED_FOR <= now:
            yield key, "unused", Fact("Unused", f"{name}, since {day_of_month(swept.last_used_at.date())}")
    for was_key in before.keys.values():
        if was_key.watched and was_key.workspace is not None and not keys[was_key.hash].watched:
            yield was_key, "gone", Fact("Gone", f"{_named(was_key)}; what it spent stays counted")


def _new(swept: SweptKey, key: KeyState, owners: list[str], others: list[tuple[SweptKey, str]]) -> str:
    limit = "no limit" if swept.limit_nanos is None else f"limit {dollars(swept.limit_nanos)}"
    each = f" {swept.limit_reset}" if swept.limit_reset and swept.limit_nanos is not None else ""
    if key.owner != UNOWNED:
        return f"{_named(key)}, {limit}{each}"
    suggested = suggested_owner(swept, owners, others)
    perhaps = f"; perhaps {suggested}'s" if suggested else ""
    return f"{key.name}, {limit}{each}, belongs to nobody{perhaps}"


def _named(key: KeyState) -> str:
    return key.name if key.owner == UNOWNED else f"{key.name} of {key.owner}"


def _comes_near(expires_at: datetime, was: KeyAbout | None, seen_at: datetime, now: datetime) -> bool:
    """Return whether a key has only now come to expire soon: by the passing of time, or because it was changed."""
    is_soon = now < expires_at <= now + EXPIRES_SOON
    was_soon = was is not None and was.expires_at == expires_at and expires_at <= seen_at + EXPIRES_SOON
    return is_soon and not was_soon
