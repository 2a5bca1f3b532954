"""The updates of a search as plain functions: Search calls them under Lightning, a benchmark without it."""

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architects.base import Architect, Criterion, Examples, Step, frozen
from ..cost import ExpectedCost
from .metrics import clip, unwatched


class Components(NamedTuple):
    """What an update works on.

    Args:
        supernet: The supernet.
        architect: The architect.
        criterion: From logits (batch, classes) and labels (batch,) to a scalar loss.
        weights: The optimizer of the supernet's weights.
        moving: The optimizers of the architect; empty if it has no parameters.
        clip: Largest norm of the gradient of the weights; 0 is no limit.
        backward: Runs the backward pass of a scalar loss. Lightning has its own.
        advance: Takes a step of an optimizer. Lightning has its own.
        watch: Called with name, loss and norm before anything moves, as a `FiniteCheck`.
    """

    supernet: nn.Module
    architect: Architect
    criterion: Criterion
    weights: Optimizer
    moving: Sequence[Optimizer]
    clip: float = 0.0
    backward: Callable[[Tensor], Any] = Tensor.backward
    advance: Callable[[Optimizer], Any] = methodcaller("step")
    watch: Callable[[str, Tensor, Tensor], None] = unwatched


def weight_step(
    components: Components, train: Examples, step: Step, valid: Examples | None = None
) -> tuple[Tensor, Tensor]:
    """Update the weights under the gates of the architect. The gates get no gradient.

    Where these are several, the gradients of their losses are summed. So are those of the terms that a method adds.

    Args:
        components: What the update works on.
        train: Images and labels of the weight part.
        step: The number of the update and the progress of the search.
        valid: Images and labels of the architecture part, for an architect that `compares_gradients`.

    Returns:
        The loss, a scalar, its mean over several gates; and the logits (batch, classes) of the last ones.
    """
    x, y = train
    with torch.no_grad():
        several = components.architect.weight_gates(components.supernet, train, step)
    components.weights.zero_grad()
    losses = []
    for gates in several:
        logits = components.supernet(x, gates)
        losses.append(components.criterion(logits, y))
        components.backward(losses[-1])
    for term in components.architect.weight_terms(components.supernet, train, step):
        components.backward(term)
    loss = losses[0] if len(losses) == 1 else torch.stack([loss.detach() for loss in losses]).mean()
    with components.architect.held(components.supernet, several, valid, step):
        components.watch(f"update {step.index}", loss, clip(components.supernet.parameters(), components.clip))
        components.advance(components.weights)
    return loss, logits


def architecture_step(components: Components, train: Examples, valid: Examples, step: Step) -> Tensor:
    """Update the architect. The weights get no gradient.

    Args:
        components: What the update works on.
        train: Images and labels of the weight part.
        valid: Images and labels of the architecture part.
        step: The number of the update and the progress of the search.

    Returns:
        The loss, a scalar.
    """
    with frozen(components.supernet):
        loss = components.architect.loss(components.supernet, train, valid, components.weights, step)
    for optimizer in components.moving:
        optimizer.zero_grad()
    if components.moving and loss.requires_grad:  # it needs none where every path to the output drew `none`
        components.backward(loss)
    zero_missing(components.architect)
    components.watch(f"update {step.index}", loss, clip(components.architect.parameters(), 0.0))
    for optimizer in components.moving:
        components.advance(optimizer)
    components.architect.after_step()
    _adapt(components.architect, step)
    return loss


def joint_step(components: Components, train: Examples, step: Step) -> Tensor:
    """Update weights and architect with one backward pass.

    Args:
        components: What the update works on.
        train: Images and labels.
        step: The number of the update and the progress of the search.

    Returns:
        The loss, a scalar.
    """
    loss = components.architect.loss(components.supernet, train, train, components.weights, step)
    for optimizer in (components.weights, *components.moving):
        optimizer.zero_grad()
    components.backward(loss)
    zero_missing(components.architect)
    norms = clip(components.supernet.parameters(), components.clip), clip(components.architect.parameters(), 0.0)
    components.watch(f"update {step.index}", loss, norms[0] + norms[1])
    for optimizer in (components.weights, *components.moving):
        components.advance(optimizer)
    components.architect.after_step()
    _adapt(components.architect, step)
    return loss


def _adapt(architect: Architect, step: Step) -> None:
    """Move the multiplier of a cost with a limit."""
    if isinstance(architect.cost, ExpectedCost):
        architect.cost.adapt(step.total)


def zero_missing(architect: Architect) -> None:
    """Give the parameters of an architect that the loss does not depend on a gradient of 0.

    Args:
        architect: After the backward pass.
    """
    for parameter in architect.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
