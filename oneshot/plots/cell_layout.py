"""Where the parts of a drawn cell go: layers, orders with few crossings, heights. Geometry only, in inches."""

import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, pairwise
from statistics import fmean
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
from matplotlib.textpath import TextPath

FONT = 9.0  # points
MARGIN, LINE, ARROW = 0.12, 0.13, 0.09  # inches
STARTS = 60  # random orders from which crossings are reduced

Edge = tuple[str, str]
Stop = tuple[str, str, int]  # source, target, column: where an edge crosses a column; a node is (node, node, column)
Link = tuple[Stop, Stop]


class Layout(NamedTuple):
    """Where the parts of a drawn cell are, in inches.

    A stop is a place where an edge crosses a column: (source, target, column). A node is the stop (node, node, column).

    Args:
        routes: The stops of each edge, from source to target. Each node is here too, as an edge to itself.
        labels: For each edge with a label, the stop where the label is.
        place: The centre of each stop, (along, across) the direction of the edges, in inches.
        size: The box of each stop, (along, across), in inches.
        columns: Where each column starts and ends along the direction of the edges, in inches.
        down: Whether the edges run from top to bottom, in place of left to right.
    """

    routes: dict[Edge, list[Stop]]
    labels: dict[Edge, Stop]
    place: dict[Stop, tuple[float, float]]
    size: dict[Stop, tuple[float, float]]
    columns: list[tuple[float, float]]
    down: bool = False

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the cell's panel in inches, margins included."""
        across = max(at + self.size[stop][1] / 2 for stop, (_, at) in self.place.items()) + 2 * MARGIN
        along = self.columns[-1][1] + MARGIN
        return (across, along) if self.down else (along, across)

    def point(self, along: float, across: float) -> tuple[float, float]:
        """Turn a place of the layout into a place of the panel.

        Args:
            along: Inches along the direction of the edges, from the panel's left side (its top if `down`).
            across: Inches across it, without the margin: from the bottom up (if `down`, from right to left).

        Returns:
            x and y in inches, from the lower left corner of the panel.
        """
        if self.down:
            return self.extent[0] - MARGIN - across, self.extent[1] - along
        return along, across + MARGIN


def cell_layout(graph: nx.DiGraph, down: bool = False) -> Layout:
    """Lay out a cell: layers by longest path, few crossings, then places.

    The same graph always gives the same layout.

    Args:
        graph: A graph without cycles. Each edge has the text `operation`, its label; "" for none.
        down: Whether the edges run from top to bottom, in place of left to right.

    Returns:
        The layout.

    Reference:
        Sugiyama, Tagawa and Toda, Methods for Visual Understanding of Hierarchical System Structures, IEEE Transactions
        on Systems, Man, and Cybernetics 11(2), 1981.
    """
    routes, labels = _routes(graph)
    links = [link for route in routes.values() for link in pairwise(route)]
    columns = _ordered(list(dict.fromkeys(stop for route in routes.values() for stop in route)), links)
    size: dict[Stop, tuple[float, float]] = {}
    for stop in (stop for column in columns for stop in column):
        source, target, _ = stop
        if source == target:
            lines = max(graph.in_degree(source), graph.out_degree(source))
            width = max(0.36, text_width(shown(source), FONT + 2) + 0.18)
            side = max(width if down else 0.36, LINE * (lines + 1))
            size[stop] = (0.36 if down else width, side)
        elif labels.get((source, target)) == stop:
            label = text_width(graph.edges[source, target]["operation"], FONT) + 0.16
            size[stop] = (0.24, label + 0.06) if down else (label, 0.32)
        else:
            size[stop] = (0.0, 0.18)
    height = _heights(columns, links, size)
    spans, right = [], MARGIN - ARROW
    for c, column in enumerate(columns):
        steepest = max((abs(height[a] - height[b]) for a, b in links if b[2] == c), default=0.0)
        bend = min(max(0.2, 0.15 * steepest), 0.35) if down else min(max(0.25, 0.4 * steepest), 0.8)
        left = right + (bend if c else 0.0)
        right = left + max(size[stop][0] for stop in column) + (2 * ARROW if c % 2 == 0 else 0)
        spans.append((left, right))
    place = {stop: (sum(spans[stop[2]]) / 2, y) for stop, y in height.items()}
    return Layout(routes, labels, place, size, spans, down)


