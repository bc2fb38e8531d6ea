"""What a benchmark yields, and how ways of doing one thing are set side by side.

We believe no absolute figure: machines differ, and one machine differs from minute to minute. So everything is a ratio
of ways that took turns in one run, first forwards and then backwards, and each round is compared with itself before the
middle round is taken. What is printed for each way alone is its own median, to give a feeling for the size.
"""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

_Measured = TypeVar("_Measured")


class NotMeasured(Exception):
    """What a figure needs is not to be had on this machine. Says what."""


@dataclass(frozen=True)
class Goal:
    """The ratio to reach, and on which side of it is good."""

    ratio: float
    at_least: bool

    def is_reached_by(self, ratio: float) -> bool:
        return ratio >= self.ratio if self.at_least else ratio <= self.ratio

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {_short(self.ratio)}"


def at_least(ratio: float) -> Goal:
    return Goal(ratio, at_least=True)


def at_most(ratio: float) -> Goal:
    return Goal(ratio, at_least=False)


@dataclass(frozen=True)
class Figure:
    """Something of ours beside a rival, or beside a fixed limit, or alone."""

    what: str
    ours: float
    unit: str
    rival: float | None = None
    ratio: float | None = None
    goal: Goal | None = None

    @property
    def is_reached(self) -> bool | None:
        """Whether the goal is; None where there is none."""
        return None if self.goal is None or self.ratio is None else self.goal.is_reached_by(self.ratio)

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of this figure: what, ours, rival, ratio, goal, whether it is reached."""
        verdict = {None: "", True: "yes", False: "NO"}[self.is_reached]
        return (
            self.what,
            f"{_short(self.ours)} {self.unit}",
            "" if self.rival is None else f"{_short(self.rival)} {self.unit}",
            "" if self.ratio is None else _short(self.ratio),
            str(self.goal or ""),
            verdict,
        )


def compared(what: str, ours: Sequence[float], rival: Sequence[float], unit: str, goal: Goal | None = None) -> Figure:
    """Return the figure of two ways measured in the same rounds."""
    ratio = median(mine / theirs for mine, theirs in zip(ours, rival, strict=True))
    return Figure(what, median(ours), unit, median(rival), ratio, goal)


def limited(what: str, ours: Iterable[float], limit: float, unit: str) -> Figure:
    """Return the figure of something that has a fixed limit and no rival."""
    found = median(ours)
    return Figure(what, found, unit, limit, found / limit, at_most(1))


def told(what: str, ours: Iterable[float], unit: str) -> Figure:
    """Return the figure of something that is compared with nothing."""
    return Figure(what, median(ours), unit)


def interleaved(ways: Mapping[str, Callable[[], _Measured]], rounds: int) -> dict[str, list[_Measured]]:
    """Let all *ways* take turns for so many *rounds*, and return what each measured, one entry for each round."""
    found: dict[str, list[_Measured]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in list(ways)[:: -1 if number % 2 else 1]:
            gc.collect()
            found[name].append(ways[name]())
    return found


@dataclass(frozen=True)
class Cost:
    """What something took."""

    wall_seconds: float
    cpu_seconds: float


class Stopwatch:
    """Measures the block under `running`. The processor time is this process's alone, its threads included."""

    cost: Cost

    @contextmanager
    def running(self) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.cost = Cost(time.perf_counter() - wall, time.process_time() - cpu)


def timed(work: Callable[[], object]) -> Cost:
    """Return what *work* took."""
    watch = Stopwatch()
    with watch.running():
        work()
    return watch.cost


def _short(number: float) -> str:
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}"
