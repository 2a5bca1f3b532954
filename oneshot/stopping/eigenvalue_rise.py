"""DARTS-ES of RobustDARTS: a search ends when the loss gets sharp in the architecture parameters."""

from collections.abc import Sequence
from math import ceil

from ..errors import check_integer, check_range
from .base import History, Stop, StoppingRule


class EigenvalueRise(StoppingRule):
    r"""Ends a search when the loss gets sharp in the architecture parameters: DARTS-ES of RobustDARTS.

    Let $\bar\lambda(i)$ be the largest eigenvalue of the Hessian of the validation loss by the architecture parameters,
    averaged over a window around its evaluation $i$. The search ends when $\bar\lambda(i-k)\,/\,\bar\lambda(i)$ is
    below `ratio`, and goes back to evaluation $i-k$. The average around $i$ is known half a window later. With the
    published numbers the kept epoch is therefore 12 epochs before the last one.

    The paper compares the ratio with 0.75. The authors' code compares its inverse with 1.3, which is `ratio=0.769`. As
    here, it evaluates after epochs 1, 3, 5 and so on. It does not check after the last epoch; here that is checked too.
    It compares means of any sign. Here a mean that is not positive never counts as the lower end of a rise.

    Args:
        window: Number of evaluations in an average.
        from_epoch: First epoch that may be kept.
        lag: Number of evaluations between the two averages, $k$.
        ratio: The search ends when the earlier average divided by the later one is below this.
        every: Epochs from one evaluation to the next; the first is after epoch 1.

    Raises:
        InputError: If a number is out of range.

    Reference:
        Zela, Elsken, Saikia, Marrakchi, Brox and Hutter, Understanding and Robustifying Differentiable Architecture
        Search, arXiv:1909.09656.
    """

    rows = ("alpha_eigenvalue_largest",)

    def __init__(
        self, window: int = 5, from_epoch: int = 10, lag: int = 4, ratio: float = 0.75, every: int = 2
    ) -> None:
        for name, value in (("window", window), ("from_epoch", from_epoch), ("lag", lag), ("every", every)):
            check_integer(f"stop.{name}", value, 1)
        check_range("stop.ratio", ratio, 0.0, 1.0, open_low=True)
        self.window, self.from_epoch, self.lag, self.ratio, self.every = window, from_epoch, lag, ratio, every
        self.back = every * (window // 2 + lag)
        self.first_end = 1 + every * ceil((from_epoch + self.back - 1) / every)

    def __call__(self, history: History) -> Stop | None:
        """Return a Stop if the average has risen enough; it keeps the epoch of the earlier average."""
        kept = history.epoch - self.back
        if (history.epoch - 1) % self.every or kept < self.from_epoch:
            return None
        (name,) = self.rows
        values = [history.number(name, epoch) for epoch in range(1, history.epoch + 1, self.every)]
        earlier, later = self._mean(values[: len(values) - self.lag]), self._mean(values)
        if not 0 < earlier < self.ratio * later:
            return None
        return Stop(
            f"{name} rose from {earlier:.4g} to {later:.4g} (means of {self.window}): their ratio is "
            f"{earlier / later:.3f}, limit {self.ratio:g}",
            kept,
        )

    def _mean(self, values: Sequence[float]) -> float:
        own = values[-self.window :]
        return sum(own) / len(own)
