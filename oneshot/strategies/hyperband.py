"""Hyperband (Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, arXiv:1603.06560)."""

from ..spaces.base import SearchSpace
from .rungs import Halving, Rung


class Hyperband(Halving):
    """Brackets of successive halving, from many architectures at the lowest fidelity to few at fidelity 1, for ever.

    Algorithm 1 with R = eta**s_max in units of the lowest fidelity, the smallest eta**-k not below
    `minimum_fidelity`: bracket s starts n = ceil((s_max + 1) * eta**s / (s + 1)) architectures at fidelity eta**-s.
    Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        eta: int = 3,
        minimum_fidelity: float = 1 / 27,
    ) -> None:
        super().__init__(space, seed, metric, eta, minimum_fidelity)

    def rungs(self, index: int) -> list[Rung]:
        s = self.deepest - index % (self.deepest + 1)
        n = -(-(self.deepest + 1) * self.eta**s // (s + 1))
        return [Rung(n // self.eta**i, self.eta ** float(i - s)) for i in range(s + 1)]
