"""A search over its epochs: architecture parameters as heat maps, and learning curves."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from ..architecture import Choice
from ..quantity import ACCURACY, Quantity
from .cell_layout import MARGIN, shown, text_width
from .figure import BLUE, GREEN, GREY, ORANGE, PURPLE, heading, message, number_axis, page, style_axes

HEADING = 0.32  # inches, above a block of heat maps and above each row of them
ABSENT = "none"  # the candidate that leaves an edge out
MARK = "\N{BLACK LEFT-POINTING SMALL TRIANGLE}"
SPLITS = {  # the beginning of a metric's name -> what it was measured on, and its colour
    "weight": ("training, weights", BLUE),
    "train": ("training", BLUE),
    "architecture": ("training, architecture", GREEN),
    "valid": ("validation", ORANGE),
    "test": ("test", PURPLE),
}


def heat_maps(
    scores: Sequence[Sequence[Sequence[float]]],
    choices: Sequence[Choice],
    epochs: Sequence[int] | None = None,
    chosen: Sequence[int] | None = None,
) -> Figure:
    """Draw the candidates' scores over the epochs: one panel a choice, one block of panels a cell.

    A mark at the right shows the candidate that the found architecture has. It need not be the most probable one: DARTS
    keeps two edges a node, whatever the others' probabilities are. An edge whose decision is `none` is left out of the
    architecture, and its panel has a grey title. Without `chosen` the mark shows the most probable candidate of the
    last epoch.

    Args:
        scores: (epochs, choices, candidates), rows as long as the longest choice; probabilities if all rows sum to 1.
        choices: Of the space, in its order.
        epochs: The epochs' numbers; from 0 where not given.
        chosen: The found architecture's decisions (`Architecture.decisions`): one candidate's index a choice.

    Returns:
        The figure.
    """
    if not len(scores):
        return message("no probabilities")
    table = np.array(scores, dtype=float)
    numbers = list(range(len(table)) if epochs is None else epochs)
    marks = table[-1].argmax(1) if chosen is None else chosen
    probable = np.allclose(table.sum(2), 1, atol=1e-3)
    for i, choice in enumerate(choices):
        table[:, i, len(choice.mixed) :] = np.nan  # what gates do not mix has no score, and stays white
    paper = page().width is not None
    panel, gap, title = (0.4, 0.09, 0.24) if paper else (1.25, 0.14, HEADING)
    most = 5 if paper else 7  # panels beside each other
    bar = 0.0 if paper else 0.75  # width at the right; on paper the colours are below
    blocks = {cell: list(block) for cell, block in groupby(range(len(choices)), lambda i: _split(choices[i])[0])}
    names = max(text_width(name, page().small) for choice in choices for name in choice.candidates) + 0.16
    alike = len({choice.candidates for choice in choices}) == 1
    if paper and not alike:
        most = max(1, int((page().width or 0.0) / (panel + names + gap)))
    rows = {cell: math.ceil(len(block) / most) for cell, block in blocks.items()}
    columns = max(math.ceil(len(block) / rows[cell]) for cell, block in blocks.items())
    pitch, tall = (
        panel + gap + (0.0 if alike else names),
        max(0.5 if paper else 0.7, page().small / (60 if paper else 50) * table.shape[2]),
    )
    width = page().width or max(names + columns * pitch + bar, 4.6)
    height = top = sum(HEADING + n * (tall + title) + 0.4 for n in rows.values()) + (0.75 if paper else 0.0)
    figure = Figure(figsize=(width, height))
    colours = Normalize(0, np.nanmax(table) or 1)
    for cell, block in blocks.items():
        look: Any = {"size": page().font + 2, "weight": "bold", "va": "center"}
        figure.text(MARGIN / width, (top - 0.2) / height, heading(cell), **look)
        for k, i in enumerate(block):
            left, bottom = names + k % columns * pitch, top - HEADING - (k // columns + 1) * (tall + title)
            axes = figure.add_axes((left / width, bottom / height, panel / width, tall / height))
            axes.imshow(table[:, i, : len(choices[i].candidates)].T, aspect="auto", norm=colours, interpolation="none")
            _label_panel(axes, choices[i], numbers, k % columns == 0 or not alike, k + columns >= len(block))
            _mark(axes, choices[i], int(marks[i]), chosen is not None)
        top -= HEADING + rows[cell] * (tall + title) + 0.4
    if paper:
        place = (names / width, 0.6 / height, 0.8 - names / width, 0.08 / height)
    else:
        place = ((width - 0.62) / width, 0.4 / height, 0.12 / width, 1 - (0.4 + 2 * HEADING) / height)
    scale = figure.add_axes(place)
    orientation = "horizontal" if paper else "vertical"
    figure.colorbar(ScalarMappable(colours), cax=scale, orientation=orientation).set_label(
        "probability" if probable else "score",
        size=page().font - 1,
        labelpad=1 if paper else 4,
    )
    scale.tick_params(labelsize=page().small, length=2)
    note = f"{MARK} {'in the found architecture' if chosen is not None else 'most probable at the end'}"
    absent = chosen is not None and any(c.candidates[k] == ABSENT for c, k in zip(choices, chosen, strict=True))
    note += "; grey title: edge left out" if absent else ""
    x, y, side = (MARGIN, 0.12, "left") if paper else (width - 0.1, height - 0.2, "right")
    figure.text(x / width, y / height, note, size=page().small, ha=side, va="center")
    return figure


def _label_panel(axes: Axes, choice: Choice, epochs: Sequence[int], names: bool, lowest: bool) -> None:
    """Title and ticks."""
    axes.set_title(_split(choice)[1], size=page().font if page().width is None else page().small, pad=3)
    axes.tick_params(labelsize=page().small, length=2, left=names)
    axes.set_yticks(range(len(choice.candidates)), choice.candidates if names else [], parse_math=False)
    shown = sorted({0, len(epochs) // 2, len(epochs) - 1})
    axes.set_xticks(shown, [str(epochs[i]) for i in shown] if lowest else [])
    if lowest:
        axes.set_xlabel("epoch", size=page().small, labelpad=1)


def _mark(axes: Axes, choice: Choice, candidate: int, decided: bool) -> None:
    """A mark at a candidate; an edge that was left out gets a grey title, and a mark that is hollow."""
    absent = decided and choice.candidates[candidate] == ABSENT
    place = {"clip_on": False, "transform": axes.get_yaxis_transform()}
    look = {"markersize": 0.45 * page().small, "markerfacecolor": "none" if absent else "black", "markeredgewidth": 0.5}
    axes.plot(1.05, candidate, "k<", **place, **look)  # type: ignore[arg-type]
    if absent:
        axes.title.set_color(GREY)


def _split(choice: Choice) -> tuple[str, str]:
    """The cell and the edge of a choice, the edge for the eye."""
    cell, _, edge = choice.name.rpartition("/")
    return cell, " \N{RIGHTWARDS ARROW} ".join(shown(node) for node in edge.split("->"))


def curves(rows: Sequence[Mapping[str, float]], title: str = "", metric: Quantity = ACCURACY) -> Figure:
    """Draw learning curves over training steps: losses, the metric and entropy, each where the rows have it.

    Args:
        rows: Mappings with `step` and any of `*_loss`, `*_accuracy` (or another metric's name; shares of 1 are drawn
            in %) and `entropy` (normalized: 1 is undecided, 0 decided). A test metric with one value is a dashed line,
            with its value in the legend.
        title: Above the curves.
        metric: What is drawn between losses and entropy.

    Returns:
        The figure.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    kinds = {"loss": "loss", metric.name: metric.titled(), "entropy": "normalized entropy"}
    members = {kind: [name for name in names if name == kind or name.endswith(f"_{kind}")] for kind in kinds}
    members = {kind: own for kind, own in members.items() if own}
    if not members:
        return message("no metrics")
    paper, font = page().width is not None, page().font
    labels = [_label(name, kind, metric) for kind, own in members.items() for name in own]
    legend = max((text_width(label, font) for label in labels), default=0.0) + 0.75
    wide, tall, top = (3.4, 1.4, 0.28) if paper else (6.2, 2.1, 0.12)
    right = 0.1 if paper else 0.2
    width = page().width or wide + legend
    top += 0.32 if title else 0.0
    height = tall * len(members) + (0.4 if paper else 0.5) + top
    figure = Figure(figsize=(width, height))
    left = 0.55 if paper else 0.8
    if title:
        figure.text((left + wide) / 2 / width, 1 - 0.22 / height, title, size=font + 2, weight="bold", ha="center")
    edges = {"left": left / width, "right": (wide - right) / width, "top": 1 - top / height}
    edges |= {"bottom": (0.4 if paper else 0.5) / height, "hspace": 0.28 if paper else 0.12}
    grid = figure.subplots(len(members), 1, sharex=True, squeeze=False, gridspec_kw=edges)[:, 0]
    for axes, (kind, own) in zip(grid, members.items(), strict=True):
        for name in own:
            points = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
            _draw_curve(axes, name, kind, points, metric)
        style_axes(axes, "training steps" if axes is grid[-1] else "", kinds[kind])
        number_axis(axes.yaxis, 5)
        if kind == metric.name and metric.share:
            axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:g}"))
        axes.yaxis.set_label_coords((0.22 - left) / (wide - right - left), 0.5)
        if kind != "entropy" and paper:
            place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.98), "ncols": 3, "columnspacing": 1.0}
            axes.legend(**place, frameon=False, fontsize=page().small, handlelength=1.2)  # type: ignore[arg-type]
        elif kind != "entropy":
            axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=font)
    number_axis(grid[-1].xaxis, 8, whole=True)
    return figure


def _label(name: str, kind: str, metric: Quantity) -> str:
    """What a number was measured on, for the legend; one of the test with room for its value."""
    split = name.removesuffix(kind).rstrip("_")
    return SPLITS.get(split, (split or kind, GREY))[0] + (
        (" 00.00 %" if metric.share else " 0.0000") if split == "test" else ""
    )


def _draw_curve(axes: Axes, name: str, kind: str, points: Sequence[tuple[float, float]], metric: Quantity) -> None:
    """points: (step, value)."""
    split = name.removesuffix(kind).rstrip("_")
    label, colour = SPLITS.get(split, (split or kind, GREY))
    if split == "test" and len(points) == 1:
        value = points[0][1]
        text = metric.text(value) if kind == metric.name else f"{value:.3f}"
        look = {"color": colour, "linestyle": "--", "linewidth": 0.8 * page().line}
        axes.axhline(value, label=f"{label} {text}", **look)  # type: ignore[arg-type]
        return
    steps, values = zip(*points, strict=True) if points else ((), ())
    marker = "o" if len(points) <= 30 else None
    axes.plot(
        steps, values, color=colour, linewidth=page().line, marker=marker, markersize=2 * page().line, label=label
    )
