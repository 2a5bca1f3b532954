"""Random search, the baseline of Li and Talwalkar (arXiv:1902.07638)."""

from ..architecture import Query
from .base import Strategy


class RandomSearch(Strategy):
    """Random search: independent uniform draws from the valid architectures.

    An architecture can come again.

    Reference:
        Li and Talwalkar, Random search and reproducibility for neural architecture search, arXiv:1902.07638.
    """

    def ask(self) -> Query:
        return Query(self.space.sample(self.rng))
