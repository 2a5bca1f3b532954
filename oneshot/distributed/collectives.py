"""What processes that compute one batch together tell each other: sums over processes, differentiable.

Each process differentiates its own copy of one loss, so what autograd computes is the derivative of the sum of these
copies. A sum over processes is then its own adjoint, any number of times, and the mean over processes of the
gradients of a weight's copies is the gradient of the loss.
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
    """How many compute together: 1 without a process group."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


class Share(NamedTuple):
    """Which rows of a batch are whose: from bounds[i] to bounds[i + 1] those of process i; rank: which this one is."""

    bounds: tuple[int, ...]
    rank: int

    @staticmethod
    def of(examples: int) -> "Share":
        """Rows as equal as they can be."""
        number = processes()
        return Share(tuple(examples * i // number for i in range(number + 1)), torch.distributed.get_rank())

    @property
    def total(self) -> int:
        return self.bounds[-1]

    @property
    def own(self) -> slice:
        return slice(self.bounds[self.rank], self.bounds[self.rank + 1])

    def portions(self, like: Tensor) -> Tensor:
        """(processes, 1): the part of the batch that each has, in this kind of tensor."""
        return _portions(self.bounds, like.dtype, like.device)

    def gathered(self, rows: Tensor) -> Tensor:
        """The rows of all processes, from each its own. Raises InputError where these are not a row an example."""
        own = self.own
        if len(rows) != own.stop - own.start:
            raise InputError(f"the network gives {len(rows)} rows for {own.stop - own.start} examples")
        return placed(rows, own.start, self.total)


@lru_cache(64)  # there are few sizes of batches, and a copy to a device is a wait
def _portions(bounds: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(bounds, dtype=dtype, device=device).div(bounds[-1]).diff()[:, None]


current: Share | None = None  # of the batch that this process is computing its rows of


def for_each_example(draw: Callable[[int], Tensor], number: int) -> Tensor:
    """Draws for so many examples, an example a row: for this process's examples those that one process would make."""
    return draw(number) if current is None else draw(current.total)[current.own]


def placed(rows: Tensor, start: int, total: int) -> Tensor:
    """(total, ...): these rows from `start` on, and beside them those that the other processes place there."""
    return _Sum.apply(functional.pad(rows, (*(0, 0) * (rows.dim() - 1), start, total - start - len(rows))))


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors, whose gradients will be the means over processes: all of them in one collective."""
    wanted = [t.requires_grad and torch.is_grad_enabled() for t in tensors]
    copied = [t for t, is_wanted in zip(tensors, wanted, strict=True) if is_wanted]
    made = iter(_Copies.apply(*copied) if copied else ())
    return [next(made) if is_wanted else t for t, is_wanted in zip(tensors, wanted, strict=True)]


class _Copies(torch.autograd.Function):
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
