"""Stages of a search, and how candidates are left out at their borders."""

from .base import Narrowed, Narrowing, Stage, Stages, best
from .darts_pt import Projection, projection

__all__ = ["Narrowed", "Narrowing", "Projection", "Stage", "Stages", "best", "projection"]
