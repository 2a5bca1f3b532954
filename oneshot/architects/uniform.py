"""Single path one-shot with uniform sampling (Guo et al., arXiv:1904.00420), with FairNAS as an option."""

import random

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Architecture, Gates
from ..errors import check_boolean
from ..schedule import Schedule
from ..selection import BestOf
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, Step


class Uniform(Architect):
    """Uniform sampling. Gates are one architecture, drawn uniformly from the valid ones; only weights are trained.

    Nothing is learned: there are no parameters, and the schedule has no architecture steps. The loss is the criterion
    of the drawn path. It moves the weights in a joint schedule and is only reported in another one. Scores are
    uniform, so the architecture is selected by what the trained supernet says of samples. The paper does that by
    evolution; here it is the best of several samples.

    `fairness` is FairNAS, strict fairness. In each round of m consecutive updates, m the largest number of candidates,
    every candidate of every choice is active exactly once, by a permutation of each choice's own. A choice with
    fewer candidates begins its permutation again. The paper sums the gradients of a round for one update; here each
    path has its own update. A round of permutations cannot respect `allowed`, so these paths need not be valid
    architectures (a node of a DARTS cell may have three edges, or none). Draws other than an update's (`Step.draw`
    above 0) are valid architectures all the same.

    Args:
        space: The space that is searched.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Added to the reported loss only; None adds nothing.
        fairness: Whether paths are drawn as in FairNAS.

    Raises:
        InputError: If `fairness` is not a bool.

    Reference:
        Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling, arXiv:1904.00420.
        Chu, Zhang and Xu, FairNAS: Rethinking Evaluation Fairness of Weight Sharing NAS, arXiv:1907.01845.
    """

    schedule = Schedule(architecture_steps=0)
    selection = BestOf(30)

    def __init__(
        self,
        space: SearchSpace,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        fairness: bool = False,
    ) -> None:
        super().__init__(space, None, criterion, cost)
        check_boolean("architect.fairness", fairness)
        self.fairness = fairness

    def gates(self, step: Step) -> Gates:
        """Return the gates of one drawn architecture."""
        if self.fairness and step.draw == 0:
            decisions = self._fair(step)
        else:
            decisions = self.space.sample(random.Random(step.generator("uniform").initial_seed())).decisions
        weight = self.space.one_hot(Architecture(self.space.fingerprint, decisions))
        return Gates(weight.to(self.mask.device), tuple((k,) for k in decisions))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the criterion of one drawn path, with its cost."""
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        """Return uniform probabilities, (choices, candidates)."""
        return self.mask / self.mask.sum(1, keepdim=True)

    def _fair(self, step: Step) -> tuple[int, ...]:
        """Each choice's entry at this step's place in its permutation of the round."""
        rounds, place = divmod(step.index, self.space.shape[1])
        keys = torch.rand(self.space.shape, generator=step._replace(index=rounds).generator("fair"))
        sizes = [len(choice.candidates) for choice in self.space.choices]
        return tuple(int(row[:m].argsort()[place % m]) for row, m in zip(keys, sizes, strict=True))
