"""What the edges of a supernet compute: branches of candidates, alone or several at once, and sums under gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .depthwise import Depthwise

CHANNELWISE = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.Identity, nn.MaxPool2d, nn.AvgPool2d)
FIXED = (*CHANNELWISE, nn.Sequential)  # neither parameters nor draws
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Branch:
    """A candidate on an edge, taken apart: maybe a ReLU, layers, maybe a batch norm that can carry the gate.

    Only an `nn.Sequential` is taken apart, and not one with hooks, which would be skipped.

    Args:
        module: The candidate.
        children: Its parts when it was taken apart.
        hooks: The hooks of all its modules, by kind.
        hooked: Whether there was a hook when it was taken apart.
        kind: Equal for candidates of one structure, which may run at once.
        relu: Whether it begins with a ReLU that others can share.
        layers: The layers between ReLU and batch norm.
        norm: The batch norm at its end, without parameters; None if there is none.
        shared: Whether it has no parameters (a pool), so that all of one kind give the same tensor.
    """

    module: nn.Module
    children: tuple[nn.Module | None, ...]
    hooks: tuple[Mapping[int, Any], ...]
    hooked: bool
    kind: str
    relu: bool
    layers: tuple[nn.Module, ...]
    norm: nn.BatchNorm2d | None
    shared: bool

    @staticmethod
    def of(module: nn.Module) -> "Branch":
        """Take a candidate apart.

        Args:
            module: The candidate.
        """
        modules = list(module.modules())
        hooks = tuple(getattr(m, name) for m in modules for name in HOOKS)
        parts = tuple(module._modules.values())
        whole = Branch(module, parts, hooks, any(hooks), f"{id(module)}", False, (module,), None, False)
        if whole.hooked:
            return whole
        kind = "".join(map(_structure, modules))
        if all(type(m) in FIXED or _plain_norm(m) for m in modules):
            return replace(whole, kind=kind, shared=True)
        layers = [layer for layer in parts if layer is not None]
        if type(module).forward is not nn.Sequential.forward or len(layers) != len(parts) or not layers:
            return replace(whole, kind=kind)
        last = layers[-1]
        norm = last if isinstance(last, nn.BatchNorm2d) and _plain_norm(last) else None
        layers = layers[: len(layers) - (norm is not None)]
        relu = len(layers) > 1 and type(layers[0]) is nn.ReLU and not _writes(layers[1])
        return replace(whole, kind=kind, relu=relu, layers=tuple(layers[relu:]), norm=norm)

    def current(self, module: nn.Module) -> "Branch":
        """Return this branch, or a new one if the module is another, has other parts, or hooks came or went."""
        same = module is self.module and tuple(module._modules.values()) == self.children
        return self if same and any(self.hooks) == self.hooked else Branch.of(module)


def _structure(module: nn.Module) -> str:
    """Type, settings and shapes of a module itself."""
    settings = {k: v for k, v in vars(module).items() if not k.startswith("_") and k != "training"}
    shapes = {name: None if p is None else tuple(p.shape) for name, p in module._parameters.items()}
    return f"{type(module)}{settings}{shapes}{list(module._modules)}"


def _writes(layer: nn.Module) -> bool:
    """Whether a layer may write into its input: one that says so, and any that is neither torch's nor ours."""
    ours = type(layer).__module__.startswith(("torch.nn.", "oneshot."))
    return bool(getattr(layer, "inplace", False)) or not ours


