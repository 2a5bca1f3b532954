"""Estimators: functions from architectures to their scores."""

from .base import Estimator
from .logged import LoggedEstimator
from .one_shot import OneShot
from .priced import Priced
from .tabular import Tabular
from .training import Training

__all__ = ["Estimator", "OneShot", "Priced", "LoggedEstimator", "Tabular", "Training"]
