"""Successive halving (Jamieson and Talwalkar, arXiv:1502.07943)."""

from ..errors import check_integer
from ..spaces.base import SearchSpace
from .rungs import Halving, Rung


class SuccessiveHalving(Halving):
    """Of n random architectures at the lowest fidelity, the best n/eta go on to eta times the fidelity, until it is 1.

    The paper halves (eta = 2) inside a fixed budget; here one bracket follows the other, and every rung has at least
    one architecture. Fidelities are eta**-k, none below `minimum_fidelity`. n: architectures in a bracket's first
    rung. Raises InputError for anything out of range.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        n: int = 27,
        eta: int = 3,
        minimum_fidelity: float = 1 / 27,
    ) -> None:
        super().__init__(space, seed, metric, eta, minimum_fidelity)
        check_integer("strategy.n", n, 1)
        self.n = n

    def rungs(self, index: int) -> list[Rung]:
        k = self.deepest
        return [Rung(max(1, self.n // self.eta**i), self.eta ** float(i - k)) for i in range(k + 1)]
