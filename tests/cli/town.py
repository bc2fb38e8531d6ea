"""A town: an invented account, an owner map over its keys, and a ledger that lived through it.

Time passes on the account's own clock and the polls are the real thing, so a test writes down what happened on which
day and then asks the command line, which knows nothing of all this. Days of the past are used where the answer must not
depend on when the test runs.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from httpx import ASGITransport

from reckon.cli import run
from reckon.config import load
from reckon.core.plans import LedgerPolicy, Plan, after_poll
from reckon.core.polls import Poll
from reckon.core.records import Snapshot, WatchedKey
from reckon.fakes import openrouter
from reckon.fakes.world import Key, World
from reckon.store import open_store
from reckon.watch import open_watcher
from tests.builders import MINUTE, at, usd
from tests.canary import CANARIES, inference_key

_NO_TEAMS: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(frozen=True)
class Answer:
    """What one command gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that standard output holds."""
        assert self.code in {0, 1, 69}, self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


@dataclass
class Town:
    """Keys are known by the name they have in the owner map, which a town keeps unique."""

    directory: Path
    write_secret: Callable[..., Path]
    read_output: Callable[[], Any]
    world: World
    base_url: str = "http://127.0.0.1:9/api/v1"
    management_key: str | None = None
    extra: str = ""
    """What the configuration holds besides, in TOML."""
    keys: dict[str, Key] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        return self.directory / "reckon.toml"

    @property
    def database(self) -> Path:
        return self.directory / "reckon.db"

    def settle(
        self, owners: dict[str, Sequence[str]], *, zone: str = "UTC", teams: Mapping[str, str] = _NO_TEAMS
    ) -> None:
        """Write the owner map: for each owner the names of their keys. Keys the account lacks are made."""
        lines = [f'timezone = "{zone}"', "[openrouter]", f'base_url = "{self.base_url}"', "[log]", 'level = "error"']
        if self.management_key:
            lines.insert(3, f'management_key = "{self.management_key}"')
        for owner, names in owners.items():
            lines.append(f"[owners.{json.dumps(owner, ensure_ascii=False)}]")
            lines += [f'team = "{teams[owner]}"'] if owner in teams else []
            entries = [f'{{ name = {json.dumps(n, ensure_ascii=False)}, key = "{self.key(n).secret}" }}' for n in names]
            lines.append(f"keys = [{', '.join(entries)}]")
        self.write_secret("reckon.toml", "\n".join([*lines, self.extra]))

    def key(self, name: str) -> Key:
        if name not in self.keys:
            self.keys[name] = self.world.make_key(name, secret=inference_key(len(self.keys) + 1))
        return self.keys[name]

    def manage(self) -> None:
        """Give the town a management key; its next owner map names it."""
        self.management_key = CANARIES["management_key"]
        self.world.make_key("boss", secret=self.management_key, is_management_key=True)

    def spend(self, name: str, amount: str, when: str | None = None, *, meter: Any = "credits") -> None:
        """Let the key spend dollars, now or at an instant of the past or future, in UTC."""
        self.world.spend(self.key(name), usd(amount), at=at(when) if when else None, meter=meter)

    def poll(self, *instants: str) -> Plan:
        """Poll at each of *instants*, in UTC, or now; return the last plan."""
        return asyncio.run(self._poll(instants))

    async def _poll(self, instants: Sequence[str]) -> Plan:
        plan = None
        transport = ASGITransport(app=openrouter.app(self.world))
        settings = load(self.config, {})
        async with open_watcher(settings, {}, clock=lambda: self.world.now, transport=transport) as watcher:
            for instant in [at(when) for when in instants] or [self.world.now]:
                self.world.move_to(instant)
                (plan,) = await watcher.poll_everything(self.world.now)
        assert plan is not None
        return plan

    def commit(self, *answers: Snapshot, watched: Sequence[WatchedKey] = ()) -> None:
        """Let the ledger take answers about keys that no configuration of today names, as *watched* has them."""
        store = open_store(f"sqlite:///{self.database}", writes=True)
        policy = LedgerPolicy(ZoneInfo("UTC"), MINUTE)
        try:
            with store.reading() as ledger:
                known = [WatchedKey(key.hash, key.owner, key.name) for key in ledger.every_key() if key.watched]
            for answer in answers:
                poll = Poll((answer,))
                decide = partial(after_poll, poll=poll, watched=[*known, *watched], policy=policy, now=answer.at)
                store.commit_poll(decide, policy, answer.at)
        finally:
            store.close()

    def reckon(self, *arguments: str) -> Answer:
        """Run one command on this town's configuration."""
        self.read_output()
        code = run([*arguments, "--config", str(self.config)])
        captured = self.read_output()
        return Answer(code, captured.out, captured.err)

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        return self.reckon(*arguments, "--json").document["rows"]
