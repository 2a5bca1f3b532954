"""The cost of an architecture, added to the scores of another estimator."""

from collections.abc import Mapping, Sequence

from ..architecture import Query
from ..cost import ExpectedCost
from ..spaces.base import SearchSpace
from ..tasks import Classification, Metric
from .base import Estimator


class Priced:
    """Adds the scores `cost` and `reward` to those of another estimator.

    `cost` is the sum over the candidates that the network uses, in the cost's own unit. What does not depend on the
    choices (stem, head) is not counted. `reward` = 1 - cost(error), where the error is 1 - metric, or the metric
    itself if it is minimized, as in this package's ENAS. A strategy with a single objective can maximize it to search
    under a cost.

    Args:
        estimator: An estimator that gives the score of the metric.
        space: The search space.
        cost: The cost, with its weight and its form.
        metric: What the error is of; None is the accuracy of classes.
    """

    adds = ("cost", "reward")

    def __init__(
        self, estimator: Estimator, space: SearchSpace, cost: ExpectedCost, metric: Metric | None = None
    ) -> None:
        self.estimator, self.space, self.cost = estimator, space, cost
        self.metric = metric or Classification().metric(2)

    def __call__(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        return [self._priced(q, scores) for q, scores in zip(queries, self.estimator(queries), strict=True)]

    def _priced(self, query: Query, scores: Mapping[str, float]) -> Mapping[str, float]:
        used = self.space.used(query.architecture)
        one_hot = self.space.one_hot(used).to(self.cost.table)
        value = self.metric.quantity.score(scores[self.metric.quantity.score_name])  # once more: the value itself
        error = self.metric.error(one_hot.new_tensor(value))
        reward = 1 - float(self.cost(error, one_hot))
        return {**scores, "cost": self.cost.of(used.decisions), "reward": reward}
