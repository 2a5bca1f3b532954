"""Random search: architectures drawn uniformly from the valid ones, the baseline of Li and Talwalkar (arXiv:1902.07638)."""

from oneshot.architecture import Query
from oneshot.strategies.base import Strategy


class RandomSearch(Strategy):
    """Every ask is an independent draw, so an architecture can come again."""

    def ask(self) -> Query:
        return Query(self.space.sample(self.rng))
