from itertools import pairwise
from random import Random

import pytest

from tests.sampling import spread


@pytest.mark.parametrize("most", [3, 12, 99])
def test_a_sample_is_spread_over_the_whole_with_both_ends_of_it(most):
    things = range(100)

    taken = spread(things, most, Random(1))  # noqa: S311 - which to try is no secret

    assert [*taken] == sorted({*taken})
    assert (taken[0], taken[-1], len(taken)) == (0, 99, most)
    assert max(later - one for one, later in pairwise(taken)) <= 2 * 98 / (most - 2) + 1


def test_in_time_everything_is_taken():
    random = Random(1)  # noqa: S311 - which to try is no secret
    assert {n for _ in range(200) for n in spread(range(60), 12, random)} == {*range(60)}


def test_what_is_few_is_taken_whole():
    assert [*spread("abc", 3, Random(1))] == ["a", "b", "c"]  # noqa: S311 - which to try is no secret


def test_all_are_taken_under_long_and_a_short_run_is_repeated_by_its_number(some_of, request, monkeypatch):
    things = range(1_000)

    monkeypatch.setenv("SAMPLE", "17")
    assert [*some_of(things, 10)] == [*some_of(things, 10)]
    assert len(some_of(things, 10)) == (1_000 if request.config.getoption("--long") else 10)
