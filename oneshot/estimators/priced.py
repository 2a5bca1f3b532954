"""The cost of an architecture, added to the scores of another estimator."""

from collections.abc import Mapping, Sequence

from ..architecture import Query
from ..cost import ExpectedCost
from ..spaces.base import SearchSpace
from .base import Estimator


class Priced:
    """Adds the scores `cost` and `reward` to those of another estimator.

    `cost` is the sum over the candidates that the network uses, in the cost's own unit. What does not depend on the
    choices (stem, head) is not counted. `reward` = 1 - cost(1 - accuracy), as in this package's ENAS. A strategy with a
    single objective can maximize it to search under a cost.

    Args:
        estimator: An estimator that gives `accuracy`.
        space: The search space.
        cost: The cost, with its weight and its form.
    """

    adds = ("cost", "reward")

    def __init__(self, estimator: Estimator, space: SearchSpace, cost: ExpectedCost) -> None:
        self.estimator, self.space, self.cost = estimator, space, cost

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return [self._priced(q, scores) for q, scores in zip(queries, self.estimator(queries), strict=True)]

    def _priced(self, query: Query, scores: Mapping[str, float]) -> Mapping[str, float]:
        used = self.space.used(query.architecture)
        one_hot = self.space.one_hot(used).to(self.cost.table)
        error = one_hot.new_tensor(1 - scores["accuracy"])
        reward = 1 - float(self.cost(error, one_hot))
        return {**scores, "cost": self.cost.of(used.decisions), "reward": reward}
