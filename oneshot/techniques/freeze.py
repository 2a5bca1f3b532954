"""The interface of techniques that end the training of single operations."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import grad

from ..architects.base import Step
from ..errors import InputError
from ..spaces.base import SearchSpace
from .base import named, unmoved


class Freeze(nn.Module, ABC):
    """Freezes operations during a search. An operation is a candidate with weights, on one edge of one cell.

    A frozen operation keeps its weights: no gradient, momentum or weight decay moves them. It still computes, and its
    gate still learns. Its gradient has no share in the norm that a search clips. Nothing is ever released.

    A weight step takes one more forward and backward pass for each of its gates, on a batch of the architecture part.

    Args:
        space: The space that is searched.

    Raises:
        InputError: If the space does not give its candidates (`SearchSpace.branches`), or none has weights.
    """

    def __init__(self, space: SearchSpace) -> None:
        super().__init__()
        self.space = space
        with torch.device("meta"):
            sizes = [sum(w.numel() for w in weights) for weights in self._operations(space.supernet())]
        if not sizes:
            raise InputError(f"{named(self)}: no candidate of space {space.name!r} has weights that could be frozen")
        self._total = sum(sizes)
        self.register_buffer("frozen", torch.zeros(len(sizes), dtype=torch.bool))
        self.register_buffer("sizes", torch.tensor(sizes), persistent=False)
        self.frozen: Tensor
        self.sizes: Tensor

    @abstractmethod
    def judge(self, train: Tensor, valid: Tensor, step: Step) -> Tensor:
        """Return which operations are frozen from this step on, as bool (operations,).

        Those that were frozen before stay so, whatever is returned. What has to last lies in buffers. It must not wait
        for the device.

        Args:
            train: Gradient of the weight step, before it is clipped, with the weights of all operations in a row;
                `by_operation` sums over each operation. It is 0 where an operation took no part.
            valid: Gradient of the loss of a batch of the architecture part, in the same order, at the same weights and
                under the same gates.
            step: The place of the step.
        """

    def by_operation(self, values: Tensor) -> Tensor:
        """Return the sum over each operation, (operations,).

        Args:
            values: A value for each weight, as in the arguments of `judge`.
        """
        return torch.segment_reduce(values, "sum", lengths=self.sizes, unsafe=True)  # unsafe: without a host wait

    @contextmanager
    def held(self, supernet: nn.Module, losses: Callable[[], Iterable[Tensor]], step: Step) -> Iterator[None]:
        """Decide what is frozen and remove its gradients; inside, an optimizer's step leaves its weights.

        Args:
            supernet: The supernet, after the backward passes of a weight step.
            losses: Computes the losses of the batch of the architecture part, one for each gates of the step.
            step: The place of the step.
        """
        weights = self._weights(supernet)
        valid = [torch.zeros_like(w) for w in weights]
        with unmoved(supernet), torch.enable_grad():
            for loss in losses():
                torch._foreach_add_(valid, grad(loss, weights, materialize_grads=True))
        with torch.no_grad():
            train = _flat([torch.zeros_like(w) if w.grad is None else w.grad for w in weights])
            self.frozen |= self.judge(train, _flat(valid), step)
            mask = self.frozen.repeat_interleave(self.sizes, output_size=self._total)
            moving = [w for w in weights if w.grad is not None]
            kept = torch.where(mask, 0, train).split([w.numel() for w in weights])
            _write([w.grad for w in moving], [g for g, w in zip(kept, weights, strict=True) if w.grad is not None])
            before = _flat(weights)
        yield
        with torch.no_grad():
            _write(weights, torch.where(mask, before, _flat(weights)).split([w.numel() for w in weights]))

    def _weights(self, supernet: nn.Module) -> list[nn.Parameter]:
        """The weights of all operations. Raises InputError if they are not those of the space."""
        weights = [w for operation in self._operations(supernet) for w in operation]
        if sum(w.numel() for w in weights) != self._total:
            raise InputError(f"{named(self)}: is of space {self.space.name!r} in other sizes than the supernet")
        return weights

    def _operations(self, supernet: nn.Module) -> list[list[nn.Parameter]]:
        """The weights of each operation."""
        branches = (list(module.parameters()) for _, _, module in self.space.branches(supernet))
        return [weights for weights in branches if weights]


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    """All entries in a row."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors])


def _write(tensors: Sequence[Tensor | None], rows: Sequence[Tensor]) -> None:
    """Write rows into tensors of the same numbers of entries."""
    targets = [tensor for tensor in tensors if tensor is not None]
    torch._foreach_copy_(targets, [row.view(t.shape) for row, t in zip(rows, targets, strict=True)])
