"""The DARTS cell space: a normal and a reduction cell, stacked (Liu et al., arXiv:1806.09055, section 2.1).

A cell has two inputs, the outputs c_{k-2} and c_{k-1} of the two cells before it, and `nodes` nodes; each
node sums one candidate operation an edge over all earlier nodes; the cell's output concatenates its nodes.
`none` on an edge means that the edge is absent; an architecture keeps exactly two edges a node. In the supernet
`none` is a candidate where the list of an edge holds it, and else no part of the mixture.
"""

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from operator import ne
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn

from ..architecture import Architecture, Choice, Gates
from ..errors import InputError, check_boolean, check_integer, unknown
from .base import (
    NONE,
    Images,
    ImageShape,
    SearchSpace,
    check_halves,
    check_partial,
    check_whole,
    deeper,
    halved,
    head,
    images_of,
    is_dense,
)
from .cell import EXECUTIONS, DiscreteCell, Edge, MixedCell, by_edge
from .genotype import PUBLISHED, parsed
from .layout import joined
from .operations import OPERATIONS, FactorizedReduce, Operation, batch_norm, relu_conv_norm
from .recompute import recomputed

CANDIDATES = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
INPUTS = ("c_{k-2}", "c_{k-1}")
KEPT = 2
LEAST = 3  # cells: two of them reduce
KINDS = ("normal", "reduce")
Candidates = Sequence[str] | Sequence[Sequence[str]]
STEM = 3  # the stem has this many times the channels of the first cell
Row = TypeVar("Row")


class CellPlan(NamedTuple):
    """The sizes of one cell.

    Args:
        before: Channels of the output of the cell two before.
        last: Channels of the output of the cell before.
        channels: Channels of this cell's nodes.
        reduces: Whether this is a reduction cell.
        after_reduction: Whether the cell before is one.
    """

    before: int
    last: int
    channels: int
    reduces: bool
    after_reduction: bool


