"""The selection of most methods: what the space makes of the scores."""

from dataclasses import dataclass

from ..architecture import Architecture
from ..spaces.base import SearchSpace
from .base import Drawable, Measured, among_left


@dataclass(frozen=True)
class ByScores:
    """Keep what the space's discretization makes of the architect's scores (DARTS, SNAS, ProxylessNAS)."""

    def __call__(self, space: SearchSpace, architect: Drawable, measured: Measured) -> Architecture:
        """Discretize the scores.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
            measured: Not used.

        Returns:
            The discretized architecture.
        """
        return space.discretize(among_left(architect.scores(), architect))


by_scores: ByScores = ByScores()
"""The selection `ByScores()`, which has no settings."""
