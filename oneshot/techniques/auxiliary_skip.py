"""The auxiliary skip of DARTS- (Chu et al., arXiv:2009.01027)."""

import torch
from torch import Tensor

from ..architects.base import Step
from ..architecture import Gates
from ..errors import InputError, check_range
from ..spaces.base import NONE, SearchSpace
from .base import Transform, ramp


class AuxiliarySkip(Transform):
    """An auxiliary skip. Every edge also gets beta times its skip connection; beta falls to 0.

    beta is added to the gate of the skip, which is the same sum. It does not enter the scores. beta falls linearly in
    the steps, and is 0 at the last one; the paper lets it fall by epoch. On an edge of stride 2 the skip connection
    has weights (a factorized reduction), which the auxiliary one shares here; the authors' code gives it its own.
    A choice without skip connection is left as it is.

    Args:
        space: The space that is searched.
        beta: beta at the first step, at least 0; 1 in the paper.
        skip: Name of the candidate that is the skip connection.

    Raises:
        InputError: If beta is out of range, the candidate is `none`, or no choice of the space has it.

    Reference:
        Chu, Wang, Zhang, Lu, Wei and Yan, DARTS-: Robustly Stepping out of Performance Collapse Without Indicators,
        arXiv:2009.01027.
    """

    def __init__(self, space: SearchSpace, beta: float = 1.0, skip: str = "skip_connect") -> None:
        super().__init__(space)
        check_range("technique.auxiliary_skip.beta", beta, 0.0)
        if skip == NONE:
            raise InputError(f"technique.auxiliary_skip.skip={skip}: {skip} gives nothing; name a skip connection")
        self.start = beta
        self.places = tuple(
            choice.candidates.index(skip) if skip in choice.candidates else None for choice in space.choices
        )
        if not any(place is not None for place in self.places):
            known = ", ".join(dict.fromkeys(name for choice in space.choices for name in choice.candidates))
            raise InputError(f"technique.auxiliary_skip.skip={skip!r}: no choice has it; candidates: {known}")
        rows = torch.tensor([[k == place for k in range(space.shape[1])] for place in self.places])
        self.register_buffer("skips", rows, persistent=False)
        self.skips: Tensor

    def forward(self, gates: Gates, step: Step) -> Gates:
        """Return the gates with beta added to those of the skips."""
        beta = ramp(self.start, 0.0, step)
        if beta == 0:
            return gates
        weight = gates.weight + beta * self.skips
        if gates.active is None:
            return Gates(weight)
        rows = zip(gates.active, self.places, strict=True)
        active = tuple(row if k is None else tuple(sorted({*row, k})) for row, k in rows)
        silent = gates.silent
        if silent is not None:
            silent = tuple(tuple(i for i in row if i != k) for row, k in zip(silent, self.places, strict=True))
        return Gates(weight, active, silent)
