"""Estimators: functions from architectures to their scores."""

from .base import Estimator
from .few_shot import FewShot
from .logged import LoggedEstimator
from .one_shot import OneShot
from .priced import Priced
from .splitting import Subspace, best_split, gradient_matching
from .tabular import Tabular
from .training import Training

__all__ = [
    "Estimator",
    "FewShot",
    "LoggedEstimator",
    "OneShot",
    "Priced",
    "Subspace",
    "Tabular",
    "Training",
    "best_split",
    "gradient_matching",
]
