"""Collective operations of processes that compute one batch together: differentiable sums over processes.

Each process differentiates its own copy of one loss. Autograd therefore computes the derivative of the sum of these
copies. A sum over processes is then its own adjoint, however often it is differentiated. The gradient of the loss is
the mean over processes of the gradients of a weight's copies.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor
from torch.nn import functional

from ..errors import InputError


def processes() -> int:
    """Return the number of processes that compute together, 1 without a process group."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


class Share(NamedTuple):
    """Which rows of a batch belong to which process.

    Args:
        bounds: Process i has the rows from bounds[i] to bounds[i + 1].
        rank: The number of this process.
    """

    bounds: tuple[int, ...]
    rank: int

    @staticmethod
    def of(examples: int) -> "Share":
        """Divide a batch as equally as possible.

        Args:
            examples: Number of examples in the batch.

        Returns:
            The share of this process.
        """
        number = processes()
        return Share(tuple(examples * i // number for i in range(number + 1)), torch.distributed.get_rank())

    @property
    def total(self) -> int:
        """Number of examples in the batch."""
        return self.bounds[-1]

    @property
    def own(self) -> slice:
        """The rows of this process."""
        return slice(self.bounds[self.rank], self.bounds[self.rank + 1])

    def portions(self, like: Tensor) -> Tensor:
        """Compute which part of the batch each process has.

        Args:
            like: A tensor with the wanted dtype and device.

        Returns:
            Tensor (processes, 1) with sum 1.
        """
        return _portions(self.bounds, like.dtype, like.device)

    def gathered(self, rows: Tensor) -> Tensor:
        """Collect the rows of all processes.

        Args:
            rows: The rows of this process, (own examples, ...).

        Returns:
            The rows of the batch, (examples, ...).

        Raises:
            InputError: If there is not one row for each example.
        """
        own = self.own
        if len(rows) != own.stop - own.start:
            raise InputError(f"the network gives {len(rows)} rows for {own.stop - own.start} examples")
        return placed(rows, own.start, self.total)


@lru_cache(64)  # few batch sizes occur, and a copy to a device waits for it
def _portions(bounds: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """The part of the batch that each process has, (processes, 1)."""
    return torch.tensor(bounds, dtype=dtype, device=device).div(bounds[-1]).diff()[:, None]


current: Share | None = None  # set while this process computes its rows of a batch


def for_each_example(draw: Callable[[int], Tensor], number: int) -> Tensor:
    """Make random draws for this process's examples: the same draws that a single process would make for them.

    Args:
        draw: From a number of examples to their draws, one row for each.
        number: Number of examples of this process.

    Returns:
        The draws, (number, ...).
    """
    return draw(number) if current is None else draw(current.total)[current.own]


def placed(rows: Tensor, start: int, total: int) -> Tensor:
    """Place rows in a larger tensor, together with the rows of the other processes.

    Args:
        rows: The rows of this process.
        start: Place of the first of them.
        total: Number of rows of all processes.

    Returns:
        Tensor (total, ...), the same on each process.
    """
    return _Sum.apply(functional.pad(rows, (*(0, 0) * (rows.dim() - 1), start, total - start - len(rows))))


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Copy tensors so that their gradients become the means over processes, all in one collective.

    Args:
        tensors: The tensors. Those that need no gradient are returned as they are.

    Returns:
        The copies, in the same order.
    """
    wanted = [t.requires_grad and torch.is_grad_enabled() for t in tensors]
    copied = [t for t, is_wanted in zip(tensors, wanted, strict=True) if is_wanted]
    made = iter(_Copies.apply(*copied) if copied else ())
    return [next(made) if is_wanted else t for t, is_wanted in zip(tensors, wanted, strict=True)]


class _Copies(torch.autograd.Function):
    """Copies of tensors; the gradient of each is the mean over processes."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        given = [g for g in gradients if g is not None]
        flat = _Sum.apply(torch.cat([g.reshape(-1) for g in given])) / processes()
        parts = iter(flat.split([g.numel() for g in given]))
        return tuple(None if g is None else next(parts).view(g.shape).to(g.dtype) for g in gradients)


class _Sum(torch.autograd.Function):
    """The sum over processes, on each of them."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)
