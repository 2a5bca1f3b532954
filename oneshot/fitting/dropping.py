"""Dropout and drop path inside the cells of a supernet: on the outputs of single candidates."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..spaces.base import DropPath, SearchSpace, set_drop_path


class SkipDropout:
    """Dropout of single numbers after the skip connections of a supernet that have no weights.

    Args:
        space: The space of the supernet.
        supernet: The supernet. Its candidates get hooks.

    Raises:
        InputError: If it has no such candidate, or the space does not give its candidates (`SearchSpace.branches`).

    Reference:
        Chen, Xie, Wu and Tian, Progressive Differentiable Architecture Search, arXiv:1904.12760, section 3.3.
    """

    def __init__(self, space: SearchSpace, supernet: nn.Module) -> None:
        self.rate = 0.0
        skips, _ = _identities(space, supernet)
        if not skips:
            raise InputError("stages.skip_dropout: this space has no skip connection without weights")
        for candidate in skips:
            candidate.register_forward_hook(self._drop)

    def _drop(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return functional.dropout(output, self.rate) if module.training and self.rate else output


class CandidateDropPath:
    """Drop path of the candidates of a supernet that are no identities, as RobustDARTS uses it.

    Args:
        space: The space of the supernet.
        supernet: The supernet. Its candidates get hooks.

    Raises:
        InputError: If it has no such candidate, or the space does not give its candidates (`SearchSpace.branches`).

    Reference:
        Zela, Elsken, Saikia, Marrakchi, Brox and Hutter, Understanding and Robustifying Differentiable Architecture
        Search, arXiv:1909.09656, section 5.1.
    """

    def __init__(self, space: SearchSpace, supernet: nn.Module) -> None:
        self.drop_path = DropPath()
        _, others = _identities(space, supernet)
        if not others:
            raise InputError("weights.drop_path: this space has no candidates whose paths can be dropped")
        for candidate in others:
            candidate.register_forward_hook(self._drop)

    def set(self, rate: float) -> None:
        """Set the probability that a path is dropped.

        Args:
            rate: The probability, below 1.
        """
        set_drop_path(self.drop_path, rate)

    def _drop(self, module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
        return self.drop_path.to(output.device)(output) if module.training else output


def _identities(space: SearchSpace, supernet: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The candidates of a supernet that are identities, and the others."""
    found: tuple[list[nn.Module], list[nn.Module]] = ([], [])
    for _, _, candidate in space.branches(supernet):
        found[not isinstance(candidate, nn.Identity)].append(candidate)
    return found
