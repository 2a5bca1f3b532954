"""Single path one-shot with uniform sampling (Guo et al., arXiv:1904.00420), with FairNAS as an option."""

import random

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Architecture, Gates
from ..errors import check_boolean
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, Step


class Uniform(Architect):
    """Gates are one architecture, drawn uniformly from the valid ones: a fixed distribution to train weights with.

    Nothing is learned: there are no parameters, and a schedule has no architecture steps. The loss is the
    criterion of the drawn path, which moves the weights where the schedule is joint, and else is a report.
    Scores are uniform, so the architecture is selected by what the trained supernet says of samples; the paper
    does that by evolution, here it is the best of N.

    fairness: FairNAS (Chu et al., arXiv:1907.01845, strict fairness). In each round of m consecutive updates, m the
    largest number of candidates, every candidate of every choice is active exactly once, by a permutation of
    each choice's own; a choice with fewer candidates begins its permutation again. The paper sums the gradients
    of a round for one update; here each path has its own. A round of permutations cannot respect
    `allowed`, so these paths need not be valid architectures (a node of a DARTS cell may have three edges, or
    none). Draws other than an update's (Step.draw above 0) are valid architectures all the same.
    cost: only added to the reported loss. Raises InputError where fairness is not a bool.
    """

    def __init__(
        self, space: SearchSpace, criterion: Criterion, cost: Cost | None = None, fairness: bool = False
    ) -> None:
        super().__init__(space, None, criterion, cost)
        check_boolean("architect.fairness", fairness)
        self.fairness = fairness

    def gates(self, step: Step) -> Gates:
        if self.fairness and step.draw == 0:
            decisions = self._fair(step)
        else:
            decisions = self.space.sample(random.Random(step.generator("uniform").initial_seed())).decisions
        weight = self.space.one_hot(Architecture(self.space.fingerprint, decisions))
        return Gates(weight.to(self.mask.device), tuple((k,) for k in decisions))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        return self.mask / self.mask.sum(1, keepdim=True)

    def _fair(self, step: Step) -> tuple[int, ...]:
        """Each choice's entry at this step's place in its permutation of the round."""
        rounds, place = divmod(step.index, self.space.shape[1])
        keys = torch.rand(self.space.shape, generator=step._replace(index=rounds).generator("fair"))
        sizes = [len(choice.candidates) for choice in self.space.choices]
        return tuple(int(row[:m].argsort()[place % m]) for row, m in zip(keys, sizes, strict=True))
