"""The inside of a cell as a graph. Nodes sum what their edges compute; in a supernet, edges mix candidates."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architecture import Gates
from ..errors import InputError
from .base import NONE, DropPath
from .layout import dense_gradient
from .mixture import Branch, Sums, normalized, outputs, total
from .operations import Operation

EXECUTIONS = ("auto", "grouped", "edges")
SMALL = 2**16  # numbers in a state, up to which calls cost more than copies on the CPU


class Edge(NamedTuple):
    """An edge of a cell. The cell's input states have the first numbers.

    Args:
        source: Number of the state that it leaves.
        target: Number of the state that it enters.
        stride: 1 or 2.
    """

    source: int
    target: int
    stride: int


def built(name: str, operations: Mapping[str, Operation], channels: int, stride: int, affine: bool) -> nn.Module:
    """Return the module of an operation.

    Args:
        name: Name of the operation.
        operations: Operations by name.
        channels: Channels of input and output.
        stride: 1 or 2.
        affine: Whether batch norms have parameters and running statistics.

    Raises:
        InputError: If the user's function fails or gives something else.
    """
    try:
        module = operations[name](channels, stride, affine)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"operation {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise InputError(f"operation {name!r}: gives {type(module).__name__}, must give a torch.nn.Module")
    return module


class MixedCell(nn.Module):
    """A cell with all candidates of every edge, mixed by the gates. Keys of its state: edges.<edge>.<candidate>.

    It gives the numbers of a loop over edges and candidates with less work. The edges that leave a state share its ReLU
    and the candidates without parameters (a pool and its batch norm). The batch norm at a branch's end multiplies by
    the gate. With execution "grouped" the branches of one candidate on all edges that leave a state run at once, with
    concatenated weights: fewer and larger calls, at the price of copies. With "edges" they run one by one. "auto" is
    grouped on the CPU where a state has at most 2^16 numbers. Other devices refuse "grouped", which gave wrong
    gradients there.

    With partial channels (PC-DARTS) the candidates of an edge see the first 1/k of the channels. The others are passed,
    through a 2x2 max pool where the edge has stride 2, and multiplied by the sum of the edge's gates. That is 1 for a
    softmax, and beta with edge normalization, as in the authors' code. Where paths are drawn, the gate of `none` is no
    part of the sum, so that an edge that drew `none` passes nothing.
    At a node the channels are shuffled: those of the k parts alternate.

    Args:
        edges: Grouped by target, targets ascending.
        candidates: Names, for all edges, or those of each edge; none is zero and has no module. What has the same name
            on several edges is the same candidate, whatever its place in their lists.
        operations: Operations by name.
        channels: Channels of every state.
        execution: `"auto"`, `"grouped"` or `"edges"`.
        partial_channels: k, which divides the channels; 1: all channels.

    Raises:
        InputError: If an operation cannot be built.
    """

    region = True  # compiled as one

    def __init__(
        self,
        edges: Sequence[Edge],
        candidates: Sequence[str] | Sequence[Sequence[str]],
        operations: Mapping[str, Operation],
        channels: int,
        execution: str = "auto",
        partial_channels: int = 1,
    ) -> None:
        super().__init__()
        self.execution, self.parts = execution, partial_channels
        channels //= partial_channels
        self.channels = channels  # that the candidates see
        self.graph = tuple(edges)
        self.candidates = by_edge(candidates, len(self.graph))
        self.edges = nn.ModuleDict()
        self.branches: dict[tuple[int, str], Branch] = {}  # by edge and candidate
        for i, (edge, names) in enumerate(zip(self.graph, self.candidates, strict=True)):
            modules = {c: built(c, operations, channels, edge.stride, False) for c in names if c != NONE}
            self.edges[str(i)] = nn.ModuleDict(modules)
            self.branches |= {(i, c): Branch.of(module) for c, module in modules.items()}
        self.leaving: dict[tuple[int, int], list[int]] = {}  # edges by source and stride, sources ascending
        for i, edge in sorted(enumerate(self.graph), key=lambda item: item[1].source):
            self.leaving.setdefault((edge.source, edge.stride), []).append(i)

    def modules_of_edges(self) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield every candidate that has a module: the number of its edge, its own number, and the module."""
        for i, names in enumerate(self.candidates):
            edge = cast(nn.ModuleDict, self.edges[str(i)])
            yield from ((i, k, edge[name]) for k, name in enumerate(names) if name != NONE)

    def forward(self, inputs: Sequence[Tensor], gates: Gates) -> list[Tensor]:
        """Return the states of all nodes, inputs included.

        Args:
            inputs: The cell's input states, (batch, channels, height, width) each.
            gates: Gates with one row an edge.
        """
        states, sums, passed = list(inputs), Sums(), Sums()
        gate = self._by_channel(gates, inputs[0])
        for (source, stride), edges in self.leaving.items():
            self._finish(source + 1, states, sums, passed)
            x, relu = states[source], None
            if self.parts > 1:
                seen, others = x.split([self.channels, x.shape[1] - self.channels], dim=1)
                self._pass(dense_gradient(others), stride, edges, gates, passed)
                x = dense_gradient(seen).clone()
            for (name, silent, _), members in self._active(edges, gates).items():
                if self.branches[members[0], name].relu and relu is None:
                    relu = functional.relu(x)
                self._mix(name, members, silent, x, relu, gate, sums)
        self._finish(self.graph[-1].target + 1, states, sums, passed)
        return states

    def _by_channel(self, gates: Gates, x: Tensor) -> Callable[[int, str], Tensor]:
        """(edge, candidate) -> its gate, once for each channel of x."""
        weight = gates.weight.to(torch.promote_types(x.dtype, torch.float32))
        if gates.active is not None:
            return lambda i, name: weight[i, self.candidates[i].index(name)].expand(self.channels).contiguous()
        rows = weight.unsqueeze(2).expand(-1, -1, self.channels).contiguous().flatten(0, 1).unbind()
        width = weight.shape[1]
        return lambda i, name: rows[i * width + self.candidates[i].index(name)]

    def _groups(self, x: Tensor) -> bool:
        on_cpu = x.device.type == "cpu"
        if self.execution == "grouped" and not on_cpu:
            raise InputError(
                "space.execution=grouped: gave wrong gradients on a GPU (see docs/speed.md), so it is for the CPU; use "
                "auto or edges"
            )
        return self.execution == "grouped" or self.execution == "auto" and on_cpu and x.numel() <= SMALL

    def _active(self, edges: list[int], gates: Gates) -> dict[tuple[str, bool, str], list[int]]:
        """For each candidate to compute, whether it is silent, and its kind: its edges."""
        members: dict[tuple[str, bool, str], list[int]] = {}
        for i in edges:
            silent = () if gates.silent is None else gates.silent[i]
            for k in range(len(self.candidates[i])) if gates.active is None else gates.active[i]:
                name = self.candidates[i][k]
                if name != NONE:
                    members.setdefault((name, k in silent, self._branch(i, name).kind), []).append(i)
        return members

    def _branch(self, i: int, name: str) -> Branch:
        """What the candidate is now: a user may have put another module in its place."""
        known, edge = self.branches[i, name], cast(nn.ModuleDict, self.edges[str(i)])
        branch = known.current(edge[name])
        if branch is not known:
            self.branches[i, name] = branch
        return branch

    def _mix(
        self,
        name: str,
        edges: list[int],
        silent: bool,
        x: Tensor,
        relu: Tensor | None,
        gate: Callable[[int, str], Tensor],
        sums: Sums,
    ) -> None:
        """Add a candidate of these edges, which leave the state x, to the sums of their targets."""
        first = self.branches[edges[0], name]
        start = relu if first.relu and relu is not None else x
        size = len(edges) if self._groups(x) else 1
        y = None
        for at in range(0, len(edges), size):
            part = edges[at : at + size]
            targets = tuple(self.graph[i].target for i in part)
            gates = [gate(i, name) for i in part]
            weight = gates[0] if len(gates) == 1 else torch.cat(gates)
            branches = [self.branches[i, name] for i in part]
            if first.norm is not None and not silent:
                sums.add(targets, normalized(outputs(branches, start), first.norm, weight))
                continue
            if y is None or not first.shared:
                with torch.set_grad_enabled(torch.is_grad_enabled() and not silent):
                    y = outputs([first] if first.shared else branches, start)
                    y = y if first.norm is None else normalized(y, first.norm, None)
            sums.add_product(targets, y, weight)

    def _pass(self, x: Tensor, stride: int, edges: list[int], gates: Gates, passed: Sums) -> None:
        """Add the channels that no candidate sees to the sums of the targets."""
        x = functional.max_pool2d(x, (min(2, x.shape[2]), 2)) if stride == 2 else x
        for i in edges:
            if gates.active is None:
                weight = gates.weight[i].sum()
            elif kept := [gates.weight[i, k] for k in gates.active[i] if self.candidates[i][k] != NONE]:
                weight = torch.stack(kept).sum()  # an index tensor would make the host wait for the device
            else:
                continue
            passed.add_product((self.graph[i].target,), x, weight.expand(x.shape[1]).contiguous())

    def _finish(self, number: int, states: list[Tensor], sums: Sums, passed: Sums) -> None:
        """Append states to the first `number`; all edges into them have been added."""
        for target in range(len(states), number):
            state = sums.of(target)
            if state is None:
                edge = next(edge for edge in self.graph if edge.target == target)
                before = states[edge.source][:, : self.channels]
                state = torch.zeros_like(before[:, :, :: edge.stride, :: edge.stride])
            if self.parts > 1:
                state = shuffled(state, passed.of(target), self.parts)
            states.append(state)


