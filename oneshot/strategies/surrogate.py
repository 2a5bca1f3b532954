"""What strategies with a surrogate share: a pool of candidates to compare, their encoding, and expected improvement."""

import random
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy.stats import norm, rankdata

from ..architecture import Architecture
from ..spaces.base import SearchSpace
from .base import unseen

Numbers = np.ndarray
PARENTS = 10


def pool(
    space: SearchSpace,
    rng: random.Random,
    scores: Mapping[Architecture, float],
    seen: Collection[Architecture],
    size: int,
) -> list[Architecture]:
    """Up to `size` architectures not seen: half of them random, half one or two mutations from the best ten."""
    best = sorted(scores, key=lambda a: -scores[a])[:PARENTS]
    found: dict[Architecture, None] = {}
    for n in range(4 * size):
        if len(found) == size:
            break
        if best and n % 2:
            architecture = space.mutate(rng.choice(best), rng)
            if rng.random() < 0.5:
                architecture = space.mutate(architecture, rng)
        else:
            architecture = space.sample(rng)
        if architecture not in seen:
            found[architecture] = None
    return list(found) or [unseen(space, rng, seen)]


def normal_scores(scores: Sequence[float]) -> Numbers:
    """Normal quantiles of the ranks: scores of architectures have outliers below, which would swamp a fit."""
    return norm.ppf((rankdata(scores) - 0.5) / len(scores))


def expected_improvement(mean: Numbers, deviation: Numbers, best: float) -> Numbers:
    """Of a maximum over `best`, under normal predictions."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def one_hot(space: SearchSpace, architectures: Sequence[Architecture]) -> Numbers:
    """Rows (architectures, choices * candidates)."""
    choices, candidates = space.shape
    decisions = np.array([a.decisions for a in architectures])
    return np.eye(candidates, dtype=np.float32)[decisions].reshape(-1, choices * candidates)