class DARTSCells(SearchSpace):
    """The DARTS space: normal and reduction cells; the cells at 1/3 and 2/3 of the depth are reduction cells.

    Args:
        image_shape: A data set with `image_shape` and `classes`, or the shape (channels, height, width). Height and
            width must be divisible by 4, for the two reductions; the height may be 1, as that of a signal.
        classes: Number of logits; not given with a data set.
        cells: Number of cells, at least 3; 8 in the paper's search and 20 in its retraining.
        channels: Channels of the first cell, doubled by each reduction; 16 in the paper's search, 36 in its retraining.
        nodes: Nodes of a cell; 4 in the paper.
        candidates: Names from `OPERATIONS` or `operations`, and none, which means that the edge is absent: one list for
            all edges, or a list of such lists, one for each edge in the order of `edges`. Without none in its list, an
            edge can still be absent from an architecture, but the supernet does not mix none there. A cell with fewer
            nodes takes the first lists.
        operations: Operations of your own, by name: (channels, stride, affine) -> module.
        auxiliary: Whether `network` has the published auxiliary head after the second reduction.
        execution: How a cell of the supernet is computed: `"auto"`, `"grouped"` or `"edges"`. The numbers are the same.
        affine_skeleton: Whether the batch norm of the supernet's stem has weights, as in the authors' code. Those in
            the cells have none, so that they cannot compete with the gates.
        dense: Whether there are logits for each pixel, as for segmentation; None is what a data set needs.
        partial_channels: k: the candidates of the supernet's edges see 1/k of the channels, as in PC-DARTS; it divides
            the channels. 1: all. Networks always have all.
        reduce_candidates: Candidates of the reduction cells, as `candidates`; None: those of the normal cells.
        recompute: Whether the supernet keeps the inputs of its cells alone and computes the cells again in the backward
            pass: less memory for more time, and the same numbers.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Liu, Simonyan and Yang, DARTS: Differentiable Architecture Search, arXiv:1806.09055, section 2.1.
    """

    name = "darts"
    kept_edges = KEPT
    published = PUBLISHED

    def __init__(
        self,
        image_shape: ImageShape | Images,
        classes: int | None = None,
        cells: int = 8,
        channels: int = 16,
        nodes: int = 4,
        candidates: Candidates = CANDIDATES,
        operations: Mapping[str, Operation] | None = None,
        auxiliary: bool = False,
        execution: str = "auto",
        affine_skeleton: bool = True,
        dense: bool | None = None,
        partial_channels: int = 1,
        reduce_candidates: Candidates | None = None,
        recompute: bool = False,
    ) -> None:
        check_integer("space.cells", cells, LEAST, 1000)
        check_integer("space.channels", channels, 1, 4096)
        check_integer("space.nodes", nodes, 1, 16)
        check_boolean("space.auxiliary", auxiliary)
        check_boolean("space.affine_skeleton", affine_skeleton)
        check_boolean("space.recompute", recompute)
        check_partial(partial_channels, channels)
        if execution not in EXECUTIONS:
            raise unknown("space.execution", execution, EXECUTIONS)
        dense = is_dense(image_shape, dense)
        image_shape, classes = images_of(image_shape, classes)
        check_halves(self.name, image_shape)
        if dense and auxiliary:
            raise InputError("space.auxiliary=true: the auxiliary head gives logits of an image, none of its pixels")
        self.dense = dense
        self.factories = {**OPERATIONS, **(operations or {})}
        self.image_shape, self.classes = image_shape, classes
        self.cells, self.channels, self.nodes, self.auxiliary = cells, channels, nodes, auxiliary
        self.execution, self.affine_skeleton, self.partial_channels = execution, affine_skeleton, partial_channels
        self.recompute = recompute
        self.candidates = _checked_candidates("candidates", candidates, nodes, self.factories)
        given = {kind: self.candidates for kind in KINDS}
        if reduce_candidates is not None:
            given["reduce"] = _checked_candidates("reduce_candidates", reduce_candidates, nodes, self.factories)
        self.reduce_candidates = None if reduce_candidates is None else given["reduce"]
        edges = self.edges(False)
        self.choices = tuple(
            _choice(kind, edge, names)
            for kind in KINDS
            for edge, names in zip(edges, by_edge(given[kind], len(edges)), strict=True)
        )
        self._ends = [(edge.source, edge.target) for edge in edges]
        self._none = [choice.candidates.index(NONE) for choice in self.choices]
        self._allowed = [_allowed(choice) for choice in self.choices]
        self.concatenated = tuple(_node(target) for target in range(2, nodes + 2))
        self._set_sizes()

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return the candidates of the next edge. Exactly two edges of a node are not none."""
        i = len(prefix)
        source, target = self._ends[i % len(self._ends)]
        absent, present, every = self._allowed[i]
        kept = sum(map(ne, prefix[i - source :], self._none[i - source : i]))
        if kept == KEPT:
            return absent
        return present if target - source == KEPT - kept else every

    def resized(self, depth: float = 1.0, partial_channels: int | None = None) -> "DARTSCells":
        """Return the same choices with other sizes of the supernet; see `SearchSpace.resized`."""
        other = copy.copy(self)
        other.cells = deeper(self.cells, depth, LEAST)
        other.partial_channels = self.partial_channels if partial_channels is None else partial_channels
        check_partial(other.partial_channels, other.channels)
        other._set_sizes()
        return other

    def _set_sizes(self) -> None:
        """Set what follows from the sizes."""
        self.kinds = tuple(KINDS[plan.reduces] for plan in self.plans())
        sizes = {"cells": self.cells, "channels": self.channels, "nodes": self.nodes, "candidates": self.candidates}
        more = {} if self.reduce_candidates is None else {"reduce_candidates": self.reduce_candidates}
        self.settings = {**sizes, **more}

    def head(self, channels: int) -> nn.Module:
        """Return the last layers of a network, from features with so many channels to logits."""
        return head(channels, self.classes, self.image_shape, self.dense)

    def supernet(self) -> "Supernet":
        """Return a new supernet: forward(x, gates) -> logits (batch, classes)."""
        return Supernet(self)

    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> "Network":
        """Return the discrete network of an architecture; see `SearchSpace.network`."""
        if architecture.space != self.fingerprint:
            raise InputError(f"architecture of space {architecture.space!r}: this space is {self.fingerprint!r}")
        network = Network(self, architecture, affine=inherit is None)
        if inherit is not None:
            check_whole(self.partial_channels)
            weights = inherit.state_dict()
            network.load_state_dict({name: weights[name] for name in network.state_dict()})
        return network

    def discretize(self, scores: Tensor) -> Architecture:
        """Keep the two edges of each node that have the most probable operation other than none.

        Probabilities are compared, not logits, so an edge that gives much to none counts less. Of equal ones the
        earlier edge and the earlier candidate win. Source: DARTS, section 2.4.

        Args:
            scores: Probabilities (choices, candidates).

        Raises:
            InputError: If a score is not finite.
        """
        table = scores.detach().double().cpu().clone()
        if not bool(table.isfinite().all()):
            raise InputError("scores are not finite: there is nothing to discretize")
        table[~self.decidable] = -1.0
        table[torch.arange(len(table)), torch.tensor(self._none)] = -1.0
        strength, operation = (values.tolist() for values in table.max(dim=1))
        decisions = self._none.copy()
        start = 0
        for target in [target for _ in range(2) for target in range(2, self.nodes + 2)]:
            edges = range(start, start + target)
            for edge in sorted(edges, key=lambda e: -strength[e])[:KEPT]:
                decisions[edge] = operation[edge]
            start += target
        return self.architecture(decisions)

    def notation(self, architecture: Architecture) -> str:
        """Return the genotype as published: (operation, source) pairs, two a node."""
        parts = []
        for kind, names in zip(KINDS, self.by_kind(self.names(architecture)), strict=True):
            pairs = [(name, ends[0]) for ends, name in zip(self._ends, names, strict=True) if name != NONE]
            parts += [f"{kind}={pairs}", f"{kind}_concat=range(2, {self.nodes + 2})"]
        return f"Genotype({', '.join(parts)})"

    def from_notation(self, text: str) -> Architecture:
        """Return the architecture of a genotype.

        Args:
            text: As published; see `genotype.parsed`.

        Raises:
            InputError: If it is no genotype, or not one of this space: other nodes or operations, a part of the nodes
                in the cell's output, or two edges from one state into a node.
        """
        genotype, decisions = parsed(text), self._none.copy()
        for kind, pairs in (("normal", genotype.normal), ("reduce", genotype.reduce)):
            if len(pairs) != KEPT * self.nodes:
                raise InputError(
                    f"architecture: {kind} has {len(pairs)} edges; a cell with space.nodes={self.nodes} has "
                    f"{KEPT * self.nodes}"
                )
            concatenated = getattr(genotype, f"{kind}_concat")
            if sorted(concatenated) != list(range(2, self.nodes + 2)):
                raise InputError(
                    f"architecture: {kind}_concat={concatenated}: this space concatenates all nodes, 2 to "
                    f"{self.nodes + 1}"
                )
            for i, (name, source) in enumerate(pairs):
                place, target = f"{kind}, edge {i}", 2 + i // KEPT
                if (source, target) not in self._ends:
                    raise InputError(f"architecture: {place}: state {source} is none before node {target}")
                edge = self._ends.index((source, target)) + KINDS.index(kind) * len(self._ends)
                candidates = self.choices[edge].candidates
                if name == NONE or name not in candidates:
                    allowed = [candidate for candidate in candidates if candidate != NONE]
                    raise InputError(f"architecture: {place}: {unknown('operation', name[:60], allowed)}")
                if decisions[edge] != self._none[edge]:
                    raise InputError(f"architecture: {place}: a second edge from state {source} into node {target}")
                decisions[edge] = candidates.index(name)
        return self.architecture(decisions)

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Yield every place of a candidate in the networks; see `SearchSpace.operations`."""
        height, width = self.image_shape[1:]
        for plan in self.plans():
            first = len(self._ends) if plan.reduces else 0
            for i, edge in enumerate(self.edges(plan.reduces)):
                for k, name in enumerate(self.choices[first + i].candidates):
                    if name != NONE:
                        inner = plan.reduces and edge.source >= 2
                        size = (halved(height), halved(width)) if inner else (height, width)
                        module = self.factories[name](plan.channels, edge.stride, True)
                        yield first + i, k, module, (plan.channels, *size)
            height, width = (halved(height), halved(width)) if plan.reduces else (height, width)

    def branches(self, supernet: nn.Module) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield every candidate in a supernet; see `SearchSpace.branches`."""
        for cell in cast(Supernet, supernet).cells:
            assert isinstance(cell, SupernetCell)
            first = len(self.choices) // 2 if cell.reduces else 0
            yield from ((first + i, k, module) for i, k, module in cell.graph.modules_of_edges())

    def edges(self, reduces: bool) -> tuple[Edge, ...]:
        """Return the edges of a cell. In a reduction cell those from the two inputs have stride 2.

        Args:
            reduces: Whether it is a reduction cell.
        """
        return tuple(Edge(s, t, 2 if reduces and s < 2 else 1) for t in range(2, self.nodes + 2) for s in range(t))

    def by_kind(self, rows: Sequence[Row]) -> tuple[Sequence[Row], Sequence[Row]]:
        """Return what belongs to the edges of the normal cell, and to those of the reduction cell.

        Args:
            rows: One thing for each choice.
        """
        return rows[: len(self._ends)], rows[len(self._ends) :]

    def names(self, architecture: Architecture) -> list[str]:
        """Return the operation of each choice.

        Args:
            architecture: An architecture of this space.
        """
        return [choice.candidates[k] for choice, k in zip(self.choices, architecture.decisions, strict=True)]

    def plans(self) -> list[CellPlan]:
        """Return the sizes of the cells, from first to last."""
        plans = []
        before, last, channels = STEM * self.channels, STEM * self.channels, self.channels
        reduced = False
        for i in range(self.cells):
            reduces = i in (self.cells // 3, 2 * self.cells // 3)
            channels *= 2 if reduces else 1
            plans.append(CellPlan(before, last, channels, reduces, reduced))
            before, last, reduced = last, self.nodes * channels, reduces
        return plans


def _node(index: int) -> str:
    return INPUTS[index] if index < 2 else str(index - 2)


def _choice(kind: str, edge: Edge, names: tuple[str, ...]) -> Choice:
    """The choice of an edge; that it is absent is no part of the mixture unless its candidates have it."""
    name, group = f"{kind}/{_node(edge.source)}->{_node(edge.target)}", f"{kind}/{_node(edge.target)}"
    return Choice(name, names, group) if NONE in names else Choice(name, (*names, NONE), group, unmixed=1)


def _allowed(choice: Choice) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """What an edge may be: absent, present, or either of them."""
    none, every = choice.candidates.index(NONE), tuple(range(len(choice.candidates)))
    return (none,), tuple(k for k in every if k != none), every


def _checked_candidates(key: str, candidates: Any, nodes: int, operations: Mapping[str, Operation]) -> Any:
    """The names of all edges, or those of each edge of a cell, as tuples."""
    if not isinstance(candidates, list | tuple):
        raise InputError(f"space.{key}={candidates!r}: must be a list of names")
    if not any(isinstance(names, list | tuple) for names in candidates):
        return _checked_names(f"space.{key}", candidates, operations)
    edges = [n * (n + 3) // 2 for n in range(17)]  # of a cell with n nodes
    if len(candidates) not in edges[nodes:]:
        raise InputError(
            f"space.{key}: {len(candidates)} lists; must be one for each of the {edges[nodes]} edges of a cell with "
            f"space.nodes={nodes}, or for those of a cell with more nodes"
        )
    return tuple(_checked_names(f"space.{key}[{i}]", candidates[i], operations) for i in range(edges[nodes]))


def _checked_names(key: str, names: Any, operations: Mapping[str, Operation]) -> tuple[str, ...]:
    if not isinstance(names, list | tuple):
        raise InputError(f"{key}={names!r}: must be a list of names")
    names = tuple(names)
    for name in names:
        if not isinstance(name, str) or name not in (NONE, *operations):
            raise unknown(f"operation in {key}", str(name)[:60], [NONE, *operations])
        if not re.fullmatch(r"\w+", name):
            raise InputError(f"operation {name!r}: a name has letters, digits and _ only")
    if len(set(names)) != len(names) or not {*names} - {NONE}:
        raise InputError(f"{key}={list(names)}: must hold at least one operation besides 'none', and each name once")
    return names


class _Inputs(nn.Module):
    """Bring the outputs of the two cells before to this cell's channels and resolution."""

    def __init__(self, plan: CellPlan, used: tuple[bool, bool], affine: bool) -> None:
        super().__init__()
        adapt = FactorizedReduce if plan.after_reduction else relu_conv_norm
        self.before = adapt(plan.before, plan.channels, affine) if used[0] else nn.Identity()
        self.last = relu_conv_norm(plan.last, plan.channels, affine) if used[1] else nn.Identity()

    def forward(self, s0: Tensor, s1: Tensor) -> tuple[Tensor, Tensor]:
        return self.before(s0), self.last(s1)


