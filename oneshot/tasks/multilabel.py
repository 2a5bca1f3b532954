"""Any number of labels for each image."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
import torchmetrics
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MultilabelAUROC, MultilabelAveragePrecision, MultilabelF1Score

from ..errors import InputError
from ..quantity import Quantity
from .metric import Metric, OverClasses, mean, precise, whole
from .task import Criterion, Task, by_name, check_numbers


class MultiLabel(Task):
    """Any number of labels for each image: binary cross-entropy of each label.

    Targets are float (n, labels) of 0 and 1. Metrics: `average_precision`, `f1` and `auroc`, the means over the labels;
    `accuracy`, the share of right labels, where a probability of 1/2 decides; `exact_match`, the share of images whose
    labels are all right. A label that no example has does not count in the means, nor in `auroc`
    one that all have.

    Args:
        metric: Name of the metric that decides; None is `average_precision`.
    """

    name = "multilabel"

    def criterion(self) -> Criterion:
        """Return the mean binary cross-entropy of the labels, in nats."""
        return functional.binary_cross_entropy_with_logits

    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, `average_precision` first."""
        options: Any = {"num_labels": outputs, "validate_args": False, "sync_on_compute": False}

        def of_labels(name: str, label: str, of_all: Callable[..., torchmetrics.Metric]) -> Metric:
            base = partial(of_all, average="none", **options)
            over = partial(OverClasses, base, name, partial(torch.sum, dim=0), both=name == "auroc")
            return whole(Quantity(name, f"{label}, mean of the labels"), over, _chances)

        return by_name(
            of_labels("average_precision", "average precision", MultilabelAveragePrecision),
            of_labels("f1", "F1", MultilabelF1Score),
            of_labels("auroc", "area under ROC", MultilabelAUROC),
            Metric(Quantity("accuracy", "share of right labels"), lambda logits, y: mean(_right(logits, y), logits)),
            Metric(
                Quantity("exact_match", "images with all labels right"),
                lambda logits, y: mean(_right(logits, y).all(1), logits),
            ),
        )

    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Raise InputError unless every target is a row of 0 and 1."""
        check_numbers(split, self.name, targets, outputs)
        wrong = ((targets != 0) & (targets != 1)).nonzero()
        if len(wrong):
            i, label = wrong[0].tolist()
            raise InputError(
                f"{split} image {i}: label {outputs[label]!r:.40} is {targets[i, label].item()}; must be 0 or 1"
            )

    def strata(self, targets: Tensor) -> Tensor:
        """Return for each image the number of its combination of labels."""
        return torch.unique(targets, dim=0, return_inverse=True)[1]


def _chances(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return torch.sigmoid(precise(logits)), y.long()


def _right(logits: Tensor, y: Tensor) -> Tensor:
    """(batch, labels) of bool: which labels are right."""
    return (logits > 0) == (y > 0.5)
