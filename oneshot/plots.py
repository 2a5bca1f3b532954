"""Figures as pure functions of data: found cells, architecture parameters over epochs, learning curves.

They are made without pyplot: nothing global changes and no display is needed.
"""

import math
import os
import random
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations, groupby, pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import matplotlib
import networkx as nx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Curve
from matplotlib.patheffects import withStroke
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator, PercentFormatter

from oneshot.architecture import Choice

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#007A5A", "#AA4499", "#999999"
KINDS = {"conv": BLUE, "pool": ORANGE, "skip": GREEN, "identity": GREEN}  # others are purple
SPLITS = {"weight": BLUE, "train": BLUE, "architecture": GREEN, "valid": ORANGE, "test": PURPLE}
FONT, SMALL = 9.0, 7.0  # points
PANEL = 1.25  # width of a heat map in inches
MARGIN, HEADING, LINE, ARROW = 0.12, 0.32, 0.13, 0.09  # inches
STARTS = 60  # random orders from which crossings are reduced
MOST_COLUMNS = 7  # heat maps beside each other

Edge = tuple[str, str]
Stop = tuple[str, str, int]  # source, target, column: where an edge crosses a column; a node is (node, node, column)
Link = tuple[Stop, Stop]


class Layout(NamedTuple):
    """A drawn cell in inches: the stops of each edge, its label's stop, and where stops and columns are.

    size: (width, height) of a stop's box. columns: (left, right) of each column.
    """

    routes: dict[Edge, list[Stop]]
    labels: dict[Edge, Stop]
    place: dict[Stop, tuple[float, float]]
    size: dict[Stop, tuple[float, float]]
    columns: list[tuple[float, float]]


def cells(graphs: Mapping[str, nx.DiGraph], title: str = "") -> Figure:
    """The found cells, one panel a cell, drawn from left to right.

    graphs: acyclic, by cell name; edges carry `operation`, "" for a concatenation (`SearchSpace.graphs`).
    Every edge's label has a place of its own in a column between nodes, and lines run level through columns
    and cross between them only, so that nothing covers a label or a node.
    """
    layouts = {name: _layout(graph) for name, graph in graphs.items() if len(graph)}
    if not layouts:
        return _says("no cells")
    sizes = {name: _extent(layout) for name, layout in layouts.items()}
    top = HEADING if title else 0.0
    headings = [1.3 * _width(text, FONT + 3) + 2 * MARGIN for text in (title, *map(_heading, layouts)) if text]
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
        axes.text(MARGIN, h + HEADING / 2, _heading(name), size=FONT + 2, weight="bold", va="center")
        _draw_cell(axes, graphs[name], layout)
    return figure


def _layout(graph: nx.DiGraph) -> Layout:
    """Layers by longest path, few crossings, then places: the method of Sugiyama et al. (1981)."""
    routes, labels = _routes(graph)
    links = [link for route in routes.values() for link in pairwise(route)]
    columns = _ordered(list(dict.fromkeys(stop for route in routes.values() for stop in route)), links)
    size: dict[Stop, tuple[float, float]] = {}
    for stop in (stop for column in columns for stop in column):
        source, target, _ = stop
        if source == target:
            lines = max(graph.in_degree(source), graph.out_degree(source))
            size[stop] = (max(0.36, _width(_shown(source), FONT + 2) + 0.18), max(0.36, LINE * (lines + 1)))
        elif labels.get((source, target)) == stop:
            size[stop] = (_width(graph.edges[source, target]["operation"], FONT) + 0.16, 0.32)
        else:
            size[stop] = (0.0, 0.18)
    height = _heights(columns, links, size)
    spans, right = [], MARGIN - ARROW
    for c, column in enumerate(columns):
        steepest = max((abs(height[a] - height[b]) for a, b in links if b[2] == c), default=0.0)
        left = right + (min(max(0.25, 0.4 * steepest), 0.8) if c else 0.0)
        right = left + max(size[stop][0] for stop in column) + (2 * ARROW if c % 2 == 0 else 0)
        spans.append((left, right))
    place = {stop: (sum(spans[stop[2]]) / 2, y) for stop, y in height.items()}
    return Layout(routes, labels, place, size, spans)


