"""Gradient methods: interchangeable owners of the architecture parameters."""

from oneshot.architects.base import Architect, Step
from oneshot.architects.darts import DARTS

__all__ = ["DARTS", "Architect", "Step"]
