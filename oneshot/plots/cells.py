"""Found cells, drawn as graphs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke

from .cell_layout import FONT, LINE, MARGIN, Edge, Layout, Stop, cell_layout, shown, text_width
from .figure import BLUE, GREEN, GREY, ORANGE, PURPLE, heading, message, page

HEADING = 0.32  # inches
ROW = 8  # largest number of nodes that a row of a long chain adds
KINDS = {"conv": BLUE, "pool": ORANGE, "skip": GREEN, "identity": GREEN}  # others are purple


def cells(graphs: Mapping[str, nx.DiGraph], title: str = "") -> Figure:
    """Draw the found cells, one panel a cell: from left to right on a screen, from top to bottom on paper.

    Every edge's label has a place of its own in a column between nodes. Lines run level through columns and cross
    between them only, so that nothing covers a label or a node. On a screen a long chain is cut into rows; each begins
    with the node at which the row above ends.

    Args:
        graphs: Acyclic graphs by cell name, as `SearchSpace.graphs` gives them. Edges carry `operation`, which is ""
            for a concatenation.
        title: Above the cells.

    Returns:
        The figure. Its letters have 9 points on a screen and at most 7 on paper.
    """
    width = page().width
    graphs = graphs if width is not None else dict(_in_rows(graphs))
    layouts = {name: cell_layout(graph, down=width is not None) for name, graph in graphs.items() if len(graph)}
    if not layouts:
        return message("no cells")
    sizes = {name: layout.extent for name, layout in layouts.items()}
    top = HEADING if title else 0.0
    headings = [1.3 * text_width(text, FONT + 3) + 2 * MARGIN for text in (title, *map(heading, layouts)) if text]
    wide = max([w for w, _ in sizes.values()] + headings)
    scale = 1.0 if width is None else min(page().font / FONT, width / wide)
    wide = wide if width is None else width / scale
    tall = top + sum(h + HEADING for _, h in sizes.values())
    figure = Figure(figsize=(wide * scale, tall * scale))
    look: Any = {"weight": "bold", "va": "center"}
    if title:
        figure.text(MARGIN / wide, 1 - HEADING / 2 / tall, title.replace("$", r"\$"), size=(FONT + 3) * scale, **look)
    bottom = tall - top
    for name, layout in layouts.items():
        w, h = sizes[name]
        bottom -= h + HEADING
        left = 0.0 if width is None else (wide - w) / 2
        axes = figure.add_axes((left / wide, bottom / tall, w / wide, h / tall), xlim=(0, w), ylim=(0, h))
        axes.set_axis_off()
        axes.text(MARGIN - left, h + HEADING / 2, heading(name), size=(FONT + 2) * scale, **look)
        _draw_cell(axes, graphs[name], layout, scale)
    return figure


def _in_rows(graphs: Mapping[str, nx.DiGraph]) -> Iterator[tuple[str, nx.DiGraph]]:
    """Cut graphs that are longer than a row at nodes which no edge passes by."""
    for name, graph in graphs.items():
        order = list(nx.lexicographical_topological_sort(graph, key=list(graph).index))
        at = {node: i for i, node in enumerate(order)}
        row = math.ceil((len(order) - 1) / math.ceil((len(order) - 1) / ROW)) if len(order) > 1 else ROW
        passed = {i for s, t in graph.edges for i in range(at[s] + 1, at[t])}
        cuts, last = [0], 0
        for i in range(1, len(order)):
            if i not in passed:  # every path comes through this node
                if i - cuts[-1] > row and last > cuts[-1]:
                    cuts.append(last)
                last = i
        ends = [*cuts[1:], len(order) - 1]
        for number, (first, end) in enumerate(zip(cuts, ends, strict=True)):
            title = name if len(cuts) == 1 else f"{name}, {number + 1} of {len(cuts)}"
            yield title, graph.subgraph(order[first : end + 1]) if len(cuts) > 1 else graph


def _draw_cell(axes: Axes, graph: nx.DiGraph, layout: Layout, scale: float) -> None:
    """axes: in inches from the lower left corner, before they are scaled."""
    ends = _ends(layout)
    for (s, t), route in layout.routes.items():
        if s == t:
            along, across = layout.size[route[0]]
            size = (across, along) if layout.down else (along, across)
            _draw_node(axes, s, layout.point(*layout.place[route[0]]), size, _fill(graph, s), scale)
            continue
        operation = graph.edges[s, t]["operation"]
        colour = _colour(operation)
        path = _curve(layout, route, *ends[s, t])
        width, head, level = (1.5, 9, 2) if operation else (0.8, 6, 1)
        arrow = FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=head * scale, zorder=level)
        halo = withStroke(linewidth=4 * scale, foreground="white")
        arrow.set(color=colour, linewidth=width * scale, path_effects=[halo])
        axes.add_patch(arrow)
        if operation:
            x, y = layout.point(*layout.place[layout.labels[s, t]])
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8 * scale}
            axes.text(
                x,
                y,
                operation,
                size=FONT * scale,
                color=colour,
                bbox=box,
                ha="center",
                va="center",
                parse_math=False,
                zorder=3,
            )


def _ends(layout: Layout) -> dict[Edge, tuple[float, float]]:
    """How far from the middle of its source and of its target each edge leaves and arrives, in the lines' order."""
    shift: dict[Edge, list[float]] = {edge: [0.0, 0.0] for edge in layout.routes}
    for end, neighbour in ((0, 1), (1, -2)):
        edges = sorted((e for e in layout.routes if e[0] != e[1]), key=lambda e: e[end])
        for _, group in groupby(edges, key=lambda e: e[end]):
            members = sorted(group, key=lambda e: layout.place[layout.routes[e][neighbour]][1])
            for i, edge in enumerate(members):
                shift[edge][end] = LINE * (i - (len(members) - 1) / 2)
    return {edge: (leaves, arrives) for edge, (leaves, arrives) in shift.items()}


