"""What a fit measures without waiting for the device: means, norms, and whether they are finite."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Diverged, InputError, is_number


def check_forward(loss: Callable[[], Tensor]) -> None:
    """Raise InputError unless this function computes a scalar loss: network, images and criterion fit together.

    Args:
        loss: Computes the loss of a first batch.

    Raises:
        InputError: If it fails or returns something else.
    """
    try:
        with torch.no_grad():
            value = loss()
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"a first forward pass fails: {str(error).splitlines()[0]}") from error
    if value.numel() != 1 or not value.is_floating_point():
        raise InputError(f"the criterion gives a tensor of shape {tuple(value.shape)}; must be one float")


def clip(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale all gradients down together so that their norm is at most `largest`. Does not wait for the device.

    Args:
        parameters: The parameters with the gradients.
        largest: Largest norm; 0 leaves the gradients as they are.

    Returns:
        The norm before, a scalar.
    """
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if largest:
        nn.utils.clip_grads_with_norm_(parameters, largest, norm)
    return norm


FIRST = (
    "no weight has moved yet: look at the data (a batch without any target) and at the weights of the loss and of "
    "techniques"
)


class FiniteCheck:
    """Stops a fit when its loss or its gradient is not finite. It is called between backward pass and optimizer step.

    On the CPU it stops the fit before the optimizer takes the step. On other devices it does so in the next call or in
    `settle`, so that the host never waits for the device. Call `settle` before anything is saved.
    """

    def __init__(self) -> None:
        self.pending: tuple[str, Tensor, torch.Event] | None = None

    def __call__(self, what: str, loss: Tensor, norm: Tensor) -> None:
        """Check an update.

        Args:
            what: Names the update in the message.
            loss: Scalar.
            norm: Norm of the gradient, a scalar.

        Raises:
            Diverged: If one of them, or one of an earlier call, is not finite.
        """
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
        """Finish the check of the last call. Raises Diverged if it was not finite."""
        if self.pending is not None:
            what, host, event = self.pending
            self.pending = None
            event.synchronize()
            self._check(what, host)

    def _check(self, what: str, values: Tensor) -> None:
        loss, norm = values.tolist()
        hint = FIRST if what.endswith(" 0") else "a lower learning rate may help"
        for name, value in (("loss", loss), ("norm of the gradient", norm)):
            if not math.isfinite(value):
                raise Diverged(f"{what}: the {name} is {value}: the run has diverged; {hint}")


def unwatched(what: str, loss: Tensor, norm: Tensor) -> None:
    """Take the place of a FiniteCheck where nothing is checked.

    Args:
        what: Not used.
        loss: Not used.
        norm: Not used.
    """


class Means:
    """Running means by name. `add` never waits for the device; `read` does so once and starts anew."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, name: str, value: Tensor, weight: int = 1) -> None:
        """Add a value to a mean.

        Args:
            name: Name of the mean.
            value: Scalar, itself the mean over `weight` examples or steps.
            weight: Number of examples or steps.
        """
        value = value.detach().float() * weight
        self.sums[name] = self.sums[name] + value if name in self.sums else value
        self.counts[name] = self.counts.get(name, 0) + weight

    def read(self) -> dict[str, float]:
        """Return the means by name and start anew. Raises Diverged if one of them is not finite."""
        names, counts = list(self.sums), self.counts
        sums = torch.stack([self.sums[name] for name in names]).tolist() if names else []
        self.sums, self.counts = {}, {}
        means = {name: total / counts[name] for name, total in zip(names, sums, strict=True)}
        for name, mean in means.items():
            if not math.isfinite(mean):
                raise Diverged(f"{name} is {mean}: the run has diverged; a lower learning rate may help")
        return means

    def state(self) -> dict[str, Any]:
        """Return the sums and counts as plain numbers, for `load_state`."""
        return {name: [float(self.sums[name]), self.counts[name]] for name in self.sums}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore the state that `state` returned. Raises ValueError or TypeError if it is anything else."""
        for name, (total, count) in state.items():
            if not is_number(total) or type(count) is not int or count < 1 or not isinstance(name, str):
                raise ValueError(f"means: {name!r:.40}")
        self.sums = {name: torch.tensor(total, dtype=torch.float32) for name, (total, _) in state.items()}
        self.counts = {name: count for name, (_, count) in state.items()}
