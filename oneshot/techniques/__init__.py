"""Techniques: parts of a method that combine with any architect."""

from .auxiliary_skip import AuxiliarySkip
from .base import Perturbation, Regularizer, Transform
from .composed import Composed
from .dirichlet_kl import DirichletKL
from .edge_normalization import EdgeNormalization
from .freeze import Freeze
from .oles import OLES
from .perturbations import AdversarialPerturbation, RandomPerturbation
from .regularizers import BetaDecay, EntropyPenalty, LogitDecay, ZeroOne

__all__ = [
    "OLES",
    "AdversarialPerturbation",
    "AuxiliarySkip",
    "BetaDecay",
    "Composed",
    "DirichletKL",
    "EdgeNormalization",
    "EntropyPenalty",
    "Freeze",
    "LogitDecay",
    "Perturbation",
    "RandomPerturbation",
    "Regularizer",
    "Transform",
    "ZeroOne",
]
