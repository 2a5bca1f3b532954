"""Which candidates of a space are skip connections or have no parameters, found by its modules and not by names."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..architecture import Architecture
from ..spaces.base import SearchSpace


class Operations(NamedTuple):
    """What the candidates of a space are.

    Args:
        skips: (choices, candidates) of bool: skip connections.
        parameter_free: (choices, candidates) of bool: operations without a parameter.
    """

    skips: Tensor
    parameter_free: Tensor

    def counts(self, architecture: Architecture) -> dict[str, int]:
        """Return how many decisions of an architecture are each of these: `skips` and `parameter_free`.

        Args:
            architecture: An architecture of the space.
        """
        rows = torch.arange(len(architecture.decisions))
        decided = torch.tensor(architecture.decisions)
        return {name: int(table[rows, decided].sum()) for name, table in self._asdict().items()}


def gives_operations(space: SearchSpace) -> bool:
    """Return whether a space gives its operations.

    Args:
        space: The search space.
    """
    return type(space).operations is not SearchSpace.operations


def operations_of(space: SearchSpace) -> Operations:
    """Find the skip connections and the operations without parameters of a space.

    A candidate has no parameters if its module has none in any of its places; pools and identities have none. A skip
    connection is a candidate whose name belongs to an identity in some place of the space: a module that gives back
    what it gets. With stride 2, where no identity is possible, the candidate of this name counts as well
    (`FactorizedReduce` in DARTS cells). A candidate
    that is zero (`none`) has no place and is neither.

    Args:
        space: The search space; it must give its `operations`.

    Raises:
        InputError: If it does not give them.
    """
    found, sizes = torch.zeros(space.shape, dtype=torch.bool), torch.zeros(space.shape, dtype=torch.int64)
    identities: set[str] = set()
    with torch.device("meta"):
        for choice, candidate, module, shape in space.operations():
            found[choice, candidate] = True
            sizes[choice, candidate] += sum(parameter.numel() for parameter in module.parameters())
            if _is_identity(module, shape):
                identities.add(space.choices[choice].candidates[candidate])
    width = space.shape[1]
    named = [[name in identities for name in choice.candidates] for choice in space.choices]
    skips = torch.tensor([row + [False] * (width - len(row)) for row in named])
    return Operations(skips & found, found & (sizes == 0))


@torch.no_grad()
def _is_identity(module: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether a module without parameters and buffers gives back what it gets."""
    held = (tensor for m in module.modules() for tensor in (*m._parameters.values(), *m._buffers.values()))
    if any(tensor is not None for tensor in held):
        return False
    with torch.device("cpu"):
        x = torch.rand(1, *shape, generator=torch.Generator().manual_seed(0))
        y = module.eval()(x)
    return isinstance(y, Tensor) and y.shape == x.shape and y.device == x.device and torch.equal(x, y)
