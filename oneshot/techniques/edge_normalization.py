"""Edge normalization of PC-DARTS (Xu et al., arXiv:1907.05737)."""

import torch
from torch import Tensor, nn

from ..architects.base import Step
from ..architecture import Gates
from ..spaces.base import SearchSpace
from .base import Transform


class EdgeNormalization(Transform):
    """Edge normalization. The gates of an edge are multiplied by beta, a softmax over the edges into its node.

    The space discretizes scores times beta, as published. The logits of beta start at 1e-3 * N(0, 1) from the global
    generator and are moved by the optimizer of the architect, as in the authors' code. Edges into one node are the
    choices of one `Choice.group`.

    Args:
        space: The space that is searched.

    Reference:
        Xu, Xie, Zhang, Chen, Qi, Tian and Xiong, PC-DARTS: Partial Channel Connections for Memory-Efficient
        Architecture Search, arXiv:1907.05737.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space)
        names = list(dict.fromkeys(choice.group for choice in space.choices))
        groups = torch.tensor([names.index(choice.group) for choice in space.choices])
        self.register_buffer("groups", groups, persistent=False)
        self.groups: Tensor
        self.edge_logits = nn.Parameter(1e-3 * torch.randn(len(space.choices)))

    def beta(self) -> Tensor:
        """Return the softmax over the edges into each node, (choices,)."""
        logits = self.edge_logits.detach()
        largest = torch.zeros_like(logits).scatter_reduce(0, self.groups, logits, "amax", include_self=False)
        e = (self.edge_logits - largest[self.groups]).exp()
        sums = torch.zeros_like(e).index_add(0, self.groups, e)
        return e / sums[self.groups]

    def forward(self, gates: Gates, step: Step) -> Gates:
        """Return the gates times beta."""
        return gates._replace(weight=gates.weight * self.beta()[:, None])

    def scores(self, scores: Tensor) -> Tensor:
        """Return the scores times beta."""
        return scores * self.beta()[:, None]
