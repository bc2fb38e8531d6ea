"""The protocols between jobs and the world. Jobs know these, never OpenRouter or Slack.

The store is not among them: SQLite in memory is its own fake.
"""

from collections.abc import Sequence
from typing import Protocol

from reckon.core.generations import Lookup
from reckon.core.outbox import Delivery, Receipt
from reckon.core.polls import Poll
from reckon.core.records import Balance, WatchedKey


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


class GenerationSource(Protocol):
    """Where the cost of single generations is told."""

    async def lookup(self, generation_id: str, asker: str) -> Lookup:
        """Ask, with the key whose hash is *asker*, what one generation cost: one ask, never repeated here.

        Raises nothing of the network: whatever the world does is a `NotFound`.
        """
        ...


class Sink(Protocol):
    """Where messages go."""

    @property
    def name(self) -> str:
        """What a person would call it: `slack`, `console`."""
        ...

    @property
    def has_threads(self) -> bool:
        """Whether a message can be edited and answered; where not, edits and replies are never delivered."""
        ...

    @property
    def has_pace(self) -> bool:
        """Whether it takes only one message a second at each place."""
        ...

    def knows(self, receipt: Receipt) -> bool:
        """Return whether *receipt* is of a message that this sink could edit or answer, and no other sink's."""
        ...

    @property
    def can_look(self) -> bool:
        """Whether a message can be found again after an answer was lost."""
        ...

    async def deliver(self, delivery: Delivery) -> Receipt:
        """Send *delivery* once, without repeating anything by itself. Its parent, if it has one, was delivered.

        A message that may have been said already, where nobody can look, says so in itself.

        Raises:
            SinkError: it was not delivered, or perhaps it was; the error tells which.
        """
        ...

    async def find(self, delivery: Delivery) -> Receipt | None:
        """Return where *delivery* already stands, or None where it is to be said once more.

        That is where it was certainly not said, where saying it again does no harm, and where looking has turned out
        not to be possible; in the last case `deliver` marks it as a possible repetition.

        Raises:
            SinkError: nobody can tell now; `retry_after_seconds` where the sink named a wait.
        """
        ...

    async def close(self) -> None:
        """Give back every connection."""
        ...
