"""The cost of networks and candidates: parameters, multiply-accumulates and measured latency."""

from .counting import candidate_costs, count_multiply_accumulates, count_parameters, network_cost
from .expected import ExpectedCost, multiply_accumulates, parameters
from .latency import LatencyTable, latency, measure_latency

__all__ = [
    "ExpectedCost",
    "LatencyTable",
    "candidate_costs",
    "count_multiply_accumulates",
    "count_parameters",
    "latency",
    "measure_latency",
    "multiply_accumulates",
    "network_cost",
    "parameters",
]
