"""Which classes a network takes for which."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .cell_layout import FONT, text_width
from .figure import SMALL

CELL = 0.36  # inches
AROUND = 0.55  # inches, beside the names of the classes: their distance, and what the axis is called
MOST_NUMBERS = 30  # classes; beyond that the colours alone are shown


def confusion(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Figure:
    """A row a class, a column a predicted class; colour: share of the row's images, number: how many, 0 is left empty.

    counts: (classes, classes).
    """
    table = np.asarray(counts, dtype=float)
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    numbered = len(classes) <= MOST_NUMBERS
    side = max(1.6, len(classes) * (CELL if numbered else CELL / 3))
    names = max(text_width(name, SMALL) for name in classes) + AROUND
    width, height = names + side + 0.9, names + side + 0.2
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((names / width, names / height, side / width, side / height))
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="none")
    size = SMALL if numbered else SMALL / 2
    axes.set_xticks(range(len(classes)), classes, rotation=90, size=size, parse_math=False)
    axes.set_yticks(range(len(classes)), classes, size=size, parse_math=False)
    axes.tick_params(length=0)
    axes.set_xlabel("predicted", size=FONT)
    axes.set_ylabel("class", size=FONT)
    for i, j in zip(*np.nonzero(table), strict=True) if numbered else ():
        colour = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, f"{table[i, j]:.0f}", ha="center", va="center", size=SMALL, color=colour)
    bar = figure.add_axes(((names + side + 0.15) / width, names / height, 0.12 / width, side / height))
    figure.colorbar(image, cax=bar).set_label("share of the class", size=FONT - 1)
    bar.tick_params(labelsize=SMALL)
    return figure
