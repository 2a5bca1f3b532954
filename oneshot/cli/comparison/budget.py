"""The budget of a comparison, and the length of the epochs with which a search keeps it.

A search keeps its number of epochs, because learning rates, warm-ups and stages follow them. What changes is the number
of batches in an epoch.
"""

from collections.abc import Callable
from typing import NamedTuple

from ...errors import InputError

SECONDS, UPDATES, QUERIES = "seconds", "updates", "queries"
PILOT_UPDATES = (40, 120)  # of the two short searches by which the seconds of a batch are measured
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


def batches_within(updates: Callable[[int], int], most: float) -> int:
    """Return the largest number of batches in an epoch with at most so many updates in the whole search.

    Args:
        updates: Returns the updates of the whole search by the number of batches in an epoch.
        most: Updates.

    Returns:
        At least 1, also where one batch in each epoch is too many.
    """
    low, high = 1, 2
    while updates(high) <= most:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if updates(middle) <= most else (low, middle)
    return low


def pilots(updates: Callable[[int], int]) -> tuple[int, int]:
    """Return the batches in an epoch of two short searches, by which the seconds of a long one are predicted.

    Args:
        updates: As in `batches_within`.
    """
    short, long = (batches_within(updates, updates(1) + few) for few in PILOT_UPDATES)
    return short, max(long, short + 1)


class Pace(NamedTuple):
    """Seconds of a search as a line over the batches in an epoch.

    Args:
        fixed: Seconds that do not depend on them: measurements at the ends of epochs, the selection.
        per_batch: Seconds of one more batch in each epoch.
    """

    fixed: float
    per_batch: float

    def batches(self, seconds: float) -> int:
        """Return the batches in an epoch of a search of so many seconds; below 1 if it cannot be so short.

        Args:
            seconds: Of the whole search.
        """
        return int((seconds - self.fixed) / self.per_batch)


def pace(short: tuple[int, float], long: tuple[int, float]) -> Pace:
    """Return the line through two short searches.

    Where the longer one was not slower, because something else used the machine, all of its time counts as that of
    batches.

    Args:
        short: Batches in an epoch and seconds of the shorter one.
        long: The same of the longer one.
    """
    per_batch = (long[1] - short[1]) / (long[0] - short[0])
    if per_batch <= 0:
        return Pace(0.0, long[1] / long[0])
    return Pace(max(0.0, short[1] - per_batch * short[0]), per_batch)
