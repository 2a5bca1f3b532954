"""Architects: gradient methods, and distributions that never move. Each owns its architecture parameters."""

from .base import Architect, Step
from .darts import DARTS
from .enas import ENAS
from .fair_darts import FairDARTS
from .lambda_darts import LambdaDARTS
from .largest import Largest
from .path_dropout import PathDropout
from .proxyless import ProxylessNAS
from .setn import SETN
from .snas import SNAS
from .uniform import Uniform

__all__ = [
    "DARTS",
    "ENAS",
    "SETN",
    "SNAS",
    "Architect",
    "FairDARTS",
    "LambdaDARTS",
    "Largest",
    "PathDropout",
    "ProxylessNAS",
    "Step",
    "Uniform",
]
