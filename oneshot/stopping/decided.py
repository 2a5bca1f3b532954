"""A search ends when the architect has decided."""

from ..errors import InputError, check_integer, check_range
from .base import History, Stop, StoppingRule


class Decided(StoppingRule):
    """Ends a search when the architect has decided: its entropy is small, or the architecture does not change any more.

    The last epoch is kept. Neither counts before the architect has moved. The second condition resembles a criterion of
    DARTS+, which looks at the ranking of the architecture parameters and not at the discretized architecture.

    Args:
        entropy: The search ends when the mean normalized entropy of the scores is below this: 1 is uniform, 0 is
            decided. None: does not count.
        epochs: The search ends when the discretized architecture has not changed in so many epochs. None: does not
            count.

    Raises:
        InputError: If a number is out of range, or both are None.
    """

    def __init__(self, entropy: float | None = 0.1, epochs: int | None = 10) -> None:
        if entropy is None and epochs is None:
            raise InputError("stop.entropy=None: must be a number if stop.epochs is None too")
        if entropy is not None:
            check_range("stop.entropy", entropy, 0.0, 1.0, open_low=True)
            self.rows = ("entropy",)
        if epochs is not None:
            check_integer("stop.epochs", epochs, 1)
        self.entropy, self.epochs = entropy, epochs
        self.first_end = 1 if entropy is not None else epochs or 1

    def __call__(self, history: History) -> Stop | None:
        """Return a Stop that keeps the last epoch if one of the conditions holds."""
        epoch = history.epoch
        if not history.moved(epoch):
            return None
        if self.entropy is not None and (value := history.number("entropy", epoch)) < self.entropy:
            return Stop(f"entropy {value:.3g} is below {self.entropy:g}", epoch)
        if self.epochs is None or epoch < self.epochs or not history.moved(epoch - self.epochs + 1):
            return None
        before = range(epoch - self.epochs, epoch)
        found = history.architecture(epoch)
        if all(history.architecture(earlier) == found for earlier in before):
            return Stop(f"the architecture has not changed in {self.epochs} epochs", epoch)
        return None
