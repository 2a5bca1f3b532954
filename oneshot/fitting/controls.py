"""What a search is compared with at its end: random architectures and the largest one, in the same supernet."""

import random
from collections.abc import Callable
from typing import NamedTuple

from ..architecture import Architecture
from ..draws import seed_of
from ..errors import InputError
from ..spaces.base import SearchSpace


class Controls(NamedTuple):
    """The metric of architectures that no search has found, inside the supernet of a search and not retrained.

    Args:
        random: Of architectures that were drawn uniformly.
        largest: Of the one with the most parameters. None: the space does not say how large its candidates are.
    """

    random: list[float]
    largest: float | None

    def beaten(self, found: float, maximize: bool = True) -> int:
        """Return how many of the random architectures are worse than the found one.

        Args:
            found: The metric of the found one.
            maximize: Whether larger is better.
        """
        return sum(value < found if maximize else value > found for value in self.random)


def measure_controls(space: SearchSpace, number: int, seed: int, measure: Callable[[Architecture], float]) -> Controls:
    """Measure random architectures and the largest one.

    Args:
        space: The space.
        number: Number of random ones, drawn independently: an architecture can come twice.
        seed: Seed of the draws.
        measure: Returns the metric of an architecture.
    """
    rng = random.Random(seed_of(seed, "controls"))
    drawn = [measure(space.sample(rng)) for _ in range(number)]
    try:
        largest = space.largest()
    except InputError:
        return Controls(drawn, None)
    return Controls(drawn, measure(largest))
