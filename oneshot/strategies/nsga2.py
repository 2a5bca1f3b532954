"""NSGA-II (Deb, Pratap, Agarwal and Meyarivan, 2002, doi:10.1109/4235.996017), by Optuna's sampler: two objectives."""

import math
from collections.abc import Mapping

from ..architecture import Architecture, Query
from ..errors import check_integer, check_range
from ..spaces.base import SearchSpace
from .base import Strategy, score_of, unseen
from .trials import Prefix, Redrawing, Trials


class NSGA2(Strategy):
    """NSGA-II: maximizes `metric` and minimizes `objective` by non-dominated sorting, with Optuna's sampler.

    A generation ends when `population` architectures have scores. Of it and of its parents, the best fronts become the
    next parents; the last front that fits only in part gives its least crowded members.

    Genes are the decisions, one candidate for each choice. They are crossed uniformly and redrawn with probability
    `mutation`.

    Differences from the paper:
        - Of two possible parents, Optuna's sampler prefers only the one that dominates. The paper then also prefers the
          less crowded one.
        - Genes that are not allowed together are repaired: earlier choices keep theirs, later ones change.
        - The first generation is uniform over the valid architectures, which repaired genes would not be.
        - An architecture that was asked before is drawn again, up to `redraws` times.
        - The paper's population is 100; the default here is 20.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        objective: Name of the score that is minimized.
        population: Number of architectures of a generation, at least 2.
        crossover: Probability that a child has two parents, in [0, 1].
        swapping: Probability that a crossed child takes a gene from the second parent, in [0, 1].
        mutation: Probability that a gene is redrawn, in [0, 1]. None is 1 / choices: one gene of a child on average.
        redraws: How often an architecture that was asked before is drawn again, at least 0.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Deb, Pratap, Agarwal and Meyarivan, A fast and elitist multiobjective genetic algorithm: NSGA-II, 2002,
        doi:10.1109/4235.996017.
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
        sampler = Redrawing(
            population_size=population,
            crossover_prob=crossover,
            swapping_prob=swapping,
            mutation_prob=mutation,
            seed=self.rng.randrange(2**31),
        )
        self.trials = Trials(space, sampler, ["maximize", "minimize"], self._parameter, redraws)
        self.told: dict[Architecture, tuple[float, float]] = {}  # last scores (metric, objective)
        self.answers = 0

    def ask(self) -> Query:
        if self.answers >= self.population:
            return Query(self.trials.ask())
        architecture = unseen(self.space, self.rng, self.trials.seen)
        self.trials.add(architecture)
        return Query(architecture)

    def tell(self, query: Query, scores: Mapping[str, float]) -> None:
        """Use both scores of a query. It has failed unless both are finite numbers."""
        found = score_of(scores, self.metric), score_of(scores, self.objective)
        failed = not all(map(math.isfinite, found))
        self.trials.tell(query.architecture, None if failed else found)
        if not failed:
            self.told[query.architecture] = found
            self.answers += 1

    def front(self) -> list[Architecture]:
        """Return the scored architectures that no other scored one dominates, from the best to the worst metric."""
        order = sorted(self.told, key=lambda a: (-self.told[a][0], self.told[a][1]))
        return [a for a in order if not any(dominates(other, self.told[a]) for other in self.told.values())]

    def _parameter(self, prefix: Prefix) -> tuple[str, Prefix]:
        """The same parameter whatever was decided before, so that any two architectures can be crossed."""
        choice = len(prefix)
        return str(choice), tuple(range(len(self.space.choices[choice].candidates)))


def dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Decide whether one point is at least as good as another in both scores, and better in one.

    Args:
        first: (metric, objective) of the one point; the metric is maximized, the objective minimized.
        second: The same of the other point.

    Returns:
        Whether `first` dominates `second`.
    """
    return first != second and first[0] >= second[0] and first[1] <= second[1]