class SupernetCell(nn.Module):
    """A cell of the supernet, with every candidate on every edge.

    Args:
        space: Gives edges and candidates.
        plan: The sizes of the cell.
    """

    def __init__(self, space: DARTSCells, plan: CellPlan) -> None:
        super().__init__()
        self.reduces = plan.reduces
        self.inputs = _Inputs(plan, (True, True), affine=False)
        self.graph = MixedCell(
            space.edges(plan.reduces),
            [choice.candidates for choice in space.by_kind(space.choices)[plan.reduces]],
            space.factories,
            plan.channels,
            space.execution,
            space.partial_channels,
        )

    def forward(self, s0: Tensor, s1: Tensor, gates: Gates) -> Tensor:
        """Return the concatenated nodes, (batch, nodes * channels, height, width).

        Args:
            s0: Output of the cell two before.
            s1: Output of the cell before.
            gates: The rows of this kind of cell.
        """
        return joined(self.graph(self.inputs(s0, s1), gates)[2:])


class Supernet(nn.Module):
    """All architectures of the space in one set of weights. Cells of one kind share their gates.

    Args:
        space: Gives the sizes.
    """

    def __init__(self, space: DARTSCells) -> None:
        super().__init__()
        plans = space.plans()
        self.stem = _stem(space, affine=False)
        self.cells = nn.ModuleList(SupernetCell(space, plan) for plan in plans)
        self.classifier = space.head(space.nodes * plans[-1].channels)
        self.edges = len(space.choices) // len(KINDS)
        self.recompute = space.recompute

    def forward(self, x: Tensor, gates: Gates) -> Tensor:
        """Return logits (batch, classes).

        Args:
            x: Images (batch, channels, height, width).
            gates: The gates of both kinds of cells, the normal cell first.
        """
        normal, reduce = gates.rows(slice(self.edges)), gates.rows(slice(self.edges, None))
        s0 = s1 = self.stem(x)
        for i, cell in enumerate(self.cells):
            run = partial(recomputed, cell) if self.recompute else cell
            s0, s1 = s1, run(s0, s1, (reduce if cell.reduces else normal).of_cell(i))
        return self.classifier(s1)


