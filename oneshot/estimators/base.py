"""The interface of an estimator: one function that scores a batch of queries."""

from collections.abc import Callable, Mapping, Sequence

from ..architecture import Query

Estimator = Callable[[Sequence[Query]], list[Mapping[str, float]]]
"""From queries to the scores of each, by name. A larger score is better; `{}` is the answer to a query that failed."""
