"""Figures as pure functions of data; `save` writes one, `width` makes it fit a paper's column."""

from .cells import cells
from .comparison import agreement, anytime, bars, comparison, front, ranking
from .confusion import confusion
from .diagnostics import diagnostics
from .figure import save, vector, width
from .groups import bands, fronts, spent
from .progress import curves, heat_maps

__all__ = [
    "agreement",
    "anytime",
    "bands",
    "bars",
    "cells",
    "comparison",
    "confusion",
    "curves",
    "diagnostics",
    "front",
    "fronts",
    "heat_maps",
    "ranking",
    "save",
    "spent",
    "vector",
    "width",
]
