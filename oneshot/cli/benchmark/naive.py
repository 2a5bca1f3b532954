"""The supernet as the papers' code computes it: the reference of `oneshot benchmark`."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...architecture import Gates
from ...spaces.base import NONE
from ...spaces.cell import MixedCell
from ...spaces.depthwise import Depthwise


class NaiveCell(MixedCell):
    """Computes one edge and one candidate after the other, sums in Python, and computes `none` as a product with 0."""

    def forward(self, inputs: Sequence[Tensor], gates: Gates) -> list[Tensor]:
        """Return all states of the cell: its inputs, then its nodes."""
        states = list(inputs)
        for target in range(len(inputs), self.graph[-1].target + 1):
            entering = [i for i, edge in enumerate(self.graph) if edge.target == target]
            states.append(sum(self._edge(i, states, gates) for i in entering))  # type: ignore[arg-type]
        return states

    def _edge(self, i: int, states: Sequence[Tensor], gates: Gates) -> Tensor:
        source, _, stride = self.graph[i]
        names = self.candidates[i]
        active = range(len(names)) if gates.active is None else gates.active[i]
        weights, x = gates.weight[i], states[source]
        y: Any = sum(weights[k] * self._candidate(i, k, x[:, : self.channels], stride) for k in active)
        if self.parts == 1:
            return y
        others = x[:, self.channels :] if stride == 1 else functional.max_pool2d(x[:, self.channels :], 2)
        counted = [weights[k] for k in active if gates.active is None or names[k] != NONE]
        y = torch.cat([y, sum(counted, weights.new_zeros(())) * others], 1)
        return y.unflatten(1, (self.parts, -1)).transpose(1, 2).flatten(1, 2)

    def _candidate(self, i: int, k: int, x: Tensor, stride: int) -> Tensor:
        name = self.candidates[i][k]
        if name == NONE:
            return x.mul(0.0) if stride == 1 else x[:, :, ::stride, ::stride].mul(0.0)
        return self.edges[str(i)].get_submodule(name)(x)


def naive(supernet: nn.Module) -> nn.Module:
    """Return a copy of the supernet with loops, torch's own convolutions and contiguous tensors; the numbers are equal.

    Every forward pass with autograd takes all gradients, of the weights and of the gates.
    """
    net = copy.deepcopy(supernet).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    for module in net.modules():
        if isinstance(module, MixedCell):
            module.__class__ = NaiveCell
        elif isinstance(module, Depthwise):
            module.__class__ = nn.Conv2d  # type: ignore[assignment]
    if hasattr(net, "recompute"):
        net.recompute = False
    net.register_forward_pre_hook(_all_gradients)
    return net


def _all_gradients(net: nn.Module, arguments: tuple[Any, Any]) -> tuple[Tensor, Gates]:
    x, gates = arguments
    if torch.is_grad_enabled():
        for weight in net.parameters():
            weight.requires_grad_()
        if not gates.weight.requires_grad:
            gates = gates._replace(weight=gates.weight.detach().clone().requires_grad_())
    return x.contiguous(), gates._replace(silent=None)
