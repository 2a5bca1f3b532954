"""Statistics of results."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import kendalltau, spearmanr, t

from .errors import InputError


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Mean and half the width of its confidence interval (Student's t); the half width of one value is NaN."""
    n = len(values)
    mean = math.fsum(values) / n
    if n < 2:
        return mean, math.nan
    variance = math.fsum((v - mean) ** 2 for v in values) / (n - 1)
    return mean, float(t.ppf((1 + confidence) / 2, n - 1)) * math.sqrt(variance / n)


class Interval(NamedTuple):
    """An estimate and its bootstrap interval."""

    value: float
    low: float
    high: float


def kendall(scores: np.ndarray, reference: np.ndarray) -> float:
    """Kendall's tau-b: 1 the same order, -1 the opposite; ties count half."""
    return float(kendalltau(scores, reference).statistic)


def spearman(scores: np.ndarray, reference: np.ndarray) -> float:
    """Spearman's rho: the correlation of the ranks."""
    return float(spearmanr(scores, reference).statistic)


def precision_at_top(scores: np.ndarray, reference: np.ndarray, share: float = 0.05) -> float:
    """Of the best `share` by the scores, how many are among the best `share` by the reference.

    Both sets have ceil(share * n) members; where ties lie across the border, each tied one counts its chance to be in.
    """
    k = max(1, math.ceil(share * len(scores)))
    return float((_chance_of_top(scores, k) * _chance_of_top(reference, k)).sum() / k)


def _chance_of_top(values: np.ndarray, k: int) -> np.ndarray:
    """The probability of each to be among the k largest, when ties are broken at random."""
    border = np.sort(values)[-k]
    above, at = values > border, values == border
    return above + at * (k - above.sum()) / at.sum()


RANKINGS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "kendall_tau": kendall,
    "spearman_rho": spearman,
    "precision_at_top_5_percent": precision_at_top,
}


def rank_agreement(
    scores: Sequence[float], reference: Sequence[float], resamples: int = 1000, confidence: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """How far two orders of the same architectures agree: Kendall's tau, Spearman's rho, precision at the top 5 %.

    scores, reference: one number an architecture, larger is better. Intervals: percentiles over resamples of the
    architectures with replacement. Raises InputError for fewer than 3, and where all of one side are equal:
    there is no order to agree with.
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
    """Which points (value, cost) no other one dominates, cheapest first; of equal points the first."""
    front = []
    best = -math.inf
    for i in sorted(range(len(points)), key=lambda i: (points[i][1], -points[i][0])):
        if points[i][0] > best:
            best = points[i][0]
            front.append(i)
    return front


class Band(NamedTuple):
    """A mean over curves and half the width of its interval, at each x."""

    x: list[float]
    mean: list[float]
    half: list[float]


def mean_curve(curves: Sequence[Sequence[tuple[float, float]]], confidence: float = 0.95, most: int = 300) -> Band:
    """The mean of curves whose (x, y) hold until the next x, over the range of x that all of them cover.

    At every x of any curve, thinned to `most` of them with first and last; empty where no x is covered by all, and
    where a curve is empty. The half width of a single curve is NaN.
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
