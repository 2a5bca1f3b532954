"""Parameters and multiply-accumulates of networks and of candidates, counted without running them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..architecture import Architecture
from ..spaces.base import SearchSpace

ImageShape = tuple[int, int, int]
Measure = Callable[[nn.Module, ImageShape], float]


def network_cost(space: SearchSpace, architecture: Architecture, image_shape: tuple[int, ...]) -> dict[str, int]:
    """`parameters` and `multiply_accumulates` (of one image) of the network as it is used after training.

    Counted on the meta device in evaluation mode, so an auxiliary head does not enter. A multiply-accumulate is
    one multiplication with its addition, as papers count; batch norm, pools and activations are not counted.
    """
    with torch.device("meta"):
        network = space.network(architecture).eval()
        x = torch.empty(1, *image_shape)
    used: dict[int, int] = {}

    def note(module: nn.Module, *_: Any) -> None:
        used.update({id(p): p.numel() for p in module.parameters(recurse=False)})

    hooks = [module.register_forward_hook(note) for module in network.modules()]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(x)
    for hook in hooks:
        hook.remove()
    return {"parameters": sum(used.values()), "multiply_accumulates": counter.get_total_flops() // 2}


def count_parameters(module: nn.Module, shape: ImageShape) -> int:
    """Numbers that training moves."""
    return sum(p.numel() for p in module.parameters())


def count_multiply_accumulates(module: nn.Module, shape: ImageShape) -> int:
    """Of one image of this shape, counted as in `network_cost`. module: on the meta device."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def candidate_costs(space: SearchSpace, measure: Measure) -> Tensor:
    """(choices, candidates) of float64: what each candidate costs in all of its places together; zero for none.

    measure: (module on the meta device, its input's image shape) -> cost. Stem, classifier and the convolutions
    of a cell's inputs are no candidates and do not enter.
    """
    table = torch.zeros(space.shape, dtype=torch.float64)
    with torch.device("meta"):
        for choice, candidate, module, shape in space.operations():
            table[choice, candidate] += measure(module, shape)
    return table
