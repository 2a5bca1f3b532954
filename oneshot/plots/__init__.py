"""Figures as pure functions of data."""

from oneshot.plots.cells import cells
from oneshot.plots.comparison import anytime, bars, comparison, front, ranking
from oneshot.plots.confusion import confusion
from oneshot.plots.figure import save, vector
from oneshot.plots.groups import bands, fronts, spent
from oneshot.plots.progress import curves, heat_maps

__all__ = [
    "anytime",
    "bands",
    "bars",
    "cells",
    "comparison",
    "confusion",
    "curves",
    "front",
    "fronts",
    "heat_maps",
    "ranking",
    "save",
    "spent",
    "vector",
]
