"""Architects: gradient methods, and distributions that never move. Each owns its architecture parameters."""

from .base import Architect, Step
from .darts import DARTS
from .drnas import DrNAS
from .enas import ENAS
from .gaea import GAEA
from .path_dropout import PathDropout
from .proxyless import ProxylessNAS
from .reinmax import ReinMax
from .snas import SNAS
from .uniform import Uniform

__all__ = [
    "DARTS",
    "ENAS",
    "GAEA",
    "SNAS",
    "Architect",
    "DrNAS",
    "PathDropout",
    "ProxylessNAS",
    "ReinMax",
    "Step",
    "Uniform",
]
