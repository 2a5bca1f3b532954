"""Gradient methods, and fixed distributions beside them: interchangeable owners of the architecture parameters."""

from oneshot.architects.base import Architect, Step
from oneshot.architects.darts import DARTS
from oneshot.architects.enas import ENAS
from oneshot.architects.path_dropout import PathDropout
from oneshot.architects.proxyless import ProxylessNAS
from oneshot.architects.snas import SNAS
from oneshot.architects.uniform import Uniform

__all__ = ["DARTS", "ENAS", "SNAS", "Architect", "PathDropout", "ProxylessNAS", "Step", "Uniform"]
