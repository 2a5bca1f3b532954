"""How a supernet is split: parts of a space, gradient matching between candidates, and the best two groups of them."""

import random
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..architecture import Architecture, Gates
from ..errors import InputError, check_integer
from ..spaces.base import SearchSpace

DRAWS = 100_000
MOST = 16  # candidates of a choice, which are 6,435 bipartitions
Groups = tuple[tuple[int, ...], tuple[int, ...]]


class Subspace(NamedTuple):
    """A part of a space: the architectures that take one of these candidates in each choice.

    Args:
        kept: For each choice, the indices of its candidates, ascending.
    """

    kept: tuple[tuple[int, ...], ...]

    @classmethod
    def whole(cls, space: SearchSpace) -> "Subspace":
        """Return the part that is the whole space."""
        return cls(tuple(tuple(range(len(choice.candidates))) for choice in space.choices))

    def has(self, architecture: Architecture) -> bool:
        """Return whether an architecture of the space is in this part."""
        return all(k in kept for k, kept in zip(architecture.decisions, self.kept, strict=True))

    def split(self, choice: int, groups: Groups) -> "tuple[Subspace, Subspace]":
        """Return two parts, which have these candidates of one choice.

        Args:
            choice: Index of the choice.
            groups: Indices of candidates. Together they are those that this part has.
        """
        before, after = self.kept[:choice], self.kept[choice + 1 :]
        first, second = (Subspace((*before, group, *after)) for group in groups)
        return first, second

    def sample(self, space: SearchSpace, rng: random.Random) -> Architecture:
        """Return a random architecture, uniform over the valid ones of this part.

        Args:
            space: The space.
            rng: Source of the draws.

        Raises:
            InputError: If none of 100,000 architectures of the space is in this part.
        """
        for _ in range(DRAWS):
            if self.has(found := space.sample(rng)):
                return found
        raise InputError(f"space {space.name!r}: a part of it has next to no architectures; split fewer choices")


def gradient_matching(
    space: SearchSpace,
    supernet: nn.Module,
    loss: Callable[[Gates], Tensor],
    architecture: Architecture,
    choice: int,
    candidates: Sequence[int],
) -> Tensor:
    """Return how well candidates of a choice agree on the weights that they share: the GM score of GM-NAS.

    The shared weights are all but those of the candidates of this choice, in all cells. The score of two candidates is
    the cosine of the gradients of the shared weights, under the paths that differ in this choice alone. It is 0 where a
    gradient is 0. The paths need not be valid architectures.

    Args:
        space: The search space.
        supernet: Its supernet. Nothing of it is changed, but for running statistics.
        loss: Loss of a batch under gates.
        architecture: The candidates of the other choices.
        choice: Index of the choice.
        candidates: Indices of its candidates that are compared.

    Returns:
        Tensor (candidates, candidates), symmetric.

    Reference:
        Hu, Wang, Hong, Li, Hsieh and Feng, Generalizing Few-Shot NAS with Gradient Matching, arXiv:2203.15207.
    """
    own = {id(w) for i, _, module in space.branches(supernet) if i == choice for w in module.parameters()}
    shared = [w for w in supernet.parameters() if id(w) not in own]
    gradients, device = [], shared[0].device
    for k in candidates:
        decisions = (*architecture.decisions[:choice], k, *architecture.decisions[choice + 1 :])
        weight = space.one_hot(Architecture(space.fingerprint, decisions)).to(device)
        gates = Gates(weight, tuple((decision,) for decision in decisions))
        found = torch.autograd.grad(loss(gates), shared, materialize_grads=True)
        gradients.append(torch.cat([g.reshape(-1) for g in found]))
    directions = functional.normalize(torch.stack(gradients), dim=1)
    return directions @ directions.T


def best_split(similarity: Tensor) -> tuple[Groups, float]:
    """Return the two groups of candidates of equal size, or nearly, that agree least: a balanced minimum cut.

    All bipartitions are compared. Of equal ones the first in lexicographic order wins.

    Args:
        similarity: Symmetric, (candidates, candidates), of 2 to 16.

    Returns:
        Two groups of indices, the first with candidate 0; and the mean similarity between the groups.

    Raises:
        InputError: If there are fewer or more candidates.
    """
    number, rows = len(similarity), similarity.tolist()
    check_integer("candidates of a choice that is split", number, 2, MOST)
    best: tuple[float, Groups] | None = None
    for size in {number // 2, number - number // 2}:
        for others in combinations(range(1, number), size - 1):
            first = (0, *others)
            second = tuple(k for k in range(number) if k not in first)
            between = sum(rows[a][b] for a in first for b in second) / (len(first) * len(second))
            best = min(best or (between, (first, second)), (between, (first, second)))
    assert best is not None
    return best[1], best[0]
