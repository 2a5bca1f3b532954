"""NSGA-II (Deb, Pratap, Agarwal and Meyarivan, 2002, doi:10.1109/4235.996017), by Optuna's sampler: two objectives."""

import math
from collections.abc import Mapping

from optuna.samplers import NSGAIISampler

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy, score_of, unseen
from .trials import Prefix, Trials


class NSGA2(Strategy):
    """Maximizes `metric` and minimizes the score `objective`: children of the least dominated of two generations.

    A generation ends when `population` architectures are told; of it and its parents the best fronts, and of the last
    of these the least crowded, are the next parents. The paper also prefers the less crowded of two parents, Optuna's
    sampler only the one that dominates. Genes are one candidate a choice, crossed uniformly (probability `crossover` a
    child, `swapping` a gene) and redrawn with probability `mutation`; null redraws one gene a child on average. Genes
    that are not allowed together stand for an architecture that is: earlier choices keep theirs. The first generation
    is uniform over the valid architectures, as repaired genes would not be. An architecture asked before is drawn
    again, up to `redraws` times.
    Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        objective: str = "cost",
        population: int = 20,
        crossover: float = 0.9,
        swapping: float = 0.5,
        mutation: float | None = None,
        redraws: int = 10,
    ) -> None:
        super().__init__(space, seed, metric)
        check_integer("strategy.population", population, 2)
        check_range("strategy.crossover", crossover, 0.0, 1.0)
        check_range("strategy.swapping", swapping, 0.0, 1.0)
        if mutation is not None:
            check_range("strategy.mutation", mutation, 0.0, 1.0)
        check_integer("strategy.redraws", redraws, 0)
        self.objective, self.population = objective, population
        self.needs = (metric, objective)
        sampler = NSGAIISampler(
            population_size=population,
            crossover_prob=crossover,
            swapping_prob=swapping,
            mutation_prob=mutation,
            seed=self.rng.randrange(2**31),
        )
        self.trials = Trials(space, sampler, ["maximize", "minimize"], self._parameter, redraws)
        self.told: dict[Architecture, tuple[float, float]] = {}  # its last scores
        self.answers = 0

    def ask(self) -> Query:
        if self.answers >= self.population:
            return Query(self.trials.ask())
        architecture = unseen(self.space, self.rng, self.trials.seen)
        self.trials.add(architecture)
        return Query(architecture)

    def tell(self, query: Query, scores: Mapping[str, float]) -> None:
        """Both scores of a query; it failed unless both are finite numbers."""
        found = score_of(scores, self.metric), score_of(scores, self.objective)
        failed = not all(map(math.isfinite, found))
        self.trials.tell(query.architecture, None if failed else found)
        if not failed:
            self.told[query.architecture] = found
            self.answers += 1

    def front(self) -> list[Architecture]:
        """The told architectures that no other told one dominates, from the most to the least of the metric."""
        order = sorted(self.told, key=lambda a: (-self.told[a][0], self.told[a][1]))
        return [a for a in order if not any(dominates(other, self.told[a]) for other in self.told.values())]

    def _parameter(self, prefix: Prefix) -> tuple[str, Prefix]:
        """The same whatever was decided before, so that any two architectures can be crossed."""
        choice = len(prefix)
        return str(choice), tuple(range(len(self.space.choices[choice].candidates)))


def dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether (metric, objective) is at least as good in both and better in one."""
    return first != second and first[0] >= second[0] and first[1] <= second[1]
