"""Loss and accuracy in evaluation mode, of architectures in a supernet and of a trained network."""

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
    """Compute the mean loss and the accuracy of a supernet over all examples.

    Args:
        supernet: The supernet.
        criterion: From logits (batch, classes) and labels (batch,) to a scalar loss.
        batches: Pairs of images (batch, channels, height, width) and labels (batch,).
        gates: From the number of the batch to its gates.

    Returns:
        `loss`, and `accuracy` as a share.

    Raises:
        Diverged: If one of them is not finite.
    """
    means = Means()
    with evaluating(supernet):
        for n, (x, y) in enumerate(batches):
            logits = supernet(x, gates(n))
            means.add("loss", criterion(logits, y), len(y))
            means.add("accuracy", accuracy(logits, y), len(y))
    return means.read()


class Classified(NamedTuple):
    """How a network classifies a set of images.

    Args:
        accuracy: Share of the images with the right class.
        loss: Mean cross-entropy, in nats.
        confusion: Number of images by class and predicted class.
    """

    accuracy: float
    loss: float
    confusion: list[list[int]]

    def class_accuracy(self) -> list[float | None]:
        """Return the accuracy of each class, a share; None for a class without images."""
        totals = [sum(row) for row in self.confusion]
        return [row[c] / n if n else None for c, (row, n) in enumerate(zip(self.confusion, totals, strict=True))]


@torch.no_grad()
def classify(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], classes: int) -> Classified:
    """Classify all examples with a network.

    The accuracy is summed as in a retraining, so it is the same number. The loss is the plain cross-entropy, whatever
    the network was trained with.

    Args:
        network: The network.
        batches: Pairs of images (batch, channels, height, width) and labels (batch,).
        classes: Number of classes.

    Returns:
        Accuracy, loss and confusion.

    Raises:
        Diverged: If the loss is not finite.
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
    """Make the gates of a single architecture.

    Only the chosen candidates that the architecture's network uses are computed, and their gates are 1.

    Args:
        space: The search space.
        architecture: The architecture.
        device: The device of the gates.

    Returns:
        The gates.
    """
    kept = space.used(architecture)
    return Gates(space.one_hot(kept).to(device), tuple((k,) for k in kept.decisions))
