"""What it costs to commit one poll, beside what it costs to ask for it: reading the state, deciding, writing.

No goal stands over this. It should stay small beside the asking, and with a management key the asking becomes cheap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from reckon.store import Store
from tests.bench.figures import Cost, Figure, interleaved, timed, told
from tests.bench.ledger import Team, sqlite_ledger


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: tuple[int, ...]


FULL = Size(rounds=5, keys=(1_000, 5_000))
TINY = Size(rounds=1, keys=(5,))

SHARES_CHANGED = {"none": 0.0, "a tenth": 0.1, "all": 1.0}


def measure(size: Size) -> Iterator[Figure]:
    for keys in size.keys:
        with sqlite_ledger() as store:
            team = Team(keys)
            team.commit(store, team.first_poll())
            ways = {words: partial(_commit, store, team, share) for words, share in SHARES_CHANGED.items()}
            found = interleaved(ways, size.rounds)
        for words, costs in found.items():
            per_key = [cost.cpu_seconds / keys * 1e6 for cost in costs]
            yield told(f"Commit, CPU a key: {keys:,} keys, {words} spent", per_key, "µs")


def _commit(store: Store, team: Team, share_changed: float) -> Cost:
    poll = team.poll(share_changed=share_changed)
    return timed(partial(team.commit, store, poll))
