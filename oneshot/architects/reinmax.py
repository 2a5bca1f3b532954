"""ReinMax: Bridging Discrete and Backpropagation (Liu et al., arXiv:2304.08612)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import check_range
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, masked_softmax
from .snas import gumbel

ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)  # that of GDAS


class ReinMax(Architect):
    """ReinMax. Gates are one path, drawn by pi = softmax(alpha); the gradient of alpha is accurate to second order.

    With D the one-hot draw, J(p) = diag(p) - p p^T and G = dL/dgates, the gradient of a choice is
    2 J((pi + D) / 2) G - J(pi) G / 2. That is Heun's rule along the line from D to every other candidate. If the loss
    is quadratic in the gates of each choice, its expectation over the draws is exactly d E[loss] / d alpha; if the
    loss is linear, it is that of straight-through, J(pi) G.

    G needs the output of all candidates, also of those that were not drawn. Weight steps compute the drawn path alone.
    Architecture steps compute the others too, without their backward pass.

    The paper is about discrete variables in general. The settings of a search are those of GDAS: its optimizer, alpha
    from 1e-3 * N(0, 1), alternating weight and architecture steps, and one draw for all cells of a kind. A temperature
    other than 1 divides the logits in (pi + D) / 2, as in the authors' code, which takes values from 1 on; second order
    holds at 1 alone. Draws are by Gumbel noise, which has the same distribution. A cost is the one expected under pi,
    with its exact gradient.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as in GDAS.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the loss; None adds nothing.
        temperature: Divides the logits in one term of the gradient, above 0.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Liu, Dong, Liu, Yu and Gao, Bridging Discrete and Backpropagation: Straight-Through and Beyond,
        arXiv:2304.08612.
    """

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
        temperature: float = 1.0,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        check_range("architect.temperature", temperature, 0.0, open_low=True)
        self.temperature = temperature
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape) * space.mask)

    def gates(self, step: Step) -> Gates:
        """Return the gates of the drawn path. They have no gradient."""
        drawn = self._drawn(step)
        return Gates(functional.one_hot(drawn, self.space.shape[1]).to(self.alpha.dtype), _rows(drawn))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss of the drawn path, with its cost."""
        x, y = valid  # in a joint schedule the training batch
        drawn = self._drawn(step)
        active = tuple(tuple(range(len(choice.mixed))) for choice in self.space.choices)
        on = drawn.tolist()
        silent = tuple(tuple(k for k in row if k != path) for row, path in zip(active, on, strict=True))
        gates = Gates(second_order(self.alpha, self.mask, drawn, self.temperature), active, silent)
        return self.penalized(self.criterion(supernet(x, gates), y), self.scores())

    def scores(self) -> Tensor:
        """Return pi = softmax(alpha), (choices, candidates)."""
        return masked_softmax(self.alpha, self.mask)

    def _drawn(self, step: Step) -> Tensor:
        """The candidate of each choice, (choices,)."""
        noisy = self.alpha.detach() + gumbel(self.alpha, step.generator("reinmax"))
        return noisy.masked_fill(~self.mask, -torch.inf).argmax(dim=1)


def second_order(alpha: Tensor, mask: Tensor, drawn: Tensor, temperature: float = 1.0) -> Tensor:
    """Return gates that are one-hot forward and have the gradient of ReinMax backward.

    Args:
        alpha: Logits, (choices, candidates).
        mask: (choices, candidates) of bool, true for the candidates that exist.
        drawn: The candidate of each choice, (choices,).
        temperature: Divides the logits in (pi + D) / 2.
    """
    D = functional.one_hot(drawn, alpha.shape[1]).to(alpha.dtype)
    zero = alpha - alpha.detach()

    def J(p: Tensor) -> Tensor:
        """J(p) times a vector that is 0. As J is symmetric, its gradient is J(p) G."""
        return p * (zero - (p * zero).sum(1, keepdim=True))

    pi = masked_softmax(alpha.detach(), mask)
    middle = (masked_softmax(alpha.detach() / temperature, mask) + D) / 2
    return D + (2 * J(middle) - J(pi) / 2)


def _rows(drawn: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple((k,) for k in drawn.tolist())
