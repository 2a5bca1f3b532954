"""The interfaces of techniques: parts of a method that combine with any architect."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..architects.base import Architect, Step
from ..architecture import Gates
from ..errors import InputError, check_range
from ..spaces.base import SearchSpace


class Transform(nn.Module, ABC):
    """A differentiable map of gates, between an architect and the supernet. It may have parameters of its own.

    Args:
        space: The space that is searched.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space

    @abstractmethod
    def forward(self, gates: Gates, step: Step) -> Gates:
        """Return the gates that the supernet gets.

        Args:
            gates: Those of the architect. What a transform computes besides its candidates it adds to `active`.
            step: The place of the step; a ramp is a function of it.
        """

    def scores(self, scores: Tensor) -> Tensor:
        """Return the scores that the space discretizes; the architect's own unless a method changes them.

        Args:
            scores: (choices, candidates), at least 0.
        """
        return scores


class Regularizer(ABC):
    """A term that is added to the loss of the architecture parameters: weight * penalty.

    The weight goes linearly in the steps from `start`, at the first one of the search, to `weight`, at the last one.

    Args:
        weight: Weight at the last step, at least 0.
        start: Weight at the first step; None is `weight`, so that it is constant.

    Raises:
        InputError: If a weight is below 0.
    """

    def __init__(self, weight: float, start: float | None = None) -> None:
        name = named(self)
        check_range(f"{name}.weight", weight, 0.0)
        check_range(f"{name}.start", weight if start is None else start, 0.0)
        self.start, self.weight = weight if start is None else start, weight

    @abstractmethod
    def penalty(self, architect: Architect) -> Tensor:
        """Return the penalty, a scalar whose gradient moves the architecture parameters.

        It is also called once before the search, to see whether it has a meaning for the architect.

        Args:
            architect: The architect without techniques.

        Raises:
            InputError: If it has none.
        """

    def __call__(self, architect: Architect, step: Step) -> Tensor | float:
        """Return weight * penalty.

        Args:
            architect: The architect without techniques.
            step: The place of the step.
        """
        weight = ramp(self.start, self.weight, step)
        return weight * self.penalty(architect) if weight else 0.0


class Perturbation(ABC):
    """A change of the gates of weight steps, and of no other gates.

    Its size goes linearly in the steps from `start`, at the first one of the search, to `epsilon`, at the last one.

    Args:
        epsilon: Size at the last step, at least 0.
        start: Size at the first step; None is `epsilon`, so that it is constant.

    Raises:
        InputError: If a size is out of range.
    """

    def __init__(self, epsilon: float, start: float | None = None) -> None:
        name = named(self)
        check_range(f"{name}.epsilon", epsilon, 0.0)
        check_range(f"{name}.start", epsilon if start is None else start, 0.0)
        self.start, self.epsilon = epsilon if start is None else start, epsilon

    @abstractmethod
    def perturb(self, gates: Gates, mask: Tensor, loss: Callable[[Gates], Tensor], epsilon: float, step: Step) -> Gates:
        """Return the gates of the weight step.

        Args:
            gates: Those of the architect, after the transforms.
            mask: (choices, candidates) of bool, true for the candidates that exist.
            loss: Loss of the training batch under gates. It changes nothing.
            epsilon: Size at this step, above 0.
            step: The place of the step; every random draw is a function of it.
        """

    def __call__(self, gates: Gates, mask: Tensor, loss: Callable[[Gates], Tensor], step: Step) -> Gates:
        """Return the gates of the weight step; at a size of 0 those that were given. Arguments as of `perturb`."""
        epsilon = ramp(self.start, self.epsilon, step)
        return self.perturb(gates, mask, loss, epsilon, step) if epsilon else gates


def ramp(first: float, last: float, step: Step) -> float:
    """Return a value that goes linearly in the steps; at the first and the last step it is exact.

    Args:
        first: Value at the first step of the search.
        last: Value at the last step.
        step: The place of the step.
    """
    done = min(1.0, step.index / (step.total - 1)) if step.total > 1 else 1.0
    return first + (last - first) * done if done < 1 else last


def named(part: object) -> str:
    """Return the name of a part for messages: `technique.` and its class, as in DirichletKL -> dirichlet_kl."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(part).__name__)
    return f"technique.{words.lower()}"


def logits(architect: Architect, part: object) -> Tensor:
    """Return the architecture logits of an architect, (choices, candidates).

    Args:
        architect: An architect.
        part: The part that needs them, for the message.

    Raises:
        InputError: If it has none.
    """
    alpha = getattr(architect, "alpha", None)
    if not isinstance(alpha, Tensor):
        raise InputError(f"{named(part)}: needs an architect with logits `alpha`; {type(architect).__name__} has none")
    return alpha


@contextmanager
def unmoved(supernet: nn.Module) -> Iterator[None]:
    """Let passes through a supernet leave no trace: afterwards buffers and random states are what they were.

    Args:
        supernet: The supernet.
    """
    before = [(buffer, buffer.clone()) for buffer in supernet.buffers()]
    devices = {p.device.index or 0 for p in supernet.parameters() if p.device.type == "cuda"}
    with torch.random.fork_rng(devices):
        yield
    for buffer, value in before:
        buffer.data.copy_(value)  # a plain copy_ would make a later backward pass through a batch norm fail
