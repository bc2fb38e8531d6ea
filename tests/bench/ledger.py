"""Ledgers to measure on: empty ones, and a team whose polls fill them."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from zoneinfo import ZoneInfo

from reckon.core import plans
from reckon.core.money import NANOS_PER_USD
from reckon.core.plans import LedgerPolicy, Plan
from reckon.core.polls import Poll
from reckon.core.records import Reading, Snapshot, WatchedKey
from reckon.core.windows import utc_midnight
from reckon.store import Store, open_store

START = datetime(2026, 11, 1, 23, 0, 4, tzinfo=UTC)
"""Four seconds into a local day."""
POLL_EVERY = timedelta(minutes=5)
POLLS_A_DAY = timedelta(days=1) // POLL_EVERY
POLICY = LedgerPolicy(ZoneInfo("Europe/Berlin"), POLL_EVERY)
KEYS_AN_OWNER = 20
NANOS_A_DAY = 3 * NANOS_PER_USD
"""What a key spends, on the average."""


@contextmanager
def sqlite_ledger() -> Iterator[Store]:
    """Yield an empty ledger in a file of its own, whose name is the store's."""
    with (
        tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory,
        open_store(f"sqlite:///{directory}/reckon.db", writes=True) as store,
    ):
        yield store


class Team:
    """Keys that spend a few dollars a day each and have spent tens of dollars before, polled every five minutes."""

    def __init__(self, keys: int) -> None:
        self._random = random.Random(1)  # noqa: S311 - nobody need be unable to guess these
        self.watched = [
            WatchedKey(sha256(b"%d" % number).hexdigest(), f"owner-{number // KEYS_AN_OWNER:04d}", f"key-{number:05d}")
            for number in range(keys)
        ]
        self.at = START
        self._snapshots = [self._opening(key) for key in self.watched]

    def poll(self, *, share_changed: float) -> Poll:
        """Return the next poll, in which so many of the keys have spent since the last."""
        before, self.at = self.at, self.at + POLL_EVERY
        is_new_day = utc_midnight(self.at) > before
        # A key spends the same in a day, however many of its polls show it.
        most_nanos = int(2 * NANOS_A_DAY / POLLS_A_DAY / share_changed) if share_changed else 0
        for place, snapshot in enumerate(self._snapshots):
            spent_nanos = self._random.randrange(1, most_nanos) if self._random.random() < share_changed else 0
            self._snapshots[place] = replace(
                snapshot,
                at=self.at + timedelta(seconds=place * 4 // len(self._snapshots)),  # answers take a few seconds
                credits=_grown(snapshot.credits, spent_nanos, is_new_day=is_new_day),
            )
        return Poll(tuple(self._snapshots))

    def first_poll(self) -> Poll:
        return Poll(tuple(self._snapshots))

    def commit(self, store: Store, poll: Poll) -> Plan:
        """Write *poll* as the poll job does."""
        return store.commit_poll(
            lambda state: plans.after_poll(state, poll, self.watched, POLICY, self.at), POLICY, self.at
        )

    def _opening(self, key: WatchedKey) -> Snapshot:
        total_nanos = self._random.randrange(10 * NANOS_PER_USD, 90 * NANOS_PER_USD)
        nothing = Reading(0, 0, 0, 0)
        return Snapshot(
            key.hash, START, Reading(total_nanos, 0, 0, 0), nothing, label=f"sk-or-v1-{key.hash[:3]}...{key.hash[-3:]}"
        )


def _grown(reading: Reading, nanos: int, *, is_new_day: bool) -> Reading:
    return Reading(
        reading.total_nanos + nanos,
        nanos if is_new_day else reading.daily_nanos + nanos,
        reading.weekly_nanos + nanos,
        reading.monthly_nanos + nanos,
    )
