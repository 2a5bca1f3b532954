"""Which classes a network takes for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .cell_layout import text_width
from .figure import page

CELL = 0.36  # inches
AROUND = 0.55  # inches, beside the names of the classes: their distance, and the name of the axis
BAR = 0.9  # inches, of the bar of colours with its numbers
MOST_NUMBERS = 30  # classes; beyond that the colours alone are shown


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """Draw a row a class and a column a predicted class.

    A cell's colour is its share of the row's images, its number how many they are. Zeros are left empty.

    Args:
        counts: Number of images, (classes, classes): true class, then predicted class.
        classes: Their names.

    Returns:
        The figure. Above 30 classes, and where cells are small on paper, it has no numbers.
    """
    table = np.asarray(counts, dtype=float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    numbered = len(classes) <= MOST_NUMBERS
    size = page().small if numbered else page().small / 2
    names = max(text_width(name, size) for name in classes) + AROUND
    side = max(1.6, len(classes) * (CELL if numbered else CELL / 3))
    if (paper := page().width) is not None:
        side = max(min(side, paper - names - BAR), 1.0)
    numbered = numbered and side / len(classes) > text_width(f"{table.max():.0f}", page().small) + 0.04
    width, height = names + side + BAR, names + side + 0.2
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((names / width, names / height, side / width, side / height))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    axes.set_xticks(range(len(classes)), classes, rotation=90, size=size, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, size=size, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted class", size=page().font)
    axes.set_ylabel("true class", size=page().font)
    for i, j in zip(*np.nonzero(table), strict=True) if numbered else ():
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, f"{table[i, j]:.0f}", ha="center", va="center", size=page().small, color=colour)
    bar = figure.add_axes(((names + side + 0.15) / width, names / height, 0.12 / width, side / height))
    ticks = [0, 0.25, 0.5, 0.75, 1]
    colours = figure.colorbar(image, cax=bar, ticks=ticks)
    colours.set_label("share of the true class, %", size=page().font - 1)
    colours.set_ticklabels([f"{100 * tick:.0f}" for tick in ticks])
    bar.tick_params(labelsize=page().small)
    return figure
