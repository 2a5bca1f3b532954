"""What a supernet says of architectures: loss and accuracy over examples, in eval mode."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from oneshot.architects.base import Criterion, evaluating
from oneshot.architecture import Architecture, Gates
from oneshot.metrics import Means, accuracy
from oneshot.spaces.base import SearchSpace


@torch.no_grad()
def evaluate(
    supernet: nn.Module, criterion: Criterion, batches: Iterable[tuple[Tensor, Tensor]], gates: Callable[[int], Gates]
) -> dict[str, float]:
    """Mean loss and accuracy over all examples. gates: batch number -> gates. Raises Diverged where not finite."""
    means = Means()
    with evaluating(supernet):
        for n, (x, y) in enumerate(batches):
            logits = supernet(x, gates(n))
            means.add("loss", criterion(logits, y), len(y))
            means.add("accuracy", accuracy(logits, y), len(y))
    return means.read()


def path(space: SearchSpace, architecture: Architecture, device: torch.device) -> Gates:
    """The gates of one architecture: one, and computed, where it decides so and its network uses it."""
    kept = space.used(architecture)
    return Gates(space.one_hot(kept).to(device), tuple((k,) for k in kept.decisions))
