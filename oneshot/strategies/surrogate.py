"""What strategies with a surrogate model share: a pool of candidates, their encoding, and expected improvement."""

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
    """Draw candidates to compare: half of them random, half one or two mutations away from one of the ten best.

    Args:
        space: The search space.
        rng: Source of the random draws.
        scores: Score of each architecture so far.
        seen: Architectures to leave out.
        size: Largest number of candidates.

    Returns:
        Up to `size` different architectures outside `seen`, and always at least one architecture.
    """
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
    """Map scores to normal quantiles of their ranks. Very low scores would otherwise dominate a fit."""
    return norm.ppf((rankdata(scores) - 0.5) / len(scores))


def expected_improvement(mean: Numbers, deviation: Numbers, best: float) -> Numbers:
    """Compute the expected improvement over the best value, under normal predictions.

    Args:
        mean: Predicted mean of each candidate, (candidates,).
        deviation: Predicted standard deviation of each, (candidates,).
        best: The largest value so far, in the same unit.

    Returns:
        The expected improvement of each, (candidates,).
    """
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def one_hot(space: SearchSpace, architectures: Sequence[Architecture]) -> Numbers:
    """Encode architectures as rows of zeros and ones.

    Args:
        space: The search space.
        architectures: Architectures of this space.

    Returns:
        Array (architectures, choices * candidates) of float32.
    """
    choices, candidates = space.shape
    decisions = np.array([a.decisions for a in architectures])
    return np.eye(candidates, dtype=np.float32)[decisions].reshape(-1, choices * candidates)
