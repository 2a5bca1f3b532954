"""A baseline: a search without gradients, inside a budget."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .architecture import Architecture, Query
from .cost import ExpectedCost
from .cost.limits import limit_of
from .errors import InputError, check_integer, check_range, unknown
from .estimators.logged import LoggedEstimator
from .strategies.base import Strategy

PROPOSALS = 10_000  # in a row that may be over a limit


class NoneHolds(InputError):
    """A strategy proposes nothing that holds the limit."""


@dataclass(frozen=True)
class Budget:
    """How long a baseline may search. With both limits, the first that is used up ends it.

    Args:
        queries: Architectures that are asked for. Each ask counts, even if the answer is known. None for no limit.
        seconds: Seconds of asking, scoring and telling. None for no limit.

    Raises:
        InputError: If both are None, or one is 0 or less.
    """

    queries: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.queries is None and self.seconds is None:
            raise InputError("budget: must be given, budget.queries=N or budget.seconds=S")
        if self.queries is not None:
            check_integer("budget.queries", self.queries, 1)
        if self.seconds is not None:
            check_range("budget.seconds", self.seconds, 0.0, open_low=True)


class Baseline:
    """A search without gradients. It asks a strategy, scores what the strategy asks for, and tells it the scores.

    The best architecture is the one with the highest score at the highest fidelity seen, and of equal ones the first.
    After `run` these attributes are there: `best`, the best query, and `best_score`; `rows`, one a query;
    `incumbents`, the best architecture after each query.

    Args:
        strategy: Proposes architectures.
        answers: The estimator with its log. If the log has queries, the strategy is first brought back to its end.
        budget: When the search ends.
        batch: Architectures that are asked for before their scores are told.
        record: Called with a row for each query: `step`, `fidelity`, `score` (unless it failed) and `best`. The last
            one over the steps is the anytime curve.
        cost: A cost with a limit. What does not hold it is not scored and takes nothing of the budget: the strategy is
            at once told a score below all others, by how much it is over the limit (Deb's rule), and asked again.
            None: there is no limit.

    Raises:
        InputError: If `batch` is out of range.

    Reference:
        Deb, An efficient constraint handling method for genetic algorithms, 2000 (the rule).
    """

    def __init__(
        self,
        strategy: Strategy,
        answers: LoggedEstimator,
        budget: Budget,
        batch: int = 1,
        record: Callable[[Mapping[str, Any]], None] | None = None,
        cost: ExpectedCost | None = None,
    ) -> None:
        check_integer("batch", batch, 1)
        self.cost = cost if cost is not None and cost.limit else None
        self.refused = 0  # proposals over the limit
        self.ended = ""  # why it ended before its budget was spent
        self.worst = 0.0  # smallest score so far, and at most 0
        self.strategy, self.answers, self.budget, self.batch, self.record = strategy, answers, budget, batch, record
        self.rows: list[dict[str, Any]] = []
        self.best: Query | None = None
        self.best_score = -math.inf
        self.incumbents: list[Architecture | None] = []

    @property
    def total(self) -> float:
        """The budget, in queries, or in seconds if they alone are limited."""
        return self.budget.queries or self.budget.seconds or 0.0

    @property
    def done(self) -> float:
        """What is used up of the budget, in its own unit."""
        return len(self.rows) if self.budget.queries else self.answers.elapsed

    def run(self) -> Architecture:
        """Spend the budget.

        Returns:
            The best architecture.

        Raises:
            InputError: If no query could be scored, or the strategy needs a score that the estimator does not give.
        """
        while not self._spent():
            left = math.inf if self.budget.queries is None else self.budget.queries - len(self.rows)
            try:
                queries = [self._ask() for _ in range(int(min(self.batch, left)))]
            except NoneHolds as error:
                if self.best is None:
                    raise
                self.ended = str(error)
                break
            for query, scores in zip(queries, self.answers(queries), strict=True):
                self.strategy.tell(query, scores)
                self._take(query, scores)
        if self.best is None:
            raise InputError(f"none of {len(self.rows)} queries could be scored: {self.answers.rows[-1].get('error')}")
        return self.best.architecture

    def _ask(self) -> Query:
        """The next proposal that holds the limit, if there is one. The strategy learns the costs of the others."""
        if self.cost is None:
            return self.strategy.ask()
        limit = limit_of(self.cost)
        for _ in range(PROPOSALS):
            query = self.strategy.ask()
            cost = self.cost.of(self.strategy.space.used(query.architecture).decisions)
            excess = cost / limit.value - 1
            if excess <= 0:
                return query
            self.refused += 1
            score = self.worst - min(excess, 1.0)
            told = dict.fromkeys((self.strategy.metric, *self.strategy.needs), score)
            self.strategy.tell(query, {**told, **({"cost": cost} if "cost" in told else {})})
        raise NoneHolds(
            f"cost.limit={limit.text}: none of {PROPOSALS:,} proposals in a row holds it; a higher limit or another "
            "strategy is needed"
        )

    def _spent(self) -> bool:
        if self.budget.queries is not None and len(self.rows) >= self.budget.queries:
            return True
        return self.budget.seconds is not None and self.answers.elapsed >= self.budget.seconds

    def _take(self, query: Query, scores: Mapping[str, float]) -> None:
        if scores:
            check_needs(self.strategy, scores)
        score = scores.get(self.strategy.metric)
        if score is not None:
            self.worst = min(self.worst, score)
            fidelity = -math.inf if self.best is None else self.best.fidelity
            if (query.fidelity, score) > (fidelity, self.best_score):
                self.best, self.best_score = query, score
        row: dict[str, Any] = {"step": len(self.rows) + 1, "fidelity": query.fidelity}
        if score is not None:
            row["score"] = score
        if self.best is not None:
            row["best"] = self.best_score
        self.rows.append(row)
        self.incumbents.append(self.best.architecture if self.best else None)
        if self.record:
            self.record(row)


def check_needs(strategy: Strategy, scores: Collection[str]) -> None:
    """Check that an estimator gives what a strategy needs.

    Args:
        strategy: Names its metric and the scores it needs.
        scores: The names of the scores that the estimator gives.

    Raises:
        InputError: If one is missing; the message names the first.
    """
    if strategy.metric == "cost":
        raise InputError("metric=cost: a metric is maximized; reward pays for the cost, strategy=nsga2 minimizes it")
    for name in strategy.needs:
        if name == "cost" and name not in scores:
            raise InputError("this strategy needs a cost: cost=multiply_accumulates, parameters or latency gives one")
        if name not in scores:
            raise unknown("metric", name, scores)
