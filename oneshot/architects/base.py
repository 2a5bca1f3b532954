"""The interface of an architect: a method that moves architecture parameters by gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from ..architecture import Gates
from ..errors import InputError
from ..schedule import Schedule, Step
from ..selection import Selection, by_scores
from ..spaces.base import SearchSpace
from ..tasks import Classification, Metric

Examples = tuple[Tensor, Tensor]  # x for the supernet, y for the criterion
Criterion = Callable[[Tensor, Tensor], Tensor]
Cost = Callable[[Tensor, Tensor], Tensor]  # (loss, probabilities or gates) -> loss with its cost
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
ACCURACY = Classification().metric(2)


class Architect(nn.Module, ABC):
    """Owns the architecture parameters of a space and moves them. Its parameters and the supernet's are disjoint.

    A method names its published schedule and selection as class attributes. `Search` takes them where it is not
    given others.

    Args:
        space: Gives choices, mask and `allowed`. The architect's `mask` is that of the space, which has what gates mix;
            a method that draws whole architectures takes `space.decidable` in its place.
        optimizer: Makes the optimizer of the architecture parameters; None for a method without parameters.
        criterion: Loss of a batch: (logits, y) -> scalar. None: that of the search, which is cross-entropy until then.
        cost: Adds what the network costs to a loss; None adds nothing.

    Raises:
        InputError: If the optimizer refuses its settings.
    """

    schedule: ClassVar[Schedule] = Schedule()
    selection: ClassVar[Selection] = by_scores

    beside: tuple[nn.Parameter, ...] = ()  # parameters between gates and supernet, which `loss` moves too

    differentiates_gates = True  # whether a gradient of the loss flows through the gates; not where it rewards paths
    penalty: Tensor | None = None  # what penalties added to the last loss, a scalar without gradient; None without any
    own_weight_gates = False  # whether weight steps have gates of their own, which a joint schedule would ignore
    compares_gradients = False  # whether `held` needs a batch of the architecture part
    differentiates_twice = False  # whether `loss` takes second derivatives of the supernet, which compiled code has not
    uses_sizes: tuple[str, ...] = ()  # names of what depends on the sizes of the supernet: no stage can have others
    decided = False  # whether it is for one architecture from the start
    narrows = False  # whether it can go on with some of the candidates alone, as a search in stages needs

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory | None,
        criterion: Criterion | None = None,
        cost: Cost | None = None,
    ) -> None:
        super().__init__()
        if optimizer is not None:
            check_optimizer("architect.optimizer", optimizer)
        self.space, self.optimizer, self.cost = space, optimizer, cost
        self.criterion, self.takes_criterion = criterion or functional.cross_entropy, criterion is None
        self.metric = ACCURACY
        self.register_buffer("mask", space.mask, persistent=False)
        self.mask: Tensor
        self._rows: tuple[tuple[int, ...], ...] | None = None  # the mask on the host, once it was needed
        self.restricted = False  # whether candidates were left out

    @abstractmethod
    def gates(self, step: Step) -> Gates:
        """Return the gates of a step: those that the supernet is measured under.

        Args:
            step: The place of the step; every random draw is a function of it.

        Returns:
            Gates with weights (choices, candidates).
        """

    def weight_gates(self, supernet: nn.Module, train: Examples, step: Step) -> tuple[Gates, ...]:
        """Return the gates of a weight step, `gates(step)` unless a method trains the weights under others.

        Args:
            supernet: forward(x, gates) -> logits (batch, classes). Nothing of it may be left changed.
            train: x and y of the step.
            step: The place of the step.

        Returns:
            One or several gates. The step descends the sum of their losses.
        """
        return (self.gates(step),)

    def weight_terms(self, supernet: nn.Module, train: Examples, step: Step) -> Iterator[Tensor]:
        """Yield scalars whose gradients are added to those of a weight step, none unless a method regularizes weights.

        The gradient of each is taken before the next one is asked for.

        Args:
            supernet: forward(x, gates) -> logits (batch, classes). Nothing of it may be left changed.
            train: x and y of the step.
            step: The place of the step.
        """
        return iter(())

    def held(
        self, supernet: nn.Module, several: Sequence[Gates], valid: Examples | None, step: Step
    ) -> AbstractContextManager[None]:
        """Return the context in which a weight step clips its gradients and its optimizer moves the weights.

        It is entered after the backward passes. It does nothing unless a technique freezes some of the weights.

        Args:
            supernet: forward(x, gates) -> logits (batch, classes), with the gradients of the step.
            several: The gates of the step.
            valid: x and y of a batch of the architecture part, where the architect `compares_gradients`.
            step: The place of the step.
        """
        return nullcontext()

    @abstractmethod
    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """Return the scalar whose gradient moves the architecture parameters.

        The search has frozen the supernet's weights, except in a joint schedule. There train and valid are one
        batch, and this one loss moves both weights and architecture. Nothing else may be left changed: weights,
        buffers, optimizer state.

        Args:
            supernet: forward(x, gates) -> logits (batch, classes).
            train: x and y of the next weight step.
            valid: x and y of the architecture part.
            weight_optimizer: The optimizer of the supernet's weights; second-order DARTS looks one step ahead.
            step: The place of the step.
        """

    @abstractmethod
    def scores(self) -> Tensor:
        """Return what a space discretizes, (choices, candidates): at least 0, and 0 outside the architect's mask.

        They are probabilities in most methods. Rows need not sum to 1.
        """

    def restrict(self, kept: Tensor) -> None:
        """Go on with some of the candidates. The others get no gate and no score from here on.

        Args:
            kept: (choices, candidates) of bool, at least one true in each row. They are among those left so far, but
                a choice may also be left with `none` alone.

        Raises:
            InputError: If the method cannot do that.
        """
        if not self.narrows:
            raise InputError(
                f"stages: {type(self).__name__} cannot leave out candidates, because it draws architectures"
            )
        self.mask, self.restricted = kept.to(self.mask.device), True
        self._rows = None

    @property
    def rows(self) -> tuple[tuple[int, ...], ...]:
        """The indices of the candidates that are left of each choice."""
        if self._rows is None:
            self._rows = tuple(tuple(k for k, there in enumerate(row) if there) for row in self.mask.tolist())
        return self._rows

    def mixed(self, weight: Tensor) -> Gates:
        """Return gates that mix all candidates that are left.

        Args:
            weight: (choices, candidates), 0 outside the mask.
        """
        return Gates(weight, self.rows if self.restricted else None)

    def after_step(self) -> None:
        """Called after each step of the architecture optimizer. Does nothing unless a method needs it."""

    def measures(self) -> dict[str, float]:
        """Return numbers for the row of an epoch's end, by name; none unless a technique has some."""
        return {}

    def measure_by(self, criterion: Criterion, metric: Metric) -> None:
        """Take the loss of a search, unless another was given, and the metric that rewards are made of.

        Args:
            criterion: Loss of a batch: (logits, y) -> scalar.
            metric: That of the task.
        """
        self.metric = metric
        if self.takes_criterion:
            self.criterion = criterion

    def penalized(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """Return the loss with its cost, if there is a cost.

        Args:
            loss: Scalar.
            probabilities: (choices, candidates); the cost is the one expected under them.
        """
        return loss if self.cost is None else self.cost(loss, probabilities)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Return the mean normalized entropy of the scores: 1 is uniform, 0 is decided or nothing to decide."""
        return self.entropy_of(self.scores())

    def entropy_of(self, p: Tensor) -> Tensor:
        """Return the mean normalized entropy of probabilities, over the choices with several candidates.

        Args:
            p: (choices, candidates), zero outside the mask, with rows that sum to 1.
        """
        sizes = self.mask.sum(1)
        entropy = -(p * torch.where(p > 0, p, 1).log()).sum(1)
        several = sizes > 1
        return (entropy[several] / sizes[several].to(p.dtype).log()).sum() / several.sum().clamp(min=1)


def check_optimizer(name: str, optimizer: OptimizerFactory) -> None:
    """Check that an optimizer accepts its own settings.

    Args:
        name: Name of the setting, for the message.
        optimizer: Makes an optimizer from parameters.

    Raises:
        InputError: If it does not.
    """
    try:
        optimizer([nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from None


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax over the candidates of each choice, with zeros where a choice has fewer candidates.

    Args:
        logits: (choices, candidates).
        mask: (choices, candidates) of bool, true for the candidates that exist.
    """
    return torch.softmax(logits.masked_fill(~mask, -torch.inf), dim=1)


def shares(scores: Tensor) -> Tensor:
    """Return scores divided by the sum of their row. Rows of zeros stay zeros.

    Args:
        scores: (choices, candidates), at least 0.
    """
    return scores / scores.sum(1, keepdim=True).clamp_min(torch.finfo(scores.dtype).tiny)


def trains(supernet: nn.Module) -> bool:
    """Return whether a supernet's weights need a gradient from the architect's loss, as in a joint schedule.

    Args:
        supernet: The supernet of the search.
    """
    return any(w.requires_grad for w in supernet.parameters())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode inside the context; afterwards each submodule has its old mode again."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Turn off the gradients of a module's parameters inside the context, which saves their memory."""
    changed = [p for p in module.parameters() if p.requires_grad]
    for p in changed:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in changed:
            p.requires_grad_(True)
