"""FairDARTS: Eliminating Unfair Advantages in Differentiable Architecture Search (Chu et al., arXiv:1911.12126)."""

from functools import partial

import torch
from torch import Tensor

from ..spaces.base import NONE, SearchSpace
from .base import Cost, Criterion, OptimizerFactory, shares
from .darts import DARTS

ADAM: OptimizerFactory = partial(torch.optim.Adam, lr=3e-3, betas=(0.9, 0.999), weight_decay=1e-3)  # authors' code


class FairDARTS(DARTS):
    """FairDARTS. Gates are sigmoid(alpha), so candidates of a choice do not compete; alpha descends L_valid.

    The published method adds the zero-one loss, which is the technique `ZeroOne` of weight 10: `architect=fair_darts`
    has it. alpha starts at 0, as in the authors' code, where the zero-one loss has no gradient yet.

    `none` is no candidate in the paper. Here its gate and its score are 0 in a space that has it, so it gets no
    gradient and is never selected, and it does not count in the mean of the zero-one loss.

    Where this differs: the paper keeps at most two edges into a node, those with a score above 0.85. Here the space
    decides how many edges it keeps, by the largest scores: the DARTS space keeps two into each node, whatever their
    scores are, and NAS-Bench-201 all. A cost counts each candidate by its gate, and the gates of a choice may sum to
    more than 1.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as published.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to L_valid; None adds nothing.

    Raises:
        InputError: If the optimizer refuses its settings.

    Reference:
        Chu, Zhou, Zhang and Li, Fair DARTS: Eliminating Unfair Advantages in Differentiable Architecture Search,
        arXiv:1911.12126.
    """

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)
        torch.nn.init.zeros_(self.alpha)
        width = range(space.shape[1])
        is_none = [[choice.candidates[k : k + 1] == (NONE,) for k in width] for choice in space.choices]
        self.mask = self.mask & ~torch.tensor(is_none)

    def scores(self) -> Tensor:
        """Return sigmoid(alpha), (choices, candidates), with 0 for `none`. Rows need not sum to 1."""
        return torch.sigmoid(self.alpha) * self.mask

    def entropy_of(self, p: Tensor) -> Tensor:
        """Return the mean normalized entropy of the shares of the scores in their choice."""
        return super().entropy_of(shares(p))
