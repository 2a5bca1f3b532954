"""The interface of an architect: a method that moves architecture parameters by gradients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .. import draws
from ..architecture import Gates
from ..errors import InputError
from ..spaces.base import SearchSpace

Examples = tuple[Tensor, Tensor]  # x for the supernet, y for the criterion
Criterion = Callable[[Tensor, Tensor], Tensor]
Cost = Callable[[Tensor, Tensor], Tensor]  # (loss, probabilities or gates) -> loss with its cost
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]


class Step(NamedTuple):
    """Which step of a search this is. Every random draw of an architect is a function of it.

    index: updates before this one, weight and architecture steps alike. total: of the whole search.
    draw: 0 for the update itself; an evaluation that wants several draws at one step counts up.
    """

    seed: int
    index: int  # type: ignore[assignment]
    total: int
    draw: int = 0

    def generator(self, stream: str) -> torch.Generator:
        """A generator on the host for one named draw of this step."""
        return draws.generator(self.seed, f"{stream}/{self.draw}", self.index)


class Architect(nn.Module, ABC):
    """Owns the architecture parameters of a space; its `parameters()` and the supernet's are disjoint.

    space: gives choices, mask and `allowed`. criterion: (logits, y) -> scalar. optimizer: makes the
    optimizer of the architecture parameters, None for a method without any. cost: adds what the network costs.
    differentiates_twice: whether `loss` takes second derivatives of the supernet, which compiled code has not.
    """

    differentiates_twice = False

    def __init__(
        self,
        space: SearchSpace,
        optimizer: OptimizerFactory | None,
        criterion: Criterion,
        cost: Cost | None = None,
    ) -> None:
        super().__init__()
        if optimizer is not None:
            check_optimizer("architect.optimizer", optimizer)
        self.space, self.optimizer, self.criterion, self.cost = space, optimizer, criterion, cost
        self.register_buffer("mask", space.mask, persistent=False)
        self.mask: Tensor

    @abstractmethod
    def gates(self, step: Step) -> Gates:
        """The gates of a weight step."""

    @abstractmethod
    def loss(
        self, supernet: nn.Module, train: Examples, valid: Examples, weight_optimizer: Optimizer, step: Step
    ) -> Tensor:
        """The scalar whose gradient moves the architecture parameters.

        train: the batch of the next weight step; valid: a batch of the architecture part. The search has
        frozen the supernet's weights, except in a joint schedule, where train and valid are one batch and
        this one loss moves both. Nothing else may be left changed: weights, buffers, optimizer state.
        """

    @abstractmethod
    def scores(self) -> Tensor:
        """Probabilities (choices, candidates), zero outside the mask: what a space discretizes."""

    def after_step(self) -> None:
        """Called behind each step of the architecture optimizer. Does nothing unless a method needs it."""

    def penalized(self, loss: Tensor, probabilities: Tensor) -> Tensor:
        """The loss with the cost expected under these probabilities (choices, candidates), if there is a cost."""
        return loss if self.cost is None else self.cost(loss, probabilities)

    @torch.no_grad()
    def entropy(self) -> Tensor:
        """Mean entropy of the choices' scores, normalized: 1 uniform, 0 decided or nothing to decide."""
        p = self.scores()
        sizes = self.mask.sum(1)
        entropy = -(p * torch.where(p > 0, p, 1).log()).sum(1)
        several = sizes > 1
        return (entropy[several] / sizes[several].to(p.dtype).log()).sum() / several.sum().clamp(min=1)


def check_optimizer(name: str, optimizer: OptimizerFactory) -> None:
    """Raise InputError when the optimizer refuses its own settings."""
    try:
        optimizer([nn.Parameter(torch.zeros(1))])
    except (TypeError, ValueError) as error:
        raise InputError(f"{name}: {error}") from None


def masked_softmax(logits: Tensor, mask: Tensor) -> Tensor:
    """Softmax over the candidates of each choice: zeros where a choice has fewer."""
    return torch.softmax(logits.masked_fill(~mask, -torch.inf), dim=1)


def trains(supernet: nn.Module) -> bool:
    """Whether the weights want a gradient, so that the loss must give one: in a joint schedule."""
    return any(w.requires_grad for w in supernet.parameters())


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each submodule has the mode that it had."""
    modes = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for m, mode in modes:
            m.training = mode


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """No gradient for these parameters inside: a forward then keeps nothing that only they would need."""
    changed = [p for p in module.parameters() if p.requires_grad]
    for p in changed:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in changed:
            p.requires_grad_(True)
