"""What the edges of a supernet compute: branches of candidates, alone or several at once, and sums under gates."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from oneshot.spaces.depthwise import Depthwise

CHANNELWISE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Identity, nn.MaxPool2d, nn.AvgPool2d)
FIXED = (*CHANNELWISE, nn.Sequential)  # neither parameters nor draws


class Branch(NamedTuple):
    """A candidate on an edge, taken apart: maybe a ReLU, layers, maybe a batch norm that can carry the gate.

    shared: a pool and the like, so the same tensor on all edges of one stride that leave a state.
    """

    relu: bool
    layers: tuple[nn.Module, ...]
    norm: nn.BatchNorm2d | None
    shared: bool

    @staticmethod
    def of(module: nn.Module) -> "Branch":
        shared = all(type(m) in FIXED or _plain_norm(m) for m in module.modules())
        if type(module).forward is not nn.Sequential.forward or shared:
            return Branch(False, (module,), None, shared)
        layers = tuple(module.children())
        relu = type(layers[0]) is nn.ReLU
        last = layers[-1]
        norm = last if isinstance(last, nn.BatchNorm2d) and _plain_norm(last) else None
        return Branch(relu, layers[relu : len(layers) - (norm is not None)], norm, shared)


def outputs(branches: Sequence[Branch], x: Tensor) -> Tensor:
    """The layers of branches of one candidate, all on x: (batch, branches * channels, height, width)."""
    if len(branches) == 1:
        for layer in branches[0].layers:
            x = layer(x)
        return x
    joint = True  # x is still the input of all
    for layers in zip(*(branch.layers for branch in branches), strict=True):
        first = layers[0]
        if type(first) in CHANNELWISE or _plain_norm(first):
            x = first(x)
            continue
        if isinstance(first, Depthwise):
            x = first.several([layer.weight for layer in layers], x)
        elif type(first) is nn.Conv2d and first.padding_mode == "zeros" and (first.groups == 1 or not joint):
            x = _convolutions(layers, x, joint)
        else:
            parts = [x] * len(layers) if joint else x.chunk(len(layers), dim=1)
            x = torch.cat([layer(part) for layer, part in zip(layers, parts, strict=True)], dim=1)
        joint = False
    return x if not joint else torch.cat([x] * len(branches), dim=1)


def normalized(y: Tensor, norm: nn.BatchNorm2d, gate: Tensor | None) -> Tensor:
    """Batch norm by the batch's own statistics, times the gate of each channel.

    gate: contiguous, because torch 2.13's channels-last backward on the CPU reads it without its strides.
    """
    assert gate is None or gate.is_contiguous()
    return functional.batch_norm(y, None, None, gate, None, True, 0.0, norm.eps)


def _convolutions(layers: Sequence[nn.Conv2d], x: Tensor, joint: bool) -> Tensor:
    first = layers[0]
    weight = torch.cat([layer.weight for layer in layers])
    bias = None if first.bias is None else torch.cat([layer.bias for layer in layers if layer.bias is not None])
    groups = 1 if joint else len(layers) * first.groups
    return functional.conv2d(x, weight, bias, first.stride, first.padding, first.dilation, groups)


def _plain_norm(module: nn.Module) -> bool:
    """Whether a batch norm has neither parameters nor running statistics."""
    return type(module) is nn.BatchNorm2d and not module.affine and not module.track_running_stats


class Sums:
    """The nodes' sums while they are taken, by the targets of the edges that ran together.

    A single target's sum is taken in place, in the storage of its first term.
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[int, ...], Tensor] = {}

    def add(self, targets: tuple[int, ...], y: Tensor) -> None:
        """y: (batch, targets * channels, height, width), of which nothing else is left."""
        before = self.sums.get(targets)
        if before is None:
            self.sums[targets] = y
        else:
            self.sums[targets] = before.add_(y) if len(targets) == 1 else before + y

    def add_product(self, targets: tuple[int, ...], y: Tensor, gate: Tensor) -> None:
        """y: the channels of all targets, or the same ones for each; gate: for each target and channel."""
        gate = gate.to(y.dtype)
        if len(targets) > 1:
            by_target = y.permute(0, 2, 3, 1).unflatten(3, (-1, len(gate) // len(targets)))
            product = by_target * gate.unflatten(0, (len(targets), -1))
            self.add(targets, product.flatten(3).permute(0, 3, 1, 2))
        elif targets in self.sums:
            self.sums[targets].addcmul_(y, gate.view(-1, 1, 1))
        else:
            self.sums[targets] = y * gate.view(-1, 1, 1)

    def of(self, target: int) -> Tensor | None:
        """The sum at a node, None where nothing was added."""
        terms = []
        for targets, y in self.sums.items():
            if target in targets:
                place = targets.index(target)
                terms.append(y if len(targets) == 1 else y.unflatten(1, (len(targets), -1))[:, place])
        return total(terms) if terms else None


def total(terms: Sequence[Tensor]) -> Tensor:
    """The sum of tensors."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
