"""The interface of a stopping rule, and what a rule sees of a search."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from ..architecture import Architecture
from ..errors import InputError
from ..spaces.base import SearchSpace


class Stop(NamedTuple):
    """Why a search ended, and which epoch is kept.

    Args:
        reason: One line for the reader.
        kept_epoch: The epoch at whose end the architect was what is kept; 0 is the start of the search.
    """

    reason: str
    kept_epoch: int


@dataclass(frozen=True)
class History:
    """A search at the end of an epoch, as a stopping rule sees it.

    Args:
        space: The space of the search.
        rows: The numbers of each epoch's end, by name. `rows[0]` is the row of epoch 1.
        scores: The scores of the architect, (choices, candidates), at the start and at each epoch's end. `scores[0]`
            is the start.
    """

    space: SearchSpace
    rows: Sequence[Mapping[str, float]]
    scores: Sequence[Sequence[Sequence[float]]]

    @property
    def epoch(self) -> int:
        """Number of the epoch that has just ended, from 1."""
        return len(self.rows)

    def architecture(self, epoch: int) -> Architecture:
        """Return what the space makes of the scores at the end of an epoch.

        Args:
            epoch: The epoch; 0 is the start.
        """
        return self.space.discretize(torch.tensor(self.scores[epoch], dtype=torch.float64))

    def moved(self, epoch: int) -> bool:
        """Return whether the scores at the end of an epoch differ from those at the start: a warm-up is over.

        Args:
            epoch: The epoch.
        """
        return self.scores[epoch] != self.scores[0]

    def number(self, name: str, epoch: int) -> float:
        """Return a number of the row of an epoch.

        Args:
            name: Name of the number.
            epoch: The epoch, from 1.

        Raises:
            InputError: If the row does not have it.
        """
        row = self.rows[epoch - 1]
        if name not in row:
            raise InputError(f"stop: the row of epoch {epoch} has no {name}; it has {', '.join(sorted(row))}")
        return row[name]


class StoppingRule(ABC):
    """Decides at the end of each epoch whether a search goes on.

    A rule is a function of the history, so that a search that continues stops where an uninterrupted one does. It has
    no state of its own.

    Attributes:
        rows: Names of the numbers that the rule reads in the rows. A search without them refuses the rule.
        every: Epochs from one row that it reads to the next; the first is that of epoch 1. A number that is measured
            for this rule alone is only in these rows.
        first_end: The first epoch after which it can end a search. A search of fewer epochs refuses the rule.
        back: How many epochs before the last one `kept_epoch` may be. The search keeps the architect of so many epochs.
    """

    rows: tuple[str, ...] = ()
    every: int = 1
    back: int = 0
    first_end: int = 1

    @abstractmethod
    def __call__(self, history: History) -> Stop | None:
        """Return why the search ends here and which epoch is kept, or None if it goes on.

        Args:
            history: The search so far.
        """

    def check(self, space: SearchSpace) -> None:
        """Raise InputError if the rule has no meaning in a space. Takes every space unless a rule overrides this.

        Args:
            space: The space.
        """
        return
