"""A search over its epochs: architecture parameters as heat maps, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..architecture import Choice
from .cell_layout import FONT, MARGIN, shown, text_width
from .figure import BLUE, GREEN, GREY, HEADING, ORANGE, PURPLE, SMALL, heading, says

SPLITS = {"weight": BLUE, "train": BLUE, "architecture": GREEN, "valid": ORANGE, "test": PURPLE}
PANEL = 1.25  # width of a heat map in inches
MOST_COLUMNS = 7  # heat maps beside each other


def heat_maps(
    scores: Sequence[Sequence[Sequence[float]]], choices: Sequence[Choice], epochs: Sequence[int] | None = None
) -> Figure:
    """Probabilities of the candidates over the epochs: one panel a choice, one block of panels a cell.

    scores: (epochs, choices, candidates), rows as long as the longest choice. epochs: their numbers, from 0
    where not given. A mark at the right shows the most probable candidate at the end.
    """
    if not len(scores):
        return says("no probabilities")
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
        figure.text(MARGIN / width, (top - 0.2) / height, heading(cell), size=FONT + 2, weight="bold", va="center")
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
        return says("no metrics")
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
