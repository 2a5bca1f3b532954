"""The interface of an estimator: one call, batched."""

from collections.abc import Callable, Mapping, Sequence

from ..architecture import Query

Estimator = Callable[[Sequence[Query]], list[Mapping[str, float]]]
