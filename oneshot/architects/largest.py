"""The largest architecture of a space, as a control: what a search finds that knows sizes alone."""

from torch import Tensor, nn
from torch.optim import Optimizer

from ..architecture import Gates
from ..schedule import Schedule
from ..spaces.base import SearchSpace
from .base import Architect, Cost, Criterion, Examples, Step


class Largest(Architect):
    """The architecture whose candidates have the most parameters in all. Nothing is learned.

    It is a control, from no paper. Larger networks are often better, so a method that does not find more than this one
    has shown nothing about search. The parameters of a candidate are summed over all of its places in the network.
    Gates and scores are the one-hot table of that architecture, so a search trains its path alone. Of equally large
    architectures the first choice takes the larger candidate, then the earlier one; see `SearchSpace.largest`.

    Args:
        space: The space that is searched.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search.
        cost: Added to the reported loss only; None adds nothing.

    Raises:
        InputError: If the space does not say where its candidates are.
    """

    schedule = Schedule(architecture_steps=0)
    decided = True

    def __init__(self, space: SearchSpace, criterion: Criterion | None = None, cost: Cost | None = None) -> None:
        super().__init__(space, None, criterion, cost)
        self.mask = space.decidable
        self.found = space.largest()
        self.register_buffer("one_hot", space.one_hot(self.found), persistent=False)
        self.one_hot: Tensor

    def gates(self, step: Step) -> Gates:
        """Return the gates of the architecture."""
        return Gates(self.one_hot, tuple((k,) for k in self.found.decisions))

    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the criterion of the architecture, with its cost."""
        x, y = valid
        return self.penalized(self.criterion(supernet(x, self.gates(step)), y), self.one_hot)

    def scores(self) -> Tensor:
        """Return 1 for what the architecture has, else 0, (choices, candidates)."""
        return self.one_hot
