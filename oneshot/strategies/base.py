"""The interface of a strategy: a search method without gradients, which asks for architectures and gets scores."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping

from ..architecture import Architecture, Query
from ..spaces.base import SearchSpace


class Strategy(ABC):
    """Asks for architectures of a space, one after the other, and learns from their scores.

    What a strategy asks for depends only on its seed and on the earlier calls. It therefore has no state to save: after
    a restart the logged queries are asked and answered again. A larger score is better; a failed query has the score
    -inf. Asks may run ahead of the answers, answers may come in another order, and an architecture may come again.

    `needs` lists the names of the scores that an estimator must give.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, metric: str = "accuracy") -> None:
        self.space, self.metric = space, metric
        self.needs: tuple[str, ...] = (metric,)  # scores that an estimator must give
        self.rng = random.Random(seed)

    @abstractmethod
    def ask(self) -> Query:
        """Return the query for the next architecture to score."""

    def tell(self, query: Query, scores: Mapping[str, float]) -> None:
        """Pass on the scores of a query. A query without a finite number for the metric counts as failed.

        Args:
            query: The query, as `ask` returned it or from elsewhere.
            scores: Score by name, as an estimator returns them; empty if the query failed.
        """
        self.learn(query, score_of(scores, self.metric))

    def learn(self, query: Query, score: float) -> None:  # noqa: B027  (empty on purpose)
        """Learn from one answer. A strategy that does not learn keeps this empty method.

        Args:
            query: The query that was answered.
            score: The value of the metric, or -inf if the query failed.
        """


def score_of(scores: Mapping[str, float], metric: str) -> float:
    """Return a score by its name, or -inf where there is no finite number.

    Args:
        scores: Score by name.
        metric: Name of the wanted score.

    Returns:
        The score, or -inf.
    """
    score = float(scores.get(metric, math.nan))
    return score if math.isfinite(score) else -math.inf


def unseen(space: SearchSpace, rng: random.Random, seen: Collection[Architecture]) -> Architecture:
    """Draw a random architecture that was not seen before.

    Args:
        space: The search space.
        rng: Source of the random draws.
        seen: Architectures to avoid.

    Returns:
        A valid architecture outside `seen`, or the last draw if a hundred draws find none.
    """
    for _ in range(100):
        architecture = space.sample(rng)
        if architecture not in seen:
            break
    return architecture
