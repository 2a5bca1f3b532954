"""The next token of a text."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..quantity import Quantity
from .classification import accuracy
from .metric import Metric, precise
from .task import Criterion, Task, by_name, check_classes


class LanguageModelling(Task):
    """The next token at each place of a text: cross-entropy.

    Inputs and targets are int64 (n, time), logits (n, vocabulary, time). Metrics: `bits_per_character`, the mean
    cross-entropy in bits of a token, where smaller is better (a token is a character in `oneshot.data.text`);
    `accuracy`, the share of tokens that are the most probable ones.

    Args:
        metric: Name of the metric that decides; None is `bits_per_character`.
    """

    name = "language_modelling"

    def criterion(self) -> Criterion:
        """Return the mean cross-entropy of the tokens, in nats."""
        return functional.cross_entropy

    def metrics(self, outputs: int) -> Mapping[str, Metric]:
        """Return the metrics by name, `bits_per_character` first."""
        return by_name(
            Metric(Quantity("bits_per_character", "bits per character", maximize=False, share=False), bits),
            Metric(Quantity("accuracy", "accuracy of tokens"), accuracy),
        )

    def check(self, split: str, targets: Tensor, outputs: Sequence[str]) -> None:
        """Raise InputError unless every target is a token of the vocabulary."""
        if targets.dim() != 2 or targets.dtype != torch.int64:
            raise InputError(
                f"{split} targets are {str(targets.dtype).removeprefix('torch.')} of shape {tuple(targets.shape)}; "
                f"task={self.name} has a token at each place, int64 (n, time)"
            )
        check_classes(split, "token", targets.flatten(), outputs)


def bits(logits: Tensor, y: Tensor) -> Tensor:
    """Compute the mean cross-entropy in bits.

    Args:
        logits: (batch, vocabulary, time).
        y: Tokens, (batch, time).

    Returns:
        A scalar on the device.
    """
    return functional.cross_entropy(precise(logits), y) / math.log(2)
