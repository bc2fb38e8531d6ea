"""What the daemon weighs that has polled so many keys, beside a process that only imported what it is built of.

Each is a fresh process, in every round. What a further key weighs is told by a process with five times as many.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.figures import Figure, NotMeasured, at_most, compared, interleaved, limited
from tests.bench.polling import invented_keys
from tests.bench.upstream import Upstream, upstream

_TIMES = 5
PROMETHEUS_MIB = 126
"""What a Prometheus with a thousand targets weighed on the machine where the goals were set."""


@dataclass(frozen=True)
class Size:
    rounds: int
    keys: int


FULL = Size(rounds=5, keys=1_000)
TINY = Size(rounds=1, keys=3)


@dataclass(frozen=True)
class Weight:
    """Resident memory of a process: at its highest, and at its end."""

    peak_mib: float
    last_mib: float


def measure(size: Size) -> Iterator[Figure]:
    if not Path("/proc/self/status").exists():
        raise NotMeasured("only Linux tells what a process weighs")
    with upstream() as server, tempfile.TemporaryDirectory(prefix="reckon-bench-") as directory:
        few = partial(_polled, server, Path(directory), size.keys)
        many = _polled(server, Path(directory), _TIMES * size.keys)
        found = interleaved({"bare": weighed, "few": few}, size.rounds)
    bare = [weight.last_mib for weight in found["bare"]]
    last, peak = [weight.last_mib for weight in found["few"]], [weight.peak_mib for weight in found["few"]]
    further = [(many.last_mib - mib) * 1024 / ((_TIMES - 1) * size.keys) for mib in last]
    further_at_peak = [(many.peak_mib - mib) * 1024 / ((_TIMES - 1) * size.keys) for mib in peak]
    keys = f"{size.keys:,} keys"
    yield compared(f"G12 RSS, {keys} : six packages", last, bare, "MiB", at_most(1.75))
    yield compared(f"G12 peak, {keys} : six packages", peak, bare, "MiB", at_most(1.75))
    yield limited(f"G12 peak, {keys} : Prometheus", peak, PROMETHEUS_MIB, "MiB")
    yield limited("G12 RSS of a further key", further, 2, "KiB")
    yield limited("G12 peak of a further key", further_at_peak, 2, "KiB")


def _polled(server: Upstream, directory: Path, keys: int) -> Weight:
    """Return what a process weighed that polled so many keys into a new ledger."""
    with tempfile.TemporaryDirectory(dir=directory) as home:
        config = Path(home, "reckon.toml")
        config.touch(mode=0o600)
        config.write_text(configuration(server, keys))
        return weighed(str(config), str(server.certificate))


def weighed(*arguments: str) -> Weight:
    told = subprocess.run(
        [sys.executable, "-m", "tests.bench.polled", *arguments],
        check=True,
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    peak_kib, last_kib = map(int, told.split())
    return Weight(peak_kib / 1024, last_kib / 1024)


def configuration(server: Upstream, keys: int) -> str:
    secrets = invented_keys(keys)
    owners = [secrets[first : first + 20] for first in range(0, keys, 20)]
    return "\n".join(
        [
            f'openrouter.base_url = "{server.base_url}"',
            'log.level = "error"',
            'poll.every = "1s"',
            'http.listen = "127.0.0.1:0"',
            *(
                f"owners.owner-{number}.keys = ["
                + ", ".join(f'{{ name = "key-{place}", key = "{key}" }}' for place, key in enumerate(theirs))
                + "]"
                for number, theirs in enumerate(owners)
            ),
        ]
    )
