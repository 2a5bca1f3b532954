"""Figures as pure functions of data: found cells, architecture parameters over epochs, learning curves.

They are made without pyplot: nothing global changes and no display is needed.
"""

import math
import os
from collections.abc import Mapping, Sequence
from itertools import groupby, pairwise
from pathlib import Path

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
from matplotlib.ticker import MaxNLocator, PercentFormatter

from oneshot.analysis import mean_interval
from oneshot.architecture import Choice
from oneshot.cell_layout import FONT, LINE, MARGIN, Edge, Layout, Stop, cell_layout, extent, shown, text_width

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#007A5A", "#AA4499", "#999999"
KINDS = {"conv": BLUE, "pool": ORANGE, "skip": GREEN, "identity": GREEN}  # others are purple
SPLITS = {"weight": BLUE, "train": BLUE, "architecture": GREEN, "valid": ORANGE, "test": PURPLE}
SMALL = 7.0  # points
PANEL = 1.25  # width of a heat map in inches
HEADING = 0.32  # inches
MOST_COLUMNS = 7  # heat maps beside each other


def cells(graphs: Mapping[str, nx.DiGraph], title: str = "") -> Figure:
    """The found cells, one panel a cell, drawn from left to right.

    graphs: acyclic, by cell name; edges carry `operation`, "" for a concatenation (`SearchSpace.graphs`).
    Every edge's label has a place of its own in a column between nodes, and lines run level through columns
    and cross between them only, so that nothing covers a label or a node.
    """
    layouts = {name: cell_layout(graph) for name, graph in graphs.items() if len(graph)}
    if not layouts:
        return _says("no cells")
    sizes = {name: extent(layout) for name, layout in layouts.items()}
    top = HEADING if title else 0.0
    headings = [1.3 * text_width(text, FONT + 3) + 2 * MARGIN for text in (title, *map(_heading, layouts)) if text]
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
    names = max(text_width(name, SMALL) for choice in choices for name in choice.candidates) + 0.2
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
    return cell, " \N{RIGHTWARDS ARROW} ".join(shown(node) for node in edge.split("->"))


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
    legend = max(text_width(f"{name} 00.00%", FONT) for name in names) + 0.2
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


def comparison(results: Mapping[str, Mapping[str, Sequence[float]]], confidence: float = 0.95) -> Figure:
    """What each method measured: a panel a quantity; a dot a seed, the mean and its confidence interval.

    results: quantity, with its unit -> method -> values, drawn from top to bottom in the order of the first quantity.
    """
    names = list(next(iter(results.values())))
    figure = Figure(figsize=(1.6 + 2.4 * len(results), 0.9 + 0.3 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(results), sharey=True, squeeze=False)[0]
    for axes, (quantity, by_name) in zip(panels, results.items(), strict=True):
        for y, name in enumerate(names):
            values = by_name.get(name, ())
            if not values:
                continue
            mean, half = mean_interval(values, confidence)
            axes.errorbar(mean, y, xerr=half, color=BLUE, marker="|", markersize=10, capsize=2, linewidth=1.5)
            axes.plot(values, [y] * len(values), "o", color=ORANGE, markersize=4, alpha=0.7)
        axes.set_xlabel(quantity)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.grid(axis="x", color="#E6E6E6", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel(f"each seed, mean and {confidence:.0%} interval", fontsize="small")
    return figure


def bars(values: Mapping[str, float], quantity: str) -> Figure:
    """A bar a name from top to bottom, with its value; a line marks 1."""
    figure = Figure(figsize=(7.5, 0.9 + 0.26 * len(values)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE)
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=SMALL)
    axes.axvline(1.0, color=GREY, linewidth=1.0)
    axes.set_yticks(range(len(values)), list(values), fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(quantity)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


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
