"""Loss and metrics in evaluation mode, of architectures in a supernet and of a trained network."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torchmetrics
from torch import Tensor, nn

from ..architects.base import Criterion, evaluating
from ..architecture import Architecture, Gates
from ..spaces.base import SearchSpace
from ..tasks import Metric
from ..tasks.metric import computed
from .metrics import Means

Confusion = list[list[int]]  # number of images by class and predicted class


@torch.no_grad()
def evaluate(
    supernet: nn.Module,
    criterion: Criterion,
    batches: Iterable[tuple[Tensor, Tensor]],
    gates: Callable[[int], Gates],
    metric: Metric,
) -> dict[str, float]:
    """Compute the mean loss and the metric of a supernet over all examples.

    Args:
        supernet: The supernet.
        criterion: From logits and targets of a batch to a scalar loss.
        batches: Pairs of images (batch, channels, height, width) and targets.
        gates: From the number of the batch to its gates.
        metric: What is measured besides the loss.

    Returns:
        `loss`, and the metric by its name.

    Raises:
        Diverged: If one of them is not finite.
    """
    meter = Meter([metric])
    with evaluating(supernet):
        for n, (x, y) in enumerate(batches):
            logits = supernet(x, gates(n))
            meter.add(logits, y, criterion(logits, y))
    return meter.read()


class Meter:
    """Sums up loss and metrics over batches. Nothing waits for the device before `read`.

    Args:
        metrics: What is measured besides the loss.
    """

    def __init__(self, metrics: Sequence[Metric]) -> None:
        self.metrics, self.means = metrics, Means()
        self.wholes: dict[str, torchmetrics.Metric] = {}

    def add(self, logits: Tensor, y: Tensor, loss: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            logits: Of the batch.
            y: Its targets.
            loss: Its mean loss, a scalar; None leaves the loss out.
        """
        if loss is not None:
            self.means.add("loss", loss, len(y))
        for metric in self.metrics:
            if metric.of_all is None:
                self.means.add(metric.name, metric.of_batch(logits, y), len(y))
                continue
            if metric.name not in self.wholes:
                self.wholes[metric.name] = metric.of_all().to(logits.device)
            self.wholes[metric.name].update(*metric.prepare(logits, y))

    def read(self) -> dict[str, float]:
        """Return `loss` and the metrics by name.

        Raises:
            Diverged: If one of them is not finite.
        """
        for name, whole in self.wholes.items():
            self.means.add(name, computed(whole))
        return self.means.read()


def class_accuracy(confusion: Confusion) -> list[float | None]:
    """Return the accuracy of each class, a share; None for a class without images.

    Args:
        confusion: Number of images by class and predicted class.
    """
    totals = [sum(row) for row in confusion]
    return [row[c] / n if n else None for c, (row, n) in enumerate(zip(confusion, totals, strict=True))]


@torch.no_grad()
def examine(
    network: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    metrics: Sequence[Metric],
    criterion: Criterion,
    classes: int = 0,
) -> tuple[dict[str, float], Confusion]:
    """Measure a network on all examples.

    Metrics are summed as in a retraining, so they are the same numbers.

    Args:
        network: The network.
        batches: Pairs of images (batch, channels, height, width) and targets.
        metrics: What is measured.
        criterion: The loss, whatever the network was trained with.
        classes: Number of classes whose confusion is counted; 0 counts none.

    Returns:
        `loss` and the metrics by name; number of images by class and predicted class.

    Raises:
        Diverged: If one of the numbers is not finite.
    """
    meter, pairs = Meter(metrics), []
    with evaluating(network):
        for x, y in batches:
            logits = network(x)
            meter.add(logits, y, criterion(logits, y))
            if classes:
                pairs.append(y * classes + logits.argmax(dim=1))
    counts = (
        torch.bincount(torch.cat(pairs), minlength=classes * classes).reshape(classes, classes) if classes else None
    )
    return meter.read(), [] if counts is None else counts.tolist()


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
