"""What the end of a search is compared with: random architectures and the largest one, inside the same supernet."""

import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from ..architecture import Architecture
from ..cost import ExpectedCost, largest_within, sample_within
from ..draws import seed_of
from ..errors import Diverged, InputError, is_number
from ..spaces.base import SearchSpace

BATCHES, BATCH_SIZE = 4, 512  # of the architecture part, on which all of them are measured; it may have fewer examples


class Controls(NamedTuple):
    """The metric of a found architecture and of others that nothing searched, inside one supernet and not retrained.

    All of them are measured on the same batches. That is no proof of anything: a search trains the paths that it
    prefers more than the others.

    Args:
        found: Of the found one.
        random: Of architectures that were drawn uniformly.
        largest: Of the one with the most parameters. None: the space does not say how large its candidates are, or the
            metric was not finite.
        failed: Random ones whose metric was not finite, and is not in `random`.
        batches: Batches of up to 512 examples that were taken. 0: the whole architecture part.
        left: Whether they have only candidates that the stages of the search have left.
    """

    found: float
    random: list[float]
    largest: float | None
    failed: int = 0
    batches: int = 0
    left: bool = False

    def beaten(self, maximize: bool = True) -> int:
        """Return how many of the random architectures are worse than the found one. Equal ones are not.

        Args:
            maximize: Whether larger is better.
        """
        return sum(self._worse(value, maximize) for value in self.random)

    def beats_most(self, maximize: bool = True) -> bool:
        """Return whether more than half of the random architectures are worse than the found one.

        Args:
            maximize: Whether larger is better.
        """
        return 2 * self.beaten(maximize) > len(self.random)

    def beats_largest(self, maximize: bool = True) -> bool:
        """Return whether the largest architecture is worse than the found one, or was not measured.

        Args:
            maximize: Whether larger is better.
        """
        return self.largest is None or self._worse(self.largest, maximize)

    def _worse(self, value: float, maximize: bool) -> bool:
        return value < self.found if maximize else value > self.found

    def to_result(self, maximize: bool = True) -> dict[str, Any]:
        """Return what `result.json` holds: the fields, and what follows from them.

        That is the `mean` of the random ones, the share that the found one beats, and whether it beats the largest.

        Args:
            maximize: Whether larger is better.
        """
        number = len(self.random)
        mean, share = (sum(self.random) / number, self.beaten(maximize) / number) if number else (None, None)
        beats = None if self.largest is None else self.beats_largest(maximize)
        return {**self._asdict(), "mean": mean, "share_beaten": share, "beats_largest": beats}


def measure_controls(
    space: SearchSpace,
    found: Architecture,
    number: int,
    seed: int,
    measure: Callable[[Architecture], float],
    left: Tensor | None = None,
    batches: int = 0,
    cost: ExpectedCost | None = None,
) -> Controls | None:
    """Measure a found architecture, random ones and the largest one.

    Args:
        space: The space.
        found: The found one.
        number: Number of random ones. They are drawn independently, so one can come twice.
        seed: Seed of the draws.
        measure: Returns the metric of an architecture. It raises `Diverged` where that is not finite.
        left: The candidates that they may have, (choices, candidates) of bool. None: all.
        batches: On how many batches `measure` takes the metric, for the reader of the result. 0: all.
        cost: A cost with a limit, which they hold too. None: there is no limit.

    Returns:
        The metrics; None where there is no other architecture than the found one.

    Raises:
        Diverged: If the metric of the found one is not finite.
    """
    drawn = [draw(space, seed, n, left, cost) for n in range(number)]
    try:
        largest = largest_within(space, cost, left) if cost else space.largest(left=left)
    except InputError:  # the space does not say how large its candidates are
        largest = None
    if {*drawn, largest or found} == {found}:
        return None
    known: dict[Architecture, float | None] = {found: measure(found)}
    for architecture in (*drawn, *([largest] if largest else [])):
        if architecture not in known:
            known[architecture] = _finite(measure, architecture)
    values = [value for value in map(known.__getitem__, drawn) if value is not None]
    of_found: Any = known[found]
    of_largest = known[largest] if largest else None
    return Controls(of_found, values, of_largest, number - len(values), batches, left is not None)


def draw(
    space: SearchSpace, seed: int, number: int, left: Tensor | None = None, cost: ExpectedCost | None = None
) -> Architecture:
    """Return a random architecture, uniform over the valid ones that hold the limit.

    Args:
        space: The space.
        seed: Seed of the draws.
        number: Number of the draw, from 0.
        left: As in `measure_controls`.
        cost: As in `measure_controls`.
    """
    rng = random.Random(seed_of(seed, "controls", number))
    if cost:
        return sample_within(space, cost, rng, left)
    return space.sample(rng) if left is None else space.sample_by(left.double().tolist(), rng)


def _finite(measure: Callable[[Architecture], float], architecture: Architecture) -> float | None:
    """The metric of an architecture; None where it is not finite. A search must not fail for a control."""
    try:
        return measure(architecture)
    except Diverged:
        return None


def controls_of(result: Mapping[str, Any]) -> Controls | None:
    """Read the controls that the result of a search holds.

    Args:
        result: What its result.json holds, perhaps a stranger's.

    Returns:
        The controls; None where it holds none, or what it holds cannot be controls.
    """
    own = result.get("controls")
    fields: dict[str, Any] = {name: own.get(name) for name in Controls._fields} if isinstance(own, dict) else {}
    if not (is_number(fields.get("found")) and isinstance(fields["random"], list)):
        return None
    counts = all(type(fields[name]) is int and fields[name] >= 0 for name in ("failed", "batches"))
    whole = all(map(is_number, fields["random"])) and (fields["largest"] is None or is_number(fields["largest"]))
    return Controls(**fields) if whole and counts and isinstance(fields["left"], bool) else None
