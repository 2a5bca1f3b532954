"""Statistics of results: intervals, agreement of rankings, Pareto fronts, mean curves, and tests against a control."""

from .descriptive import (
    Band,
    Interval,
    kendall,
    kendall_at_top,
    mean_curve,
    mean_interval,
    pareto,
    precision_at_top,
    rank_agreement,
    spearman,
)
from .significance import (
    Verdict,
    against_control,
    against_random,
    holm,
    power,
    seeds_needed,
    sign_flip_p,
    uniform_mean_p,
)

__all__ = [
    "Band",
    "Interval",
    "Verdict",
    "against_control",
    "against_random",
    "holm",
    "kendall",
    "kendall_at_top",
    "mean_curve",
    "mean_interval",
    "pareto",
    "power",
    "precision_at_top",
    "rank_agreement",
    "seeds_needed",
    "sign_flip_p",
    "spearman",
    "uniform_mean_p",
]
