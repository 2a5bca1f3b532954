"""SETN: One-Shot Neural Architecture Search via Self-Evaluated Template Network (Dong and Yang, arXiv:1910.05733)."""

from torch import nn

from ..architecture import Gates
from ..selection import BestOf
from ..spaces.base import SearchSpace
from .base import Cost, Criterion, Examples, OptimizerFactory, Step
from .darts import ADAM, DARTS
from .uniform import one_path


class SETN(DARTS):
    """SETN. Weights are trained under uniformly drawn paths; alpha descends the validation loss under softmax(alpha).

    The template network is the supernet, and softmax(alpha) is the evaluator. It learns which candidates have a low
    validation loss, by the gradient of first-order DARTS. At the end architectures are drawn from softmax(alpha) and
    the best one in the supernet is kept, as in the paper.

    Where this differs: all draws are of valid architectures, paths of weight steps uniformly and those of the selection
    in proportion to the product of their probabilities. Every drawn architecture is measured on the whole architecture
    part. The authors' code for NAS-Bench-201 takes the 100 most probable ones instead, and measures each on a batch.

    Args:
        space: The space that is searched.
        optimizer: Makes the optimizer of the architecture parameters. Default: Adam as in the authors' code.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Adds what the network costs to the validation loss; None adds nothing.

    Raises:
        InputError: If the optimizer refuses its settings.

    Reference:
        Dong and Yang, One-Shot Neural Architecture Search via Self-Evaluated Template Network, ICCV 2019,
        arXiv:1910.05733.
    """

    selection = BestOf(100, from_scores=True)

    own_weight_gates = True
    narrows = False

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory = ADAM,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__(space, optimizer, criterion, cost)

    def weight_gates(self, supernet: nn.Module, train: Examples, step: Step) -> tuple[Gates, ...]:
        """Return the gates of one uniformly drawn architecture."""
        return (one_path(self.space, step, "setn", self.mask.device),)