def _curve(layout: Layout, route: Sequence[Stop], leaves: float, arrives: float) -> Curve:
    """Level through the columns, an S between them."""
    points = []
    for i, stop in enumerate(route):
        x, y = layout.place[stop]  # along, across
        left, right = layout.columns[stop[2]]
        if i == 0:
            left, y = x + layout.size[stop][0] / 2, y + leaves
        elif i == len(route) - 1:
            right, y = x - layout.size[stop][0] / 2, y + arrives
        points += [(left, y), (right, y)]
    vertices, codes = [points[0]], [Curve.MOVETO]
    for (a, b), (x, y) in pairwise(points):
        vertices += [((a + x) / 2, b), ((a + x) / 2, y), (x, y)]
        codes += [Curve.CURVE4] * 3
    return Curve([layout.point(*vertex) for vertex in vertices], codes)


def _fill(graph: nx.DiGraph, node: str) -> str:
    """Inputs are yellow, nodes grey. A numbered node that no edge enters is empty: white."""
    if graph.in_degree(node):
        return "#E6E6E6"
    return "white" if node.isdigit() and node != next(iter(graph)) else "#FFF2CC"


def _draw_node(
    axes: Axes, name: str, at: tuple[float, float], size: tuple[float, float], fill: str, scale: float
) -> None:
    corner = (at[0] - size[0] / 2, at[1] - size[1] / 2)
    box = FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", facecolor=fill, zorder=3)
    box.set(edgecolor="black", linestyle="--" if fill == "white" else "-", linewidth=0.9 * scale)
    axes.add_patch(box)
    axes.text(*at, shown(name), size=(FONT + 2) * scale, ha="center", va="center_baseline", zorder=4)


def _colour(operation: str) -> str:
    if not operation:
        return GREY
    return next((colour for kind, colour in KINDS.items() if kind in operation), PURPLE)
