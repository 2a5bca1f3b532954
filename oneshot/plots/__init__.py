"""Figures as pure functions of data."""

from oneshot.plots.cells import cells
from oneshot.plots.comparison import anytime, bars, comparison, front, ranking
from oneshot.plots.confusion import confusion
from oneshot.plots.figure import save
from oneshot.plots.progress import curves, heat_maps

__all__ = [
    "anytime",
    "bars",
    "cells",
    "comparison",
    "confusion",
    "curves",
    "front",
    "heat_maps",
    "ranking",
    "save",
]
