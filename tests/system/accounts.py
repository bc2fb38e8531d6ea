"""An account of the fake OpenRouter in real time: who owns which key, what each spent, and what Reckon must say of it.

The commands that are tried here are real processes with the machine's clock, so the account keeps to that clock too.
What a key spent before Reckon first saw it is remembered with `open`, and everything after that must be counted.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from fractions import Fraction
from random import Random
from typing import Any

from reckon.fakes.world import Key, World
from tests.canary import inference_key

USD = 10**9


class Account:
    """Keys by name, each owned by somebody; what happens to them happens now."""

    def __init__(self, owners: dict[str, Iterable[str]], *, first_secret: int = 600) -> None:
        self.world = World(_now(), purchased_nanos=10**6 * USD)
        self.owners = {owner: list(names) for owner, names in owners.items()}
        self.keys: dict[str, Key] = {}
        self._before_nanos: dict[str, int] = {}
        self._random = Random(first_secret)  # noqa: S311 - amounts, not secrets
        self._next_secret = first_secret
        for names in self.owners.values():
            for name in names:
                self.make(name)
                self.world.spend(self.keys[name], self._random.randrange(10**13))

    def make(self, name: str) -> Key:
        """Make a key, in the place of the one of that name if there is one."""
        key = self.world.make_key(name, secret=inference_key(self._next_secret))
        self._next_secret += 1
        self.keys[name] = key
        return key

    def toml(self, url: str, store: str, *, timeout: str = "10s") -> str:
        """Return the configuration that watches every owned key."""
        lines = [
            f'[openrouter]\nbase_url = "{url}/api/v1"\ntimeout = "{timeout}"',
            f"[store]\nurl = '{store}'",
            *(f"[owners.{owner}]\nkeys = [{self._entries(names)}]" for owner, names in self.owners.items()),
        ]
        return "\n".join(lines) + "\n"

    def _entries(self, names: Iterable[str]) -> str:
        return ", ".join(f'{{name = "{name}", key = "{self.keys[name].secret}"}}' for name in names)

    # --- Money -----------------------------------------------------------------------------------------------------

    def spend(self, *names: str) -> None:
        """Let some money go: on the keys of these *names*, or on a few of them all."""
        self.world.move_to(max(self.world.now, _now()))
        for name in names or self._random.sample(sorted(self.keys), 1 + len(self.keys) // 4):
            if self.world.accepts(self.keys[name]):
                self.world.spend(self.keys[name], self._random.choice([1, 7, 1_000, 1_234_567, 2 * USD + 3]))

    def open(self, *names: str) -> None:
        """Remember what keys have spent so far: Reckon sees them for the first time now."""
        for name in names or self.keys:
            self._before_nanos[self.keys[name].hash] = self.world.spent(self.keys[name])

    def spent(self) -> dict[str, int]:
        """Return what each key ever opened has spent since, by hash."""
        by_hash = {key.hash: key for key in self.world.keys}
        return {hash_: self.world.spent(by_hash[hash_]) - before for hash_, before in self._before_nanos.items()}


def nanos(usd: str) -> int:
    """Return an amount as Reckon prints it, in nano-dollars."""
    exact = Fraction(usd) * USD
    assert exact.denominator == 1
    return int(exact)


def counted(spend_by_key: dict[str, Any]) -> dict[str, int]:
    """Return what `reckon spend --by key --json` says each key spent, by hash, whoever owned it then."""
    found: defaultdict[str, int] = defaultdict(int)
    for row in spend_by_key["rows"]:
        assert row["correction_usd"] == "0.000000000"
        if row["hash"] is not None:
            found[row["hash"]] += nanos(row["spend_usd"])
    return dict(found)


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the processes under test have the machine's clock
