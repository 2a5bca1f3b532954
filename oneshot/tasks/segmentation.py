"""One class for each pixel."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

from ..errors import InputError
from ..quantity import Quantity
from .metric import Metric, whole
from .task import Criterion, Task, by_name

LEFT_OUT = -100  # the class of pixels that count nowhere, as torch's cross-entropy has it


class Segmentation(Task):
    """One class for each pixel: the mean cross-entropy of the pixels.

    Targets are int64 (n, height, width); -100 leaves a pixel out. Metrics: `mean_iou`, the intersection over union of
    all pixels of a class, the mean over the classes; `accuracy`, the share of pixels whose class is right.

    Args:
        metric: Name of the metric that decides; None is `mean_iou`.
    """

    name = "segmentation"
    dense = True

    def criterion(self) -> Criterion:
        """Return the mean cross-entropy of the pixels that count, in nats."""
        return pixel_cross_entropy

    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, `mean_iou` first."""
        options: Any = {
            "num_classes": outputs,
            "ignore_index": LEFT_OUT,
            "validate_args": False,
            "sync_on_compute": False,
        }
        return by_name(
            whole(Quantity("mean_iou", "mean IoU of the classes"), partial(MulticlassJaccardIndex, **options)),
            whole(Quantity("accuracy", "accuracy of pixels"), partial(MulticlassAccuracy, average="micro", **options)),
        )

    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Raise InputError unless every pixel has a class or is left out, and some have one."""
        if targets.dim() != 3 or targets.dtype != torch.int64:
            raise InputError(
                f"{split} targets are {str(targets.dtype).removeprefix('torch.')} of shape {tuple(targets.shape)}; "
                "task=segmentation has a class for each pixel, int64 (n, height, width)"
            )
        if targets.numel() and bool((targets == LEFT_OUT).all()):
            raise InputError(
                f"{split} targets: all are {LEFT_OUT}, which leaves a pixel out; there is nothing to learn"
            )
        wrong = (((targets < 0) & (targets != LEFT_OUT)) | (targets >= len(outputs))).flatten(1).any(dim=1).nonzero()
        if len(wrong):
            i = int(wrong[0])
            values = sorted(set(targets[i].unique().tolist()) - {LEFT_OUT, *range(len(outputs))})
            raise InputError(
                f"{split} image {i} has pixels of class {values[0]}: must be from 0 to {len(outputs) - 1}, "
                f"or {LEFT_OUT} for a pixel that is left out"
            )


def pixel_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Compute the mean cross-entropy of the pixels that count.

    torch's own is NaN for a batch in which no pixel counts; this one is 0 there.

    Args:
        logits: (batch, classes, height, width).
        y: Classes, (batch, height, width); -100 leaves a pixel out.

    Returns:
        A scalar, in nats.
    """
    total = functional.cross_entropy(logits, y, ignore_index=LEFT_OUT, reduction="sum")
    return total / (y != LEFT_OUT).sum().clamp(min=1)
