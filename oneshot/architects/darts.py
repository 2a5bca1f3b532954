"""DARTS: Differentiable Architecture Search (Liu, Simonyan and Yang, arXiv:1806.09055)."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneshot.architects.base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, masked_softmax
from oneshot.architecture import Gates
from oneshot.spaces.base import SearchSpace


class DARTS(Architect):
    """Gates are softmax(alpha); alpha descends L_valid(w, alpha) with w held fixed.

    This is the paper's first-order form (section 2.3, xi = 0). alpha starts at 1e-3 * N(0, 1), from the
    global generator, as in the authors' code.
    """

    def __init__(
        self, space: SearchSpace, optimizer: OptimizerFactory, criterion: Criterion, cost: Cost | None = None
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape) * space.mask)

    def gates(self, step: Step) -> Gates:
        return Gates(self.scores())

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        x, y = valid
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        return masked_softmax(self.alpha, self.mask)
