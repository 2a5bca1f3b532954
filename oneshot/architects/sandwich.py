"""The sandwich rule (Yu and Huang, arXiv:1903.05134): each weight step trains the largest and the smallest path too."""

from torch import nn

from ..architecture import Gates
from ..errors import check_integer
from ..spaces.base import SearchSpace
from .base import Cost, Criterion, Examples, Step
from .uniform import Uniform, one_path, path_gates


class Sandwich(Uniform):
    """The sandwich rule. A weight step sums the gradients of the largest, the smallest and some random architectures.

    The performance of all architectures lies between those of the two, so a supernet whose choices are sizes is
    trained best at both ends. Largest and smallest are by `SearchSpace.sizes`: parameters plus multiply-accumulates. A
    space of other choices has both ends too, but there the rule has no such reason. Random architectures are drawn
    uniformly from the valid ones, and are equal now and then.

    In the paper the other networks learn the outputs of the largest one (in-place distillation). Here all learn the
    labels.

    Args:
        space: The space that is searched.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Added to the reported loss only; None adds nothing.
        samples: Random architectures of a step; 2 in the authors' settings.

    Raises:
        InputError: If `samples` is out of range, or the space does not give the sizes of its candidates.

    Reference:
        Yu and Huang, Universally Slimmable Networks and Improved Training Techniques, arXiv:1903.05134.
    """

    def __init__(
        self, space: SearchSpace, criterion: Criterion | None = None, cost: Cost | None = None, samples: int = 2
    ) -> None:
        super().__init__(space, criterion, cost)
        check_integer("architect.samples", samples, 0)
        sizes = space.sizes()
        self.samples, self.own_weight_gates = samples, True
        self.ends = (space.largest(sizes).decisions, space.smallest(sizes).decisions)

    def weight_gates(self, supernet: nn.Module, train: Examples, step: Step) -> tuple[Gates, ...]:
        """Return the gates of the largest, the smallest and the random architectures."""
        ends = (path_gates(self.space, decisions, self.mask.device) for decisions in self.ends)
        drawn = (one_path(self.space, step, f"sandwich/{n}", self.mask.device) for n in range(self.samples))
        return (*ends, *drawn)
