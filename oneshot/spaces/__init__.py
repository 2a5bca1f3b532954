"""Search spaces: what can be found."""

from .base import DropPath, SearchSpace, set_drop_path
from .chain import Chain
from .darts import DARTSCells
from .mbconv import MBConvChain
from .model import ModelSpace
from .nasbench201 import NASBench201
from .operations import OPERATIONS
from .placeholders import Inputs, Mixed, Repeat

__all__ = [
    "OPERATIONS",
    "Chain",
    "DARTSCells",
    "DropPath",
    "Inputs",
    "MBConvChain",
    "Mixed",
    "ModelSpace",
    "NASBench201",
    "Repeat",
    "SearchSpace",
    "set_drop_path",
]
