"""Regularized evolution (Real, Aggarwal, Huang and Le, arXiv:1802.01548)."""

from ..architecture import Architecture, Query
from ..errors import check_boolean, check_integer, check_range, unknown
from ..spaces.base import SearchSpace
from .base import Strategy

REMOVALS = ("oldest", "worst", "none")


class Evolution(Strategy):
    """Regularized evolution: the best of a random tournament is mutated, the child joins, and the oldest member leaves.

    The first `population` asks are random. After that, `tournament` members are drawn (all of them if there are fewer),
    and the best of these is the parent.

    Paper: population 100 and tournament 25, for 20,000 queries. The defaults here suit some hundred queries.

    Differences:
        - A mutation is the space's own. In the DARTS space, where each node keeps two edges, about half of the
          mutations move an edge and so change two decisions; in the others one decision changes.
        - The members of a tournament are drawn without replacement; in the paper's code a member can be drawn twice.
        - `crossover` is an addition. With this probability a child first takes each decision from one of two parents,
          provided that the mix is valid.
        - `removal` can also be "worst" (the member with the lowest score leaves) or "none" (nobody leaves).
        - A child that was asked before is drawn again, up to ten times, because the same query gives nothing new.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        population: Number of members, at least 2. The first so many asks are random.
        tournament: Number of members that are drawn to choose a parent, at least 1.
        removal: Which member leaves: "oldest" (the paper's aging), "worst" or "none".
        crossover: Probability of a second parent, in [0, 1]; 0 in the paper.
        inherit: Whether a child's query names its parent, so that an estimator that trains can start from the parent's
            weights.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Real, Aggarwal, Huang and Le, Regularized evolution for image classifier architecture search, arXiv:1802.01548.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        population: int = 20,
        tournament: int = 10,
        removal: str = "oldest",
        crossover: float = 0.0,
        inherit: bool = False,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.population", population, 2)
        check_integer("strategy.tournament", tournament, 1)
        check_range("strategy.crossover", crossover, 0.0, 1.0)
        check_boolean("strategy.inherit", inherit)
        if removal not in REMOVALS:
            raise unknown("strategy.removal", removal, REMOVALS)
        self.size, self.tournament, self.removal = population, tournament, removal
        self.crossover, self.inherit = crossover, inherit
        self.population: list[tuple[Architecture, float]] = []  # oldest first
        self.seen: set[Architecture] = set()
        self.started = 0

    def ask(self) -> Query:
        if self.started < self.size or not self.population:
            self.started += 1
            return self._asked(Query(self.space.sample(self.rng)))
        parent = self._winner()
        for _ in range(10):
            child = parent
            if self.crossover and self.rng.random() < self.crossover:
                child = self._crossed(parent, self._winner())
            child = self.space.mutate(child, self.rng)
            if child not in self.seen:
                break
        return self._asked(Query(child, parent=parent if self.inherit else None))

    def learn(self, query: Query, score: float) -> None:
        self.seen.add(query.architecture)
        self.population.append((query.architecture, score))
        if len(self.population) <= self.size or self.removal == "none":
            return
        leaves = 0
        if self.removal == "worst":
            leaves = min(range(len(self.population)), key=lambda i: self.population[i][1])
        del self.population[leaves]

    def _asked(self, query: Query) -> Query:
        self.seen.add(query.architecture)
        return query

    def _winner(self) -> Architecture:
        drawn = self.rng.sample(self.population, min(self.tournament, len(self.population)))
        return max(drawn, key=lambda member: member[1])[0]

    def _crossed(self, first: Architecture, second: Architecture) -> Architecture:
        mixed = tuple(self.rng.choice(pair) for pair in zip(first.decisions, second.decisions, strict=True))
        return Architecture(first.space, mixed) if self.space.is_valid(mixed) else first
