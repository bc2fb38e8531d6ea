"""One completion, as the world knows it: what ran where, what it cost, and from when the API tells of it.

A `Generation` is a fact and never changes; a cost that is told differently later is another `Generation` with the same
id. Which key ran it the world knows, and the API does not say.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final

ORIGIN: Final = "https://agents.example/"


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider counted. Cached, cache-write and audio tokens are part of the prompt, reasoning of the rest."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_write: int = 0
    audio_input: int = 0
    reasoning: int = 0


NO_TOKENS: Final = Tokens()
SOME_TOKENS: Final = Tokens(prompt=1_200, completion=300, cached=400, reasoning=60)


class Unsettled(Enum):
    """What `/generation` says of a completion whose cost has not been written down yet."""

    NOT_FOUND = auto()
    """404, as of an id that never was."""
    ZEROS = auto()
    """200, with no tokens and no cost."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One completion."""

    id: str
    key_hash: str
    at: datetime
    model: str
    """The model that served."""
    asked: str | None
    """What was asked for where that was something else: a router, or another model."""
    provider: str
    cost_nanos: int
    """Of the account's credits."""
    byok_nanos: int
    """Through an upstream key of the team's own, beside the credits."""
    upstream_nanos: int | None
    """What the provider took, told as well where OpenRouter paid it."""
    tokens: Tokens
    session: str | None
    app_id: int | None
    origin: str
    cancelled: bool
    from_cache_of: str | None
    failed_providers: tuple[str, ...]
    """Who was tried first and failed."""
    settles_at: datetime
    until_settled: Unsettled

    @property
    def is_byok(self) -> bool:
        """Whether it ran through an upstream key of the team's own."""
        return self.byok_nanos > 0

    @property
    def router(self) -> str | None:
        """The router that chose the model, if one did."""
        return self.asked if self.asked is not None and self.asked.startswith("openrouter/") else None


def invented_id(at: datetime, of: str) -> str:
    """Return an id with the looks of a real one, always the same for *at* and *of*."""
    return f"gen-{int(at.timestamp())}-{hashlib.sha256(f'invented: {of}'.encode()).hexdigest()[:20]}"
