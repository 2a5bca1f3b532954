"""How a search ends: which architecture it keeps, when the scores alone do not say."""

import random
from dataclasses import dataclass

import torch

from .architects.base import Architect, Step
from .architecture import Architecture, Query
from .errors import check_integer
from .estimators.base import Estimator
from .spaces.base import SearchSpace


@dataclass(frozen=True)
class BestOf:
    """The most accurate of `samples` drawn architectures, each scored once; the first drawn one where equal.

    Drawn from the architect where its gates are one path (ENAS, Uniform), else uniformly from the space (path
    dropout). seed: of the draws. Raises InputError for anything out of range.
    """

    samples: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("selection.samples", self.samples, 1)
        check_integer("selection.seed", self.seed, 0)

    @torch.no_grad()
    def __call__(self, space: SearchSpace, architect: Architect, estimator: Estimator) -> Architecture:
        drawn: dict[Architecture, None] = {}  # in the order of their draws
        for n in range(1, self.samples + 1):
            step = Step(self.seed, 0, 1, draw=n)
            gates = architect.gates(step)
            if gates.active is not None and all(len(candidates) == 1 for candidates in gates.active):
                found = space.discretize(gates.weight)
            else:
                found = space.sample(random.Random(step.generator("selection").initial_seed()))
            drawn[found] = None
        scores = estimator([Query(architecture) for architecture in drawn])
        best, _ = max(zip(drawn, scores, strict=True), key=lambda pair: pair[1]["accuracy"])
        return best