def by_edge(candidates: Sequence[str] | Sequence[Sequence[str]], edges: int) -> tuple[tuple[str, ...], ...]:
    """Return the names of the candidates of each edge.

    Args:
        candidates: Names, for all edges, or those of each edge.
        edges: Number of edges.
    """
    if all(isinstance(name, str) for name in candidates):
        return (cast(tuple[str, ...], tuple(candidates)),) * edges
    return tuple(tuple(names) for names in candidates)


def shuffled(first: Tensor, others: Tensor | None, parts: int) -> Tensor:
    """Return the channels of several parts in turns, in channels-last.

    Args:
        first: (batch, channels, height, width), the first part.
        others: (batch, (parts - 1) * channels, height, width), the other parts in a row; None: zeros.
        parts: Number of parts.

    Returns:
        (batch, parts * channels, height, width); channel `parts * c + p` is channel c of part p.
    """
    if others is None:
        others = first.new_zeros(1).expand(len(first), (parts - 1) * first.shape[1], *first.shape[2:])
    by_part = dense_gradient(others).permute(0, 2, 3, 1).unflatten(3, (parts - 1, -1)).transpose(3, 4)
    both = torch.cat([dense_gradient(first).permute(0, 2, 3, 1).unsqueeze(4), by_part.to(first.dtype)], dim=4)
    return both.flatten(3).permute(0, 3, 1, 2)


