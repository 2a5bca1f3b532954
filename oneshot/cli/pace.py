"""How long a search will take, from a short one."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from ..runs.folder import METRICS, TIMINGS, read_rows
from ..schedule import Plan


class Planned(NamedTuple):
    """The updates of a whole search, by the batches in an epoch.

    Args:
        plan: The plan.
        epochs: Number of epochs.
    """

    plan: Plan
    epochs: int

    def total(self, batches: int) -> int:
        """Return their number."""
        return self.plan.total(self.epochs, batches)

    def updates(self, batches: int) -> list[tuple[int, str]]:
        """Return epoch and kind of each."""
        return [(epoch, update.kind) for epoch in range(self.epochs) for update in self.plan.epoch(epoch, batches)]

    def counts(self, batches: int) -> Counter[tuple[int, str]]:
        """Return how many there are, by epoch and kind."""
        return Counter(self.updates(batches))


Timed = tuple[int, str, float]  # an update of a search: its epoch from 0, its kind, its seconds


class Pace:
    """What a search takes, from a short one: the median seconds of an update of each kind in each epoch, and the rest.

    A median, as other work on the machine makes single updates slow. The rest, which does not depend on the length of
    an epoch, is what is measured at the ends of epochs, and the selection. Kinds of updates that an epoch of the short
    search lacks have the median of all its epochs.

    Args:
        seconds: Of the whole short search.
        updates: Its updates.
    """

    def __init__(self, seconds: float, updates: Sequence[Timed]) -> None:
        self.of_epoch = _medians((epoch, kind, spent) for epoch, kind, spent in updates)
        self.of_kind = {kind: spent for (_, kind), spent in _medians((0, k, spent) for _, k, spent in updates).items()}
        self.fixed = max(0.0, seconds - sum(spent for _, _, spent in updates))

    def seconds(self, counts: Mapping[tuple[int, str], int]) -> float:
        """Return the seconds of a search.

        Args:
            counts: The numbers of its updates by epoch and kind.
        """
        most = max(self.of_kind.values())  # of a kind that was never seen
        return self.fixed + sum(
            number * self.of_epoch.get(key, self.of_kind.get(key[1], most)) for key, number in counts.items()
        )


def _medians(updates: Iterable[Timed]) -> dict[tuple[int, str], float]:
    groups: dict[tuple[int, str], list[float]] = {}
    for epoch, kind, spent in updates:
        groups.setdefault((epoch, kind), []).append(spent)
    return {key: median(group) for key, group in groups.items()}


def times_of(folder: Path, clock: str) -> list[tuple[int, float]]:
    """Return the updates before each row of a run, and the seconds from its start.

    Args:
        folder: The run, with `log_every=1`.
        clock: `seconds` or `process_seconds`.
    """
    metrics, timings = read_rows(folder / METRICS), read_rows(folder / TIMINGS)
    return [(row["step"], time[clock]) for row, time in zip(metrics, timings, strict=True)]
