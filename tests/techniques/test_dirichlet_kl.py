"""The KL regularizer against torch.distributions, and who may use it."""

import pytest
import torch
from helpers.ragged import Ragged
from helpers.support import build, small_space
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional

from oneshot.architects import DARTS, SNAS, DrNAS, ReinMax
from oneshot.architects.base import Step, frozen
from oneshot.errors import InputError
from oneshot.techniques import Composed, DirichletKL


def test_equals_torch_distributions(double):
    torch.manual_seed(0)
    space = Ragged()
    architect = DrNAS(space)
    architect.alpha.data = 2 * torch.randn(space.shape) * space.mask
    alpha = architect.alpha.detach().clone().requires_grad_()
    plain = 0
    for row, valid in zip(alpha, space.mask, strict=True):
        c = functional.elu(row[valid]) + 1
        plain = plain + kl_divergence(Dirichlet(c), Dirichlet(torch.ones_like(c)))
    penalty = DirichletKL().penalty(architect)
    ours, expected = torch.autograd.grad(penalty, architect.alpha)[0], torch.autograd.grad(plain, alpha)[0]
    assert torch.allclose(penalty, plain, rtol=1e-12) and plain > 1
    assert torch.allclose(ours, expected, rtol=1e-10, atol=1e-12)


def test_is_zero_at_uniform_draws_and_positive_elsewhere(double):
    architect = DrNAS(Ragged())
    architect.alpha.data.zero_()
    penalty = DirichletKL().penalty(architect)
    assert penalty.abs() < 1e-14 and not torch.autograd.grad(penalty, architect.alpha)[0].any()
    architect.alpha.data[1, 2] = 0.01
    assert DirichletKL().penalty(architect) > 1e-6


def test_the_gradient_of_a_search_is_composed_minus_bare(double):
    torch.manual_seed(0)
    space, step = small_space(), Step(0, 3, 10)
    supernet, batch = space.supernet(), (torch.randn(8, 1, 8, 8), torch.randint(10, (8,)))
    bare, inner, alone = (build("drnas", space) for _ in range(3))
    for architect in (bare, inner, alone):
        torch.manual_seed(1)
        architect.alpha.data = torch.randn(space.shape)
    with frozen(supernet):
        bare.loss(supernet, batch, batch, None, step).backward()
        Composed(inner, regularizers=[DirichletKL(0.2)]).loss(supernet, batch, batch, None, step).backward()
    (0.2 * DirichletKL().penalty(alone)).backward()
    assert torch.allclose(inner.alpha.grad - bare.alpha.grad, alone.alpha.grad, atol=1e-12)


@pytest.mark.parametrize("kind", [DARTS, SNAS, ReinMax])
def test_others_are_refused(kind):
    message = rf"technique.dirichlet_kl: needs an architect with Dirichlet distributions \(drnas\); {kind.__name__} has"
    with pytest.raises(InputError, match=message):
        Composed(kind(small_space()), regularizers=[DirichletKL()])