def _routes(graph: nx.DiGraph) -> tuple[dict[Edge, list[Stop]], dict[Edge, Stop]]:
    """The stops of every edge (and of every node alone, as an edge to itself), and those that take its label.

    Nodes stand in even columns, labels in odd ones. Edges with the fewest odd columns take theirs first.
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
            y |= dict(zip(column, _rising(np.array(wanted) - offset) + offset, strict=True))
    low = min(y[stop] - size[stop][1] / 2 for stop in y)
    return {stop: float(value - low) for stop, value in y.items()}


def _beside(links: Sequence[Link]) -> dict[Stop, list[Stop]]:
    beside: dict[Stop, list[Stop]] = defaultdict(list)
    for a, b in links:
        beside[a].append(b)
        beside[b].append(a)
    return beside


def _rising(values: np.ndarray) -> list[float]:
    """The nearest non-decreasing sequence in least squares (pool adjacent violators)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        mean, count = float(value), 1
        while pools and pools[-1][0] > mean:
            last, number = pools.pop()
            mean, count = (mean * count + last * number) / (count + number), count + number
        pools.append((mean, count))
    return [mean for mean, count in pools for _ in range(count)]


def _extent(layout: Layout) -> tuple[float, float]:
    """Width and height of a cell's panel in inches, margins included."""
    top = max(y + layout.size[stop][1] / 2 for stop, (_, y) in layout.place.items())
    return layout.columns[-1][1] + MARGIN, top + 2 * MARGIN


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
    axes.text(*at, _shown(name), size=FONT + 2, ha="center", va="center_baseline", zorder=4)


def _shown(name: str) -> str:
    return f"${name}$" if re.fullmatch(r"\w+_\{[\w+-]+\}", name) else name.replace("$", r"\$")


def _colour(operation: str) -> str:
    if not operation:
        return GREY
    return next((colour for kind, colour in KINDS.items() if kind in operation), PURPLE)


@lru_cache(maxsize=1024)
def _width(text: str, points: float) -> float:
    """Inches."""
    return TextPath((0, 0), text, size=points).get_extents().width / 72


