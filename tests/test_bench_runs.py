"""Each benchmark still runs: once, at a size that says nothing about speed."""

import math

import pytest

from tests.bench.__main__ import BENCHMARKS, main
from tests.bench.figures import Figure, NotMeasured, at_least, at_most, compared, interleaved
from tests.databases import NoPostgres

QUICK = {"starting", "committing", "ticking", "storing", "verifying"}
"""What takes a second or two even so; the others take a minute together."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in BENCHMARKS]
)
def test_a_benchmark_yields_its_figures(name):
    benchmark = BENCHMARKS[name]
    figures = []
    try:
        figures.extend(benchmark.measure(benchmark.TINY))
    except (NoPostgres, NotMeasured) as reason:
        if not figures:
            pytest.skip(str(reason))

    assert figures
    for figure in figures:
        assert math.isfinite(figure.ours)
        assert figure.rival is None or figure.rival > 0
        assert (figure.ratio is None) == (figure.rival is None)
        assert all(isinstance(cell, str) for cell in figure.cells)


def test_ways_take_turns_and_change_places():
    turns = []
    found = interleaved({name: lambda name=name: turns.append(name) or len(turns) for name in "ab"}, 3)

    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_each_round_is_compared_with_itself():
    # The machine was slow in the second round, and in the third only for one of the two.
    figure = compared("", [1.0, 10.0, 3.0], [4.0, 20.0, 2.0], "s", at_most(0.5))

    assert (figure.ours, figure.rival, figure.ratio) == (3.0, 4.0, 0.5)
    assert figure.is_reached


@pytest.mark.parametrize(("goal", "reached"), [(at_least(2), True), (at_least(2.1), False), (at_most(1.9), False)])
def test_a_goal_is_reached_from_its_own_side(goal, reached):
    assert Figure("", 4.0, "s", 2.0, 2.0, goal).is_reached is reached


def test_an_unknown_benchmark_is_refused_with_the_names_of_all(capsys):
    assert main(["speed"]) == 64
    assert "polling, writing" in capsys.readouterr().out
