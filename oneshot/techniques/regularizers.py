"""Penalties of architecture logits and probabilities that need nothing but the architect."""

import torch
from torch import Tensor

from ..architects.base import Architect
from .base import Regularizer, logits


class BetaDecay(Regularizer):
    """Beta decay of beta-DARTS. The penalty is the mean over choices of logsumexp(alpha).

    Its gradient is softmax(alpha) / choices, which pulls large logits down more than small ones. The weight goes
    linearly in the steps from 0 to 50, as published; in the paper it goes by epoch.

    Args:
        weight: Weight at the last step.
        start: Weight at the first step; None is `weight`.

    Reference:
        Ye, Li, Li, Wang, Wang and Fang, beta-DARTS: Beta-Decay Regularization for Differentiable Architecture Search,
        arXiv:2203.01665.
    """

    def __init__(self, weight: float = 50.0, start: float | None = 0.0) -> None:
        super().__init__(weight, start)

    def penalty(self, architect: Architect) -> Tensor:
        """Return the mean of logsumexp(alpha) over the choices."""
        alpha = logits(architect, self).masked_fill(~architect.mask, -torch.inf)
        return alpha.logsumexp(1).mean()


class LogitDecay(Regularizer):
    """Decay of the logits. The penalty is half the sum of alpha^2, so its gradient is alpha.

    An optimizer's own weight decay is the same for SGD. For Adam it is, unless the optimizer decouples its decay, as
    the gradient has the term before Adam divides it. This one can ramp.

    Args:
        weight: Weight at the last step.
        start: Weight at the first step; None is `weight`.
    """

    def __init__(self, weight: float = 1e-3, start: float | None = None) -> None:
        super().__init__(weight, start)

    def penalty(self, architect: Architect) -> Tensor:
        """Return half the sum of alpha^2."""
        return 0.5 * (logits(architect, self) * architect.mask).square().sum()


class ZeroOne(Regularizer):
    """The zero-one loss of FairDARTS. The penalty is -mean((p - 1/2)^2) over all candidates.

    It drives every score to 0 or 1, where it is -1/4. The weight is 10 in the paper.

    Args:
        weight: Weight at the last step.
        start: Weight at the first step; None is `weight`.

    Reference:
        Chu, Zhou, Zhang and Li, Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search,
        arXiv:1911.12126.
    """

    def __init__(self, weight: float = 10.0, start: float | None = None) -> None:
        super().__init__(weight, start)

    def penalty(self, architect: Architect) -> Tensor:
        """Return -mean((p - 1/2)^2)."""
        return -(architect.scores()[architect.mask] - 0.5).square().mean()


class EntropyPenalty(Regularizer):
    """Penalty of undecided choices: the mean normalized entropy of the scores, 1 where all are uniform.

    Args:
        weight: Weight at the last step.
        start: Weight at the first step; None is `weight`.
    """

    def __init__(self, weight: float = 0.1, start: float | None = 0.0) -> None:
        super().__init__(weight, start)

    def penalty(self, architect: Architect) -> Tensor:
        """Return the mean normalized entropy of the scores."""
        return architect.entropy_of(architect.scores())
