"""What strategies with a surrogate model share: answers to fit, a pool of candidates, and expected improvement."""

import heapq
import math
import random
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from scipy.stats import norm, rankdata

from ..architecture import Architecture, Query
from ..errors import check_integer
from ..spaces.base import SearchSpace
from .base import Strategy, unseen

Numbers = np.ndarray
PARENTS = 10


class Surrogate(Strategy):
    """Fits a model to the answers and asks for the most promising one of a pool of candidates.

    The model is fitted to at most `history` answers (see `kept`). Until there are more, every ask fits it and compares
    a new pool. From then on a pool serves several asks: with n answers, its ceil(n / history) best candidates are asked
    one after the other. So the time of n asks grows about as n, and not as a higher power of n.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        startup: Number of finite scores before the first fit, at least 2; until then asks are random.
        pool: Number of candidates that are compared, at least 1.
        history: Largest number of answers that are fitted, at least 2. None fits all, for every ask.

    Raises:
        InputError: If an argument is out of range.
    """

    def __init__(
        self, space: SearchSpace, seed: int, metric: str, startup: int, pool: int, history: int | None
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.startup", startup, 2)
        check_integer("strategy.pool", pool, 1)
        if history is not None:
            check_integer("strategy.history", history, 2)
        self.startup, self.size, self.history = startup, pool, history
        self.scores: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        self.promising: list[Architecture] = []  # of the last pool, not asked yet, best first

    def ask(self) -> Query:
        self.promising = [a for a in self.promising if a not in self.seen]
        if len(self.scores) < self.startup:
            architecture = unseen(self.space, self.rng, self.seen)
        else:
            if not self.promising:
                candidates, gains = self.compare(kept(self.scores, self.history))
                asks = 1 if self.history is None else math.ceil(len(self.scores) / self.history)
                self.promising = [candidates[i] for i in np.argsort(-gains, kind="stable")[:asks].tolist()]
            architecture = self.promising.pop(0)
        self.seen.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.seen.add(query.architecture)
        if math.isfinite(score):
            self.scores[query.architecture] = score

    @abstractmethod
    def compare(self, told: Sequence[Architecture]) -> tuple[list[Architecture], Numbers]:
        """Fit the model and compare a new pool of candidates.

        Args:
            told: The architectures to fit. `scores` has their scores.

        Returns:
            The candidates, and what each promises, (candidates,).
        """


def kept(scores: Mapping[Architecture, float], history: int | None) -> list[Architecture]:
    """Choose the answers that a model is fitted to: one half the best, the other half the newest of the others.

    The best ones are where the search goes on, and a model has to be right there. The newest ones correct what the last
    models got wrong; without them a poor region would be asked for again and again.

    Args:
        scores: Score by architecture, oldest first.
        history: Largest number of answers. None keeps all.

    Returns:
        The architectures, oldest first.
    """
    if history is None or len(scores) <= history:
        return list(scores)
    chosen = set(heapq.nlargest(history - history // 2, scores, key=scores.__getitem__))
    for architecture in reversed(list(scores)):
        if len(chosen) == history:
            break
        chosen.add(architecture)
    return [architecture for architecture in scores if architecture in chosen]


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
    best = heapq.nlargest(PARENTS, scores, key=scores.__getitem__)
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
