"""Operation-level early stopping (OLES, Jiang et al., NeurIPS 2023)."""

import torch
from torch import Tensor

from ..architects.base import Step
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .freeze import Freeze


class OLES(Freeze):
    """Operation-level early stopping. An operation that begins to overfit the training batches is frozen.

    The measure is the mean, over a window of steps, of the cosine of two gradients of the operation's weights: that of
    the training batch and that of a validation batch. If it is below the threshold, the operation is frozen. Then a
    new window begins.

    Both gradients are taken at the same weights and under the same gates, so the measure has a meaning for every
    architect. A step in which an operation was not drawn does not count in its window. The cosine is that of all
    weights of the operation in one vector, as in the paper. The authors' code differs in five points. Its cosines are
    of single columns of each weight tensor, and are averaged. It compares the gradient of a weight step with that of
    the architecture step after it, one update apart, which needs no further pass. It sums 21 cosines and divides by
    20. It never freezes a skip connection of stride 2, which has weights. A frozen operation gets no gradient there;
    where `zero_grad` leaves zeros, momentum and weight decay still move it.

    Second-order DARTS looks one step ahead as if nothing were frozen.

    Args:
        space: The space that is searched.
        threshold: The mean cosine below which an operation is frozen, from -1 (never) to 1; 0.4 in the paper.
        window: Steps of a mean; 20 in the paper.

    Raises:
        InputError: If a setting is out of range, or the space does not give its candidates (`SearchSpace.branches`).

    Reference:
        Jiang, Ji, Zhu, Yuan and Huang, Operation-Level Early Stopping for Robustifying Differentiable NAS, NeurIPS
        2023.
    """

    def __init__(self, space: SearchSpace, threshold: float = 0.4, window: int = 20) -> None:
        super().__init__(space)
        check_range("technique.oles.threshold", threshold, -1.0, 1.0)
        check_integer("technique.oles.window", window, 1)
        self.threshold, self.window = threshold, window
        self.register_buffer("sums", torch.zeros(len(self.frozen)))
        self.register_buffer("counts", torch.zeros(len(self.frozen), dtype=torch.long))
        self.sums: Tensor
        self.counts: Tensor

    def judge(self, train: Tensor, valid: Tensor, step: Step) -> Tensor:
        """Return which windows ended with a mean cosine below the threshold."""
        dots, *squares = (self.by_operation(product) for product in (train * valid, train.square(), valid.square()))
        norms = squares[0].sqrt() * squares[1].sqrt()
        cosines = (dots / norms).clamp(-1, 1)
        self.sums += torch.where(norms > 0, cosines, 0)
        self.counts += norms > 0
        ended = self.counts == self.window
        low = ended & (self.sums / self.window < self.threshold)
        self.sums.masked_fill_(ended, 0)
        self.counts.masked_fill_(ended, 0)
        return low
