"""One network computed by several processes, each with its share of every batch, with the numbers of one process.

To its caller, a shared module is what it was before. It maps a whole batch, gates and weights to the logits of the
whole batch, with the gradients of a single process, on each process. Its callers know nothing of processes, neither an
architect with inner gradients and rewards of its own nor a criterion that is not a mean. Inside, each process computes
its rows of the batch; batch statistics and gradients are combined (collectives.py). The hooks of DDP cannot do that:
they see neither `torch.autograd.grad` nor `functional_call`.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..architecture import Gates
from ..errors import InputError
from . import collectives
from .collectives import Share, copies, for_each_example, placed, processes

MASKS = (functional.dropout, functional.dropout1d, functional.dropout2d, functional.dropout3d)


def share(module: nn.Module, batch_size: int) -> None:
    """Let all processes compute a module together.

    The module's forward is forward(x) or forward(x, gates). x and the output are tensors, or tuples of tensors, with
    one row for each example.

    Up to rounding, the result is the same as in one process for everything that treats examples one by one, for torch's
    batch norm and dropout, whatever module calls them, and for drop path. It is not the same for other operations that
    mix examples. A module's own random draws are repeated by each process for its own rows. A batch with fewer rows
    than processes is computed whole by each process. In a single process nothing is changed.

    Args:
        module: The module, changed in place.
        batch_size: Number of examples in a batch.

    Raises:
        InputError: If `batch_size` is below the number of processes.
    """
    check_batch(batch_size, processes())
    if processes() > 1 and not isinstance(module.forward, _Shared):
        module.forward = _Shared(module)


def check_batch(batch_size: int, number: int) -> None:
    """Raise InputError unless each process gets an example of a batch.

    Args:
        batch_size: Number of examples in a batch.
        number: Number of processes.

    Raises:
        InputError: If there are fewer examples than processes.
    """
    if batch_size < number:
        raise InputError(f"data.batch_size={batch_size}: must be at least the number of processes, {number}")


class _Shared:
    """The forward of a shared module."""

    def __init__(self, module: nn.Module) -> None:
        self.whole, self.bare = module.forward, _Bare(module)

    def __call__(self, x: Any, *gates: Gates) -> Any:
        share = Share.of(len(x[0] if isinstance(x, tuple) else x))
        if share.total < processes():
            return self.whole(x, *gates)
        rows = tuple(part[share.own] for part in x) if isinstance(x, tuple) else x[share.own]
        weights = dict(self.bare.named_parameters())
        parts = [part for g in gates for part in (g.weight, g.cells) if part is not None]
        copied = iter(copies([*weights.values(), *parts]))
        state = {name: next(copied) for name in weights}
        with _InShare(share):
            own = [g._replace(weight=next(copied), cells=None if g.cells is None else next(copied)) for g in gates]
            output = functional_call(self.bare, state, (rows, *own))
        return tuple(map(share.gathered, output)) if isinstance(output, tuple) else share.gathered(output)


class _Bare(nn.Module):
    """The forward of a module without the module's hooks, which have already seen the whole batch."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.compute = module, module.forward

    def forward(self, *inputs: Any) -> Any:
        return self.compute(*inputs)


class _InShare(TorchFunctionMode):
    """Inside, torch's functions that use more than one example do so across the processes."""

    def __init__(self, share: Share) -> None:
        super().__init__()
        self.share = share

    def __enter__(self) -> "_InShare":
        collectives.current = self.share
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        collectives.current = None
        super().__exit__(*error)

    def __torch_function__(self, function: Any, types: Any, inputs: Any = (), named: Any = None) -> Any:
        if function is functional.batch_norm:
            function = partial(batch_norm, self.share)
        elif function in MASKS:
            function = partial(_masked, function)
        return function(*inputs, **(named or {}))


def same_share() -> AbstractContextManager[Any]:
    """Return a context for later, in which computations belong to the share that is computed now, if there is one."""
    return nullcontext() if collectives.current is None else _InShare(collectives.current)


def batch_norm(
    share: Share,
    y: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Compute torch.nn.functional.batch_norm with the statistics of the whole batch, in at least float32.

    Means and variances of the shares are combined by the formula of Chan, Golub and LeVeque (1979). This takes one
    collective, and one more in the backward pass.

    Args:
        share: The share of this process.
        y: The rows of this process, (own examples, channels, ...).
        running_mean: (channels,), updated in training; may be None.
        running_var: (channels,), updated in training; may be None.
        weight: (channels,) or None.
        bias: (channels,) or None.
        training: Whether the statistics of the batch are used.
        momentum: Weight of the batch in the running statistics.
        eps: Added to the variance.

    Returns:
        The normalized rows, with the shape and the dtype of y.
    """
    if not training:
        return functional.batch_norm(y, running_mean, running_var, weight, bias, False, momentum, eps)
    wide = y.to(torch.promote_types(y.dtype, torch.float32))
    dims, shape = [d for d in range(y.dim()) if d != 1], (-1, *[1] * (y.dim() - 2))
    own_mean = wide.mean(dims)
    centred = wide - own_mean.view(shape)  # avoids cancellation of large numbers, in the backward pass too
    own_variance = centred.square().mean(dims)
    table = placed(torch.stack([own_mean, own_variance])[None], share.rank, processes())
    means, variances = table.unbind(1)
    portions = share.portions(means)
    mean = (portions * means).sum(0)
    variance = (portions * (variances + (means - mean).square())).sum(0)
    if running_mean is not None and running_var is not None:
        count = y.numel() // y.shape[1] * share.total / len(y)
        with torch.no_grad():
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_((variance * (count / (count - 1))).to(running_var), momentum)
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    shift = (own_mean - mean) * scale
    shift = shift if bias is None else shift + bias
    return torch.addcmul(shift.view(shape), centred, scale.view(shape)).to(y.dtype)


def _masked(dropout: Any, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """x under a dropout whose mask is drawn for the whole batch."""
    if not training:
        return x
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format

    def draw(examples: int) -> Tensor:
        ones = torch.ones((examples, *x.shape[1:]), dtype=x.dtype, device=x.device)
        return dropout(ones.contiguous(memory_format=layout), p, True)

    mask = for_each_example(draw, len(x))
    return x.mul_(mask) if inplace else x * mask
