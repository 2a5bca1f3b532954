"""The skip restriction of P-DARTS (Chen et al., arXiv:1904.12760)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..architecture import Architecture, Choice
from ..errors import InputError, check_integer
from ..spaces.base import SearchSpace
from .base import Drawable, Measured

SMALLEST = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class SkipLimit:
    """Keep at most `limit` skip connections in the normal cell, by the rule of P-DARTS.

    While the discretized cell has more, the smallest score among its skips becomes 0 and the scores are discretized
    again. An edge that loses its skip can get another operation or be left out. Of equal scores the earlier one becomes
    0 first. The reduction cell has no limit, as published.

    After stages, an edge can only get a candidate that they left; in P-DARTS these are three. Where this differs: in a
    search of one stage all candidates have a score. Scores of exactly 0 become the smallest number above 0, so that a
    skip whose score was set to 0 comes last.

    Where an edge has no other candidate than a skip (and `none`), a space may have to keep it. A search is refused
    where the limit then cannot hold, and also one with stages that leave fewer than three candidates.

    Args:
        limit: Largest number of skips; 2 in the paper.
        cell: Name of the cell that is limited; None counts all cells together, as a space without normal cell needs.
        skip: Name of the candidate that is the skip connection.

    Raises:
        InputError: If the limit is no whole number of at least 0. A search raises it if the space has no such cell or
            candidate, or cannot have so few skips.

    Reference:
        Chen, Xie, Wu and Tian, Progressive Differentiable Architecture Search: Bridging the Depth Gap between Search
        and Evaluation, arXiv:1904.12760.
    """

    least_left = 3  # a skip, `none` and another candidate
    limit: int = 2
    cell: str | None = "normal"
    skip: str = "skip_connect"

    def __post_init__(self) -> None:
        check_integer("selection.limit", self.limit, 0)

    def check(self, space: SearchSpace) -> None:
        """Check that the limit can hold in a space.

        Args:
            space: The space.

        Raises:
            InputError: If it has no such cell or candidate, or cannot have so few skips.
        """
        cells = list(dict.fromkeys(map(cell_of, space.choices)))
        if self.cell is not None and self.cell not in cells:
            raise InputError(
                f"selection.cell={self.cell!r}: the space {space.name!r} has no such cell; its cells: "
                f"{', '.join(filter(None, cells)) or 'none'}; null counts the skips of all"
            )
        places = self._places(space)
        if not places:
            known = ", ".join(dict.fromkeys(name for choice in space.choices for name in choice.candidates))
            raise InputError(f"selection.skip={self.skip!r}: no choice has it; candidates: {known}")
        table = space.mask.double()
        for place in places.items():
            table[place] = 0
        fewest = len(list(self._chosen(space.discretize(table), places)))
        if fewest > self.limit:
            raise InputError(
                f"selection.limit={self.limit}: an architecture of the space {space.name!r} has at least {fewest} "
                f"times {self.skip} there"
            )

    def __call__(self, space: SearchSpace, architect: Drawable, measured: Measured) -> Architecture:
        """Discretize the scores with at most `limit` skips.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
            measured: Not used.

        Returns:
            The architecture.
        """
        return self.limited(space, architect.scores(), architect.mask)

    def limited(self, space: SearchSpace, scores: Tensor, kept: Tensor | None = None) -> Architecture:
        """Discretize scores with at most `limit` skips.

        Args:
            space: The space.
            scores: (choices, candidates), at least 0.
            kept: The candidates that are left, of bool. None: all that gates mix.
        """
        places = self._places(space)
        kept = space.mask if kept is None else kept.cpu()
        table = scores.detach().double().cpu()
        table = table.clamp_min(SMALLEST).where(kept, -1.0)  # what is left out comes after a skip with 0
        while True:
            found = space.discretize(table)
            chosen = list(self._chosen(found, places))
            left = [i for i in chosen if table[i, places[i]] > 0]
            if len(chosen) <= self.limit or not left:
                return found
            weakest = min(left, key=lambda i: float(table[i, places[i]]))
            table[weakest, places[weakest]] = 0

    def _places(self, space: SearchSpace) -> dict[int, int]:
        """The choices that count, each with the index of its skip."""
        counted = [(i, c) for i, c in enumerate(space.choices) if self.cell in (None, cell_of(c))]
        return {i: choice.candidates.index(self.skip) for i, choice in counted if self.skip in choice.candidates}

    def _chosen(self, architecture: Architecture, places: dict[int, int]) -> Iterator[int]:
        """The choices that have become a skip."""
        return (i for i, k in places.items() if architecture.decisions[i] == k)


def cell_of(choice: Choice) -> str:
    """Return the name of a choice's cell, which is before the slash; "" where a space has no cells.

    Args:
        choice: The choice.
    """
    cell, slash, _ = choice.name.partition("/")
    return cell if slash else ""
