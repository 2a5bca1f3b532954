"""Tasks: what is learned from a data set, with its loss and its metrics."""

from .classification import Classification
from .language_modelling import LanguageModelling
from .metric import Metric
from .multilabel import MultiLabel
from .regression import Regression
from .segmentation import Segmentation
from .task import Task

__all__ = [
    "Classification",
    "LanguageModelling",
    "Metric",
    "MultiLabel",
    "Regression",
    "Segmentation",
    "Task",
]
