"""How the placeholders of a model are connected, found by running it once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from ..architecture import Gates
from ..errors import InputError
from .placeholders import Inputs, Mixed, Placeholder, Repeat

INPUT, OUTPUT = "input", "output"  # nodes of a graph besides the calls
aten = torch.ops.aten
SUMS = {aten.add.Tensor: "sum", aten.add_.Tensor: "sum", aten.cat.default: "concat", aten.stack.default: "concat"}


class Call(NamedTuple):
    """A call of a placeholder, or a sum or a concatenation of what comes from several of them.

    Args:
        node: Its name in a graph: that of the placeholder, with #2, #3, ... where there are several calls.
        name: The name of the placeholder; empty for a sum or a concatenation.
        path: Its path in the model.
        shapes: The shape of each input without the batch; None for what is no tensor.
        sources: For each input, the nodes that it comes from; the input of the model is `INPUT`.
    """

    node: str
    name: str
    path: str
    shapes: tuple[tuple[int, ...] | None, ...]
    sources: tuple[frozenset[str], ...]


class Calls(list[Call]):
    """The calls of a pass, in their order; `ends` are the nodes that the result of the model comes from."""

    ends: frozenset[str] = frozenset()


class _Flow(TorchDispatchMode):
    """Notes for each tensor from which nodes it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.of: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.calls = Calls()
        self.inside: list[str] = []  # the placeholders that run

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        origins = self.among((args, kwargs))
        if func in SUMS and not self.inside:
            terms = tree_leaves(args)
            different = {self.among(term) for term in terms} - {frozenset()}
            if len(different) > 1:
                node = self.named(SUMS[func])
                self.calls.append(Call(node, "", "", (), tuple(map(self.among, terms))))
                origins = frozenset({node})
                self.tell(results, origins)
                return results
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                self.of[tensor] = origins | self.of.get(tensor, frozenset())
        return results

    def tell(self, tree: Any, origins: frozenset[str]) -> None:
        """Note the origins of all tensors in a tree."""
        for tensor in tree_leaves(tree):
            if isinstance(tensor, Tensor):
                self.of[tensor] = origins

    def among(self, tree: Any) -> frozenset[str]:
        """The origins of all tensors in a tree."""
        tensors = (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
        return frozenset().union(*(self.of.get(tensor, frozenset()) for tensor in tensors))

    def named(self, name: str) -> str:
        """A new name for a node."""
        known, number = {INPUT, OUTPUT, *(call.node for call in self.calls)}, 1
        while (found := name if number == 1 else f"{name}#{number}") in known:
            number += 1
        return found

    def enter(self, path: str, placeholder: Placeholder, inputs: tuple[Any, ...], named: Mapping[str, Any]) -> None:
        """Note a call."""
        inputs = (*inputs, *named.values())
        if isinstance(placeholder, Inputs) and len(inputs) == 1 and isinstance(inputs[0], list | tuple):
            inputs = tuple(inputs[0])
        shapes = tuple(tuple(i.shape[1:]) if isinstance(i, Tensor) else None for i in inputs)
        node, sources = self.named(placeholder.name), tuple(map(self.among, inputs))
        self.calls.append(Call(node, placeholder.name, path, shapes, sources))
        self.inside.append(placeholder.name)
        self.node = node

    def leave(self, result: Any) -> None:
        """Note what the call gave."""
        self.inside.pop()
        self.tell(result, frozenset({self.node}))


def traced(supernet: nn.Module, net: nn.Module, x: Tensor, gates: Gates) -> tuple[Calls, Any]:
    """Run a supernet once, without gradients, and note the calls of its placeholders.

    Args:
        supernet: forward(x, gates), around the model.
        net: The model with its placeholders.
        x: Inputs.
        gates: With all candidates.

    Returns:
        The calls, and the result of the model.

    Raises:
        InputError: If results of candidates differ in shape, or the pass fails. The message names the placeholder.
    """
    flow, hooks = _Flow(), []
    for path, placeholder in net.named_modules():
        if not isinstance(placeholder, Placeholder):
            continue
        hooks.append(
            placeholder.register_forward_pre_hook(
                lambda module, inputs, named, path=path: flow.enter(path, module, inputs, named), with_kwargs=True
            )
        )
        hooks.append(placeholder.register_forward_hook(lambda module, inputs, result: flow.leave(result)))
        if isinstance(placeholder, Mixed):
            hooks += _watched(placeholder.candidates, placeholder.writes)
            hooks += _compared(placeholder)
        elif isinstance(placeholder, Repeat):
            hooks += _watched(placeholder.blocks, placeholder.writes)
    try:
        with torch.no_grad(), flow:
            flow.of[x] = frozenset({INPUT})
            result = supernet.eval()(x, gates)
    except InputError:
        raise
    except Exception as error:
        where = f"placeholder {flow.inside[-1]!r}" if flow.inside else "model"
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise InputError(f"{where}: a first pass fails: {reason}") from error
    finally:
        for hook in hooks:
            hook.remove()
    flow.calls.ends = flow.among(result)
    return flow.calls, result


def _watched(modules: nn.ModuleList, writes: set[int]) -> Iterator[Any]:
    """Hooks that note which of some modules write into their inputs."""
    versions: list[list[int]] = []

    def of(inputs: tuple[Any, ...]) -> list[int]:
        return [leaf._version for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor)]

    def after(k: int) -> Callable[..., None]:
        def compare(module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            if versions.pop() != of(inputs):
                writes.add(k)

        return compare

    for k, module in enumerate(modules):
        yield module.register_forward_pre_hook(lambda module, inputs: versions.append(of(inputs)))
        yield module.register_forward_hook(after(k))


def _compared(placeholder: Mixed) -> Iterator[Any]:
    """Hooks that compare the shapes of what candidates give."""
    shapes: dict[str, list[Any]] = {}

    def after(key: str) -> Callable[..., None]:
        def compare(module: nn.Module, inputs: tuple[Any, ...], result: Any) -> None:
            leaves = tree_leaves(result)
            shapes[key] = [tuple(leaf.shape) if isinstance(leaf, Tensor) else type(leaf).__name__ for leaf in leaves]
            first = next(iter(shapes))
            if shapes[key] != shapes[first]:
                raise InputError(
                    f"placeholder {placeholder.name!r}: candidate {key!r} gives {_text(shapes[key])}, {first!r} gives "
                    f"{_text(shapes[first])}; all must give the same shape"
                )

        return compare

    yield placeholder.register_forward_pre_hook(lambda module, inputs: shapes.clear())
    for key, candidate in zip(placeholder.keys, placeholder.candidates, strict=True):
        yield candidate.register_forward_hook(after(key))


def _text(shapes: list[Any]) -> str:
    return " and ".join(map(str, shapes))
