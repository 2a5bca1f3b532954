"""What all figures share: their width, colours, numbers on axes, and how they are saved.

Figures are made without pyplot: nothing global changes and no display is needed.
"""

import io
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ..errors import unknown, visible
from ..runs.files import write_bytes

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#007A5A", "#AA4499", "#999999"
PALE = "#E6E6E6"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9", "#8C564B")
LINES = ("-", "--", ":")
MOST_BANDS = 5  # lines of one panel that have their intervals drawn: more of them hide each other


class Page(NamedTuple):
    """The sizes of a figure.

    Args:
        width: Of the figure, in inches; None where the content decides.
        font: Size of the letters, in points.
        small: Size of the letters of details, in points.
        line: Width of a line, in points.
        longest: Most characters of a label.
    """

    width: float | None
    font: float
    small: float
    line: float
    longest: int


PAGES = {"screen": Page(None, 9.0, 7.0, 1.5, 48), "paper": Page(3.4, 7.0, 6.0, 1.0, 32)}
NONE = "none"
_page: ContextVar[Page] = ContextVar("page", default=PAGES["screen"])
_saves: ContextVar[bool] = ContextVar("saves", default=True)


@contextmanager
def width(name: str) -> Iterator[None]:
    """Make all figures inside the `with` block for a screen or for a paper, or save none.

    `with plots.width("paper"): figure = plots.curves(rows)` gives a figure for one column of a paper: 3.4 inches wide,
    letters of 7 points (6 for details). What is side by side on a screen is then one below the other.
    Without this block a figure is made for the screen.

    Args:
        name: `screen`, `paper`, or `none`: `save` then draws and writes nothing.

    Raises:
        InputError: For another name.
    """
    if name not in (*PAGES, NONE):
        raise unknown("width", name, (*PAGES, NONE))
    page, saves = _page.set(PAGES.get(name, PAGES["screen"])), _saves.set(name != NONE)
    try:
        yield
    finally:
        _page.reset(page)
        _saves.reset(saves)


def page() -> Page:
    """The sizes that figures have here."""
    return _page.get()


def message(text: str) -> Figure:
    """Make a figure that holds nothing but a text.

    Args:
        text: The message.
    """
    figure = Figure(figsize=(page().width or 4, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center", size=page().font + 3, color=GREY)
    return figure


def heading(cell: str) -> str:
    """What a cell, or a network of no cells, is called above its picture."""
    return {"normal": "normal cell", "reduce": "reduction cell"}.get(cell, cell)


def plain(name: str, longest: int | None = None) -> str:
    """Make a label without mathematics. If it is too long, its middle is left out.

    Args:
        name: What the label says. A character that cannot be printed is replaced.
        longest: Most characters; None for those of the page.
    """
    longest = longest or page().longest
    shown = visible(name)
    head = longest // 3
    short = shown if len(shown) <= longest else f"{shown[:head]}...{shown[head + 3 - longest :]}"
    return short.replace("$", r"\$")


def panels(count: int, size: tuple[float, float], more: tuple[float, float] = (0.0, 0.0)) -> tuple[Figure, list[Axes]]:
    """Make a figure with panels: side by side on a screen, one below the other on paper.

    Args:
        count: Number of panels.
        size: Width and height of a panel on a screen, in inches. On paper the page gives the width, and the height is
            three quarters of this one.
        more: Width and height that are added once for the figure, in inches. On paper the width is not added, and the
            height is three quarters of this one too.

    Returns:
        The figure, and its panels from left to right or from top to bottom. They share their y axis.
    """
    (wide, tall), width = size, page().width
    if width is None:
        figure = Figure(figsize=(wide * count + more[0], tall + more[1]), layout="constrained")
        return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])
    figure = Figure(figsize=(width, 0.75 * (tall * count + more[1])), layout="constrained")
    return figure, list(figure.subplots(count, 1, sharey=True, squeeze=False)[:, 0])


