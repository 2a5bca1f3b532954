"""One class for each image."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score

from ..errors import InputError
from ..quantity import ACCURACY, Quantity
from .metric import Metric, OverClasses, mean, precise, whole
from .task import Criterion, Task, by_name, check_classes

OF_TOP = 5


class Classification(Task):
    """One class for each image: cross-entropy, and the share of images whose class is right.

    Targets are int64 (n,). Metrics: `accuracy`; `top_5_accuracy`, with more than five classes; `f1` and `auroc`, the
    means over the classes (one class against the others). A class that no example has does not count in them.

    Args:
        metric: Name of the metric that decides; None is `accuracy`.
    """

    name = "classification"

    def criterion(self) -> Criterion:
        """Return cross-entropy, in nats."""
        return functional.cross_entropy

    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, `accuracy` first."""
        options: Any = {"num_classes": outputs, "validate_args": False, "sync_on_compute": False}
        area = partial(
            OverClasses,
            partial(MulticlassAUROC, average="none", **options),
            "auroc",
            partial(torch.bincount, minlength=outputs),
            both=True,
        )
        found = by_name(
            Metric(ACCURACY, accuracy),
            whole(Quantity("f1", "F1, mean of the classes"), partial(MulticlassF1Score, average="macro", **options)),
            whole(Quantity("auroc", "area under ROC, mean of the classes"), area, shares),
        )
        if outputs > OF_TOP:
            found["top_5_accuracy"] = Metric(
                Quantity("top_5_accuracy", "top-5 accuracy"), partial(top_accuracy, largest=OF_TOP)
            )
        return found

    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Raise InputError unless every target is a class."""
        if targets.dim() != 1 or targets.dtype != torch.int64:
            raise InputError(
                f"{split} labels are {str(targets.dtype).removeprefix('torch.')} of shape {tuple(targets.shape)}; "
                "a classification has one whole number an image, int64 (n,)"
            )
        check_classes(split, "image", targets, outputs)

    def strata(self, targets: Tensor) -> Tensor:
        """Return the class of each image."""
        return targets


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Compute the share of examples whose largest logit belongs to the label.

    Args:
        logits: (batch, classes).
        y: Labels, (batch,).

    Returns:
        A scalar on the device.
    """
    return mean(logits.argmax(dim=1) == y, logits)


def top_accuracy(logits: Tensor, y: Tensor, largest: int) -> Tensor:
    """Compute the share of examples whose label is among the largest logits.

    Args:
        logits: (batch, classes).
        y: Labels, (batch,).
        largest: How many logits count.

    Returns:
        A scalar on the device.
    """
    return mean((logits.topk(largest, dim=1).indices == y[:, None]).any(dim=1), logits)


def shares(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of the classes, and the targets.

    Args:
        logits: (batch, classes).
        y: Labels, (batch,).
    """
    return torch.softmax(precise(logits), dim=1), y
