"""What a search keeps under a limit where its selection gives a network over it."""

from itertools import islice

from ..architecture import Architecture
from ..cost import ExpectedCost, discretize_within, holds
from ..selection import BestOf, Selection
from ..selection.base import Drawable, Measured, among_left
from ..selection.best_of import best
from ..spaces.base import SearchSpace
from .controls import draw

TRIES = 20  # draws for each one that shall hold the limit
SAMPLES = 100  # random architectures, where nothing was learned and the selection has no number


def select_within(
    space: SearchSpace,
    cost: ExpectedCost,
    architect: Drawable,
    selection: Selection,
    measured: Measured,
    learned: bool,
    seed: int,
) -> Architecture:
    """Return the architecture that a search keeps among those that hold a limit.

    That is the best of the draws of a `BestOf` that hold it, or what the scores give under the smallest pressure. Where
    an architect has learned nothing, its scores prefer nothing, and it is the best of random ones.

    Args:
        space: The space of the search.
        cost: The cost with its limit.
        architect: The architect at the end of the search.
        selection: The selection, which gave a network over the limit.
        measured: Measures architectures in the supernet.
        learned: Whether the architect has parameters.
        seed: Seed of the random ones.
    """
    left = space.possible(architect.mask) if architect.restricted else None
    drawn: dict[Architecture, None] = {}
    if isinstance(selection, BestOf):
        several = islice(selection.draws(space, architect), TRIES * selection.samples)
        good = (architecture for architecture in several if holds(space, cost, architecture))
        drawn = dict.fromkeys(islice(good, selection.samples))
    if not drawn and not learned:
        number = selection.samples if isinstance(selection, BestOf) else SAMPLES
        drawn = dict.fromkeys(draw(space, seed, n, left, cost) for n in range(number))
    if not drawn:
        return discretize_within(space, cost, among_left(architect.scores(), architect))
    return best(list(drawn), measured)
