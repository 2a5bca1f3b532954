"""The tasks of images that contract tests run with: outputs, targets of a batch, loss and metric."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from oneshot.tasks import Classification, Metric, MultiLabel, Regression, Task


class Example(NamedTuple):
    """A task with so many outputs."""

    task: Task
    outputs: int

    @property
    def metric(self) -> Metric:
        return self.task.metric(self.outputs)

    def y(self, n: int) -> Tensor:
        """Random targets of n examples."""
        if isinstance(self.task, Classification):
            return torch.randint(self.outputs, (n,))
        drawn = torch.rand(n, self.outputs)
        return drawn.round() if isinstance(self.task, MultiLabel) else 5 * drawn


EXAMPLES = {
    "classification": Example(Classification(), 10),
    "multilabel": Example(MultiLabel(), 10),
    "regression": Example(Regression(), 1),
}
each_task: Any = pytest.mark.parametrize("task", EXAMPLES)
