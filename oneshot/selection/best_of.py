"""The best of several drawn architectures, as ENAS, single-path methods and SETN end."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import torch

from ..architecture import Architecture, Query
from ..errors import check_boolean, check_integer
from ..schedule import Step
from ..spaces.base import SearchSpace
from .base import Drawable, Measured, among_left

LEAST = 1e-12  # score of a candidate that is drawn by its score


@dataclass(frozen=True)
class BestOf:
    """Keep the best of several drawn architectures, by the metric of the search.

    The architectures are drawn from the architect where its gates are one path (ENAS, Uniform). Otherwise they are
    drawn from the space: uniformly (path dropout), or in proportion to the product of their scores (SETN). Each
    different one is scored once. Of equal ones the first drawn wins.

    Args:
        samples: Number of draws.
        seed: Seed of the draws.
        from_scores: Whether they are drawn by the scores of the architect, whatever its gates are.

    Raises:
        InputError: If a number is out of range.
    """

    samples: int = 100
    seed: int = 0
    from_scores: bool = False

    def __post_init__(self) -> None:
        check_integer("selection.samples", self.samples, 1)
        check_integer("selection.seed", self.seed, 0)
        check_boolean("selection.from_scores", self.from_scores)

    @torch.no_grad()
    def __call__(self, space: SearchSpace, architect: Drawable, measured: Measured) -> Architecture:
        """Draw the architectures, score them and return the best one.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
            measured: Gives one score for each query.
        """
        drawn = dict.fromkeys(islice(self.draws(space, architect), self.samples))  # in the order of their draws
        return best(list(drawn), measured)

    @torch.no_grad()
    def draws(self, space: SearchSpace, architect: Drawable) -> Iterator[Architecture]:
        """Yield the architectures that are drawn, without an end.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
        """
        scores = self._scores(space, architect)
        for n in count(1):
            step = Step(self.seed, 0, 1, draw=n)
            rng = random.Random(step.generator("selection").initial_seed())
            gates = None if self.from_scores else architect.gates(step)
            if gates and gates.active is not None and all(len(candidates) == 1 for candidates in gates.active):
                yield space.discretize(among_left(gates.weight, architect))
            else:
                yield space.sample(rng) if scores is None else space.sample_by(scores, rng)

    def _scores(self, space: SearchSpace, architect: Drawable) -> list[list[float]] | None:
        """What architectures are drawn in proportion to, where that is not the same for all.

        After stages the candidates that they left out have 0, and the others at least `LEAST`: else a node whose scores
        are all 0 would be drawn from all candidates. An absent edge then counts as 1.
        """
        if not self.from_scores and not architect.restricted:
            return None
        kept = architect.mask.cpu()
        table = architect.scores().double().cpu() if self.from_scores else kept.double()
        if architect.restricted:
            table = (table.clamp_min(LEAST) * kept).masked_fill(space.possible(kept) & ~kept, 1.0)
        return table.tolist()


def best(architectures: Sequence[Architecture], measured: Measured) -> Architecture:
    """Return the best of several architectures, by their scores in the supernet; of equal ones the first.

    Args:
        architectures: At least one.
        measured: Gives one score for each query.
    """
    answers = measured.estimate([Query(architecture) for architecture in architectures])
    pairs = zip(architectures, answers, strict=True)
    return max(pairs, key=lambda pair: next(iter(pair[1].values())))[0]
