"""The interface of a task: what targets are, the loss, and the metrics."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from ..errors import InputError, unknown
from .metric import Metric

Criterion = Callable[[Tensor, Tensor], Tensor]


class Task(ABC):
    """What is learned from a data set. A data set has a task, and everything that measures asks the task.

    Args:
        metric: Name of the metric that decides, of `metrics`; None is the first of them.

    Attributes:
        name: Its name, as in the setting `task`.
        dense: Whether there is a target for each pixel, so that a network needs a head that gives logits of a pixel.
    """

    name: ClassVar[str]
    dense: ClassVar[bool] = False

    def __init__(self, metric: str | None = None) -> None:
        self.chosen = metric

    @abstractmethod
    def criterion(self) -> Criterion:
        """Return the usual loss of a batch: (logits, targets) -> scalar."""

    @abstractmethod
    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, the usual one first.

        Args:
            outputs: Number of logits of an example (of a pixel, where the task is dense).
        """

    @abstractmethod
    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Check that targets can be those of this task.

        Args:
            split: Name of the split, for the message.
            targets: Of all examples, (n, ...).
            outputs: Names of the logits.

        Raises:
            InputError: If they cannot; the message names the first wrong one.
        """

    def strata(self, targets: Tensor) -> Tensor:
        """Return the group of each example; each part of a data set gets its share of every group.

        Args:
            targets: Of all examples, (n, ...).

        Returns:
            int64 (n,), from 0. One group for all, unless a task overrides this.
        """
        return torch.zeros(len(targets), dtype=torch.int64)

    def metric(self, outputs: int, name: str | None = None) -> Metric:
        """Return the metric that decides.

        Args:
            outputs: Number of logits of an example.
            name: Its name; None is the task's own choice.

        Raises:
            InputError: If the task has no metric of this name.
        """
        known = self.metrics(outputs)
        name = name or self.chosen or next(iter(known))
        if name not in known:
            raise InputError(f"task {self.name!r}: {unknown('metric', name, known)}")
        return known[name]


def by_name(*metrics: Metric) -> dict[str, Metric]:
    """Return metrics by their names.

    Args:
        *metrics: The usual one first.
    """
    return {metric.name: metric for metric in metrics}


def check_classes(split: str, what: str, targets: Tensor, outputs: Sequence[str]) -> None:
    """Check that targets are numbers of classes.

    Args:
        split: Name of the split, for the message.
        what: What has a target, as "image", for the message.
        targets: int64 (n,).
        outputs: Names of the classes.

    Raises:
        InputError: If one is outside the classes; the message names the first.
    """
    wrong = ((targets < 0) | (targets >= len(outputs))).nonzero()
    if len(wrong):
        i = int(wrong[0])
        raise InputError(
            f"{split} {what} {i} has label {int(targets[i])}: must be from 0 to {len(outputs) - 1} "
            f"({len(outputs)} classes)"
        )


def check_numbers(split: str, task: str, targets: Tensor, outputs: Sequence[str]) -> None:
    """Check that targets are a row of finite numbers for each example.

    Args:
        split: Name of the split, for the message.
        task: Name of the task, for the message.
        targets: (n, numbers), float.
        outputs: Names of the numbers.

    Raises:
        InputError: If they are not; the message names the first wrong one.
    """
    if targets.dim() != 2 or not targets.is_floating_point() or targets.shape[1] != len(outputs):
        raise InputError(
            f"{split} targets are {str(targets.dtype).removeprefix('torch.')} {tuple(targets.shape)}; "
            f"task={task} needs float (n, {len(outputs)})"
        )
    wrong = (~targets.isfinite()).any(dim=1).nonzero()
    if len(wrong):
        raise InputError(f"{split} example {int(wrong[0])} has the target {targets[int(wrong[0])].tolist()!r:.60}")
