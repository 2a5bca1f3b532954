"""Methods beside each other: what each measured, regret over queries, ranks, Pareto fronts."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..statistics import Interval, mean_interval
from .cell_layout import rising
from .figure import (
    BLUE,
    COLOURS,
    GREY,
    LINES,
    MOST_BANDS,
    ORANGE,
    logarithmic_axis,
    number_axis,
    page,
    panels,
    plain,
    possible,
    style_axes,
)

LEAST = 1e-3  # of a logarithmic axis


def comparison(results: Mapping[str, Mapping[str, Sequence[float]]], confidence: float = 0.95) -> Figure:
    """Draw what each method measured: a panel a quantity, a dot a seed, the mean and its confidence interval.

    An interval of few seeds can be wider than what the quantity can be. It is drawn up to that limit only: 0 and 100
    for %, 0 for seconds, MiB and counts.

    Args:
        results: Quantity with its unit (`test accuracy, %`) -> method -> values of its seeds. Methods are drawn from
            top to bottom in the order of the first quantity.
        confidence: Of the intervals (Student's t), above 0 and below 1.

    Returns:
        The figure.
    """
    names = list(next(iter(results.values())))
    labels = [plain(name) for name in names]
    room = 0.075 * max(map(len, labels)) if page().width is None else 0.0
    figure, grid = panels(len(results), (2.4, 0.5 + 0.3 * len(names)), (0.4 + room, 0.4))
    for axes, (quantity, by_name) in zip(grid, results.items(), strict=True):
        low, high = possible(quantity)
        for y, name in enumerate(names):
            values = by_name.get(name, ())
            if not values:
                continue
            mean, half = mean_interval(values, confidence)
            ends = [[min(half, mean - low)], [min(half, high - mean)]]
            look = {"color": BLUE, "marker": "|", "markersize": 10, "capsize": 2, "linewidth": page().line}
            axes.errorbar(mean, y, xerr=ends, **look)  # type: ignore[arg-type]
            axes.plot(values, [y] * len(values), "o", color=ORANGE, markersize=2.7 * page().line, alpha=0.7)
        style_axes(axes, quantity, grid="x")
        number_axis(axes.xaxis, 4)
        axes.set_yticks(range(len(names)), labels)
        axes.set_ylim(len(names) - 0.5, -0.5)
    note = f"A dot is a seed, a line the mean and its {confidence:.0%} interval."
    figure.supxlabel(note, fontsize=page().font - 1, color="#555555")
    return figure


def bars(values: Mapping[str, float], quantity: str) -> Figure:
    """Draw a bar a name from top to bottom, with its value; a line marks 1.

    Args:
        values: Name -> value, a ratio.
        quantity: What the values are.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(page().width or 7.5, 0.9 + 0.029 * page().font * len(values)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), list(values.values()), color=BLUE)
    style_axes(axes, quantity, grid="x")
    axes.bar_label(drawn, fmt="%.2f", padding=3, fontsize=page().small)
    axes.axvline(1.0, color=GREY, linewidth=1.0)
    axes.set_yticks(range(len(values)), [plain(name, 48 if page().width is None else 38) for name in values])
    axes.set_ylim(len(values) - 0.4, -0.6)
    axes.margins(x=0.1)
    number_axis(axes.xaxis, 6)
    return figure