def _routes(graph: nx.DiGraph) -> tuple[dict[Edge, list[Stop]], dict[Edge, Stop]]:
    """The stops of every edge (and of every node alone, as an edge to itself), and those that take its label.

    Nodes are in even columns, labels in odd ones. Edges with the fewest odd columns take theirs first.
    """
    rank: dict[str, int] = {}
    for node in nx.topological_sort(graph):
        rank[node] = max((rank[before] + 2 for before in graph.predecessors(node)), default=0)
    routes: dict[Edge, list[Stop]] = {(node, node): [(node, node, rank[node])] for node in graph}
    labels: dict[Edge, Stop] = {}
    taken: dict[int, int] = defaultdict(int)
    for s, t in sorted(graph.edges, key=lambda edge: rank[edge[1]] - rank[edge[0]]):
        between = [(s, t, column) for column in range(rank[s] + 1, rank[t])]
        routes[s, t] = [(s, s, rank[s]), *between, (t, t, rank[t])]
        if graph.edges[s, t]["operation"]:
            labels[s, t] = min(between[::2], key=lambda stop: taken[stop[2]])
            taken[labels[s, t][2]] += 1
    return routes, labels


def _ordered(stops: list[Stop], links: Sequence[Link]) -> list[list[Stop]]:
    """The stops of each column from bottom to top: the fewest crossings of many barycentre runs.

    stops: the graph's first node first; that node comes into the upper half.
    """
    beside, first, rng = _beside(links), stops[0], random.Random(0)
    best: tuple[int, list[list[Stop]]] | None = None
    for _ in range(STARTS):
        stops = rng.sample(stops, len(stops))
        columns = [[stop for stop in stops if stop[2] == c] for c in range(max(stop[2] for stop in stops) + 1)]
        rank = {stop: i / len(column) for column in columns for i, stop in enumerate(column)}
        for sweep in range(6):
            for column in columns[:: 1 if sweep % 2 == 0 else -1]:
                mean = {stop: fmean([rank[o] for o in beside[stop]] or [rank[stop]]) for stop in column}
                column.sort(key=mean.__getitem__)
                rank |= {stop: i / len(column) for i, stop in enumerate(column)}
        crossings = 0
        for c in range(len(columns)):
            ends = [(rank[a], rank[b]) for a, b in links if a[2] == c]
            crossings += sum((a - x) * (b - y) < 0 for (a, b), (x, y) in combinations(ends, 2))
        if best is None or crossings < best[0]:
            best = crossings, columns
    assert best is not None
    columns = best[1]
    upper = 2 * columns[first[2]].index(first) >= len(columns[first[2]]) - 1
    return columns if upper else [column[::-1] for column in columns]


def _heights(columns: Sequence[Sequence[Stop]], links: Sequence[Link], size: Mapping[Stop, Any]) -> dict[Stop, float]:
    """A height for each stop, near its neighbours', boxes of a column apart and in their order; from 0 up.

    Where a line passes through, its neighbours weigh more: long edges become straight.
    """
    beside = _beside(links)
    y = {stop: 0.0 for column in columns for stop in column}
    weights = {a: [20 if a[0] != a[1] and b[0] != b[1] else 1 for b in beside[a] or [a]] for a in y}
    for sweep in range(60):
        for column in columns[:: 1 if sweep % 2 == 0 else -1]:
            gaps = [(size[a][1] + size[b][1]) / 2 + 0.06 for a, b in pairwise(column)]
            offset = np.cumsum([0.0, *gaps])
            wanted = [fmean([y[b] for b in beside[a] or [a]], weights[a]) for a in column]
            y |= dict(zip(column, rising(np.array(wanted) - offset) + offset, strict=True))
    low = min(y[stop] - size[stop][1] / 2 for stop in y)
    return {stop: float(value - low) for stop, value in y.items()}


def _beside(links: Sequence[Link]) -> dict[Stop, list[Stop]]:
    beside: dict[Stop, list[Stop]] = defaultdict(list)
    for a, b in links:
        beside[a].append(b)
        beside[b].append(a)
    return beside


def rising(values: np.ndarray) -> list[float]:
    """Return the nearest non-decreasing sequence in least squares (pool adjacent violators).

    Args:
        values: (n,).

    Returns:
        n numbers.
    """
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            last, number = pools.pop()
            mean, count = (mean * count + last * number) / (count + number), count + number
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def shown(name: str) -> str:
    """Write the name of a node for matplotlib: `c_{k-1}` as mathematics, any other name as it is.

    Args:
        name: The node's name.
    """
    return f"${name}$" if re.fullmatch(r"\w+_\{[\w+-]+\}", name) else name.replace("$", r"\$")


@lru_cache(maxsize=1024)
def text_width(text: str, points: float) -> float:
    """Return the width of a text in inches.

    Args:
        text: As matplotlib takes it: what is between two `$` is mathematics.
        points: Size of the letters, in points.
    """
    return TextPath((0, 0), text, size=points).get_extents().width / 72