def style_axes(axes: Axes, x: str, y: str = "", grid: Any = "both") -> None:
    """Give axes their labels, letters of the page's size, pale lines, and no frame at the top and at the right.

    Args:
        axes: The panel.
        x: Label of the x axis.
        y: Label of the y axis, "" for none.
        grid: The axis whose ticks have pale lines: `x`, `y` or `both`.
    """
    axes.set_xlabel(x, size=page().font)
    axes.set_ylabel(y, size=page().font)
    axes.tick_params(labelsize=page().font - 1)
    axes.grid(axis=grid, color=PALE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def short(value: float) -> str:
    """Write a value for an axis: 0.5, 1,500, 180k, 1.25M, 3G.

    Args:
        value: Any number.
    """
    for least, size, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / size:.6g}{letter}"
    return f"{value:,.6g}"


def number_axis(axis: Axis, most: int = 5, whole: bool = False) -> None:
    """Give an axis few ticks at round numbers, as `short` writes them.

    Args:
        axis: The x or y axis of a panel.
        most: Most intervals between ticks.
        whole: Whether ticks are at whole numbers only.
    """
    axis.set_major_locator(MaxNLocator(most, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def logarithmic_axis(axes: Axes, low: float, high: float) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2, 5, 10 and so on.

    A short axis has more numbers, and a very long one has powers of ten only.

    Args:
        axes: The panel.
        low: Lower end of the axis, above 0, in the unit of the data.
        high: Upper end, above `low`.
    """
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    subs = (1.0, 2.0, 5.0) if high / low > 8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)
    axes.yaxis.set_major_locator(LogLocator(subs=subs if high / low < 1e4 else (1.0,)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def possible(quantity: str) -> tuple[float, float]:
    """Return what a quantity can be, from its unit: 0 to 100 for %, else no less than 0 where it is an amount.

    Args:
        quantity: Its name, a comma and its unit, as in `test accuracy, %`. A name alone can be a count (`parameters`).

    Returns:
        The smallest and the largest value, in that unit; infinite where there is no limit.
    """
    name, _, unit = quantity.rpartition(", ")
    if unit == "%":
        return 0.0, 100.0
    amounts = ("s", "seconds", "ms", "MiB", "MB", "percentage points", "parameters", "multiply-accumulates")
    return (0.0 if unit in amounts else -math.inf), math.inf


def save(figure: Figure | Callable[[], Figure], path_without_suffix: Path) -> list[Path]:
    """Write a figure as PNG, SVG and PDF beside each other.

    Each file appears whole or not at all. No date is written: the same figure gives the same bytes. SVG and PDF keep
    letters as text, which a paper's typesetting can search and copy.

    Args:
        figure: What to write, or what draws it: not called where `plots.width("none")` holds.
        path_without_suffix: `found/cells` gives `cells.png`, `cells.svg` and `cells.pdf` in the folder `found`.

    Returns:
        The three paths, PNG first; none where `plots.width("none")` holds.

    Raises:
        OSError: Where the folder does not exist or cannot be written.
    """
    if not _saves.get():
        return []
    figure = figure if isinstance(figure, Figure) else figure()
    kinds: Sequence[tuple[str, dict[str, Any]]] = (
        ("png", {"Software": None}),
        ("svg", {"Date": None}),
        ("pdf", {"CreationDate": None}),
    )
    if figure.get_layout_engine() is not None:  # once for all three files, as it takes longer than to draw them
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    written = []
    dpi = 150 if figure.get_figwidth() > 4 else 300  # of the PNG: a narrow figure is one for a paper
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oneshot", "pdf.fonttype": 42}):
        for kind, metadata in kinds:
            path = path_without_suffix.with_name(f"{path_without_suffix.name}.{kind}")
            content = io.BytesIO()
            figure.savefig(content, format=kind, dpi=dpi, metadata=metadata)
            written.append(write_bytes(path, content.getvalue()))
    return written


def vector(figure: Figure) -> bytes:
    """An SVG file with letters as shapes: it looks the same where its fonts are missing.

    Args:
        figure: What to write.

    Returns:
        The file's content. The same figure gives the same bytes.
    """
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "oneshot"}):
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
