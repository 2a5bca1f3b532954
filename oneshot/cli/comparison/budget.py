"""The budget of a comparison, and the length of the epochs with which a search keeps it.

A search keeps its number of epochs, because learning rates, warm-ups and stages follow them. What changes is the number
of batches in an epoch.
"""

from collections.abc import Callable
from typing import NamedTuple

from ...errors import InputError

SECONDS, UPDATES, QUERIES = "seconds", "updates", "queries"
PILOT = 100  # updates of the short search by which the seconds of an update are measured
PILOT_BATCHES = 3  # that it has at least in each epoch
FORM = "must be seconds:N, updates:N, queries:N, or null for the epochs of each search's settings"


class Budget(NamedTuple):
    """What every search may spend.

    Args:
        unit: `SECONDS`, `UPDATES` or `QUERIES`.
        amount: How many.
    """

    unit: str
    amount: float

    def __str__(self) -> str:
        """Return it for readers."""
        return f"{self.amount:,g} {self.unit}"


def read(text: object) -> Budget | None:
    """Return the budget that the setting `budget` means; None where it is null.

    Args:
        text: The setting.

    Raises:
        InputError: If it is none.
    """
    if text is None:
        return None
    unit, _, amount = str(text).partition(":")
    if unit not in (SECONDS, UPDATES, QUERIES):
        raise InputError(f"budget={text!s:.80}: {FORM}")
    try:
        number = float(amount) if unit == SECONDS else int(amount)
    except ValueError:
        raise InputError(f"budget={text!s:.80}: {FORM}") from None
    if not 0 < number < 1e9:
        raise InputError(f"budget={text!s:.80}: must be above 0 and below 1e9")
    return Budget(unit, number)


def batches_within(spent: Callable[[int], float], most: float) -> int:
    """Return the largest number of batches in an epoch with which a whole search spends at most so much.

    Args:
        spent: Returns what the search spends, by the number of batches in an epoch: updates or seconds.
        most: The same unit.

    Returns:
        At least 1, also where one batch in each epoch is too many.
    """
    low, high = 1, 2
    while spent(high) <= most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if spent(middle) <= most else (low, middle)
    return low
