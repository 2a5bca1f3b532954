"""Recomputation: a part of a supernet keeps its inputs alone, and is computed again in the backward pass."""

from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from ..distributed.sharing import same_share


def recomputed(part: nn.Module, *inputs: Any) -> Any:
    """Return part(*inputs); until the backward pass it takes the memory of its inputs alone.

    The second time has the weights, buffers, random numbers, precision and share of a batch of the first, whatever
    happened to the module in between: weights that were frozen, as in an architecture step, or put into the module for
    this pass, as in second-order DARTS. So gradients are the same to the bit, and buffers are updated once.

    Args:
        part: A module.
        inputs: Of its forward.

    Reference:
        Chen, Xu, Zhang and Guestrin, Training Deep Nets with Sublinear Memory Cost, arXiv:1604.06174.
    """
    if not torch.is_grad_enabled():
        return part(*inputs)
    weights = {name: p if p.requires_grad else p.detach() for name, p in part.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in part.named_buffers()}
    share, passes = same_share(), 0

    def run(*inputs: Any) -> Any:
        nonlocal passes
        passes += 1
        if passes == 1:
            return part(*inputs)
        with share:
            return functional_call(part, weights | {name: buffer.clone() for name, buffer in buffers.items()}, inputs)

    return checkpoint(run, *inputs, use_reentrant=False)
