"""The cost of networks and candidates: parameters, multiply-accumulates and measured latency."""

from .counting import candidate_costs, count_multiply_accumulates, count_parameters, joint_costs, network_cost
from .expected import ExpectedCost, multiply_accumulates, parameters
from .latency import LatencyTable, latency, measure_latency, time_beside
from .limits import Limit, Whole, discretize_within, holds, largest_within, sample_within

__all__ = [
    "ExpectedCost",
    "LatencyTable",
    "Limit",
    "Whole",
    "candidate_costs",
    "count_multiply_accumulates",
    "count_parameters",
    "discretize_within",
    "holds",
    "joint_costs",
    "largest_within",
    "latency",
    "measure_latency",
    "multiply_accumulates",
    "network_cost",
    "parameters",
    "sample_within",
    "time_beside",
]
