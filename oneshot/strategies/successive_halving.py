"""Successive halving (Jamieson and Talwalkar, arXiv:1502.07943)."""

from ..errors import check_integer
from ..spaces.base import SearchSpace
from .rungs import Halving, Rung


class SuccessiveHalving(Halving):
    """Successive halving: the best 1/eta of the architectures go on with eta times the fidelity, until it is 1.

    A bracket starts with `n` random architectures at the lowest fidelity. Fidelities are eta**-k, none below
    `minimum_fidelity`.

    The paper halves (eta = 2) within a fixed budget. Here the brackets follow each other without end, and every rung
    has at least one architecture.

    Args:
        space: The search space.
        seed: Seed of all random draws of the strategy.
        metric: Name of the score that is maximized.
        n: Number of architectures in the first rung of a bracket, at least 1.
        eta: One in `eta` architectures goes on to the next rung, with `eta` times the fidelity; at least 2.
        minimum_fidelity: Lower limit of the fidelity, a share of the full training in [1e-6, 1]; 0.037 allows 1/27.

    Raises:
        InputError: If an argument is out of range.

    Reference:
        Jamieson and Talwalkar, Non-stochastic best arm identification and hyperparameter optimization,
        arXiv:1502.07943.
    """

    def __init__(
        self,
        space: SearchSpace,
        seed: int = 0,
        metric: str = "accuracy",
        n: int = 27,
        eta: int = 3,
        minimum_fidelity: float = 0.037,
    ) -> None:
        super().__init__(space, seed, metric, eta, minimum_fidelity)
        check_integer("strategy.n", n, 1)
        self.n = n

    def rungs(self, index: int) -> list[Rung]:
        k = self.deepest
        return [Rung(max(1, self.n // self.eta**i), self.eta ** float(i - k)) for i in range(k + 1)]