class DiscreteCell(nn.Module):
    """A cell with the kept operation of each edge, and drop path on each operation that is not an identity.

    A node without edges is zero and has the shape of the state before it.

    Args:
        edges: Grouped by target, targets ascending.
        names: The operation of each edge; none where the edge is absent.
        operations: Operations by name.
        channels: Channels of every state.
        affine: Whether batch norms have parameters and running statistics.

    Raises:
        InputError: If an operation cannot be built.
    """

    region = True

    def __init__(
        self,
        edges: Sequence[Edge],
        names: Sequence[str],
        operations: Mapping[str, Operation],
        channels: int,
        affine: bool,
    ) -> None:
        super().__init__()
        self.last = edges[-1].target
        kept = enumerate(zip(edges, names, strict=True))
        self.plan = tuple((i, edge, name) for i, (edge, name) in kept if name != NONE)
        self.edges = nn.ModuleDict()
        for i, edge, name in self.plan:
            self.edges[str(i)] = nn.ModuleDict({name: built(name, operations, channels, edge.stride, affine)})
        self.drop_path = DropPath()

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the states of all nodes, inputs included.

        Args:
            inputs: The cell's input states, (batch, channels, height, width) each.
        """
        states = list(inputs)
        for target in range(len(inputs), self.last + 1):
            terms = [self._edge(i, edge, name, states) for i, edge, name in self.plan if edge.target == target]
            states.append(total(terms) if terms else torch.zeros_like(states[-1]))
        return states

    def _edge(self, i: int, edge: Edge, name: str, states: Sequence[Tensor]) -> Tensor:
        operation = self.edges[str(i)].get_submodule(name)
        y = operation(states[edge.source])
        return y if isinstance(operation, nn.Identity) else self.drop_path(y)
