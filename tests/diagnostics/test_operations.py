"""Skips and operations without parameters, against counting by hand."""

import pytest
import torch
from helpers.ragged import Ragged
from helpers.support import small_space
from torch import nn

from oneshot.diagnostics import gives_operations, operations_of
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201


def test_darts_cells():
    """Two inputs into one node: in the reduction cell both edges have stride 2, so that its skips have weights."""
    space = small_space(nodes=1)
    operations, names = operations_of(space), space.choices[0].candidates
    assert [choice.name for choice in space.choices] == [
        f"{c}/c_{{k-{i}}}->0" for c in ("normal", "reduce") for i in (2, 1)
    ]
    for choice in range(4):
        skips = [names[k] for k in range(len(names)) if operations.skips[choice, k]]
        free = [names[k] for k in range(len(names)) if operations.parameter_free[choice, k]]
        pools = ["max_pool_3x3", "avg_pool_3x3"]
        assert skips == ["skip_connect"] and free == (pools + ["skip_connect"] if choice < 2 else pools)
    skip, pool, conv, none = (names.index(name) for name in ("skip_connect", "max_pool_3x3", "sep_conv_3x3", "none"))
    assert operations.counts(space.architecture((skip, pool, skip, conv))) == {"skips": 2, "parameter_free": 2}
    assert operations.counts(space.architecture((conv, conv, pool, pool))) == {"skips": 0, "parameter_free": 2}
    assert not operations.skips[:, none].any() and not operations.parameter_free[:, none].any()


def test_nasbench201():
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    operations, names = operations_of(space), space.choices[0].candidates
    decided = [names.index(n) for n in ("skip_connect", "none", "avg_pool_3x3", "nor_conv_1x1", "skip_connect", "none")]
    assert operations.counts(space.architecture(decided)) == {"skips": 2, "parameter_free": 3}


class Scale(nn.Module):
    """One parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        return x * self.scale


class Same(nn.Module):
    def forward(self, x):
        return x


class Minus(nn.Module):
    def forward(self, x):
        return -x


def test_operations_of_ones_own_are_known_by_what_they_do():
    own = {
        "through": lambda channels, stride, affine: Same() if stride == 1 else nn.AvgPool2d(2),
        "negative": lambda channels, stride, affine: Minus() if stride == 1 else nn.AvgPool2d(2),
        "scaled": lambda channels, stride, affine: nn.Sequential(
            Scale(), nn.Identity() if stride == 1 else nn.AvgPool2d(2)
        ),
    }
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=1, candidates=["none", *own], operations=own)
    operations = operations_of(space)
    assert operations.skips.tolist() == [[False, True, False, False]] * 4
    assert operations.parameter_free.tolist() == [[False, True, True, False]] * 4


def test_nothing_is_drawn():
    state = torch.get_rng_state()
    operations_of(small_space(nodes=1))
    assert torch.equal(state, torch.get_rng_state())


def test_a_space_without_places():
    space = Ragged()
    assert not gives_operations(space) and gives_operations(small_space(nodes=1))
    with pytest.raises(InputError, match="does not say where its candidates are"):
        operations_of(space)
