"""Architects: gradient methods, and distributions that never move. Each owns its architecture parameters."""

from .base import Architect, Step
from .darts import DARTS
from .enas import ENAS
from .path_dropout import PathDropout
from .proxyless import ProxylessNAS
from .snas import SNAS
from .uniform import Uniform

__all__ = ["DARTS", "ENAS", "SNAS", "Architect", "PathDropout", "ProxylessNAS", "Step", "Uniform"]
