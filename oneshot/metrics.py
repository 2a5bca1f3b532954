"""Means that accumulate on the device and are read in one transfer."""

import torch
from torch import Tensor


def accuracy(logits: Tensor, y: Tensor) -> Tensor:
    """Share of examples whose largest logit is at the label: a scalar on the device."""
    return (logits.argmax(dim=1) == y).float().mean()


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
        names, counts = list(self.sums), self.counts
        sums = torch.stack([self.sums[name] for name in names]).tolist() if names else []
        self.sums, self.counts = {}, {}
        return {name: total / counts[name] for name, total in zip(names, sums, strict=True)}
