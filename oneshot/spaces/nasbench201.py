"""The NAS-Bench-201 cell space: one cell of 4 nodes and 6 edges, stacked (Dong and Yang, arXiv:2001.00326).

A cell has one input, node 0; every later node sums one candidate an edge over all nodes before it; the last is
the cell's output. `none` is a candidate like the others: all 5^6 = 15,625 decisions are architectures.
"""

import copy
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

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
    head,
    images_of,
    is_dense,
)
from .cell import EXECUTIONS, DiscreteCell, Edge, MixedCell
from .operations import Operation, batch_norm, relu_conv_norm, skip_connect
from .recompute import recomputed

NODES = 4
EDGES = tuple(Edge(source, target, 1) for target in range(1, NODES) for source in range(target))
STAGES = 3


def convolution(kernel: int) -> Operation:
    """Return the operation of ReLU, convolution and batch norm.

    Args:
        kernel: Side of the kernel, in pixels.
    """
    return lambda channels, stride, affine: relu_conv_norm(channels, channels, affine, kernel, stride)


def average_pool(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return a 3x3 average pool that leaves out the padding. As published no batch norm follows it, in a supernet too.

    Args:
        channels: Channels of the input and the output; a pool does not need to know.
        stride: 1, or 2 to halve height and width.
        affine: Has no effect, as there is no batch norm.
    """
    return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)


OPERATIONS: dict[str, Operation] = {
    "skip_connect": skip_connect,
    "nor_conv_1x1": convolution(1),
    "nor_conv_3x3": convolution(3),
    "avg_pool_3x3": average_pool,
}
CANDIDATES = (NONE, *OPERATIONS)


class NASBench201(SearchSpace):
    """The NAS-Bench-201 space: three stages of cells, with 6 edges a cell and 5 candidates an edge.

    A residual block between two stages halves the image and doubles the channels. Networks have the layers of the
    benchmark; the accuracies in its tables are those of its own training.

    Args:
        image_shape: A data set with `image_shape` and `classes`, or the shape (channels, height, width). Height and
            width must be divisible by 4; the height may be 1, as that of a signal.
        classes: Number of logits; not given with a data set.
        cells: Cells of a stage; 5 in the paper.
        channels: Channels of the first stage; 16 in the paper.
        execution: How a cell of the supernet is computed: `"auto"`, `"grouped"` or `"edges"`. The numbers are the same.
        affine_skeleton: Whether the supernet's batch norms outside the cells (stem, residual blocks, tail) have
            weights, as in the authors' search code.
        dense: Whether there are logits for each pixel, as for segmentation; None is what a data set needs.
        partial_channels: k: the candidates of the supernet's edges see 1/k of the channels, as in PC-DARTS; it divides
            the channels. 1: all. Networks always have all.
        recompute: Whether the supernet keeps the inputs of its cells alone and computes the cells again in the backward
            pass: less memory for more time, and the same numbers.

    Raises:
        InputError: If a setting is out of range.

    Reference:
        Dong and Yang, NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search,
        arXiv:2001.00326.
    """

    name = "nasbench201"
    choices = tuple(Choice(f"cell/{s}->{t}", CANDIDATES, f"cell/{t}") for s, t, _ in EDGES)

    def __init__(
        self,
        image_shape: ImageShape | Images,
        classes: int | None = None,
        cells: int = 5,
        channels: int = 16,
        execution: str = "auto",
        affine_skeleton: bool = True,
        dense: bool | None = None,
        partial_channels: int = 1,
        recompute: bool = False,
    ) -> None:
        check_integer("space.cells", cells, 1, 1000)
        check_integer("space.channels", channels, 1, 4096)
        self.dense = is_dense(image_shape, dense)
        image_shape, classes = images_of(image_shape, classes)
        check_halves(self.name, image_shape)
        if execution not in EXECUTIONS:
            raise unknown("space.execution", execution, EXECUTIONS)
        self.image_shape, self.classes = image_shape, classes
        check_boolean("space.affine_skeleton", affine_skeleton)
        check_boolean("space.recompute", recompute)
        self.cells, self.channels, self.execution = cells, channels, execution
        check_partial(partial_channels, channels)
        self.affine_skeleton, self.partial_channels = affine_skeleton, partial_channels
        self.recompute = recompute
        self._set_sizes()

    def resized(self, depth: float = 1.0, partial_channels: int | None = None) -> "NASBench201":
        """Return the same choices with other sizes of the supernet; see `SearchSpace.resized`."""
        other = copy.copy(self)
        other.cells = deeper(self.cells, depth, 1)
        other.partial_channels = self.partial_channels if partial_channels is None else partial_channels
        check_partial(other.partial_channels, other.channels)
        other._set_sizes()
        return other

    def _set_sizes(self) -> None:
        """Set what follows from the sizes."""
        self.settings = {"cells": self.cells, "channels": self.channels}
        self.kinds = ("cell",) * STAGES * self.cells

    def allowed(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """Return all candidates: every combination is an architecture."""
        return tuple(range(len(CANDIDATES)))

    def supernet(self) -> nn.Module:
        """Return a new supernet: forward(x, gates) -> logits (batch, classes)."""

        def cell(channels: int) -> MixedCell:
            return MixedCell(EDGES, CANDIDATES, OPERATIONS, channels, self.execution, self.partial_channels)

        return Skeleton(self, cell, False)

    def network(self, architecture: Architecture, inherit: nn.Module | None = None) -> nn.Module:
        """Return the discrete network of an architecture; see `SearchSpace.network`."""
        if architecture.space != self.fingerprint:
            raise InputError(f"architecture of space {architecture.space!r}: this space is {self.fingerprint!r}")
        names = [CANDIDATES[k] for k in self.used(architecture).decisions]
        affine = inherit is None
        network = Skeleton(self, lambda channels: DiscreteCell(EDGES, names, OPERATIONS, channels, affine), affine)
        if inherit is not None:
            check_whole(self.partial_channels)
            weights = inherit.state_dict()
            network.load_state_dict({name: weights[name] for name in network.state_dict()})
        return network

    def discretize(self, scores: Tensor) -> Architecture:
        """Return the most probable candidate of each edge, `none` included. Of equal ones the earlier one wins."""
        if not bool(scores.isfinite().all()):
            raise InputError("scores are not finite: there is nothing to discretize")
        return self.architecture(scores.argmax(dim=1).tolist())

    def used(self, architecture: Architecture) -> Architecture:
        """Return the same network with `none` also on the edges that do not lead to the output."""
        edges = list(zip(EDGES, architecture.decisions, strict=True))
        leads = {NODES - 1}
        for edge, k in reversed(edges):
            if edge.target in leads and CANDIDATES[k] != NONE:
                leads.add(edge.source)
        kept = tuple(k if edge.target in leads else CANDIDATES.index(NONE) for edge, k in edges)
        return Architecture(architecture.space, kept)

    def notation(self, architecture: Architecture) -> str:
        """Return the notation of the benchmark: |operation~source|...| for each node, joined by +."""
        names = [CANDIDATES[k] for k in architecture.decisions]
        nodes = []
        for target in range(1, NODES):
            entering = zip(EDGES, names, strict=True)
            nodes.append("".join(f"|{name}~{edge.source}" for edge, name in entering if edge.target == target) + "|")
        return "+".join(nodes)

    def from_notation(self, text: str) -> Architecture:
        """Return the architecture of a text in the benchmark's notation.

        Raises:
            InputError: If the text is no such notation.
        """
        found = [(name, int(source)) for name, source in re.findall(r"\|([a-z0-9_]{1,20})~([0-9])(?=\|)", text)]
        decisions = [CANDIDATES.index(name) for name, _ in found if name in CANDIDATES]
        if len(decisions) == len(EDGES):
            architecture = self.architecture(decisions)
            if self.notation(architecture) == text:
                return architecture
        raise InputError(
            f"architecture {text[:120]!r}: must be like {self.notation(self.architecture([0] * len(EDGES)))} with "
            f"{', '.join(CANDIDATES)}"
        )

    def operations(self) -> Iterator[tuple[int, int, nn.Module, tuple[int, int, int]]]:
        """Yield every place of a candidate in the networks; see `SearchSpace.operations`."""
        _, height, width = self.image_shape
        for stage in range(STAGES):
            channels = self.channels << stage
            for _ in range(self.cells):
                for edge in range(len(EDGES)):
                    for k, name in enumerate(CANDIDATES):
                        if name != NONE:
                            shape = (channels, max(1, height >> stage), width >> stage)
                            yield edge, k, OPERATIONS[name](channels, 1, True), shape

    def branches(self, supernet: nn.Module) -> Iterator[tuple[int, int, nn.Module]]:
        """Yield every candidate in a supernet; see `SearchSpace.branches`."""
        for block in cast(Skeleton, supernet).blocks:
            if isinstance(block, MixedCell):
                yield from block.modules_of_edges()


class Skeleton(nn.Module):
    """The network around the cells: stem, three stages with residual blocks between them, linear classifier.

    Args:
        space: Gives the sizes.
        cell: Makes a cell from its channels: forward([x], *gates) -> states, and the last state is its output.
        affine: Whether it is a network, whose batch norms have weights and running statistics. In a supernet those of
            the cells have neither, and the others have weights if `space.affine_skeleton`.
    """

    def __init__(self, space: NASBench201, cell: Callable[[int], nn.Module], affine: bool) -> None:
        super().__init__()
        convolution = nn.Conv2d(space.image_shape[0], space.channels, 3, padding=1, bias=False)
        skeleton = affine or space.affine_skeleton
        self.stem = nn.Sequential(convolution, batch_norm(space.channels, skeleton, affine))
        self.blocks = nn.ModuleList()
        for stage in range(STAGES):
            channels = space.channels << stage
            if stage:
                rows = min(2, space.image_shape[1])
                self.blocks.append(Reduction(channels // 2, channels, skeleton, affine, rows))
            self.blocks.extend(cell(channels) for _ in range(space.cells))
        self.tail = nn.Sequential(batch_norm(channels, skeleton, affine), nn.ReLU())
        self.classifier = head(channels, space.classes, space.image_shape, space.dense)
        self.recompute = space.recompute and not affine

    def forward(self, x: Tensor, *gates: Gates) -> Tensor:
        """Return logits (batch, classes).

        Args:
            x: Images (batch, channels, height, width).
            gates: The gates, for a supernet alone.
        """
        x, cell = self.stem(x), 0
        for block in self.blocks:
            if isinstance(block, Reduction):
                x = block(x)
            else:
                run = partial(recomputed, block) if self.recompute else block
                x = run([x], *(g.of_cell(cell) for g in gates))[-1]
                cell += 1
        return self.classifier(self.tail(x))


class Reduction(nn.Module):
    """The residual block of the benchmark: two 3x3 convolutions, the first of stride 2, beside a pool with a 1x1.

    Args:
        inputs: Channels that enter.
        outputs: Channels that leave.
        affine: Whether its batch norms have weights.
        running: Whether they have running statistics.
        rows: Of the pool: 2, or 1 for a signal, which has a single row.
    """

    def __init__(self, inputs: int, outputs: int, affine: bool, running: bool, rows: int = 2) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            relu_conv_norm(inputs, outputs, affine, 3, 2, running),
            relu_conv_norm(outputs, outputs, affine, 3, 1, running),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d((rows, 2)), nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, height / 2, width / 2) for x (batch, inputs, height, width)."""
        return self.shortcut(x) + self.residual(x)
