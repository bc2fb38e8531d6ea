"""How long `reckon verify` takes to read a ledger again, for a million stored snapshots.

A small part of a million is written, by the real poll, and read; the work is the same for each. It is work for one
processor and waits for nothing, so its time is the processor's.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reckon.app import open_app
from reckon.config import load
from reckon.store import open_store
from tests.bench.figures import Figure, interleaved, limited, timed
from tests.bench.ledger import POLICY, Team

READINGS = 1_000_000


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: int
    polls: int


FULL = Size(rounds=5, keys=1_000, polls=24)
TINY = Size(rounds=1, keys=5, polls=3)


def measure(size: Size) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        config = Path(directory, "reckon.toml")
        config.write_text(f'timezone = "{POLICY.zone.key}"\nstore.url = "sqlite:///{directory}/reckon.db"\n')
        with open_store(f"sqlite:///{directory}/reckon.db", writes=True) as store:
            team = Team(size.keys)
            team.commit(store, team.first_poll())
            for _ in range(size.polls):
                team.commit(store, team.poll(share_changed=1.0))
        with open_app(load(config, {})) as app:
            verdict = app.verify()
            assert verdict.checked == size.keys * (size.polls + 1)
            assert not verdict.differences, verdict.differences[:1]
            costs = interleaved({"verify": lambda: timed(app.verify)}, size.rounds)["verify"]
    seconds = [cost.cpu_seconds * READINGS / verdict.checked for cost in costs]
    yield limited("L5 verify, a million readings", seconds, 30, "s")
