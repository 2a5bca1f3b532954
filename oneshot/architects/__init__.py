"""Architects: gradient methods, and distributions that never move. Each owns its architecture parameters."""

from .base import Architect, Step
from .darts import DARTS
from .drnas import DrNAS
from .enas import ENAS
from .fair_darts import FairDARTS
from .gaea import GAEA
from .lambda_darts import LambdaDARTS
from .largest import Largest
from .path_dropout import PathDropout
from .proxyless import ProxylessNAS
from .reinmax import ReinMax
from .sandwich import Sandwich
from .setn import SETN
from .snas import SNAS
from .uniform import Uniform

__all__ = [
    "DARTS",
    "ENAS",
    "GAEA",
    "SETN",
    "SNAS",
    "Architect",
    "DrNAS",
    "FairDARTS",
    "LambdaDARTS",
    "Largest",
    "PathDropout",
    "ProxylessNAS",
    "ReinMax",
    "Sandwich",
    "Step",
    "Uniform",
]
