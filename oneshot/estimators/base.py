"""The interface of an estimator: one function that scores a batch of queries."""

from ..architecture import Estimator

__all__ = ["Estimator"]
