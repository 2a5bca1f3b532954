"""Groups of runs beside each other: bands over seeds, accuracy against cost, what each spent.

A group has the same colour, line and marker in all of these: they follow from its place in `names`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from ..statistics import Band
from .comparison import COLOURS, LINES
from .figure import GREY

MARKERS = "osD^vP*X"
LEGEND_COLUMNS = 3
LONGEST, HEAD = 48, 15  # characters of a label, of which so many stay at its beginning
ROOM = 1.01  # of the largest value, for a line that lies there
FEW = 30  # points that are marked
BEGINNING = 0.1  # of a best so far, which need not be seen


def bands(
    panels: Mapping[str, Mapping[str, Band]],
    names: Sequence[str],
    quantity: str,
    steps: bool = False,
    largest: float = math.inf,
) -> Figure:
    """Means over seeds with their intervals: a panel an x axis.

    panels: name of the x axis -> group -> band. quantity: of all y axes, and the largest that it can be. steps: values
    hold until the next x.
    """
    drawn: Any = ("steps-post", "post") if steps else ("default", None)
    shown = [name for name in names if any(name in of_group for of_group in panels.values())]
    figure, grid = _panels(len(panels), shown)
    for axes, (quantity_x, of_group) in zip(grid, panels.items(), strict=True):
        for name, band in of_group.items():
            colour, line, _ = _style(names, name)
            mean, half = np.array(band.mean), np.array(band.half)
            look: Any = {"color": colour, "linewidth": 1.6, "marker": "." if not steps and len(mean) <= FEW else ""}
            axes.plot(band.x, mean, line, drawstyle=drawn[0], label=name, **look)
            if np.isfinite(half).all():
                axes.fill_between(
                    band.x, mean - half, mean + half, step=drawn[1], color=colour, alpha=0.12, linewidth=0
                )
        axes.set_xlabel(quantity_x)
        skipped = BEGINNING if steps else 0.0
        means = [value for band in of_group.values() for value in band.mean[int(skipped * len(band.mean)) :]]
        if means:  # first answers and intervals of few seeds are cut where they would flatten the rest
            spread = max(max(means) - min(means), 1e-3)
            axes.set_ylim(max(min(means) - 0.6 * spread, 0.0), min(max(means) + 0.6 * spread, ROOM * largest))
    grid[0].set_ylabel(quantity)
    _legend(figure, grid)
    return figure


def fronts(
    points: Mapping[str, Sequence[tuple[float, float]]],
    best: Sequence[tuple[float, float]],
    names: Sequence[str],
    quantities: tuple[str, str],
) -> Figure:
    """A mark a run: value (y) against cost (x); `best`, the Pareto front of all of them, as a line of steps.

    points: group -> (value, cost) of its runs.
    """
    figure, (axes,) = _panels(1, list(points))
    line = sorted((cost, value) for value, cost in best)
    ring: Any = {"marker": "o", "markersize": 10, "markerfacecolor": "none"}  # seen where the front is one run
    axes.step(*zip(*line, strict=True), where="post", color=GREY, linewidth=1.4, label="Pareto front", zorder=1, **ring)
    for name, own in points.items():
        colour, _, marker = _style(names, name)
        values, costs = zip(*own, strict=True)
        axes.plot(costs, values, marker, color=colour, markersize=6, alpha=0.75, markeredgewidth=0, label=name)
    axes.set(xlabel=quantities[1], ylabel=quantities[0])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(6))
    _legend(figure, [axes])
    return figure


def spent(quantities: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str]) -> Figure:
    """What each group spent: a panel a quantity, a bar the mean, a dot a seed.

    quantities: name with its unit -> group -> values of its seeds.
    """
    shown = [name for name in names if any(of_group.get(name) for of_group in quantities.values())]
    labels = max((min(len(name), LONGEST) for name in shown), default=0) * 0.085
    figure = Figure(figsize=(0.5 + labels + 2.4 * len(quantities), 0.9 + 0.3 * len(shown)), layout="constrained")
    grid = figure.subplots(1, len(quantities), sharey=True, squeeze=False)[0]
    for axes, (quantity, of_group) in zip(grid, quantities.items(), strict=True):
        for y, name in enumerate(shown):
            values = list(of_group.get(name, ()))
            if values:
                axes.barh(y, math.fsum(values) / len(values), height=0.6, color=_style(names, name)[0], alpha=0.55)
                axes.plot(values, [y] * len(values), "o", color="black", markersize=3.5, alpha=0.7)
        axes.set_xlabel(quantity)
        axes.set_xlim(left=0)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        _plainly(axes, "x")
    grid[0].set_yticks(range(len(shown)), [_plain(name) for name in shown])
    grid[0].set_ylim(len(shown) - 0.5, -0.5)
    return figure


def _panels(count: int, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    rows = math.ceil((len(names) + 1) / LEGEND_COLUMNS)
    figure = Figure(figsize=(max(4.4 * count, 6.0), 3.4 + 0.2 * rows), layout="constrained")
    grid = list(figure.subplots(1, count, sharey=True, squeeze=False)[0])
    for axes in grid:
        _plainly(axes, "both")
    return figure, grid


def _plainly(axes: Axes, grid: str) -> None:
    axes.grid(axis=grid, color="#E6E6E6", linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One for all panels, below them."""
    entries = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [_plain(label) for label in entries]
    columns = LEGEND_COLUMNS if max(map(len, labels), default=0) < 26 else 1
    figure.legend(
        list(entries.values()), labels, loc="outside lower center", ncols=columns, frameon=False, fontsize="small"
    )


def _style(names: Sequence[str], name: str) -> tuple[str, str, str]:
    """Colour, line and marker."""
    n = list(names).index(name)
    turn = n // len(COLOURS)
    return COLOURS[n % len(COLOURS)], LINES[turn % len(LINES)], MARKERS[(n + turn) % len(MARKERS)]


def _plain(name: str) -> str:
    """A label without mathematics, not too long."""
    shown = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    short = shown if len(shown) <= LONGEST else f"{shown[:HEAD]}...{shown[HEAD + 3 - LONGEST :]}"
    return short.replace("$", r"\$")
