"""What strategies with a surrogate share: a pool of candidates to compare, and expected improvement."""

import random
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import norm

from oneshot.architecture import Architecture
from oneshot.spaces.base import SearchSpace

Numbers = np.ndarray


def pool(
    space: SearchSpace, rng: random.Random, scores: Mapping[Architecture, float], seen: set[Architecture], size: int
) -> list[Architecture]:
    """Up to `size` architectures that were not asked: half of them random, half one or two mutations from the best ten."""
    best = sorted(scores, key=lambda a: -scores[a])[:10]
    found: dict[Architecture, None] = {}
    for n in range(4 * size):
        architecture = space.sample(rng)
        if best and n % 2:
            architecture = space.mutate(rng.choice(best), rng)
            if rng.random() < 0.5:
                architecture = space.mutate(architecture, rng)
        if architecture not in seen:
            found[architecture] = None
        if len(found) == size:
            break
    return list(found) or [space.sample(rng)]


def expected_improvement(mean: Numbers, deviation: Numbers, best: float) -> Numbers:
    """Of a maximum over `best`, under normal predictions."""
    deviation = np.maximum(deviation, 1e-12)
    z = (mean - best) / deviation
    return deviation * (z * norm.cdf(z) + norm.pdf(z))


def encode(space: SearchSpace, architectures: Sequence[Architecture]) -> Numbers:
    """One-hot rows: (architectures, choices * candidates)."""
    return np.stack([space.one_hot(a).flatten().numpy() for a in architectures])
