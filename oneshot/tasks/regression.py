"""One or more numbers for each image."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.regression import R2Score

from ..quantity import Quantity
from .metric import Metric, precise, whole
from .task import Criterion, Task, by_name, check_numbers

STRATA = 10  # groups of equal size, by the first number


class Regression(Task):
    """One or more numbers for each image: the mean squared error.

    Targets are float (n, numbers). Metrics: `mean_absolute_error` and `mean_squared_error`, the means over examples and
    numbers, where smaller is better; `r2`, the coefficient of determination, the mean over the numbers. A part of a
    data set gets its share of each tenth of the range of the first number.

    Args:
        metric: Name of the metric that decides; None is `mean_absolute_error`.
    """

    name = "regression"

    def criterion(self) -> Criterion:
        """Return the mean squared error."""
        return functional.mse_loss

    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, `mean_absolute_error` first."""
        error = partial(Quantity, maximize=False, share=False)
        return by_name(
            Metric(error("mean_absolute_error", "mean absolute error"), lambda p, y: (precise(p) - y).abs().mean()),
            Metric(error("mean_squared_error", "mean squared error"), lambda p, y: (precise(p) - y).square().mean()),
            whole(Quantity("r2", "R²", share=False), partial(R2Score, sync_on_compute=False)),
        )

    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Raise InputError unless every target is a row of finite numbers."""
        check_numbers(split, self.name, targets, outputs)

    def strata(self, targets: Tensor) -> Tensor:
        """Return for each example which tenth of the sorted first numbers it is in."""
        place = torch.empty(len(targets), dtype=torch.int64)
        place[targets[:, 0].argsort(stable=True)] = torch.arange(len(targets))
        return place * STRATA // max(1, len(targets))
