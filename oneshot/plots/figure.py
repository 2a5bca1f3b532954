"""What all figures share: colours, sizes, and how they are saved.

Figures are made without pyplot: nothing global changes and no display is needed.
"""

import io
import os
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from .cell_layout import FONT

BLUE, ORANGE, GREEN, PURPLE, GREY = "#0072B2", "#D55E00", "#007A5A", "#AA4499", "#999999"
SMALL = 7.0  # points
HEADING = 0.32  # inches


def says(text: str) -> Figure:
    """A figure that holds nothing but a message."""
    figure = Figure(figsize=(4, 1.5))
    figure.text(0.5, 0.5, text, ha="center", va="center", size=FONT + 3, color=GREY)
    return figure


def heading(cell: str) -> str:
    """What a cell is called above its picture."""
    return cell if cell in ("", "cell") else f"{cell} cell"


def save(figure: Figure, path_without_suffix: Path) -> list[Path]:
    """Write .png and .svg beside each other, each whole or not at all; the same figure gives the same bytes."""
    written = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "oneshot"}):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            path = path_without_suffix.with_name(f"{path_without_suffix.name}.{kind}")
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
            os.replace(temporary, path)
            written.append(path)
    return written


def vector(figure: Figure) -> bytes:
    """An SVG file whose letters are shapes, so that it looks the same without its fonts; same figure, same bytes."""
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "oneshot"}):
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
