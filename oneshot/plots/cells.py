"""Found cells, drawn as graphs."""

from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise

import networkx as nx
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke

from .cell_layout import FONT, LINE, MARGIN, Edge, Layout, Stop, cell_layout, extent, shown, text_width
from .figure import BLUE, GREEN, GREY, HEADING, ORANGE, PURPLE, heading, says

KINDS = {"conv": BLUE, "pool": ORANGE, "skip": GREEN, "identity": GREEN}  # others are purple


def cells(graphs: Mapping[str, nx.DiGraph], title: str = "") -> Figure:
    """The found cells, one panel a cell, drawn from left to right.

    graphs: acyclic, by cell name; edges carry `operation`, "" for a concatenation (`SearchSpace.graphs`).
    Every edge's label has a place of its own in a column between nodes, and lines run level through columns
    and cross between them only, so that nothing covers a label or a node.
    """
    layouts = {name: cell_layout(graph) for name, graph in graphs.items() if len(graph)}
    if not layouts:
        return says("no cells")
    sizes = {name: extent(layout) for name, layout in layouts.items()}
    top = HEADING if title else 0.0
    headings = [1.3 * text_width(text, FONT + 3) + 2 * MARGIN for text in (title, *map(heading, layouts)) if text]
    width = max([w for w, _ in sizes.values()] + headings)
    height = top + sum(h + HEADING for _, h in sizes.values())
    figure = Figure(figsize=(width, height))
    if title:
        figure.text(MARGIN / width, 1 - HEADING / 2 / height, title, size=FONT + 3, weight="bold", va="center")
    bottom = height - top
    for name, layout in layouts.items():
        w, h = sizes[name]
        bottom -= h + HEADING
        axes = figure.add_axes((0, bottom / height, w / width, h / height), xlim=(0, w), ylim=(0, h))
        axes.set_axis_off()
        axes.text(MARGIN, h + HEADING / 2, heading(name), size=FONT + 2, weight="bold", va="center")
        _draw_cell(axes, graphs[name], layout)
    return figure


def _draw_cell(axes: Axes, graph: nx.DiGraph, layout: Layout) -> None:
    """axes: in inches from the lower left corner."""
    ends = _ends(layout)
    for (s, t), route in layout.routes.items():
        x, y = layout.place[route[0]]
        if s == t:
            fill = _fill(graph, s)
            _draw_node(axes, s, (x, y + MARGIN), layout.size[route[0]], fill)
            continue
        operation = graph.edges[s, t]["operation"]
        colour = _colour(operation)
        path = _curve(layout, route, *ends[s, t])
        width, head, level = (1.5, 9, 2) if operation else (0.8, 6, 1)
        arrow = FancyArrowPatch(path=path, arrowstyle="-|>", mutation_scale=head, zorder=level)
        arrow.set(color=colour, linewidth=width, path_effects=[withStroke(linewidth=4, foreground="white")])
        axes.add_patch(arrow)
        if operation:
            x, y = layout.place[layout.labels[s, t]]
            box = {"boxstyle": "round,pad=0.25", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8}
            axes.text(
                x,
                y + MARGIN,
                operation,
                size=FONT,
                color=colour,
                bbox=box,
                ha="center",
                va="center",
                parse_math=False,
                zorder=3,
            )


def _ends(layout: Layout) -> dict[Edge, tuple[float, float]]:
    """Where, above the middle of its source and target, each edge leaves and arrives, in the lines' order."""
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
        x, y = layout.place[stop]
        left, right = layout.columns[stop[2]]
        if i == 0:
            left, y = x + layout.size[stop][0] / 2, y + leaves
        elif i == len(route) - 1:
            right, y = x - layout.size[stop][0] / 2, y + arrives
        points += [(left, y + MARGIN), (right, y + MARGIN)]
    vertices, codes = [points[0]], [Curve.MOVETO]
    for (a, b), (x, y) in pairwise(points):
        vertices += [((a + x) / 2, b), ((a + x) / 2, y), (x, y)]
        codes += [Curve.CURVE4] * 3
    return Curve(vertices, codes)


def _fill(graph: nx.DiGraph, node: str) -> str:
    """Inputs are yellow, nodes grey; a numbered node that no edge enters is no input but empty: white."""
    if graph.in_degree(node):
        return "#E6E6E6"
    return "white" if node.isdigit() and node != next(iter(graph)) else "#FFF2CC"


def _draw_node(axes: Axes, name: str, at: tuple[float, float], size: tuple[float, float], fill: str) -> None:
    corner = (at[0] - size[0] / 2, at[1] - size[1] / 2)
    box = FancyBboxPatch(corner, *size, "round,pad=0,rounding_size=0.08", facecolor=fill, linewidth=0.9, zorder=3)
    box.set(edgecolor="black", linestyle="--" if fill == "white" else "-")
    axes.add_patch(box)
    axes.text(*at, shown(name), size=FONT + 2, ha="center", va="center_baseline", zorder=4)


def _colour(operation: str) -> str:
    if not operation:
        return GREY
    return next((colour for kind, colour in KINDS.items() if kind in operation), PURPLE)
