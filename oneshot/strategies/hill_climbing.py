"""Hill climbing with restarts, the local search of White, Nolen and Savani (arXiv:2005.02960)."""

import math

from ..architecture import Architecture, Query
from ..errors import check_boolean, check_integer
from ..spaces.base import SearchSpace
from .base import Strategy, unseen


class HillClimbing(Strategy):
    """Local search with restarts: from the best of some random architectures, move on to better neighbours.

    Neighbours are asked in random order. At a local optimum (all neighbours are scored and none is better) a new climb
    starts.

    The paper moves to the best of all neighbours; `first_improvement=False` does that. By default the first better
    neighbour is taken. Architectures that were asked before are not asked again, but their scores still count. While
    the scores of the last neighbours are still missing, asks are used for the starts of the next climb.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        starts: Number of random architectures of which the best one starts a climb, at least 1.
        first_improvement: Whether to move to the first better neighbour (True) or to the best of all (False).

    Raises:
        InputError: If an argument is out of range.

    Reference:
        White, Nolen and Savani, Local search is state of the art for NAS benchmarks, arXiv:2005.02960.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        starts: int = 5,
        first_improvement: bool = True,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.starts", starts, 1)
        check_boolean("strategy.first_improvement", first_improvement)
        self.starts, self.first_improvement = starts, first_improvement
        self.scores: dict[Architecture, float] = {}
        self.seen: set[Architecture] = set()
        self.drawn: list[Architecture] = []  # starts of the next climb
        self.at: Architecture | None = None
        self.around: list[Architecture] = []  # the neighbours, in the order of their asks

    def ask(self) -> Query:
        architecture = self._neighbour()
        if architecture is None:
            architecture = unseen(self.space, self.rng, self.seen)
            self.drawn.append(architecture)
        self.seen.add(architecture)
        return Query(architecture)

    def learn(self, query: Query, score: float) -> None:
        self.seen.add(query.architecture)
        self.scores[query.architecture] = max(score, self.scores.get(query.architecture, -math.inf))

    def _neighbour(self) -> Architecture | None:
        """The next neighbour to ask for, after all moves that the scores allow; None if a new start is needed."""
        while True:
            if self.at is None:
                told = [a for a in self.drawn if a in self.scores]
                if len(told) < self.starts:
                    return None
                self._move(max(told, key=lambda a: self.scores[a]))
                self.drawn = []
            assert self.at is not None
            left = next((a for a in self.around if a not in self.seen), None)
            known = [a for a in self.around if a in self.scores]
            complete = len(known) == len(self.around)
            best = max(known, key=lambda a: self.scores[a], default=self.at)
            if self.scores[best] > self.scores[self.at] and (complete or self.first_improvement):
                self._move(best)
            elif complete:
                self.at = None
            else:
                return left

    def _move(self, to: Architecture) -> None:
        self.at, self.around = to, list(self.space.neighbours(to))
        self.rng.shuffle(self.around)
