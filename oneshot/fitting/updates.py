"""The updates of a search as plain functions of their parts: Search runs them under Lightning, a benchmark bare."""

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..architects.base import Architect, Criterion, Examples, Step, frozen
from .metrics import clip, unwatched


class Components(NamedTuple):
    """What an update works on.

    weights: the optimizer of the supernet's; moving: the architect's, none for one without parameters. clip: largest
    norm of the weights' gradient, 0 for none. backward: of a scalar loss, and advance: an optimizer's step;
    Lightning has its own for both. watch: called with loss and norm before anything moves (metrics.FiniteCheck).
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


def weight_step(components: Components, train: Examples, step: Step) -> tuple[Tensor, Tensor]:
    """Move the weights under the architect's gates, which get no gradient. Returns the loss and the logits."""
    x, y = train
    with torch.no_grad():
        gates = components.architect.gates(step)
    logits = components.supernet(x, gates)
    loss = components.criterion(logits, y)
    components.weights.zero_grad()
    components.backward(loss)
    components.watch(f"update {step.index}", loss, clip(components.supernet.parameters(), components.clip))
    components.advance(components.weights)
    return loss, logits


def architecture_step(components: Components, train: Examples, valid: Examples, step: Step) -> Tensor:
    """Move the architect; the weights get no gradient. Returns the loss."""
    with frozen(components.supernet):
        loss = components.architect.loss(components.supernet, train, valid, components.weights, step)
    for optimizer in components.moving:
        optimizer.zero_grad()
    if components.moving:
        components.backward(loss)
    components.watch(f"update {step.index}", loss, clip(components.architect.parameters(), 0.0))
    for optimizer in components.moving:
        components.advance(optimizer)
    components.architect.after_step()
    return loss


def joint_step(components: Components, train: Examples, step: Step) -> Tensor:
    """Move weights and architect by one backward pass. Returns the loss."""
    loss = components.architect.loss(components.supernet, train, train, components.weights, step)
    for optimizer in (components.weights, *components.moving):
        optimizer.zero_grad()
    components.backward(loss)
    norms = clip(components.supernet.parameters(), components.clip), clip(components.architect.parameters(), 0.0)
    components.watch(f"update {step.index}", loss, norms[0] + norms[1])
    for optimizer in (components.weights, *components.moving):
        components.advance(optimizer)
    components.architect.after_step()
    return loss
