"""The interface of a selection, and what it sees of a search. An architect names its selection and is above it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

from ..architecture import Architecture, Gates, Query
from ..errors import InputError
from ..schedule import Step
from ..spaces.base import SearchSpace
from ..tasks import Metric


class Drawable(Protocol):
    """What a selection needs of an architect.

    Attributes:
        mask: The candidates that have scores, (choices, candidates) of bool.
        restricted: Whether the stages of the search have left out candidates.
    """

    mask: Tensor
    restricted: bool

    def gates(self, step: Step) -> Gates:
        """Return the gates that are drawn for a step.

        Args:
            step: The step.
        """

    def scores(self) -> Tensor:
        """Return what a space discretizes, (choices, candidates)."""


class Measured(Protocol):
    """What a selection needs of a search: its trained supernet, measured on the architecture part."""

    @property
    def metric(self) -> Metric:
        """The metric of the search."""

    def estimate(self, queries: Sequence[Query]) -> list[Mapping[str, float]]:
        """Score architectures with the weights of the supernet.

        Args:
            queries: The architectures.

        Returns:
            One score for each query, by its name; a larger one is better.
        """

    def evaluate(self, gates: Callable[[int], Gates], batches: int = 0) -> dict[str, float]:
        """Measure the supernet under any gates, which need not be an architecture.

        Args:
            gates: The gates of each batch, by its number from 0.
            batches: Number of batches, always the same ones; 0: all.

        Returns:
            The mean `loss`, and the metric by its name.
        """


class Selection(Protocol):
    """A function that decides which architecture a search keeps.

    It is called when a search ends. A search that is cut off there calls it again, so its draws must be functions of a
    seed. If it also has a method `check(space)`, that is called when the search is made. If it has a number
    `least_left`, stages that leave fewer candidates of a choice are refused.
    """

    def __call__(self, space: SearchSpace, architect: Drawable, measured: Measured, /) -> Architecture:
        """Return the architecture to keep.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
            measured: Measures architectures and gates in the supernet.
        """


def check_selection(selection: Selection, space: SearchSpace, left: int | None = None) -> None:
    """Check that a selection can be used in a space. A selection without `check` can.

    Args:
        selection: The selection.
        space: The space.
        left: Candidates that the stages of the search leave of each choice, at least. None: all.

    Raises:
        InputError: If it cannot.
    """
    check: Callable[[SearchSpace], None] | None = getattr(selection, "check", None)
    if check is not None:
        check(space)
    least = min(getattr(selection, "least_left", 1), int(space.mask.sum(1).min()))
    if left is not None and left < least:
        raise InputError(
            f"selection: {type(selection).__name__} needs {least} candidates of each choice; the stages leave {left}"
        )


def among_left(scores: Tensor, architect: Drawable) -> Tensor:
    """Return scores in which candidates that the stages of a search left out are below all others.

    An edge whose candidates all have a score of 0 then still gets one of those that are left.

    Args:
        scores: (choices, candidates), at least 0.
        architect: Of the search.
    """
    return scores.masked_fill(~architect.mask.to(scores.device), -1.0) if architect.restricted else scores


def check_selected(selection: Selection, found: object, space: SearchSpace, architect: Drawable) -> Architecture:
    """Check what a selection has returned.

    Args:
        selection: The selection.
        found: What it has returned.
        space: The space of the search.
        architect: Its architect.

    Returns:
        The architecture.

    Raises:
        InputError: If it is no architecture of the space, or has a candidate that the stages of the search left out.
    """
    kind = getattr(type(selection), "__name__", "selection")
    name = getattr(selection, "__name__", kind)
    if not isinstance(found, Architecture) or found.space != space.fingerprint or not space.is_valid(found.decisions):
        raise InputError(f"selection: {name} gives {found!r:.80}; must be a valid architecture of {space.name!r}")
    left = space.possible(architect.mask)
    for i, (choice, decision) in enumerate(zip(space.choices, found.decisions, strict=True)):
        if not left[i, decision]:
            raise InputError(
                f"selection: {name} gives {choice.candidates[decision]!r} to {choice.name!r}, which the stages of this "
                "search left out"
            )
    return found
