"""`python -m tests.bench [--long] [NAME...]`: every figure beside its rival, in one run.

Exits with 1 if a goal was missed. With `--long`, what can be is measured at the full size that its goal speaks of: it
takes many minutes.
"""

import sys
import time

from rich.console import Console
from rich.table import Table

from tests.bench import (
    committing,
    looking_up,
    memory,
    polling,
    settling,
    starting,
    storing,
    summing,
    sweeping,
    taking_in,
    ticking,
    verifying,
    writing,
)
from tests.bench.figures import Figure, NotMeasured
from tests.databases import NoPostgres

BENCHMARKS = {
    "polling": polling,
    "writing": writing,
    "storing": storing,
    "committing": committing,
    "sweeping": sweeping,
    "verifying": verifying,
    "settling": settling,
    "looking_up": looking_up,
    "taking_in": taking_in,
    "summing": summing,
    "starting": starting,
    "memory": memory,
    "ticking": ticking,
}


def main(arguments: list[str]) -> int:
    names = [name for name in arguments if name != "--long"]
    if unknown := [name for name in names if name not in BENCHMARKS]:
        print(f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(BENCHMARKS)}.")  # noqa: T201
        return 64
    console = Console(width=80, highlight=False)
    found = [figure for name in names or BENCHMARKS for figure in _shown(console, name, is_long="--long" in arguments)]
    goals = [figure for figure in found if figure.goal]
    reached = [figure for figure in goals if figure.is_reached]
    console.print(f"{len(reached)} of {len(goals)} goals reached")
    return 0 if len(reached) == len(goals) else 1


def _shown(console: Console, name: str, *, is_long: bool) -> list[Figure]:
    """Measure and print one group of figures."""
    benchmark = BENCHMARKS[name]
    figures: list[Figure] = []
    began = time.perf_counter()
    missing = None
    with console.status(f"measuring: {name}"):
        try:
            size = getattr(benchmark, "LONG", benchmark.FULL) if is_long else benchmark.FULL
            figures.extend(benchmark.measure(size))
        except (NoPostgres, NotMeasured) as reason:
            missing = reason
    console.print(_table(figures))
    if missing:
        console.print(f"THE REST WAS NOT MEASURED: {missing}", style="bold red")
    console.print(f"{name}: {time.perf_counter() - began:.0f} s\n", style="dim")
    return figures


def _table(figures: list[Figure]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), expand=True)
    table.add_column("ours : rival", ratio=1)
    for heading in ("ours", "rival", "ratio", "goal", ""):
        table.add_column(heading, justify="right", no_wrap=True)
    for figure in figures:
        table.add_row(*figure.cells, style="bold red" if figure.is_reached is False else None)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