class NetworkCell(nn.Module):
    """A cell of a network, with the kept edges only, and without the convolution of an input that no edge uses.

    Args:
        space: Gives edges and operations.
        plan: The sizes of the cell.
        names: The operation of each edge.
        affine: Whether batch norms have parameters and running statistics.
    """

    def __init__(self, space: DARTSCells, plan: CellPlan, names: Sequence[str], affine: bool) -> None:
        super().__init__()
        edges = space.edges(plan.reduces)
        sources = {edge.source for edge, name in zip(edges, names, strict=True) if name != NONE}
        self.inputs = _Inputs(plan, (0 in sources, 1 in sources), affine)
        self.graph = DiscreteCell(edges, names, space.factories, plan.channels, affine)

    def forward(self, s0: Tensor, s1: Tensor) -> Tensor:
        """Return the concatenated nodes for the outputs of the cell two before and of the cell before."""
        return joined(self.graph(self.inputs(s0, s1))[2:])


class AuxiliaryHead(nn.Module):
    """The published second classifier on the features after the second reduction (8x8 on CIFAR-10).

    Args:
        channels: Channels of the features.
        size: Height and width of the features, in pixels.
        classes: Number of logits.
    """

    def __init__(self, channels: int, size: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ReLU(),
            nn.AvgPool2d(5, stride=3, count_include_pad=False) if size >= 5 else nn.Identity(),
            nn.AdaptiveAvgPool2d(2),  # does nothing at the published size
            nn.Conv2d(channels, 128, 1, bias=False),
            nn.BatchNorm2d(128),
            nn.ReLU(),
            nn.Conv2d(128, 768, 2, bias=False),
            nn.BatchNorm2d(768),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(768, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) for features (batch, channels, height, width)."""
        return self.classifier(self.features(x).flatten(1))


class Network(nn.Module):
    """One architecture as a network of its own.

    Args:
        space: Gives the sizes.
        architecture: What the cells are.
        affine: Whether batch norms have parameters and running statistics.
    """

    def __init__(self, space: DARTSCells, architecture: Architecture, affine: bool) -> None:
        super().__init__()
        plans = space.plans()
        names = space.by_kind(space.names(architecture))
        self.stem = _stem(space, affine)
        self.cells = nn.ModuleList(NetworkCell(space, plan, names[plan.reduces], affine) for plan in plans)
        self.classifier = space.head(space.nodes * plans[-1].channels)
        self.second_reduction = 2 * space.cells // 3
        self.auxiliary: AuxiliaryHead | None = None
        if space.auxiliary and affine:
            channels = space.nodes * plans[self.second_reduction].channels
            self.auxiliary = AuxiliaryHead(channels, min(space.image_shape[1:]) // 4, space.classes)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits (batch, classes); in training mode with an auxiliary head, the logits of both heads.

        Args:
            x: Images (batch, channels, height, width).
        """
        auxiliary = None
        s0 = s1 = self.stem(x)
        for i, cell in enumerate(self.cells):
            s0, s1 = s1, cell(s0, s1)
            if i == self.second_reduction and self.auxiliary is not None and self.training:
                auxiliary = self.auxiliary(s1)
        logits = self.classifier(s1)
        return logits if auxiliary is None else (logits, auxiliary)


def _stem(space: DARTSCells, affine: bool) -> nn.Module:
    channels = STEM * space.channels
    convolution = nn.Conv2d(space.image_shape[0], channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, batch_norm(channels, affine or space.affine_skeleton, running=affine))
