"""Path dropout: Understanding and Simplifying One-Shot Architecture Search (Bender et al., ICML 2018)."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import check_range
from ..schedule import Schedule
from ..selection import BestOf
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, Step


class PathDropout(Architect):
    """Path dropout. All candidates are computed, each is dropped at random; only weights are trained.

    A candidate is dropped with a probability that grows linearly over the updates, from 0 at the first to rate^(1/k)
    at the last. k is the number of paths that enter together with it, so `rate` is the probability that all k are
    dropped. Here k is the number of candidates of the choice, `none` included. Cells of one kind share their draw, as
    in the paper.

    Where this differs: one candidate always survives, drawn uniformly where all would be dropped. Survivors have equal
    weights that sum to 1, so each weight's mean is 1/k at any time, and an evaluated path has the scale of its choice
    (the paper sums them and leaves the scale to batch norm). All examples of a batch share the draw (the paper draws
    for each ghost batch).

    Nothing is learned: there are no parameters, and the schedule has no architecture steps. The loss is the criterion
    under dropout. It moves the weights in a joint schedule and is only reported in another one. Scores are uniform:
    the architecture is selected from samples of the space, as in the paper.

    Args:
        space: The space that is searched.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Added to the reported loss only; None adds nothing.
        rate: Probability at the last update that all candidates of a choice are dropped, in [0, 1].

    Raises:
        InputError: If the rate is out of range.

    Reference:
        Bender, Kindermans, Zoph, Vasudevan and Le, Understanding and Simplifying One-Shot Architecture Search,
        ICML 2018.
    """

    schedule = Schedule(architecture_steps=0)
    selection = BestOf(30)

    def __init__(
        self,
        space: SearchSpace,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        rate: float = 0.1,
    ) -> None:
        super().__init__(space, None, criterion, cost)
        check_range("architect.rate", rate, 0.0, 1.0)
        self.rate = rate

    def gates(self, step: Step) -> Gates:
        """Return equal weights for the candidates that survive."""
        mask = self.space.mask
        progress = min(step.index / max(step.total - 1, 1), 1.0)
        dropped = progress * self.rate ** (1 / mask.sum(1, keepdim=True))
        u = torch.rand(self.space.shape, generator=step.generator("path_dropout")).masked_fill(~mask, -1)
        alive = (u >= dropped) | (u == u.max(dim=1, keepdim=True).values)
        active = tuple(tuple(k for k, kept in enumerate(row) if kept) for row in alive.tolist())
        return Gates((alive / alive.sum(1, keepdim=True)).to(self.mask.device), active)

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the criterion under dropout, with its cost."""
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        """Return uniform probabilities, (choices, candidates)."""
        return self.mask / self.mask.sum(1, keepdim=True)
