"""DARTS-PT: architectures by projection (Wang, Cheng, Chen, Tang and Hsieh, arXiv:2108.04392)."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..architecture import Gates
from ..draws import generator
from ..errors import InputError, check_boolean, check_range, unknown
from ..spaces.base import NONE, SearchSpace
from .base import Narrowed, Stage

CRITERIA = ("metric", "loss")


@dataclass(frozen=True)
class Projection:
    """A projection of DARTS-PT: one choice of each kind of cell is decided by what its candidates add to the supernet.

    A choice is drawn. The candidate is kept whose removal hurts the supernet most on the architecture part. Removal
    sets its gate to 0; the other gates stay as they are. Once all choices are decided, a node is drawn. As long as it
    has more edges than the space keeps, the edge is dropped whose removal hurts least. The next kind of cell is
    decided in the supernet that results.

    Where this differs: `none` is kept only in a space in which an architecture may have it on any edge, and there the
    other candidates win a tie. In the authors' code the first candidate wins it, which is `none`. Of a search that
    draws its gates, all candidates are compared under the same draws.

    Args:
        criterion: What a removal hurts: `"metric"`, that of the search, or `"loss"`.

    Raises:
        InputError: If there is no such criterion.

    Reference:
        Wang, Cheng, Chen, Tang and Hsieh, Rethinking Architecture Selection in Differentiable NAS, arXiv:2108.04392,
        algorithm 1.
    """

    criterion: str = "metric"

    def __post_init__(self) -> None:
        if self.criterion not in CRITERIA:
            raise unknown("stages.criterion", self.criterion, CRITERIA)

    def check(self, search: Narrowed) -> None:
        """Check that the architect of a search mixes candidates.

        Raises:
            InputError: If it draws paths: a removal would change nothing but the draws.
        """
        active = search.gates_of(0).active
        if active is not None and not search.architect.restricted:
            raise InputError("stages: a projection needs an architect whose gates mix all candidates, not one of paths")

    def __call__(self, search: Narrowed) -> Tensor:
        """Return the candidates that are left, (choices, candidates) of bool.

        Args:
            search: The search at the border of two stages.
        """
        kept = search.architect.mask.cpu().clone()
        draws = generator(search.seed, "projection", search.stages.number)
        for cell in _cells(search.space):
            undecided = [i for i in cell if kept[i].sum() > 1]
            crowded = list(_crowded(search.space, cell, kept))
            if undecided:
                i = undecided[int(torch.randint(len(undecided), (1,), generator=draws))]
                kept[i] = torch.arange(kept.shape[1]) == self._decided(search, kept, i)
            elif crowded:
                self._thin(search, kept, crowded[int(torch.randint(len(crowded), (1,), generator=draws))])
        return kept

    def _decided(self, search: Narrowed, kept: Tensor, i: int) -> int:
        """The candidate of choice i whose removal hurts most."""
        names = search.space.choices[i].candidates
        candidates = [k for k in torch.nonzero(kept[i]).flatten().tolist() if names[k] != NONE]
        none = [k for k in range(len(names)) if names[k] == NONE and bool(kept[i, k])]
        if search.space.kept_edges is None:
            candidates += none
        harm = [self._harm(search, kept, i, [k]) for k in candidates]
        return candidates[harm.index(max(harm))]

    def _thin(self, search: Narrowed, kept: Tensor, edges: list[int]) -> None:
        """Drop the edges into a node whose removal hurts least, until it has as many as the space keeps."""
        edges = list(edges)
        while len(edges) > (search.space.kept_edges or 0):
            harm = [self._harm(search, kept, i, torch.nonzero(kept[i]).flatten().tolist()) for i in edges]
            dropped = edges.pop(harm.index(min(harm)))
            kept[dropped] = torch.arange(kept.shape[1]) == search.space.choices[dropped].candidates.index(NONE)

    def _harm(self, search: Narrowed, kept: Tensor, i: int, removed: list[int]) -> float:
        """How bad the supernet is without some candidates of choice i: its loss, or minus the score of its metric."""
        rows = [[k for k in torch.nonzero(row).flatten().tolist()] for row in kept]
        rows[i] = [k for k in rows[i] if k not in removed]
        active = tuple(map(tuple, rows))

        def gates(n: int) -> Gates:
            drawn = search.gates_of(n)
            weight = drawn.weight.clone()
            decided = kept.sum(1) == 1
            weight[decided] = kept[decided].to(weight)  # what was decided for the cells before
            weight[i, removed] = 0
            return Gates(weight, active)

        measured = search.evaluate(gates)
        if self.criterion == "loss":
            return measured["loss"]
        return -search.metric.quantity.score(measured[search.metric.name])


def projection(
    space: SearchSpace, search: float = 50, tune: float = 5, criterion: str = "metric", fixed_alpha: bool = False
) -> list[Stage]:
    """Return the stages of a search with DARTS-PT: the search, then projections with tuning after each.

    While weights are tuned, the architecture parameters of undecided choices move on, as in the authors' code. The
    weights' learning rate starts again at a tenth. After the last projection there is one epoch.

    Args:
        space: The space that is searched. It has a projection for each choice of a cell, and for each node with more
            edges than an architecture keeps.
        search: Epochs before the first projection; 50 in the paper.
        tune: Epochs from one projection to the next; 5 in the paper.
        criterion: See `Projection`.
        fixed_alpha: Whether the architecture parameters never move, so that weights are trained alone.

    Returns:
        The stages. With other epochs of the search their lengths are in this proportion.

    Raises:
        InputError: If a number is out of range.
    """
    check_range("stages.search", search, 0.0, open_low=True)
    check_range("stages.tune", tune, 0.0, open_low=True)
    projections = max(len(cell) + len(list(_crowded(space, cell, space.mask))) for cell in _cells(space))
    check_boolean("stages.fixed_alpha", fixed_alpha)
    warmup = 1.0 if fixed_alpha else 0.0
    stages = [Stage(search, warmup)]
    for n in range(projections):
        rate = 0.1 if n == 0 else None
        share = tune if n < projections - 1 else 1.0
        stages.append(Stage(share, warmup, keep=Projection(criterion), learning_rate=rate))
    return stages


def _cells(space: SearchSpace) -> list[list[int]]:
    """The choices of each kind of cell."""
    kinds = [choice.name.partition("/")[0] for choice in space.choices]
    return [[i for i, kind in enumerate(kinds) if kind == own] for own in dict.fromkeys(kinds)]


def _crowded(space: SearchSpace, cell: list[int], kept: Tensor) -> Iterator[list[int]]:
    """The edges into each node of a cell that has more of them than the space keeps."""
    if space.kept_edges is None:
        return
    for group in dict.fromkeys(space.choices[i].group for i in cell):
        edges = [i for i in cell if space.choices[i].group == group]
        present = [i for i in edges if any(space.choices[i].candidates[k] != NONE for k in kept[i].nonzero().flatten())]
        if len(present) > space.kept_edges:
            yield present
