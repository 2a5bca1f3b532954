"""What can be found."""

from oneshot.spaces.base import DropPath, SearchSpace, set_drop_path
from oneshot.spaces.darts import DARTSCells
from oneshot.spaces.nasbench201 import NASBench201
from oneshot.spaces.operations import OPERATIONS

__all__ = ["OPERATIONS", "DARTSCells", "DropPath", "NASBench201", "SearchSpace", "set_drop_path"]
