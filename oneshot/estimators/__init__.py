"""From an architecture to its scores."""

from oneshot.estimators.base import Estimator
from oneshot.estimators.one_shot import OneShot
from oneshot.estimators.priced import Priced
from oneshot.estimators.recorded import Recorded
from oneshot.estimators.tabular import Tabular
from oneshot.estimators.training import Training

__all__ = ["Estimator", "OneShot", "Priced", "Recorded", "Tabular", "Training"]
