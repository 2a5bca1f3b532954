"""What a fit measures without waiting for the device: means, norms, and whether they are finite."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Diverged, InputError, is_number


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


def clip(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Bring the norm of all gradients down to `largest` (0: leave it). Returns what it was; no wait for the device."""
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


class FiniteCheck:
    """Stops a fit whose loss or gradient is not finite. Called between backward pass and optimizer.

    On the CPU before the optimizer takes the step. Elsewhere in the next call, or in `settle`, so that the host
    never waits for the device to finish what it was just given: what is kept must be settled first.
    """

    def __init__(self) -> None:
        self.pending: tuple[str, Tensor, torch.Event] | None = None

    def __call__(self, what: str, loss: Tensor, norm: Tensor) -> None:
        """what: the update, for the message. Raises Diverged."""
        self.settle()
        values = torch.stack([loss.detach(), norm.to(loss)])
        if values.device.type == "cpu":
            self._check(what, values)
        else:
            event, host = torch.Event(values.device), torch.empty_like(values, device="cpu", pin_memory=True)
            host.copy_(values, non_blocking=True)
            event.record()
            self.pending = what, host, event

    def settle(self) -> None:
        """Raise Diverged if the last call should have."""
        if self.pending is not None:
            what, host, event = self.pending
            self.pending = None
            event.synchronize()
            self._check(what, host)

    def _check(self, what: str, values: Tensor) -> None:
        loss, norm = values.tolist()
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                raise Diverged(f"{what}: the {name} is {value}: the run has diverged; a lower learning rate may help")


def unwatched(what: str, loss: Tensor, norm: Tensor) -> None:
    """In the place of a FiniteCheck where nothing is to be stopped."""


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

    def state(self) -> dict[str, Any]:
        """What `load_state` takes: numbers alone."""
        return {name: [float(self.sums[name]), self.counts[name]] for name in self.sums}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError or TypeError for anything that `state` does not give."""
        for name, (total, count) in state.items():
            if not is_number(total) or type(count) is not int or count < 1 or not isinstance(name, str):
                raise ValueError(f"means: {name!r:.40}")
        self.sums = {name: torch.tensor(total, dtype=torch.float32) for name, (total, _) in state.items()}
        self.counts = {name: count for name, (_, count) in state.items()}
