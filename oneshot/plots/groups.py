"""Groups of runs beside each other: means over seeds, the metric against cost, what each spent.

A group has the same colour, line and marker in all of these: they follow from its place in `names`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..statistics import Band
from .figure import COLOURS, GREY, LINES, MOST_BANDS, number_axis, page, panels, plain, style_axes

MARKERS = "osD^vP*X"
LEGEND_COLUMNS = 3
ROOM = 1.01  # of the largest value, for a line that lies there
FEW = 30  # points that are marked
BEGINNING = 0.1  # of a best so far, which need not be seen


def bands(
    panels_by_x: Mapping[str, Mapping[str, Band]],
    names: Sequence[str],
    quantity: str,
    steps: bool = False,
    limits: tuple[float, float] = (0.0, math.inf),
) -> Figure:
    """Draw means over seeds with their intervals: a panel an x axis.

    An interval is drawn inside the limits only, also where few seeds make it wider. Of more than 5 groups the
    lines alone are drawn, since bands would hide each other.

    Args:
        panels_by_x: Name of the x axis with its unit -> group -> band.
        names: All groups; a group's place among them gives its colour.
        quantity: What all y axes show, with its unit.
        steps: Whether values hold until the next x.
        limits: What the quantity can be at least and at most.

    Returns:
        The figure.
    """
    drawn: Any = ("steps-post", "post") if steps else ("default", None)
    shown = [name for name in names if any(name in of_group for of_group in panels_by_x.values())]
    figure, grid = _with_legend(len(panels_by_x), shown)
    for axes, (quantity_x, of_group) in zip(grid, panels_by_x.items(), strict=True):
        for name, band in of_group.items():
            colour, line, _ = _style(names, name)
            mean, half = np.array(band.mean), np.array(band.half)
            marker = "." if not steps and len(mean) <= FEW else ""
            look: Any = {"color": colour, "linewidth": page().line, "marker": marker}
            axes.plot(band.x, mean, line, drawstyle=drawn[0], label=name, **look)
            if np.isfinite(half).all() and len(shown) <= MOST_BANDS:
                low, high = np.maximum(mean - half, limits[0]), np.minimum(mean + half, limits[1])
                axes.fill_between(band.x, low, high, step=drawn[1], color=colour, alpha=0.12, linewidth=0)
        style_axes(axes, quantity_x, quantity if axes is grid[0] or page().width else "")
        number_axis(axes.xaxis, 6)
        number_axis(axes.yaxis, 6)
        skipped = BEGINNING if steps else 0.0
        means = [value for band in of_group.values() for value in band.mean[int(skipped * len(band.mean)) :]]
        if means:  # first answers and intervals of few seeds are cut where they would flatten the rest
            spread = max(max(means) - min(means), 1e-3)
            axes.set_ylim(max(min(means) - 0.6 * spread, limits[0]), min(max(means) + 0.6 * spread, ROOM * limits[1]))
    _legend(figure, grid)
    return figure


def fronts(
    points: Mapping[str, Sequence[tuple[float, float]]],
    best: Sequence[tuple[float, float]],
    names: Sequence[str],
    quantities: tuple[str, str],
) -> Figure:
    """Draw a mark a run, its value against its cost, and the Pareto front of all of them as a line of steps.

    Args:
        points: Group -> (value, cost) of its runs.
        best: (value, cost) of those on the front.
        names: All groups; a group's place among them gives its colour and marker.
        quantities: What value (y) and cost (x) are, with units.

    Returns:
        The figure.
    """
    figure, (axes,) = _with_legend(1, list(points))
    line = sorted((cost, value) for value, cost in best)
    ring: Any = {"marker": "o", "markersize": 10, "markerfacecolor": "none"}  # seen where the front is one run
    axes.step(*zip(*line, strict=True), where="post", color=GREY, linewidth=1.4, label="Pareto front", zorder=1, **ring)
    for name, own in points.items():
        colour, _, marker = _style(names, name)
        values, costs = zip(*own, strict=True)
        size = 4 * page().line
        axes.plot(costs, values, marker, color=colour, markersize=size, alpha=0.75, markeredgewidth=0, label=name)
    style_axes(axes, quantities[1], quantities[0])
    number_axis(axes.xaxis, 6)
    number_axis(axes.yaxis, 6)
    _legend(figure, [axes])
    return figure


def spent(quantities: Mapping[str, Mapping[str, Sequence[float]]], names: Sequence[str]) -> Figure:
    """Draw what each group spent: a panel a quantity, a bar the mean, a dot a seed.

    Args:
        quantities: Name with its unit -> group -> values of its seeds.
        names: All groups; a group's place among them gives its colour.

    Returns:
        The figure.
    """
    shown = [name for name in names if any(of_group.get(name) for of_group in quantities.values())]
    labels = [plain(name) for name in shown]
    room = max(map(len, labels), default=0) * 0.075
    figure, grid = panels(len(quantities), (2.4, 0.5 + 0.3 * len(shown)), (0.4 + room, 0.4))
    for axes, (quantity, of_group) in zip(grid, quantities.items(), strict=True):
        for y, name in enumerate(shown):
            values = list(of_group.get(name, ()))
            if values:
                axes.barh(y, math.fsum(values) / len(values), height=0.6, color=_style(names, name)[0], alpha=0.55)
                axes.plot(values, [y] * len(values), "o", color="black", markersize=3.5, alpha=0.7)
        style_axes(axes, quantity, grid="x")
        axes.set_xlim(left=0)
        number_axis(axes.xaxis, 4)
        axes.set_yticks(range(len(shown)), labels)
        axes.set_ylim(len(shown) - 0.5, -0.5)
    return figure


def _with_legend(count: int, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Panels with room for a legend below them."""
    rows = math.ceil((len(names) + 1) / LEGEND_COLUMNS)
    return panels(count, (4.4 if count > 1 else 6.0, 3.2), (0.0, 0.2 + 0.2 * rows))


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One for all panels, below them."""
    entries = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    labels = [plain(label) for label in entries]
    longest, most = max(map(len, labels), default=0), LEGEND_COLUMNS if page().width is None else 2
    columns = most if longest < 26 - 4 * (page().width is not None) else 1
    size = page().font - (page().width is None)
    figure.legend(
        list(entries.values()), labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=size
    )


def _style(names: Sequence[str], name: str) -> tuple[str, str, str]:
    """Colour, line and marker."""
    n = list(names).index(name)
    turn = n // len(COLOURS)
    return COLOURS[n % len(COLOURS)], LINES[turn % len(LINES)], MARKERS[(n + turn) % len(MARKERS)]
