"""Search spaces: what can be found."""

from .base import DropPath, SearchSpace, set_drop_path
from .darts import DARTSCells
from .nasbench201 import NASBench201
from .operations import OPERATIONS

__all__ = ["OPERATIONS", "DARTSCells", "DropPath", "NASBench201", "SearchSpace", "set_drop_path"]
