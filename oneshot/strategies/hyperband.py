"""Hyperband (Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, arXiv:1603.06560)."""

from ..spaces.base import SearchSpace
from .rungs import Halving, Rung


class Hyperband(Halving):
    """Hyperband: brackets of successive halving, from many cheap evaluations to few at full fidelity, without end.

    This is Algorithm 1 with R = eta**s_max in units of the lowest fidelity, which is the smallest eta**-k that is not
    below `minimum_fidelity`. Bracket s starts n = ceil((s_max + 1) * eta**s / (s + 1)) architectures at fidelity
    eta**-s. The brackets s_max, s_max - 1, ..., 0 follow each other and then begin again.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        eta: One in `eta` architectures goes on to the next rung, with `eta` times the fidelity; at least 2.
        minimum_fidelity: Lower limit of the fidelity, a share of the full training in [1e-6, 1]; 0.037 allows 1/27.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, Hyperband, arXiv:1603.06560.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        eta: int = 3,
        minimum_fidelity: float = 0.037,
    ) -> None:
        super().__init__(space, seed, metric, eta, minimum_fidelity)

    def rungs(self, index: int) -> list[Rung]:
        s = self.deepest - index % (self.deepest + 1)
        n = -(-(self.deepest + 1) * self.eta**s // (s + 1))
        return [Rung(n // self.eta**i, self.eta ** float(i - s)) for i in range(s + 1)]
