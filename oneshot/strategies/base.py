"""The interface of a strategy: a method without gradients, that asks for architectures and is told their scores."""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping

from oneshot.architecture import Architecture, Query
from oneshot.spaces.base import SearchSpace


class Strategy(ABC):
    """Asks for architectures of a space, one after the other, and is told their scores.

    What is asked is a function of the seed and of the calls before, so a strategy has no state to save: a restart
    asks and tells again what was logged. A score is the number that is maximized; one that failed is -inf.
    Asks may run ahead of tells, tells may come in another order, and an architecture may come again.
    """

    def __init__(self, space: SearchSpace, seed: int = 0, metric: str = "accuracy") -> None:
        self.space, self.metric = space, metric
        self.rng = random.Random(seed)

    @abstractmethod
    def ask(self) -> Query:
        """The next architecture to score."""

    def tell(self, query: Query, scores: Mapping[str, float]) -> None:
        """The scores of a query; one without a finite number for the metric counts as failed."""
        score = scores.get(self.metric, math.nan)
        self.learn(query, float(score) if math.isfinite(score) else -math.inf)

    def learn(self, query: Query, score: float) -> None:
        """Use one answer; nothing for a strategy that does not learn."""


class History:
    """Every architecture told at full fidelity, with its best score, in the order of the first tells."""

    def __init__(self) -> None:
        self.scores: dict[Architecture, float] = {}

    def add(self, architecture: Architecture, score: float) -> None:
        self.scores[architecture] = max(score, self.scores.get(architecture, -math.inf))


def unseen(
    space: SearchSpace, rng: random.Random, seen: "set[Architecture] | dict[Architecture, float]"
) -> Architecture:
    """A random architecture that is not among those, or any where hundred draws find none."""
    for _ in range(100):
        architecture = space.sample(rng)
        if architecture not in seen:
            break
    return architecture
