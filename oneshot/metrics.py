"""Means that accumulate on the device and are read in one transfer."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from oneshot.errors import Diverged, InputError


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Share of examples whose largest logit is at the label: a scalar on the device."""
    return (logits.argmax(dim=1) == y).float().mean()


def check_forward(loss: Callable[[], Tensor]) -> None:
    """Raise InputError unless this computes a scalar loss: the network, the images and the criterion fit together."""
    try:
        with torch.no_grad():
            value = loss()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"a first forward pass fails: {str(error).splitlines()[0]}") from error
    if value.numel() != 1 or not value.is_floating_point():
        raise InputError(f"the criterion gives a tensor of shape {tuple(value.shape)}: must be one number")


class Means:
    """Running means by name. `add` never waits for the device; `read` does, once, and starts anew."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor, weight: int = 1) -> None:
        """value: scalar; weight: the number of examples or steps it is a mean of."""
        value = value.detach().float() * weight
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + weight

    def read(self) -> dict[str, float]:
        """The means by name. Raises Diverged when one is not finite."""
        names, counts = list(self.sums), self.counts
        sums = torch.stack([self.sums[name] for name in names]).tolist() if names else []
        self.sums, self.counts = {}, {}
        means = {name: total / counts[name] for name, total in zip(names, sums, strict=True)}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(f"{name} is {mean}: the run has diverged; a lower learning rate may help")
        return means
