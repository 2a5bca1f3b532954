"""Random search, the baseline of Li and Talwalkar (arXiv:1902.07638)."""

from ..architecture import Query
from .base import Strategy


class RandomSearch(Strategy):
    """Draws uniformly from the valid architectures. Draws are independent, so an architecture can come again."""

    def ask(self) -> Query:
        return Query(self.space.sample(self.rng))
