"""Diagnostics of a search: how it decides, and how the loss looks around its architecture parameters."""

from .base import Diagnostics, rows_of
from .hessian import hessian, hessian_products, lanczos, spectrum
from .landscape import (
    Landscape,
    architecture_parameter,
    cosine,
    directions,
    flatness,
    gap,
    gap_by_choice,
    mean_gates,
    measuring,
)
from .operations import Operations, gives_operations, operations_of

__all__ = [
    "Diagnostics",
    "Landscape",
    "Operations",
    "architecture_parameter",
    "cosine",
    "directions",
    "flatness",
    "gap",
    "gap_by_choice",
    "gives_operations",
    "hessian",
    "hessian_products",
    "lanczos",
    "mean_gates",
    "measuring",
    "operations_of",
    "rows_of",
    "spectrum",
]
