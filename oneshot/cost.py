"""What a network costs: parameters and multiply-accumulates, counted without computing anything."""

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from oneshot.architecture import Architecture
from oneshot.spaces.base import SearchSpace


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
