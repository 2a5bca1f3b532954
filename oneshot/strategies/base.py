"""The interface of a strategy: a method without gradients, that asks for architectures and is told their scores."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from ..architecture import Architecture, Query
from ..spaces.base import SearchSpace


class Strategy(ABC):
    """Asks for architectures of a space, one after the other, and is told their scores.

    What is asked is a function of the seed and of the calls before, so a strategy has no state to save: a restart
    asks and tells again what was logged. A score is the number that is maximized; one that failed is -inf.
    Asks may run ahead of tells, tells may come in another order, and an architecture may come again.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, metric: str = "accuracy") -> None:
        self.space, self.metric = space, metric
        self.needs: tuple[str, ...] = (metric,)  # the scores it is told
        self.rng = random.Random(seed)

    @abstractmethod
    def ask(self) -> Query:
        """The next architecture to score."""

    def tell(self, query: Query, scores: Mapping[str, float]) -> None:
        """The scores of a query; one without a finite number for the metric counts as failed."""
        self.learn(query, score_of(scores, self.metric))

    def learn(self, query: Query, score: float) -> None:  # noqa: B027  (an empty default is meant)
        """Use one answer; nothing for a strategy that does not learn."""


def score_of(scores: Mapping[str, float], metric: str) -> float:
    """The finite number of that name, or -inf."""
    score = float(scores.get(metric, math.nan))
    return score if math.isfinite(score) else -math.inf


def unseen(space: SearchSpace, rng: random.Random, seen: Collection[Architecture]) -> Architecture:
    """A random architecture that is not among those, or any where hundred draws find none."""
    for _ in range(100):
        architecture = space.sample(rng)
        if architecture not in seen:
            break
    return architecture
