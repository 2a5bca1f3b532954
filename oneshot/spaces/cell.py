"""The inside of a cell as a graph: nodes sum what their edges compute. In a supernet edges mix candidates."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from oneshot.architecture import Gates
from oneshot.spaces.base import NONE, DropPath
from oneshot.spaces.operations import Operation


class Edge(NamedTuple):
    """From state `source` to state `target`, with this stride. A cell's input states come first."""

    source: int
    target: int
    stride: int


class MixedCell(nn.Module):
    """Every candidate on every edge, mixed by the gates. Keys of the state: edges.<edge>.<candidate>.

    edges: grouped by target, targets ascending. candidates: names; none is zero and has no module.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        candidates: Sequence[str],
        operations: Mapping[str, Operation],
        channels: int,
    ) -> None:
        super().__init__()
        self.plan = tuple(edges)
        self.candidates = tuple(candidates)
        self.edges = nn.ModuleDict()
        for i, edge in enumerate(self.plan):
            built = {c: operations[c](channels, edge.stride, False) for c in candidates if c != NONE}
            self.edges[str(i)] = nn.ModuleDict(built)

    def forward(self, inputs: Sequence[Tensor], gates: Gates) -> list[Tensor]:
        """inputs: the cell's input states, (batch, channels, height, width) each; gates: a row an edge.

        Returns the states of all nodes, inputs included.
        """
        states = list(inputs)
        everything = range(len(self.candidates))
        terms: list[Tensor] = []
        for i, edge in enumerate(self.plan):
            operations: Any = self.edges[str(i)]
            for k in everything if gates.active is None else gates.active[i]:
                if self.candidates[k] != NONE:
                    silent = gates.silent is not None and k in gates.silent[i]
                    with torch.set_grad_enabled(torch.is_grad_enabled() and not silent):
                        y = operations[self.candidates[k]](states[edge.source])
                    terms.append(gates.weight[i, k] * y)
            if i + 1 == len(self.plan) or self.plan[i + 1].target != edge.target:
                states.append(_sum(terms) if terms else _zeros(states[edge.source], edge.stride))
                terms = []
        return states


class DiscreteCell(nn.Module):
    """The kept operation of each edge that has one; drop path on each that is not an identity.

    names: for each edge its operation, none where the edge is absent. Every node keeps at least one edge.
    """

    def __init__(
        self,
        edges: Sequence[Edge],
        names: Sequence[str],
        operations: Mapping[str, Operation],
        channels: int,
        affine: bool,
    ) -> None:
        super().__init__()
        kept = enumerate(zip(edges, names, strict=True))
        self.plan = tuple((i, edge, name) for i, (edge, name) in kept if name != NONE)
        self.edges = nn.ModuleDict()
        for i, edge, name in self.plan:
            self.edges[str(i)] = nn.ModuleDict({name: operations[name](channels, edge.stride, affine)})
        self.drop_path = DropPath()

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """inputs: the cell's input states. Returns the states of all nodes, inputs included."""
        states = list(inputs)
        terms: list[Tensor] = []
        for n, (i, edge, name) in enumerate(self.plan):
            operation = self.edges[str(i)].get_submodule(name)
            y = operation(states[edge.source])
            terms.append(y if isinstance(operation, nn.Identity) else self.drop_path(y))
            if n + 1 == len(self.plan) or self.plan[n + 1][1].target != edge.target:
                states.append(_sum(terms))
                terms = []
        return states


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _zeros(x: Tensor, stride: int) -> Tensor:
    """The sum of no candidates, at the resolution behind this stride."""
    return torch.zeros_like(x[:, :, ::stride, ::stride])
