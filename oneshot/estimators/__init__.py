"""From an architecture to its scores."""

from oneshot.estimators.base import Estimator

__all__ = ["Estimator"]
