"""Parameters and multiply-accumulates of networks and of candidates, counted without running them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..architecture import Architecture
from ..spaces.base import Conditions, SearchSpace

ImageShape = tuple[int, int, int]
Measure = Callable[[nn.Module, ImageShape], float]


def network_cost(space: SearchSpace, architecture: Architecture, image_shape: tuple[int, ...]) -> dict[str, int]:
    """Count the parameters and the multiply-accumulates of a network as it is used after training.

    The network is run on the meta device in evaluation mode, so an auxiliary head does not count. A multiply-accumulate
    is one multiplication with its addition, as papers count. Batch norm, pools and activations do not count.

    Args:
        space: The search space, which builds the network.
        architecture: The architecture of the network.
        image_shape: (channels, height, width) of an image.

    Returns:
        `parameters`, and `multiply_accumulates` for one image.
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
    """Count the trained numbers of a module.

    Args:
        module: The module.
        shape: Not used; it is here because all measures have it.

    Returns:
        The number of parameters.
    """
    return sum(p.numel() for p in module.parameters())


def count_multiply_accumulates(module: nn.Module, shape: ImageShape) -> int:
    """Count the multiply-accumulates of a module for one image, as `network_cost` does.

    Args:
        module: The module, on the meta device.
        shape: (channels, height, width) of its input.

    Returns:
        The number of multiply-accumulates.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval()(torch.empty(1, *shape, device="meta"))
    return counter.get_total_flops() // 2


def candidate_costs(space: SearchSpace, measure: Measure) -> Tensor:
    """Measure what each candidate costs, summed over all its places in the network.

    The stem, the classifier and the convolutions at a cell's inputs are not candidates and do not count. The candidate
    `none` costs 0.

    Args:
        space: The search space.
        measure: From (module on the meta device, image shape of its input) to its cost.

    Returns:
        Tensor (choices, candidates) of float64, in the unit of `measure`.
    """
    table = torch.zeros(space.shape, dtype=torch.float64)
    with torch.device("meta"):
        for choice, candidate, module, shape in space.operations():
            table[choice, candidate] += measure(module, shape)
    return table


def joint_costs(space: SearchSpace, measure: Measure) -> tuple[Tensor, list[tuple[Conditions, float]]]:
    """Measure what decisions cost, alone and together.

    Args:
        space: The search space.
        measure: As in `candidate_costs`.

    Returns:
        What candidates cost alone, as `candidate_costs` gives it; and the costs of several decisions together.
    """
    table = torch.zeros(space.shape, dtype=torch.float64)
    joint: dict[Conditions, float] = {}
    with torch.device("meta"):
        for conditions, module, shape in space.joint_operations():
            cost = measure(module, shape)
            if len(conditions) == 1:
                table[conditions[0]] += cost
            elif cost:
                joint[conditions] = joint.get(conditions, 0.0) + cost
    return table, list(joint.items())
