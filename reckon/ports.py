"""The protocols between jobs and the world. Jobs know these, never OpenRouter.

The store is not among them: SQLite in memory is its own fake.
"""

from collections.abc import Sequence
from typing import Protocol

from reckon.core.records import Balance, Poll, WatchedKey


class Source(Protocol):
    """Where snapshots come from."""

    async def poll(self, keys: Sequence[WatchedKey]) -> Poll:
        """Ask for the counters of every one of *keys* that this source can reach.

        Each key asked yields one snapshot or one failure; trouble with one never delays or costs another. Raises
        nothing of the network: whatever the world does is a `Failure`.
        """
        ...

    async def balances(self, keys: Sequence[WatchedKey]) -> Sequence[Balance]:
        """Ask for the account's balance, with the management key if there is one, else with each of *keys*.

        Yields one balance per key that was permitted to see one; none is a sound answer.
        """
        ...