def anytime(runs: Mapping[str, Sequence[Sequence[float]]], quantity: str, logarithmic: bool = False) -> Figure:
    """Draw what each method had reached after so many queries: the mean over its seeds.

    Each line has its name at its end. Up to 5 lines also have their 95 % interval as a band; of more methods the bands
    would hide each other. Bands are drawn up to what the quantity can be only (0 and 100 for %).

    Args:
        runs: Name -> seeds -> the quantity after query 1, 2 and so on; NaN before there was one. Where seeds of one
            name differ in length, the shortest counts.
        quantity: What is drawn, with its unit, as `validation regret, percentage points`.
        logarithmic: Whether the y axis is logarithmic, as regret needs it.

    Returns:
        The figure.
    """
    size = (page().width or 7.5, 4.2 if page().width is None else 2.6)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    low, high = possible(quantity)
    ends: dict[str, tuple[int, float, str]] = {}
    drawn = []
    for n, (name, seeds) in enumerate(runs.items()):
        length = min(len(seed) for seed in seeds)
        values = np.array([seed[:length] for seed in seeds], dtype=float)
        queries, mean = np.arange(1, length + 1), values.mean(0)
        colour, line = COLOURS[n % len(COLOURS)], LINES[n // len(COLOURS) % len(LINES)]
        axes.step(queries, mean, line, where="post", color=colour, linewidth=page().line, label=name)
        if len(seeds) > 1 and len(runs) <= MOST_BANDS:
            half = np.array([mean_interval(list(column))[1] for column in values.T])
            under, over = np.maximum(mean - half, low), np.minimum(mean + half, high)
            axes.fill_between(queries, under, over, step="post", color=colour, alpha=0.12, linewidth=0)
        ends[name] = (length, mean[-1], colour)
        drawn += [value for value in mean if not math.isnan(value)]
    above = [value for value in drawn if value > 0]
    if logarithmic and above:
        logarithmic_axis(axes, max(min(above) / 1.5, LEAST), max(above) * 1.3)
    else:
        number_axis(axes.yaxis, 6)
        if drawn:
            spread = max(max(drawn) - min(drawn), 1e-3)
            axes.set_ylim(max(min(drawn) - 0.1 * spread, low), min(max(drawn) + 0.1 * spread, high + 1))
    style_axes(axes, "queries", quantity)
    number_axis(axes.xaxis, 6, whole=True)
    axes.set_xlim(0, max((len(seed) for seeds in runs.values() for seed in seeds), default=1) + 0.5)
    if len(runs) > 1:
        _name_lines(axes, ends, size[1] - 0.7)
    return figure


def _name_lines(axes: Axes, ends: Mapping[str, tuple[int, float, str]], height: float) -> None:
    """Each line's name beside its end, in its colour, apart from the others. height: of the axes in inches."""
    apart = 1.3 * (page().font - 1) / 72 / height
    low, high = axes.get_ylim()
    scale = math.log if axes.get_yscale() == "log" else float
    wanted = {}
    for name, (_, value, _) in ends.items():
        inside = min(max(value, low), high) if not math.isnan(value) else low
        wanted[name] = (scale(inside) - scale(low)) / (scale(high) - scale(low))
    order = sorted(wanted, key=wanted.__getitem__)
    offset = apart * np.arange(len(order))
    lowest = rising(np.array([wanted[name] for name in order]) - offset)
    heights = np.clip(lowest, 0.0, max(1.0 - offset[-1], 0.0)) + offset
    for name, y in zip(order, heights, strict=True):
        length, _, colour = ends[name]
        leader = {"color": colour, "linewidth": 0.6, "clip_on": False, "transform": axes.transAxes}
        axes.plot([length / axes.get_xlim()[1], 1.03], [wanted[name], y], label="_leader", **leader)  # type: ignore[arg-type]
        text = plain(name, 26)
        axes.text(1.04, y, text, size=page().font - 1, color=colour, va="center", transform=axes.transAxes)


def ranking(points: Sequence[tuple[float, float]], quantities: tuple[str, str], title: str = "") -> Figure:
    """Draw a dot an architecture: its reference and its score.

    Args:
        points: (reference, score) of each architecture.
        quantities: What reference (x) and score (y) are, with units.
        title: Above the dots.

    Returns:
        The figure.
    """
    return _dots(points, quantities, title)


def agreement(curves: Mapping[str, Mapping[int, Interval]]) -> Figure:
    """Draw how well scores agree with a reference over the epochs: a panel for each measure, with its interval.

    Args:
        curves: Name of the measure -> epoch -> its value and its interval.

    Returns:
        The figure.
    """
    figure, grid = panels(len(curves), (2.6, 2.6))
    for axes, (measure, of_epoch) in zip(grid, curves.items(), strict=True):
        epochs = sorted(of_epoch)
        value, low, high = np.array([of_epoch[epoch] for epoch in epochs]).reshape(-1, 3).T
        axes.plot(epochs, value, color=BLUE, linewidth=page().line, marker=".")
        axes.fill_between(epochs, low, high, color=BLUE, alpha=0.12, linewidth=0)
        style_axes(axes, "epoch")
        axes.set_title(plain(measure.replace("_", " ").capitalize()), size=page().font)
        number_axis(axes.xaxis, whole=True)
    note = "A band is a 95% interval over draws of the architectures."
    figure.supxlabel(note, fontsize=page().font - 1, color="#555555")
    return figure


def front(points: Sequence[tuple[float, float]], best: Sequence[int], quantities: tuple[str, str]) -> Figure:
    """Draw a dot an architecture, its value against its cost, and the Pareto front as a line of steps.

    Args:
        points: (value, cost) of each architecture.
        best: Which of them are on the front.
        quantities: What value (y) and cost (x) are, with units.

    Returns:
        The figure.
    """
    figure = _dots([(cost, value) for value, cost in points], (quantities[1], quantities[0]))
    axes = figure.axes[0]
    line = sorted((points[i][1], points[i][0]) for i in best)
    x, y = zip(*line, strict=True)
    axes.step(x, y, where="post", color=ORANGE, marker="o", markersize=5, linewidth=page().line, label="Pareto front")
    axes.legend(frameon=False, fontsize=page().font - 1, loc="lower right")
    return figure


def _dots(points: Sequence[tuple[float, float]], quantities: tuple[str, str], title: str = "") -> Figure:
    """A dot a point (x, y)."""
    figure = Figure(figsize=(page().width or 4.8, 4.2 if page().width is None else 2.8), layout="constrained")
    axes = figure.subplots()
    x, y = zip(*points, strict=True)
    axes.plot(x, y, "o", color=BLUE, markersize=2.7 * page().line, alpha=0.6, markeredgewidth=0)
    style_axes(axes, *quantities)
    number_axis(axes.xaxis, 5)
    number_axis(axes.yaxis, 6)
    axes.set_title(title, size=page().font)
    return figure
