"""The whole account: a sweep with the management key, and single keys where the sweep does not reach.

A key that sweeps show is read by them, and not once more by its own secret. Keys of the owner map that no sweep shows
belong to another account, or were deleted: they are asked about themselves. And when a sweep has failed a few times in
a row, the keys whose secrets are known are, too, until one succeeds.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import SecretStr

from reckon.core.polls import Poll
from reckon.core.records import Balance, Failure, WatchedKey
from reckon.core.sweeps import Sweep, Workspace
from reckon.sources.openrouter.client import OpenRouterClient
from reckon.sources.openrouter.source import OpenRouterSource
from reckon.sources.openrouter.sweeping import sweep

_FAILURES_UNTIL_SINGLE_KEYS: Final = 3
_PAGES: Final = (("GET", "/keys"), ("GET", "/workspaces"))
_WORKSPACES_HOLD_FOR: Final = timedelta(minutes=10)
_LONGEST_REST: Final = timedelta(hours=1)
"""What is further away was reckoned by a clock that has been set back since."""


class AccountSource:
    """A `reckon.ports.Source` over every key of an account, through one management key.

    Args:
        client: asks.
        single: asks single keys about themselves, and for the balance.
        management_key: sweeps.
        clock: stamps answers.
        concurrency: how many workspaces may be under way at once.
    """

    def __init__(
        self,
        client: OpenRouterClient,
        single: OpenRouterSource,
        management_key: SecretStr,
        *,
        clock: Callable[[], datetime],
        concurrency: int,
    ) -> None:
        self._client = client
        self._single = single
        self._management_key = management_key
        self._clock = clock
        self._concurrency = concurrency
        self._workspaces: Sequence[Workspace] | None = None
        self._listed_at: datetime | None = None
        self._shown: frozenset[str] = frozenset()
        self._failures = 0
        self._rest_until: datetime | None = None
        self._trouble: Failure | None = None

    @property
    def asked(self) -> int:
        """How many keys and pages have been asked for so far, so that a long poll can be seen to move."""
        return self._single.asked + sum(self._client.asked[page] for page in _PAGES)

    @property
    def clock_skew_seconds(self) -> float | None:
        """How far OpenRouter's clock is ahead of ours, when that is more than a minute; else None."""
        return self._single.clock_skew_seconds

    async def balances(self, keys: Sequence[WatchedKey]) -> Sequence[Balance]:
        """Ask for the account's balance. Raises nothing of the network."""
        return await self._single.balances(keys)

    async def poll(self, keys: Sequence[WatchedKey]) -> Poll:
        """Sweep the account, and ask those of *keys* about themselves that sweeps do not reach.

        Raises nothing of the network.
        """
        swept = await self._sweep()
        self._take_in(swept)
        reached = swept.seen if self._failures >= _FAILURES_UNTIL_SINGLE_KEYS else swept.seen | self._shown
        singly = await self._single.poll([key for key in keys if key.hash not in reached])
        return Poll(
            snapshots=(*(key.snapshot for key in swept.keys), *singly.snapshots),
            failures=(*swept.failures, *singly.failures),
            sweep=swept,
        )

    async def _sweep(self) -> Sweep:
        now = self._clock()
        if self._rest_until and now < self._rest_until <= now + _LONGEST_REST:
            return Sweep(trouble=self._trouble)
        self._rest_until = None
        # A clock that stepped back must not keep an old list for longer.
        is_fresh = self._listed_at is not None and timedelta(0) <= now - self._listed_at < _WORKSPACES_HOLD_FOR
        workspaces = self._workspaces if is_fresh else None
        swept = await sweep(self._client, self._management_key, self._clock, self._concurrency, workspaces)
        if swept.workspaces:
            self._workspaces = [each.workspace for each in swept.workspaces]
            self._listed_at = self._listed_at if is_fresh else now
        return swept

    def _take_in(self, swept: Sweep) -> None:
        self._trouble = swept.trouble
        if swept.trouble is None:
            self._shown, self._failures, self._rest_until = swept.seen, 0, None
            return
        self._failures += 1
        self._shown |= swept.seen
        self._listed_at = None
        if wait := swept.trouble.retry_after_seconds:
            self._rest_until = self._rest_until or self._clock() + timedelta(seconds=wait)
