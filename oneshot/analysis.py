"""Statistics of results."""

import math
from collections.abc import Sequence

from scipy.stats import t


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half the width of its confidence interval (Student's t); the half width of one value is NaN."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, math.nan
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, float(t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance / n)
