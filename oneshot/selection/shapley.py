"""Shapley values of the candidates in a trained supernet (Shapley-NAS, Xiao et al., arXiv:2206.09811)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..architecture import Architecture, Choice, Gates
from ..draws import generator
from ..errors import check_integer, check_range
from ..spaces.base import NONE, SearchSpace
from .base import Drawable, Measured
from .skip_limit import cell_of

Value = Callable[[frozenset[int]], float]  # of a coalition: the players that are present


def contributions(value: Value, order: Sequence[int], threshold: float = 0.0) -> list[float]:
    """Remove players one after the other; each contributes what the value falls by when it goes.

    Without truncation the contributions sum to v(all) - v(none). Their mean over all orders is the Shapley value.

    Args:
        value: The game: from the set of the players that are present to a number.
        order: Every player once, the first to go first.
        threshold: The rest contributes 0 as soon as the value is below this share of v(all), if v(all) is positive.
            0 truncates nothing.

    Returns:
        The contribution of each player, by its number.
    """
    left = frozenset(order)
    whole = before = value(left)
    found = [0.0] * len(order)
    for player in order:
        left -= {player}
        after = value(left)
        found[player] = before - after
        before = after
        if threshold > 0 and whole > 0 and after < threshold * whole:
            break
    return found


def shapley_values(
    value: Value, players: int, permutations: int, generator: torch.Generator, threshold: float = 0.0
) -> Tensor:
    """Estimate the Shapley values of a game by random orders of its players.

    The estimate has no bias without truncation. It is exact after one order where the game is additive.

    Args:
        value: The game: from the set of the players that are present to a number. It must be a function of the set.
        players: Number of players, from 0.
        permutations: Number of orders.
        generator: Gives the orders.
        threshold: As in `contributions`.

    Returns:
        The contributions in each order, (permutations, players), in float64. Their mean over orders is the estimate.
    """
    everyone = frozenset(range(players))
    whole = value(everyone)

    def known(present: frozenset[int]) -> float:
        return whole if present == everyone else value(present)

    orders = [torch.randperm(players, generator=generator).tolist() for _ in range(permutations)]
    rows = [contributions(known, order, threshold) for order in orders]
    return torch.tensor(rows, dtype=torch.float64).reshape(permutations, players)


@dataclass(frozen=True)
class Shapley:
    """Keep the candidates with the largest Shapley values in the trained supernet.

    The players are the candidates of all choices. The gates of the supernet are the scores of the architect. A player
    is removed by a gate of 0, and the other gates stay as they are. The value of a set of players is the metric of the
    search on the architecture part. The values are estimated by random orders and standardized in each cell: mean 0,
    standard deviation 1. Their softmax over each choice is discretized. `none` is no player, because its removal
    changes nothing; its value is 0. Where a space can choose `none` (NAS-Bench-201), it does so if no other candidate
    has a value above 0. Candidates that the stages of a search left out are no players.

    Where this differs: the authors move alpha by these values once an epoch, in the second half of a search without
    gradients of alpha, and discretize alpha. Here the values are taken once, at the end of a search with any architect.
    They measure every order with a new batch of 1024 images; here all orders see the same images, so that v is one
    game. Their code subtracts one standard deviation over the orders from the mean, which `deviations=1` does. That
    suits spaces that never choose `none`: the 0 of `none` has no deviation, so that it wins against most candidates.

    Each order takes as many evaluations as there are players, 196 in the DARTS space, unless truncation ends it early.

    Args:
        permutations: Number of orders.
        batches: Batches of up to 512 examples that each evaluation sees; 0: the whole architecture part.
        threshold: An order ends when the metric is below this share of that of the whole supernet, in [0, 1]; 0: never.
            A metric of which smaller is better has no such share, and its orders never end early.
        deviations: Standard deviations over the orders that are subtracted from the mean, at least 0.
        seed: Seed of the orders.

    Raises:
        InputError: If a number is out of range.

    Reference:
        Xiao, Wang, Zhu, Zhou and Lu, Shapley-NAS: Discovering Operation Contribution for Neural Architecture Search,
        arXiv:2206.09811.
    """

    permutations: int = 10
    batches: int = 2
    threshold: float = 0.5
    deviations: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("selection.permutations", self.permutations, 1)
        check_integer("selection.batches", self.batches, 0)
        check_range("selection.threshold", self.threshold, 0.0, 1.0)
        check_range("selection.deviations", self.deviations, 0.0)
        check_integer("selection.seed", self.seed, 0)

    def __call__(self, space: SearchSpace, architect: Drawable, measured: Measured) -> Architecture:
        """Measure the values and discretize them.

        Args:
            space: The space of the search.
            architect: The architect at the end of the search.
            measured: Measures the supernet without some of its candidates.

        Returns:
            The architecture.
        """
        values = standardized(self.values(space, architect, measured), space.choices)
        return space.discretize(values.masked_fill(~architect.mask.cpu(), -torch.inf).softmax(1))

    @torch.no_grad()
    def values(self, space: SearchSpace, architect: Drawable, measured: Measured) -> Tensor:
        """Measure the value of each candidate, before they are standardized.

        Args:
            space: The space of the search.
            architect: Its scores are the gates.
            measured: Measures the supernet without some of its candidates.

        Returns:
            (choices, candidates) in float64, 0 for `none` and outside the mask.
        """
        gates = architect.scores()
        kept = architect.mask.tolist()
        names = ((i, k, name) for i, choice in enumerate(space.choices) for k, name in enumerate(choice.candidates))
        players = [(i, k) for i, k, name in names if name != NONE and kept[i][k]]
        rows, columns = (torch.tensor(indices, dtype=torch.long) for indices in zip(*players, strict=True))

        def value(present: frozenset[int]) -> float:
            keep = torch.zeros(space.shape)
            some = sorted(present)
            keep[rows[some], columns[some]] = 1
            without = Gates(gates * keep.to(gates))
            found = measured.evaluate(lambda _: without, self.batches)
            return measured.metric.quantity.score(found[measured.metric.name])

        orders = generator(self.seed, "selection/shapley", 0)
        samples = shapley_values(value, len(players), self.permutations, orders, self.threshold)
        found = torch.zeros(space.shape, dtype=torch.float64)
        found[rows, columns] = samples.mean(0) - self.deviations * samples.std(0, correction=0)
        return found


def standardized(values: Tensor, choices: Sequence[Choice]) -> Tensor:
    """Return values with mean 0 and standard deviation 1 in each cell. Equal values become 0.

    Args:
        values: (choices, candidates).
        choices: Their choices; what is before the slash in a name is the cell.
    """
    found = torch.zeros_like(values)
    cells = [cell_of(choice) for choice in choices]
    for cell in dict.fromkeys(cells):
        inside = torch.zeros(values.shape, dtype=torch.bool)
        for i, choice in enumerate(choices):
            inside[i, : len(choice.candidates)] = cells[i] == cell
        mine = values[inside]
        if mine.max() > mine.min():
            found[inside] = (mine - mine.mean()) / mine.std()
    return found
