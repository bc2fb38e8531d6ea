"""What a short run takes of what is exhaustive: a few, spread over the whole, and others each time."""

from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


def spread(things: Sequence[_T], most: int, random: Random) -> Sequence[_T]:
    """Return the first of *things*, the last, and one of each stretch between, in their order: *most* in all.

    One of each stretch, and not every so many-th: what comes back at a regular distance would else be all there is.
    """
    if len(things) <= most:
        return things
    stretches = most - 2
    edges = [1 + (len(things) - 2) * n // stretches for n in range(stretches + 1)]
    return [things[0], *(things[random.randrange(*edge)] for edge in pairwise(edges)), things[-1]]
