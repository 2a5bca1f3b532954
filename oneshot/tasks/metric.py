"""How good outputs are, as one number: its name, its direction, and how it is computed."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torchmetrics
from torch import Tensor

from ..errors import InputError
from ..quantity import Quantity

OF_TASK = "metric"  # among the names of an estimator's scores: that of the metric of the task
Prepare = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def precise(values: Tensor) -> Tensor:
    """Return values in float32 at least: sums and means in bfloat16 are wrong in the third digit.

    Args:
        values: Of any floating type.
    """
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean(right: Tensor, logits: Tensor) -> Tensor:
    """Return the share of what is true, a scalar in the precision of the logits.

    Args:
        right: Of bool.
        logits: What it was made from.
    """
    return right.to(torch.promote_types(logits.dtype, torch.float32)).mean()


def as_they_are(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits and targets, the logits in float32 at least.

    Args:
        logits: Of a batch.
        y: Its targets.
    """
    return precise(logits), y


@dataclass(frozen=True)
class Metric:
    """A measure of outputs against targets.

    Args:
        quantity: Its name, label and direction.
        of_batch: From logits and targets of a batch to a scalar on their device. It takes no gradient.
        of_all: Makes the torchmetrics metric of many batches. None: it is the mean of `of_batch` over the examples.
        prepare: From logits and targets to what `of_all` takes, as probabilities and whole numbers.
    """

    quantity: Quantity
    of_batch: Callable[[Tensor, Tensor], Tensor]
    of_all: Callable[[], torchmetrics.Metric] | None = None
    prepare: Prepare = as_they_are

    @property
    def name(self) -> str:
        """Short name, as in the names of numbers (`valid_accuracy`)."""
        return self.quantity.name

    def error(self, value: Tensor) -> Tensor:
        """Return the value so that smaller is better, and 0 is perfect.

        Args:
            value: Of the metric.
        """
        return 1 - value if self.quantity.maximize else value

    def reward(self, value: Tensor) -> Tensor:
        """Return the value so that larger is better, and 1 is perfect.

        Args:
            value: Of the metric.
        """
        return value if self.quantity.maximize else 1 - value


def whole(quantity: Quantity, of_all: Callable[[], torchmetrics.Metric], prepare: Prepare = as_they_are) -> Metric:
    """Return a metric that is no mean over examples: torchmetrics computes it, of one batch too.

    Args:
        quantity: As in `Metric`.
        of_all: As in `Metric`.
        prepare: As in `Metric`.
    """

    def of_batch(logits: Tensor, y: Tensor) -> Tensor:
        metric = of_all().to(logits.device)
        metric.update(*prepare(logits.detach(), y))
        return computed(metric)

    return Metric(quantity, of_batch, of_all, prepare)


def computed(metric: torchmetrics.Metric) -> Tensor:
    """Return the value of a torchmetrics metric, without its remarks on classes that do not occur.

    Args:
        metric: After its updates.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        value: Tensor = metric.compute()
    return precise(value)


class OverClasses(torchmetrics.Metric):
    """The mean of a metric over the classes (or labels) that have examples, and counter-examples where it needs them.

    torchmetrics counts the other classes as 0 in the mean, though nothing can be said of them.

    Args:
        base: Makes the torchmetrics metric that gives a value for each class.
        what: Its name, for the message.
        positives: From the targets that `base` takes to the number of examples of each class.
        both: Whether the metric needs counter-examples too.
    """

    full_state_update = False

    def __init__(
        self, base: Callable[[], torchmetrics.Metric], what: str, positives: Callable[[Tensor], Tensor], both: bool
    ) -> None:
        super().__init__(sync_on_compute=False)
        self.base, self.what, self.positives, self.both = base(), what, positives, both
        self.found: Tensor | None = None
        self.total = 0

    def update(self, values: Tensor, y: Tensor) -> None:
        """Add a batch.

        Args:
            values: As `base` takes them.
            y: Targets, (batch,) or (batch, labels).
        """
        self.base.update(values, y)
        found = self.positives(y)
        self.found = found if self.found is None else self.found + found
        self.total += len(y)

    def compute(self) -> Tensor:
        """Return the mean.

        Raises:
            InputError: If nothing can be said of any class.
        """
        assert self.found is not None
        values: Tensor = self.base.compute()
        known = (self.found > 0) & ((self.found < self.total) | (not self.both))
        if not bool(known.any()):
            needed = "both examples and counter-examples" if self.both else "examples"
            raise InputError(f"metric={self.what}: no class has {needed} here")
        return values[known].mean()
