"""The diagnostics of searches over their updates: how they decide, and how the loss looks around what they decided."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..statistics import mean_curve
from .figure import COLOURS, GREY, LINES, MOST_BANDS, message, number_axis, page, plain, style_axes

FEW = 30  # points that are marked
Curve = Sequence[tuple[float, float]]


class Panel(NamedTuple):
    """What one panel shows.

    Args:
        title: Above it.
        rows: Names of numbers in the rows of a search -> their names in the legend. The first has a solid line.
        limits: What the numbers can be at least and at most.
        whole: Whether they are whole numbers.
        zero: Whether 0 is shown, so that a small change looks small.
    """

    title: str
    rows: Mapping[str, str]
    limits: tuple[float, float] = (-math.inf, math.inf)
    whole: bool = False
    zero: bool = False


PANELS = (
    Panel("operations of the architecture", {"skips": "skips", "parameter_free": "without parameters"}, (0, 1e9), True),
    Panel("normalized entropy", {"entropy": ""}, (0.0, 1.0)),
    Panel(
        "eigenvalues of the Hessian",
        {"alpha_eigenvalue_largest": "largest", "alpha_eigenvalue_smallest": "smallest"},
        zero=True,
    ),
    Panel("discretization gap", {"discretization_gap": ""}, zero=True),
    Panel("flatness: E L(p + delta) - L(p)", {"flatness": ""}),
    Panel(
        "cosines of gradients",
        {"gradient_cosine": "training and validation", "successive_cosine": "successive"},
        (-1.0, 1.0),
    ),
)
NUMBERS = tuple(name for panel in PANELS for name in panel.rows)


def diagnostics(
    curves: Mapping[str, Mapping[str, Sequence[Curve]]],
    names: Sequence[str] = ("",),
    kept: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Draw the diagnostics of searches: a panel a quantity, a colour a group, over the training steps.

    A search that collapses has a rising number of skips and a rising largest eigenvalue, at a falling entropy.
    Lines are means over the seeds of a group. The 95 % interval of the first number of a panel is drawn for groups with
    several seeds where these are at most 5 groups.

    Args:
        curves: Names of numbers in the rows of a search -> group -> a curve of (step, value) for each seed.
        names: All groups; a group's place among them gives its colour.
        kept: Group -> the steps of the epochs to which stopping rules went back; each is a dotted line.

    Returns:
        The figure.
    """
    shown = [panel for panel in PANELS if any(curves.get(name) for name in panel.rows)]
    groups = [name for name in names if any(name in of_group for of_group in curves.values())]
    if not shown:
        return message("no diagnostics")
    paper = page().width is not None
    columns = 1 if paper else min(2, len(shown))
    lines = math.ceil(len(shown) / columns)
    legend = 0.0 if len(groups) < 2 else 0.2 + 0.2 * math.ceil(len(groups) / 2)
    size = (page().width or 4.4 * columns, (1.5 if paper else 2.3) * lines + legend + 0.2)
    figure = Figure(figsize=size, layout="constrained")
    grid = list(figure.subplots(lines, columns, squeeze=False, sharex=True).flat)
    for axes, panel in zip(grid, shown, strict=False):
        _draw(axes, panel, {name: curves[name] for name in panel.rows if curves.get(name)}, names, len(groups))
        for name, steps in (kept or {}).items():
            for step in steps:
                axes.axvline(step, color=_colour(names, name), linewidth=0.8, linestyle=":", zorder=0)
    for axes in grid[len(shown) :]:
        axes.remove()
    for axes in grid[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel("training steps", size=page().font)
        axes.tick_params(labelbottom=True)
    if len(groups) > 1:
        handles = [Line2D([], [], color=_colour(names, name), linewidth=page().line) for name in groups]
        font = page().font - (not paper)
        place: Any = {"loc": "outside lower center", "ncols": 2, "frameon": False, "fontsize": font}
        figure.legend(handles, [plain(name) for name in groups], **place)
    return figure


def _draw(
    axes: Axes, panel: Panel, curves: Mapping[str, Mapping[str, Sequence[Curve]]], names: Sequence[str], groups: int
) -> None:
    """One panel: lines of a group have its colour, those of a number its dashes."""
    every: list[float] = []
    for number, of_group in curves.items():
        line = LINES[list(panel.rows).index(number)]
        for name, own in of_group.items():
            band, colour = mean_curve(own), _colour(names, name)
            mean, half = np.array(band.mean), np.array(band.half)
            look: Any = {"color": colour, "linewidth": page().line, "markersize": 2 * page().line}
            axes.plot(band.x, mean, line, marker="o" if len(mean) <= FEW else None, **look)
            every += band.mean
            if len(own) > 1 and len(mean) and groups <= MOST_BANDS and number == next(iter(panel.rows)):
                low, high = np.maximum(mean - half, panel.limits[0]), np.minimum(mean + half, panel.limits[1])
                axes.fill_between(band.x, low, high, color=colour, alpha=0.12, linewidth=0)
    style_axes(axes, "")
    axes.set_title(panel.title, size=page().font, loc="left")
    number_axis(axes.xaxis, 6, whole=True)
    number_axis(axes.yaxis, 4, whole=panel.whole)
    if every and min(every) < 0 < max(every):
        axes.axhline(0, color=GREY, linewidth=0.6, zorder=0)
    if panel.limits[0] == 0:
        top = 1.03 if panel.limits[1] == 1 else max([*every, 1]) * 1.08
        axes.set_ylim(-0.02 * top, top)
    elif every:  # intervals of few seeds are cut where they would flatten the rest
        low, high = min([*every, 0.0] if panel.zero else every), max([*every, 0.0] if panel.zero else every)
        spread = max(high - low, 1e-6)
        axes.set_ylim(low - 0.15 * spread, high + 0.15 * spread)
    labels = {number: label for number, label in panel.rows.items() if label and number in curves}
    if labels:
        colour = _colour(names, names[0]) if groups < 2 else "black"
        styles = [LINES[list(panel.rows).index(number)] for number in labels]
        looks: list[Any] = [{"color": colour, "linewidth": page().line, "linestyle": style} for style in styles]
        handles = [Line2D([], [], **look) for look in looks]
        axes.legend(handles, list(labels.values()), frameon=False, fontsize=page().small, loc="best", handlelength=2.2)


def _colour(names: Sequence[str], name: str) -> str:
    return COLOURS[list(names).index(name) % len(COLOURS)]


def curves_of(rows: Sequence[Mapping[str, float]], group: str = "") -> dict[str, dict[str, list[Curve]]]:
    """Take the curves of one search from its rows, for `diagnostics`.

    Args:
        rows: Of `metrics.jsonl`, with `step`.
        group: Name of its group.
    """
    found: dict[str, dict[str, list[Curve]]] = {}
    for name in NUMBERS:
        curve = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
        if curve:
            found[name] = {group: [curve]}
    return found
