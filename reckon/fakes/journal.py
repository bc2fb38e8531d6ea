"""Every charge of the account in order of time, with what it was for: what OpenRouter's reports are made of.

The counters of keys are kept elsewhere, as sums; here is the same money once more, entry by entry. Whoever asks for a
stretch of time, of the account or of some keys, gets that stretch by bisection and goes through nothing else.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from operator import attrgetter
from threading import Lock
from typing import Final

from reckon.fakes.generations import NO_TOKENS, Generation, Tokens

UNEXPLAINED_MODEL: Final = "openrouter/unknown"
"""The model of every charge that no completion explains, so that reports add up to the counters."""
UNEXPLAINED_PROVIDER: Final = "FakeProvider"


@dataclass(frozen=True, slots=True)
class Entry:
    """One charge, or one correction of a charge: a refund and a lower price are below zero."""

    at: datetime
    key_hash: str | None
    """None for money that the account spent without any key."""
    credits_nanos: int = 0
    byok_nanos: int = 0
    requests: int = 1
    """A correction is none."""
    model: str = UNEXPLAINED_MODEL
    provider: str = UNEXPLAINED_PROVIDER
    tokens: Tokens = NO_TOKENS
    generation: Generation | None = None


@dataclass(slots=True)
class Sums:
    """Some entries, added up."""

    credits_nanos: int = 0
    byok_nanos: int = 0
    byok_fees_nanos: int = 0
    """Credits that were charged for what ran through the team's own upstream keys."""
    requests: int = 0
    byok_requests: int = 0
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0

    def add(self, entry: Entry) -> None:
        """Count *entry* in."""
        self.credits_nanos += entry.credits_nanos
        self.byok_nanos += entry.byok_nanos
        self.requests += entry.requests
        if entry.generation.is_byok if entry.generation else entry.byok_nanos:
            self.byok_fees_nanos += entry.credits_nanos
            self.byok_requests += entry.requests
        tokens = entry.tokens
        self.prompt += tokens.prompt
        self.completion += tokens.completion
        self.cached += tokens.cached
        self.reasoning += tokens.reasoning


class Journal:
    """All entries of the account. May be added to in one thread while another reads."""

    def __init__(self) -> None:
        self._all: list[Entry] = []
        self._by_key: dict[str | None, list[Entry]] = {}
        self._lock: Final = Lock()

    def add(self, entry: Entry) -> None:
        """Write down one entry; among entries of one instant, the last."""
        with self._lock:
            insort(self._all, entry, key=_AT)
            insort(self._by_key.setdefault(entry.key_hash, []), entry, key=_AT)

    def entries(
        self, since: datetime, until: datetime, key_hashes: Iterable[str | None] | None = None
    ) -> Iterable[Entry]:
        """Return what was charged in `[since, until)` in order of time, to the whole account or to some keys."""
        with self._lock:
            lines = [self._all] if key_hashes is None else [self._by_key.get(key, []) for key in key_hashes]
            stretches = [line[bisect_left(line, since, key=_AT) : bisect_left(line, until, key=_AT)] for line in lines]
        return stretches[0] if len(stretches) == 1 else merge(*stretches, key=_AT)


_AT: Final = attrgetter("at")