def outputs(branches: Sequence[Branch], x: Tensor) -> Tensor:
    """Compute the layers of branches of one kind, all on the same input.

    Args:
        branches: The branches.
        x: (batch, channels, height, width).

    Returns:
        (batch, branches * channels, height, width).
    """
    columns = list(zip(*(branch.layers for branch in branches), strict=True))
    known = 0  # layers that can run for all branches at once
    joint = True  # x is still the input of all
    if len(branches) > 1:
        for layers in columns:
            first = layers[0]
            if type(first) in CHANNELWISE and not (joint and _writes(first)) or _plain_norm(first):
                x = first(x)
            elif isinstance(first, Depthwise):
                x, joint = first.several([layer.weight for layer in layers], x), False
            elif type(first) is nn.Conv2d and first.padding_mode == "zeros" and (first.groups == 1 or not joint):
                x, joint = _convolutions(layers, x, joint), False
            else:
                break
            known += 1
    if known == len(columns) and not joint:
        return x
    parts = [x] * len(branches) if joint else x.unflatten(1, (len(branches), -1)).unbind(1)
    done = [
        _run(branch.layers[known:], part, copy=len(branches) > 1) for branch, part in zip(branches, parts, strict=True)
    ]
    return done[0] if len(done) == 1 else torch.cat(done, dim=1)


def _run(layers: Sequence[nn.Module], x: Tensor, copy: bool) -> Tensor:
    """Layers one after the other; copy: x is a part of a tensor that others read."""
    if copy and any(map(_writes, layers)):
        x = x.clone()
    for layer in layers:
        x = layer(x)
    return x


def normalized(y: Tensor, norm: nn.BatchNorm2d, gate: Tensor | None) -> Tensor:
    """Return the batch norm by the batch's own statistics, times the gate of each channel.

    Args:
        y: (batch, channels, height, width).
        norm: Gives epsilon.
        gate: (channels,) or None. It must be contiguous, because torch 2.13's channels-last backward on the CPU reads
            it without its strides.
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
    """The sums of the nodes while they grow, by the targets of the edges that ran together.

    The sum of a single target is taken in place, in the storage of its first term.
    """

    def __init__(self) -> None:
        self.sums: dict[tuple[int, ...], Tensor] = {}
        self.parts: dict[tuple[int, ...], tuple[Tensor, ...]] = {}

    def add(self, targets: tuple[int, ...], y: Tensor) -> None:
        """Add a term.

        Args:
            targets: The nodes that it enters.
            y: (batch, targets * channels, height, width). Nothing else may use it, as it is written to.
        """
        before = self.sums.get(targets)
        if before is None:
            self.sums[targets] = y
        else:
            in_place = len(targets) == 1 and before.dtype == y.dtype
            self.sums[targets] = before.add_(y) if in_place else before + y

    def add_product(self, targets: tuple[int, ...], y: Tensor, gate: Tensor) -> None:
        """Add the product of a term with its gate.

        Args:
            targets: The nodes that it enters.
            y: (batch, targets * channels, height, width), or with the same channels for each target.
            gate: (targets * channels,).
        """
        gate = gate.to(y.dtype)
        if len(targets) > 1:
            by_target = y.permute(0, 2, 3, 1).unflatten(3, (-1, len(gate) // len(targets)))
            product = by_target * gate.unflatten(0, (len(targets), -1))
            self.add(targets, product.flatten(3).permute(0, 3, 1, 2))
        elif targets in self.sums and self.sums[targets].dtype == y.dtype:
            self.sums[targets].addcmul_(y, gate.view(-1, 1, 1))
        else:
            self.add(targets, y * gate.view(-1, 1, 1))

    def of(self, target: int) -> Tensor | None:
        """Return the sum at a node. All terms of the node must have been added.

        Args:
            target: The node.

        Returns:
            (batch, channels, height, width), or None if nothing was added.
        """
        terms = []
        for targets, y in self.sums.items():
            if target in targets and targets not in self.parts:
                parts = y.unflatten(1, (len(targets), -1)).unbind(1) if len(targets) > 1 else (y,)
                self.parts[targets] = parts  # taken at once: one copy in the backward pass, not one a target
            if target in targets:
                terms += [part for part, into in zip(self.parts[targets], targets, strict=True) if into == target]
        return total(terms) if terms else None


def total(terms: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors.

    Args:
        terms: At least one tensor, all of one shape.
    """
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result