def _says(text: str) -> Figure:
    figure = Figure(figsize=(4, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center", size=FONT + 3, color=GREY)
    return figure


def heat_maps(
    scores: Sequence[Sequence[Sequence[float]]], choices: Sequence[Choice], epochs: Sequence[int] | None = None
) -> Figure:
    """Probabilities of the candidates over the epochs: one panel a choice, one block of panels a cell.

    scores: (epochs, choices, candidates), rows as long as the longest choice. epochs: their numbers, from 0
    where not given. A mark at the right shows the most probable candidate at the end.
    """
    if not len(scores):
        return _says("no probabilities")
    table = np.asarray(scores, dtype=float)
    numbers = list(range(len(table)) if epochs is None else epochs)
    blocks = {cell: list(block) for cell, block in groupby(range(len(choices)), lambda i: _split(choices[i])[0])}
    rows = {cell: math.ceil(len(block) / MOST_COLUMNS) for cell, block in blocks.items()}
    columns = max(math.ceil(len(block) / rows[cell]) for cell, block in blocks.items())
    alike = len({choice.candidates for choice in choices}) == 1
    names = max(_width(name, SMALL) for choice in choices for name in choice.candidates) + 0.2
    pitch, tall = PANEL + (0.14 if alike else names + 0.14), max(0.7, 0.14 * table.shape[2])
    width = names + columns * pitch + 0.75
    height = top = sum(HEADING + n * (tall + HEADING) + 0.4 for n in rows.values())
    figure = Figure(figsize=(width, height))
    colours = Normalize(0, np.nanmax(table) or 1)
    for cell, block in blocks.items():
        figure.text(MARGIN / width, (top - 0.2) / height, _heading(cell), size=FONT + 2, weight="bold", va="center")
        for k, i in enumerate(block):
            left, bottom = names + k % columns * pitch, top - HEADING - (k // columns + 1) * (tall + HEADING)
            axes = figure.add_axes((left / width, bottom / height, PANEL / width, tall / height))
            axes.imshow(table[:, i, : len(choices[i].candidates)].T, aspect="auto", norm=colours, interpolation="none")
            _label_panel(axes, choices[i], numbers, k % columns == 0 or not alike, k + columns >= len(block))
        top -= HEADING + rows[cell] * (tall + HEADING) + 0.4
    bar = figure.add_axes(((width - 0.62) / width, 0.4 / height, 0.12 / width, 1 - (0.4 + 2 * HEADING) / height))
    figure.colorbar(ScalarMappable(colours), cax=bar).set_label("probability", size=FONT - 1)
    bar.tick_params(labelsize=SMALL)
    note = "\N{BLACK LEFT-POINTING SMALL TRIANGLE} most probable at the end"
    figure.text(1 - 0.1 / width, 1 - 0.2 / height, note, size=SMALL, ha="right", va="center")
    return figure


def _label_panel(axes: Axes, choice: Choice, epochs: Sequence[int], names: bool, lowest: bool) -> None:
    """Title, ticks, and a mark at the most probable candidate of the last epoch."""
    axes.set_title(_split(choice)[1], size=FONT, pad=3)
    axes.tick_params(labelsize=SMALL, length=2, left=names)
    axes.set_yticks(range(len(choice.candidates)), choice.candidates if names else [], parse_math=False)
    shown = sorted({0, len(epochs) // 2, len(epochs) - 1})
    axes.set_xticks(shown, [str(epochs[i]) for i in shown] if lowest else [])
    if lowest:
        axes.set_xlabel("epoch", size=SMALL, labelpad=1)
    last = np.asarray(axes.images[0].get_array())[:, -1]
    axes.plot(1.04, int(np.argmax(last)), "k<", markersize=3, clip_on=False, transform=axes.get_yaxis_transform())


def _split(choice: Choice) -> tuple[str, str]:
    """The cell and the edge of a choice, the edge for the eye."""
    cell, _, edge = choice.name.rpartition("/")
    return cell, " \N{RIGHTWARDS ARROW} ".join(_shown(node) for node in edge.split("->"))


def _heading(cell: str) -> str:
    return cell if cell in ("", "cell") else f"{cell} cell"


def curves(rows: Sequence[Mapping[str, float]], title: str = "") -> Figure:
    """Learning curves over steps: losses, accuracies and entropy, each where the rows have it.

    rows: dicts with `step` and any of `*_loss`, `*_accuracy` (shares) and `entropy`. A test metric with one value
    is a dashed line, with the value in the legend.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    panels = {
        kind: [name for name in names if name.rpartition("_")[2] == kind] for kind in ("loss", "accuracy", "entropy")
    }
    panels = {kind: members for kind, members in panels.items() if members}
    if not panels:
        return _says("no metrics")
    legend = max(_width(f"{name} 00.00%", FONT) for name in names) + 0.2
    width, height, top = 6.2 + legend, 2.1 * len(panels) + 0.6, HEADING + MARGIN if title else MARGIN
    figure = Figure(figsize=(width, height))
    if title:
        figure.text(3.45 / width, 1 - 0.22 / height, title, size=FONT + 3, weight="bold", ha="center", va="center")
    edges = {"left": 0.9 / width, "right": 6.0 / width, "bottom": 0.5 / height, "top": 1 - top / height}
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw=edges | {"hspace": 0.12})[:, 0]
    for axes, (kind, members) in zip(grid, panels.items(), strict=True):
        for name in members:
            _draw_curve(axes, name, [(row["step"], row[name]) for row in rows if row.get(name) is not None])
        if kind == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_ylabel(kind, size=FONT)
        axes.yaxis.set_label_coords(-0.6 / 5.1, 0.5)
        axes.tick_params(labelsize=FONT - 1)
        axes.grid(color="#E6E6E6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        if kind != "entropy":
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=FONT)
    grid[-1].set_xlabel("step", size=FONT)
    grid[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _draw_curve(axes: Axes, name: str, points: Sequence[tuple[float, float]]) -> None:
    """points: (step, value)."""
    split, _, kind = name.rpartition("_")
    colour = SPLITS.get(split, GREY)
    if split == "test" and len(points) == 1:
        value = points[0][1]
        text = f"{value:.2%}" if kind == "accuracy" else f"{value:.3f}"
        axes.axhline(value, color=colour, linestyle="--", linewidth=1.2, label=f"{split} {text}")
        return
    steps, values = zip(*points, strict=True) if points else ((), ())
    marker = "o" if len(points) <= 30 else None
    axes.plot(steps, values, color=colour, linewidth=1.5, marker=marker, markersize=3, label=split or kind)


def save(figure: Figure, path_without_suffix: Path) -> list[Path]:
    """Write .png and .svg beside each other, each whole or not at all; the same figure gives the same bytes."""
    written = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oneshot"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            path = path_without_suffix.with_name(f"{path_without_suffix.name}.{kind}")
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
            os.replace(temporary, path)
            written.append(path)
    return written
