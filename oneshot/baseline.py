"""Runs a strategy against an estimator inside a budget."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .architecture import Architecture, Query
from .errors import InputError, check_integer, check_range, unknown
from .estimators.logged import LoggedEstimator
from .strategies.base import Strategy


@dataclass(frozen=True)
class Budget:
    """queries: asks, each counts, whether it was answered before or not. seconds: of asking, scoring and telling.

    One of them may be None; with both, the first that is used up ends the run. Raises InputError for 0 or nothing.
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
    """A search without gradients: `run` asks the strategy, scores what it asks for, and tells it.

    answers: the estimator; where it has a log, the strategy is first brought back to the log's end. batch:
    architectures that are asked for before their scores are told. record: called with a row a query: step, fidelity,
    score (where it did not fail) and best, which is the anytime curve.
    The best architecture is the one with the highest score at the highest fidelity seen, the first where equal.
    Afterwards: `best`, its query, and `best_score`; `rows`; `incumbents`, the best after each query.
    Raises InputError for numbers out of range, for a metric that the estimator does not give, and where no query could
    be scored.
    """

    def __init__(
        self,
        strategy: Strategy,
        answers: LoggedEstimator,
        budget: Budget,
        batch: int = 1,
        record: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> None:
        check_integer("batch", batch, 1)
        self.strategy, self.answers, self.budget, self.batch, self.record = strategy, answers, budget, batch, record
        self.rows: list[dict[str, Any]] = []
        self.best: Query | None = None
        self.best_score = -math.inf
        self.incumbents: list[Architecture | None] = []

    @property
    def total(self) -> float:
        """The budget in its own unit: queries, or seconds where they alone count."""
        return self.budget.queries or self.budget.seconds or 0.0

    @property
    def done(self) -> float:
        return len(self.rows) if self.budget.queries else self.answers.elapsed

    def run(self) -> Architecture:
        while not self._spent():
            left = math.inf if self.budget.queries is None else self.budget.queries - len(self.rows)
            queries = [self.strategy.ask() for _ in range(int(min(self.batch, left)))]
            for query, scores in zip(queries, self.answers(queries), strict=True):
                self.strategy.tell(query, scores)
                self._take(query, scores)
        if self.best is None:
            raise InputError(f"none of {len(self.rows)} queries could be scored: {self.answers.rows[-1].get('error')}")
        return self.best.architecture

    def _spent(self) -> bool:
        if self.budget.queries is not None and len(self.rows) >= self.budget.queries:
            return True
        return self.budget.seconds is not None and self.answers.elapsed >= self.budget.seconds

    def _take(self, query: Query, scores: Mapping[str, float]) -> None:
        if scores:
            check_needs(self.strategy, scores)
        score = scores.get(self.strategy.metric)
        if score is not None:
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
    """Raise InputError that names the first score the strategy needs and these lack."""
    if strategy.metric == "cost":
        raise InputError("metric=cost: a metric is maximized; reward pays for the cost, strategy=nsga2 minimizes it")
    for name in strategy.needs:
        if name == "cost" and name not in scores:
            raise InputError("this strategy needs a cost: cost=multiply_accumulates, parameters or latency gives one")
        if name not in scores:
            raise unknown("metric", name, scores)
