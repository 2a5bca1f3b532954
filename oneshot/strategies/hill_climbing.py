"""Hill climbing with restarts, the local search of White, Nolen and Savani (arXiv:2005.02960)."""

import math

from oneshot.architecture import Architecture, Query
from oneshot.errors import check_boolean, check_integer
from oneshot.spaces.base import SearchSpace
from oneshot.strategies.base import Strategy


class HillClimbing(Strategy):
    """From the best of `starts` random architectures, ask for neighbours in random order and move to the first better.

    The paper moves to the best of all neighbours; `first_improvement=false` does that. At a local optimum, all
    neighbours asked and none better, it starts anew. Architectures that were asked before are not asked again;
    their scores still count. Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        starts: int = 10,
        first_improvement: bool = True,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.starts", starts, 1)
        check_boolean("strategy.first_improvement", first_improvement)
        self.starts, self.first_improvement = starts, first_improvement
        self.scores: dict[Architecture, float] = {}
        self.asked: set[Architecture] = set()
        self._restart()

    def _restart(self) -> None:
        self.drawn: list[Architecture] = []
        self.at: Architecture | None = None
        self.left: list[Architecture] = []

    def ask(self) -> Query:
        if self.at is None and len(self.drawn) >= self.starts and all(a in self.scores for a in self.drawn):
            self._move(max(self.drawn, key=lambda a: self.scores[a]))
        if self.at is not None:
            self._climb()
        if self.at is None or not self.left:
            architecture = self.space.sample(self.rng)
            for _ in range(100):
                if architecture not in self.asked:
                    break
                architecture = self.space.sample(self.rng)
            if self.at is None:
                self.drawn.append(architecture)
        else:
            architecture = self.left.pop()
        self.asked.add(architecture)
        return Query(architecture)

    def _move(self, to: Architecture) -> None:
        self.at = to
        self.around = list(self.space.neighbours(to))
        self.left = [a for a in self.around if a not in self.asked]
        self.rng.shuffle(self.left)

    def _climb(self) -> None:
        """Move while a better neighbour is known; at a local optimum start anew."""
        while self.at is not None:
            known = [a for a in self.around if a in self.scores]
            best = max(known, key=lambda a: self.scores[a], default=None)
            better = best is not None and self.scores[best] > self.scores.get(self.at, -math.inf)
            if better and best is not None and (self.first_improvement or not self.left):
                self._move(best)
            elif self.left or len(known) < len(self.around) and any(a not in self.asked for a in self.around):
                return
            elif len(known) < len(self.around):
                return  # answers are on their way
            else:
                self._restart()

    def learn(self, query: Query, score: float) -> None:
        self.scores[query.architecture] = max(score, self.scores.get(query.architecture, -math.inf))
