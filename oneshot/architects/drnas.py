"""DrNAS: Dirichlet Neural Architecture Search (Chen, Wang, Cheng, Tang and Hsieh, arXiv:2006.10355)."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Gates
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step

ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3e-4, betas=(0.5, 0.999), weight_decay=1e-3)  # as published
LOWEST = -16.0  # alpha moves the concentration down to here; it is 1e-7 then, and draws are one-hot in all digits


class DrNAS(Architect):
    """DrNAS. Gates are drawn from Dirichlet distributions with concentration c = elu(alpha) + 1.

    Draws are reparameterised: the gradient of the loss flows through them to alpha. Weight steps, architecture steps
    and evaluations each have their own draw, and cells of one kind share it. A choice has a Dirichlet over the
    candidates that it has.

    Two things keep c near 1, where a draw is uniform on the simplex: weight decay, as here, or
    KL(Dirichlet(c) || Dirichlet(1)), which is the regularizer `DirichletKL`, to be used with a weight decay of 0. Both
    are published.

    Where this differs: this is one stage of the paper. Its progression (partial channels 4 to 2, candidates 5 to 3 on
    NAS-Bench-201) is not part of it. Scores are the mean of the Dirichlet, c / sum(c); the authors' code selects by
    softmax(alpha). Both have the same largest candidate of a choice. Spaces that compare scores of several choices, as
    DARTS cells do for the top two edges of a node, can decide differently. The learning rate 3e-4 is that of
    NAS-Bench-201; in the DARTS space the authors use 6e-4. A cost is the one expected under the mean, which is exact
    where the cost is linear in the gates.

    alpha starts at 1e-3 * N(0, 1) from the global generator, as in the authors' code.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the loss; None adds nothing.

    Raises:
        InputError: If the optimizer refuses its settings.

    Reference:
        Chen, Wang, Cheng, Tang and Hsieh, DrNAS: Dirichlet Neural Architecture Search, arXiv:2006.10355.
    """

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        self.alpha = nn.Parameter(1e-3 * torch.randn(space.shape) * space.mask)

    def concentration(self) -> Tensor:
        """Return c = elu(alpha) + 1, (choices, candidates), with zeros where a choice has fewer candidates."""
        # exp(alpha) for alpha < 0: elu(alpha) + 1 is that, but in single precision it is 0 from alpha = -17 on
        c = torch.where(self.alpha > 0, self.alpha + 1, self.alpha.clamp(LOWEST, 0).exp())
        return c * self.mask

    def gates(self, step: Step) -> Gates:
        """Return gates that are drawn for this step."""
        sizes = [len(choice.mixed) for choice in self.space.choices]
        return Gates(dirichlet(self.concentration(), sizes, step.generator("drnas")))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss under drawn gates, with its cost."""
        x, y = valid  # in a joint schedule the training batch
        loss = self.criterion(supernet(x, self.gates(step)), y)
        return self.penalized(loss, self.scores())

    def scores(self) -> Tensor:
        """Return the mean of the Dirichlet, c / sum(c), (choices, candidates)."""
        c = self.concentration()
        return c / c.sum(1, keepdim=True)


def dirichlet(c: Tensor, sizes: Sequence[int], generator: torch.Generator) -> Tensor:
    """Return a draw from the Dirichlet of each choice, with its gradient for the concentration.

    Where all concentrations of a choice are below 1e-3, most of the smaller gates are 0 in floating point. The gradient
    is too small in the mean there.

    Args:
        c: Concentrations, (choices, candidates), above 0 for the candidates that exist.
        sizes: Number of candidates of each choice.
        generator: On the host, so that every device sees the same draw.

    Returns:
        (choices, candidates), with rows that sum to 1 and zeros where a choice has fewer candidates.
    """
    host = c.detach().cpu().double()  # a draw's one transfer
    x, d = torch.zeros_like(host), torch.zeros_like(host)
    for n in sorted(set(sizes)):
        rows = [i for i, size in enumerate(sizes) if size == n]
        c_n = host[rows, :n]
        x_n = torch._sample_dirichlet(c_n, generator)
        x[rows, :n] = x_n
        d[rows, :n] = torch._dirichlet_grad(x_n, c_n, c_n.sum(1, keepdim=True).expand_as(c_n))
    x, d = x.to(c), d.to(c)
    h = d * (c - c.detach())  # is 0, and gives dx_j/dc_k = d_k (delta_jk - x_j), which torch.distributions has too
    return x + (h - x * h.sum(1, keepdim=True))
