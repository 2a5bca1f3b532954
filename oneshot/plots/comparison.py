"""Methods beside each other: what each measured, regret over queries, ranks, Pareto fronts."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..statistics import mean_interval
from .figure import BLUE, GREEN, GREY, ORANGE, PURPLE, SMALL

COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", ":")


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


def anytime(runs: Mapping[str, Sequence[Sequence[float]]], quantity: str, logarithmic: bool = False) -> Figure:
    """What each method had reached after so many queries: the mean over its seeds, and its 95 % interval as a band.

    runs: name -> seeds -> the quantity after query 1, 2, ..., NaN before there was one. Seeds of one name may
    differ in length: the shortest counts.
    """
    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    floor = math.inf  # of a logarithmic axis: a band that reaches zero is cut there
    for n, (name, seeds) in enumerate(runs.items()):
        length = min(len(seed) for seed in seeds)
        values = np.array([seed[:length] for seed in seeds], dtype=float)
        queries, mean = np.arange(1, length + 1), values.mean(0)
        colour, line = COLOURS[n % len(COLOURS)], LINES[n // len(COLOURS) % len(LINES)]
        axes.step(queries, mean, line, where="post", color=colour, linewidth=1.5, label=name)
        if len(seeds) > 1:
            half = np.array([mean_interval(list(column))[1] for column in values.T])
            low = np.maximum(mean - half, 1e-9) if logarithmic else mean - half
            axes.fill_between(queries, low, mean + half, step="post", color=colour, alpha=0.12, linewidth=0)
        floor = min([floor, *mean[mean > 0]])
    if logarithmic and floor < math.inf:
        axes.set_yscale("log")
        axes.set_ylim(bottom=max(floor / 2, 1e-3))
    axes.set_xlabel("queries")
    axes.set_ylabel(quantity)
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(runs) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize="small")
    return figure


def ranking(points: Sequence[tuple[float, float]], quantities: tuple[str, str], title: str = "") -> Figure:
    """A dot an architecture: its reference (x) and its score (y). quantities: their names, with units."""
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    x, y = zip(*points, strict=True)
    axes.plot(x, y, "o", color=BLUE, markersize=4, alpha=0.6, markeredgewidth=0)
    axes.set(xlabel=quantities[0], ylabel=quantities[1])
    axes.set_title(title, size="medium")
    axes.grid(color="#E6E6E6", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def front(points: Sequence[tuple[float, float]], best: Sequence[int], quantities: tuple[str, str]) -> Figure:
    """A dot an architecture: value (y) against cost (x); `best`, the Pareto front, as a line of steps."""
    figure = ranking([(cost, value) for value, cost in points], (quantities[1], quantities[0]))
    axes = figure.axes[0]
    line = sorted((points[i][1], points[i][0]) for i in best)
    x, y = zip(*line, strict=True)
    axes.step(x, y, where="post", color=ORANGE, marker="o", markersize=5, linewidth=1.5, label="Pareto front")
    axes.legend(frameon=False, fontsize="small", loc="lower right")
    return figure
