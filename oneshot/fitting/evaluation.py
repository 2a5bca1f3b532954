"""What a supernet says of architectures, and a network of test images: loss and accuracy, in eval mode."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architects.base import Criterion, evaluating
from ..architecture import Architecture, Gates
from ..spaces.base import SearchSpace
from .metrics import Means, accuracy


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


class Classified(NamedTuple):
    """accuracy: share of the images; loss: mean cross-entropy; confusion: images by (class, predicted class)."""

    accuracy: float
    loss: float
    confusion: list[list[int]]

    def class_accuracy(self) -> list[float | None]:
        """The share of each class's images; None where it has none."""
        totals = [sum(row) for row in self.confusion]
        return [row[c] / n if n else None for c, (row, n) in enumerate(zip(self.confusion, totals, strict=True))]


@torch.no_grad()
def classify(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Classified:
    """What a network makes of all examples; the accuracy is summed as a retraining sums it, so it is the same number.

    The loss is the plain cross-entropy, whatever the network was trained with. Raises Diverged where it is not finite.
    """
    means, pairs = Means(), []
    with evaluating(network):
        for x, y in batches:
            logits = network(x)
            means.add("loss", functional.cross_entropy(logits, y), len(y))
            means.add("accuracy", accuracy(logits, y), len(y))
            pairs.append(y * classes + logits.argmax(dim=1))
    counts = torch.bincount(torch.cat(pairs), minlength=classes * classes).reshape(classes, classes)
    return Classified(**means.read(), confusion=counts.tolist())


def one_path(space: SearchSpace, architecture: Architecture, device: torch.device) -> Gates:
    """The gates of one architecture: one, and computed, where it decides so and its network uses it."""
    kept = space.used(architecture)
    return Gates(space.one_hot(kept).to(device), tuple((k,) for k in kept.decisions))
