"""The KL regularizer of DrNAS (Chen et al., arXiv:2006.10355)."""

import torch
from torch import Tensor

from ..architects.base import Architect
from ..errors import InputError
from .base import Regularizer, named


class DirichletKL(Regularizer):
    """KL(Dirichlet(c) || Dirichlet(1)), summed over the choices, for an architect that draws from Dirichlet(c).

    It is 0 where every draw is uniform on the simplex, and keeps the distributions near that. In the paper it replaces
    weight decay, so the optimizer's own should be 0. The weight 1e-3 is the default of the authors' code, which says
    that it may need another value.

    Args:
        weight: Weight at the last step.
        start: Weight at the first step; None is `weight`.

    Reference:
        Chen, Wang, Cheng, Tang and Hsieh, DrNAS: Dirichlet Neural Architecture Search, arXiv:2006.10355.
    """

    def __init__(self, weight: float = 1e-3, start: float | None = None) -> None:
        super().__init__(weight, start)

    def penalty(self, architect: Architect) -> Tensor:
        """Return the sum of the divergences over the choices."""
        concentration = getattr(architect, "concentration", None)
        if concentration is None:
            kind = type(architect).__name__
            raise InputError(f"{named(self)}: needs an architect with Dirichlet distributions (drnas); {kind} has none")
        c = torch.where(architect.mask, concentration(), 1)  # at 1 a candidate adds nothing below
        total, n = (c * architect.mask).sum(1), architect.mask.sum(1)
        slopes = (c - 1) * (c.digamma() - total.digamma()[:, None])
        return (total.lgamma() - n.to(c.dtype).lgamma() - c.lgamma().sum(1) + slopes.sum(1)).sum()
