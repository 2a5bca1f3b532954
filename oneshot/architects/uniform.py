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
    fewer candidates begins its permutation again; what gates do not mix (`Choice.unmixed`) has no turn. Each path has
    its own update, or with `summed` a round is one update, by the sum of the gradients of its m paths, as in the paper.
    A round of permutations cannot respect `allowed`, so these paths need not be valid architectures (a node of a DARTS
    cell may have three edges, or none). Draws other than an update's (`Step.draw` above 0) are valid architectures all
    the same.

    Args:
        space: The space that is searched.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Added to the reported loss only; None adds nothing.
        fairness: Whether paths are drawn as in FairNAS.
        summed: Whether an update sums the gradients of a fair round, whatever `fairness` is.

    Raises:
        InputError: If `fairness` or `summed` is not a bool.

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
        summed: bool = False,
    ) -> None:
        super().__init__(space, None, criterion, cost)
        check_boolean("architect.fairness", fairness)
        check_boolean("architect.summed", summed)
        self.fairness, self.summed = fairness or summed, summed
        self.mask = space.decidable  # whole architectures are drawn
        self.round = max(len(choice.mixed) for choice in space.choices)
        self.own_weight_gates = summed

    def gates(self, step: Step) -> Gates:
        """Return the gates of one drawn architecture."""
        if not self.fairness or step.draw:
            return one_path(self.space, step, "uniform", self.mask.device)
        return self._fair(step, *((step.index, 0) if self.summed else divmod(step.index, self.round)))

    def weight_gates(self, supernet: nn.Module, train: Examples, step: Step) -> tuple[Gates, ...]:
        """Return the gates of one drawn architecture, or of all paths of a round."""
        if not self.summed:
            return super().weight_gates(supernet, train, step)
        return tuple(self._fair(step, step.index, place) for place in range(self.round))

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

    def _fair(self, step: Step, rounds: int, place: int) -> Gates:
        """The gates of each choice's entry at a place in its permutation of the round."""
        keys = torch.rand(self.space.shape, generator=step._replace(index=rounds).generator("fair"))
        sizes = [len(choice.mixed) for choice in self.space.choices]
        decisions = tuple(int(row[:m].argsort()[place % m]) for row, m in zip(keys, sizes, strict=True))
        return path_gates(self.space, decisions, self.mask.device)


def one_path(space: SearchSpace, step: Step, stream: str, device: torch.device) -> Gates:
    """Return the gates of one architecture, drawn uniformly from the valid ones.

    Args:
        space: The search space.
        step: The place of the step.
        stream: Name of the draw.
        device: Where the weights of the gates are.
    """
    found = space.sample(random.Random(step.generator(stream).initial_seed()))
    return path_gates(space, found.decisions, device)


def path_gates(space: SearchSpace, decisions: tuple[int, ...], device: torch.device) -> Gates:
    """Return the gates of one path, whose other candidates are not computed.

    Args:
        space: The search space.
        decisions: The index of a candidate for each choice. They need not be valid together.
        device: Where the weights of the gates are.
    """
    weight = space.one_hot(Architecture(space.fingerprint, decisions))
    return Gates(weight.to(device), tuple((k,) for k in decisions))
