"""GAEA: Geometry-Aware Gradient Algorithms for Neural Architecture Search (Li et al., arXiv:2004.07802)."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import InputError
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, OptimizerFactory, Step, masked_softmax

SGD: OptimizerFactory = partial(torch.optim.SGD, lr=0.1)  # as published


class GAEA(Architect):
    """GAEA. Gates are the probabilities p themselves, moved by exponentiated gradient.

    A step is p <- p * exp(-eta * dL/dp), divided by its sum: mirror descent on the simplex, which finds sparse p
    sooner than gradient descent on logits. eta is the learning rate of the optimizer. p starts uniform.

    The parameter is log p. Its gradient is dL/dp, not the one through exp: SGD then takes the exponentiated step, and
    `after_step` normalizes. Other optimizers move log p by their own rule for dL/dp; momentum is mirror descent with
    momentum. Weight decay has no meaning for log p and is refused. So are the regularizers of logits: log p is
    normalized, and their gradient is none for p. Those of scores get the gradient for p.

    Two schedules are published: bilevel, the default, where p descends the loss of the validation batch, and single
    level (`joint`), where one backward pass on the training batch moves w and p. The paper's single level trains on
    all images; here it leaves out the architecture part, whose share of the data is a setting.

    Other differences from the authors' code: p is not clamped, as log p does not run out of digits. Their code clamps p
    at 1e-5, in one of its two methods after it has normalized, so that rows do not sum to 1. It can clip the gradient
    and add an entropy; both are off in their settings. This is their method with mixed gates (GAEA DARTS, and with
    partial channels GAEA PC-DARTS, whose edge weights they also move by exponentiated gradient). Their variant with
    Gumbel draws, whose temperature stops above its minimum after a warm-up, is not here.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of log p. Default: SGD with eta = 0.1 as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the loss; None adds nothing.

    Raises:
        InputError: If the optimizer refuses its settings, or has weight decay.

    Reference:
        Li, Khodak, Balcan and Talwalkar, Geometry-Aware Gradient Algorithms for Neural Architecture Search,
        arXiv:2004.07802.
    """

    narrows = True

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = SGD,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        decay = optimizer([nn.Parameter(torch.zeros(1))]).defaults.get("weight_decay") if optimizer is not None else 0
        if decay:
            raise InputError(f"architect.optimizer.weight_decay={decay}: must be 0, as it has no meaning for log p")
        sizes = space.mask.sum(1, keepdim=True).to(torch.get_default_dtype())
        self.log_p = nn.Parameter(-sizes.log() * space.mask)  # outside the mask 0, and not used

    def gates(self, step: Step) -> Gates:
        """Return p, with all candidates."""
        return self.mixed(self.scores())

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the loss under p, with its cost."""
        x, y = valid  # in a joint schedule the training batch
        gates = self.gates(step)
        return self.penalized(self.criterion(supernet(x, gates), y), gates.weight)

    def scores(self) -> Tensor:
        """Return p, (choices, candidates). A gradient for p becomes that of the parameter as it is."""
        p = masked_softmax(self.log_p.detach(), self.mask)
        return p + (self.log_p - self.log_p.detach()) * self.mask

    @torch.no_grad()
    def after_step(self) -> None:
        """Divide p by its sum."""
        logits = self.log_p.masked_fill(~self.mask, -torch.inf)
        self.log_p.sub_(logits.logsumexp(1, keepdim=True) * self.mask)
