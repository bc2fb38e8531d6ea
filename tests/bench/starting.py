"""How long a person waits for `reckon --help`, beside the shortest program Python can run."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, at_most, compared, interleaved, timed


@dataclass(frozen=True)
class Size:
    rounds: int


FULL = Size(rounds=15)
TINY = Size(rounds=1)


def measure(size: Size) -> Iterator[Figure]:
    python = sys.executable
    ways = {
        "help": partial(timed, partial(_run, str(Path(python).with_name("reckon")), "--help")),
        "bare": partial(timed, partial(_run, python, "-c", "pass")),
    }
    found = interleaved(ways, size.rounds)
    waits = {name: [cost.wall_seconds * 1000 for cost in costs] for name, costs in found.items()}
    yield compared("G10 reckon --help : python -c pass", waits["help"], waits["bare"], "ms", at_most(12))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
