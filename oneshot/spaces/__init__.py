"""What can be found."""

from oneshot.spaces.base import DropPath, SearchSpace, set_drop_path
from oneshot.spaces.darts import DARTSCells
from oneshot.spaces.operations import OPERATIONS

__all__ = ["OPERATIONS", "DARTSCells", "DropPath", "SearchSpace", "set_drop_path"]
