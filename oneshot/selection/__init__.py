"""Selections: which architecture a search keeps at its end. Each is a function of space, architect and supernet."""

from .base import Drawable, Measured, Selection
from .best_of import BestOf
from .scores import ByScores, by_scores
from .shapley import Shapley, contributions, shapley_values
from .skip_limit import SkipLimit

__all__ = [
    "BestOf",
    "ByScores",
    "Drawable",
    "Measured",
    "Selection",
    "Shapley",
    "SkipLimit",
    "by_scores",
    "contributions",
    "shapley_values",
]
