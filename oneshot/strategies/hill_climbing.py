"""Hill climbing with restarts, the local search of White, Nolen and Savani (arXiv:2005.02960)."""

import math

from ..architecture import Architecture, Query
from ..errors import check_boolean, check_integer
from ..spaces.base import SearchSpace
from .base import Strategy, unseen


class HillClimbing(Strategy):
    """From the best of `starts` random architectures, ask for neighbours in random order and move to the first better.

    The paper moves to the best of all neighbours; `first_improvement=false` does that. At a local optimum, all
    neighbours told and none better, it starts anew. Architectures that were asked before are not asked again;
    their scores still count. While the last neighbours' scores are on their way, it asks for the next climb's starts.
    Raises InputError for anything out of range.
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
        """The next one to ask for, after all moves that the scores allow; None where a start is needed."""
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
