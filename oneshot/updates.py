"""The updates of a search as plain functions of their parts: Search runs them under Lightning, a benchmark bare."""

from collections.abc import Callable, Sequence
from operator import methodcaller
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from oneshot.architects.base import Architect, Criterion, Examples, Step, frozen
from oneshot.metrics import clip, unwatched


class Parts(NamedTuple):
    """What an update works on.

    weights: the optimizer of the supernet's; moving: the architect's, none for one without parameters. clip: largest
    norm of the weights' gradient, 0 for none. backward: of a scalar loss, and advance: an optimizer's step;
    Lightning has its own for both. watch: called with loss and norm before anything moves (metrics.Watch).
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


def weight_step(parts: Parts, train: Examples, step: Step) -> tuple[Tensor, Tensor]:
    """Move the weights under the architect's gates, which get no gradient. Returns the loss and the logits."""
    x, y = train
    with torch.no_grad():
        gates = parts.architect.gates(step)
    logits = parts.supernet(x, gates)
    loss = parts.criterion(logits, y)
    parts.weights.zero_grad()
    parts.backward(loss)
    parts.watch(f"update {step.index}", loss, clip(parts.supernet.parameters(), parts.clip))
    parts.advance(parts.weights)
    return loss, logits


def architecture_step(parts: Parts, train: Examples, valid: Examples, step: Step) -> Tensor:
    """Move the architect; the weights get no gradient. Returns the loss."""
    with frozen(parts.supernet):
        loss = parts.architect.loss(parts.supernet, train, valid, parts.weights, step)
    for optimizer in parts.moving:
        optimizer.zero_grad()
    if parts.moving:
        parts.backward(loss)
    parts.watch(f"update {step.index}", loss, clip(parts.architect.parameters(), 0.0))
    for optimizer in parts.moving:
        parts.advance(optimizer)
    parts.architect.after_step()
    return loss


def joint_step(parts: Parts, train: Examples, step: Step) -> Tensor:
    """Move weights and architect by one backward pass. Returns the loss."""
    loss = parts.architect.loss(parts.supernet, train, train, parts.weights, step)
    for optimizer in (parts.weights, *parts.moving):
        optimizer.zero_grad()
    parts.backward(loss)
    norms = clip(parts.supernet.parameters(), parts.clip), clip(parts.architect.parameters(), 0.0)
    parts.watch(f"update {step.index}", loss, norms[0] + norms[1])
    for optimizer in (parts.weights, *parts.moving):
        parts.advance(optimizer)
    parts.architect.after_step()
    return loss
