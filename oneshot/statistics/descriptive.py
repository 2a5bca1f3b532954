"""Intervals, agreement of rankings, Pareto fronts and mean curves."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, spearmanr, t

from ..errors import InputError


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Compute a mean and its confidence interval by Student's t distribution.

    Args:
        values: The values.
        confidence: Probability that the interval covers, in (0, 1).

    Returns:
        The mean, and half the width of the interval in the unit of the values. For a single value this is NaN.
    """
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, math.nan
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, float(t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance / n)


class Interval(NamedTuple):
    """An estimate and its bootstrap interval.

    Args:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


def kendall(scores: np.ndarray, reference: np.ndarray) -> float:
    """Compute Kendall's tau-b: 1 for the same order, -1 for the opposite.

    A pair that is tied on one side counts neither as agreement nor as disagreement, and the denominator is corrected
    for ties.

    Args:
        scores: (architectures,).
        reference: (architectures,).

    Returns:
        The correlation, in [-1, 1].
    """
    return float(kendalltau(scores, reference).statistic)


def spearman(scores: np.ndarray, reference: np.ndarray) -> float:
    """Compute Spearman's rho, the correlation of the ranks.

    Args:
        scores: (architectures,).
        reference: (architectures,).

    Returns:
        The correlation, in [-1, 1].
    """
    return float(spearmanr(scores, reference).statistic)


def precision_at_top(scores: np.ndarray, reference: np.ndarray, share: float = 0.05) -> float:
    """Compute how many of the best by the scores are among the best by the reference.

    Both sets have ceil(share * n) members. If ties cross the border of a set, each tied member counts with its
    probability to be inside.

    Args:
        scores: (architectures,), larger is better.
        reference: (architectures,), larger is better.
        share: Size of both sets, as a share of all architectures.

    Returns:
        A share, in [0, 1].
    """
    k = max(1, math.ceil(share * len(scores)))
    return float((_chance_of_top(scores, k) * _chance_of_top(reference, k)).sum() / k)


def _chance_of_top(values: np.ndarray, k: int) -> np.ndarray:
    """The probability that each value is among the k largest, when ties are broken at random."""
    border = np.sort(values)[-k]
    above, at = values > border, values == border
    return above + at * (k - above.sum()) / at.sum()


def kendall_at_top(scores: np.ndarray, reference: np.ndarray, share: float = 0.2) -> float:
    """Compute Kendall's tau-b of the best architectures alone, by the reference.

    A search chooses among good architectures. A tau over all of them says little about this, as the bad ones are easily
    told from the good ones.

    Args:
        scores: (architectures,), larger is better.
        reference: (architectures,), larger is better.
        share: Share of the architectures that count: ceil(share * n), at least 2, and all that tie with the last one.

    Returns:
        The correlation, in [-1, 1]; 0 if one side has no order there, because all its numbers are equal.
    """
    border = np.sort(reference)[-max(2, math.ceil(share * len(reference)))]
    best = reference >= border
    if not (np.ptp(scores[best]) and np.ptp(reference[best])):
        return 0.0
    return kendall(scores[best], reference[best])


RANKINGS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "kendall_tau": kendall,
    "kendall_tau_of_top_20_percent": kendall_at_top,
    "spearman_rho": spearman,
    "precision_at_top_5_percent": precision_at_top,
}


def rank_agreement(
    scores: Sequence[float], reference: Sequence[float], resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Measure how far two orders of the same architectures agree.

    The measures are Kendall's tau of all and of the best fifth, Spearman's rho and the precision at the top 5 %.
    The intervals are percentiles over resamples of the architectures with replacement.

    Args:
        scores: One number for each architecture, larger is better.
        reference: The same of the reference.
        resamples: Number of resamples.
        confidence: Probability that an interval covers, in (0, 1).
        seed: Seed of the resamples.

    Returns:
        By the name of the measure: its value and its interval.

    Raises:
        InputError: If there are fewer than 3 architectures, or if all numbers of one side are equal and give no order.
    """
    a, b = np.asarray(scores, dtype=float), np.asarray(reference, dtype=float)
    if len(a) != len(b) or len(a) < 3:
        raise InputError(f"{len(a)} scores and {len(b)} references: must be equally many, at least 3")
    for name, values in (("scores", a), ("references", b)):
        if np.ptp(values) == 0:
            raise InputError(f"all {len(values)} {name} are equal ({values[0]:.6g}): they rank nothing")
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in RANKINGS}
    while len(draws["kendall_tau"]) < resamples:
        chosen = rng.integers(len(a), size=len(a))
        if np.ptp(a[chosen]) and np.ptp(b[chosen]):
            for name, measure in RANKINGS.items():
                draws[name].append(measure(a[chosen], b[chosen]))
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    return {
        name: Interval(measure(a, b), *map(float, np.quantile(draws[name], tails)))
        for name, measure in RANKINGS.items()
    }


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Find the points that no other point dominates.

    Args:
        points: Pairs (value, cost); the value is maximized, the cost minimized.

    Returns:
        Indices of the points, cheapest first. Of equal points the first one is kept.
    """
    front = []
    best = -math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0])):
        if points[i][0] > best:
            best = points[i][0]
            front.append(i)
    return front


class Band(NamedTuple):
    """A mean over curves with its confidence interval.

    Args:
        x: Where the curves are read.
        mean: The mean at each x.
        half: Half the width of the interval at each x.
    """

    x: list[float]
    mean: list[float]
    half: list[float]


def mean_curve(curves: Sequence[Sequence[tuple[float, float]]], confidence: float = 0.95, most: int = 300) -> Band:
    """Compute the mean of step curves over the range of x that all of them cover.

    The value of a curve holds until its next x. The mean is read at every x of any curve.

    Args:
        curves: Curves, each with its points (x, y).
        confidence: Probability that the interval covers, in (0, 1).
        most: Largest number of x. More are thinned out; the first and the last stay.

    Returns:
        The band. It is empty if no x is covered by all curves, or if a curve is empty. For a single curve the half
        width is NaN.
    """
    sorted_curves = [sorted(curve) for curve in curves]
    if not all(sorted_curves) or not sorted_curves:
        return Band([], [], [])
    low, high = max(c[0][0] for c in sorted_curves), min(c[-1][0] for c in sorted_curves)
    x = sorted({point[0] for curve in sorted_curves for point in curve if low <= point[0] <= high})
    if len(x) > most:
        x = [x[i] for i in np.linspace(0, len(x) - 1, most).round().astype(int)]
    columns = []
    for curve in sorted_curves:
        own = np.array(curve, dtype=float)
        columns.append(own[np.searchsorted(own[:, 0], x, side="right") - 1, 1])
    intervals = [mean_interval(list(values), confidence) for values in np.transpose(columns)]
    return Band(x, [float(mean) for mean, _ in intervals], [half for _, half in intervals])
