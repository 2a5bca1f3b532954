"""Rules that end a search early."""

from .base import History, Stop, StoppingRule
from .decided import Decided
from .eigenvalue_rise import EigenvalueRise
from .skip_count import SkipCount

__all__ = ["Decided", "EigenvalueRise", "History", "SkipCount", "Stop", "StoppingRule"]
