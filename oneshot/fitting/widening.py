"""Wider kernels from narrow ones, with the state of their optimizer: the border of two stages in DrNAS."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..draws import generator

Widened = Callable[[Tensor, torch.Size], Tensor]


def widening(seed: int, stage: int) -> Widened:
    """Return a function (tensor, shape) -> tensor that widens tensors by one mapping of channels.

    The first channels stay as they are. Each further one is a copy of a channel that is drawn uniformly. The mapping of
    a number of channels to another one is the same for all tensors, so that the outputs of one layer fit the inputs of
    the next. Nothing is divided: a batch norm follows.

    Args:
        seed: Seed of the draws.
        stage: Number of the stage that begins.

    Reference:
        Chen, Goodfellow and Shlens, Net2Net: Accelerating Learning via Knowledge Transfer, arXiv:1511.05641, as
        Chen et al., arXiv:2006.10355, use it.
    """

    def widened(tensor: Tensor, shape: torch.Size) -> Tensor:
        for dim, (old, new) in enumerate(zip(tensor.shape, shape, strict=True)):
            if old != new:
                more = torch.randint(old, (new - old,), generator=generator(seed, f"widening/{old}/{new}", stage))
                tensor = tensor.index_select(dim, torch.cat([torch.arange(old), more]).to(tensor.device))
        return tensor

    return widened


@torch.no_grad()
def widen_weights(narrow: nn.Module, wide: nn.Module, widened: Widened) -> None:
    """Copy the weights and buffers of a network into a wider one of the same layers.

    Args:
        narrow: The network.
        wide: The wider one, which is changed.
        widened: Widens a tensor.
    """
    weights = narrow.state_dict()
    for name, tensor in wide.state_dict().items():
        tensor.copy_(widened(weights[name], tensor.shape))


def widen_state(narrow: Optimizer, wide: Optimizer, widened: Widened) -> None:
    """Give an optimizer of wider weights the settings and the state of one of narrow ones, such as momentum.

    Args:
        narrow: The optimizer of the narrow weights.
        wide: The new optimizer of the same weights in the same order, which is changed.
        widened: Widens a tensor.
    """
    content = copy.deepcopy(narrow.state_dict())
    parameters = [parameter for group in wide.param_groups for parameter in group["params"]]
    for n, state in content["state"].items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim() == parameters[n].dim():
                state[name] = widened(value, parameters[n].shape)
    wide.load_state_dict(content)
