"""DrNAS: its draws against the Dirichlet's mean, and their gradient against torch.distributions."""

import pytest
import torch
from helpers.ragged import Ragged
from helpers.support import small_space
from torch.distributions import Dirichlet
from torch.distributions.dirichlet import _Dirichlet_backward
from torch.nn import functional

from oneshot.architects import DrNAS, Step
from oneshot.architects.base import frozen, masked_softmax
from oneshot.architects.drnas import dirichlet
from oneshot.architecture import Gates

STEP = Step(3, 4, 10)


def drnas(space, spread=1.0, **options):
    torch.manual_seed(0)
    architect = DrNAS(space, **options)
    architect.alpha.data = spread * torch.randn(space.shape) * space.mask
    return architect


def test_the_concentration_is_elu_plus_one(double):
    architect = drnas(Ragged(), spread=3.0)
    c = architect.concentration()
    assert torch.allclose(c, (functional.elu(architect.alpha) + 1) * architect.mask, atol=1e-14)
    G = torch.randn(c.shape)
    ours = torch.autograd.grad((c * G).sum(), architect.alpha)[0]
    (expected,) = torch.autograd.grad(
        ((functional.elu(architect.alpha) + 1) * architect.mask * G).sum(), architect.alpha
    )
    assert torch.allclose(ours, expected, atol=1e-14)
    assert torch.equal(drnas(Ragged(), spread=0.0).concentration(), architect.mask.double())


def test_the_concentration_stays_above_zero():
    """In single precision elu(alpha) + 1 is 0 from alpha = -17 on, and no Dirichlet has that."""
    space = small_space()
    architect = drnas(space)
    with torch.no_grad():
        architect.alpha[:, 0] = -30.0
        architect.alpha[:, 1] = -1000.0
        architect.alpha[0] = -1000.0
    assert architect.concentration().min() > 1e-8
    for index in range(50):
        gates = architect.gates(Step(0, index, 50)).weight
        gates[:, 2].sum().backward()
        assert gates.isfinite().all() and torch.allclose(gates.sum(1), torch.ones(space.shape[0]))
        assert architect.alpha.grad.isfinite().all()


def test_gates_sum_to_one_and_are_zero_outside_the_mask(double):
    space = Ragged()
    architect = drnas(space)
    for index in range(20):
        gates = architect.gates(Step(0, index, 20))
        assert gates.active is None and gates.silent is None and (gates.weight >= 0).all()
        assert torch.allclose(gates.weight.sum(1), torch.ones(3), atol=1e-12) and not gates.weight[~space.mask].any()


def test_a_draw_is_a_function_of_the_step():
    architect = drnas(small_space())
    first = architect.gates(STEP).weight
    for other in (STEP._replace(index=5), STEP._replace(seed=4), STEP._replace(draw=1)):
        assert not torch.allclose(first, architect.gates(other).weight, atol=1e-3)
    assert torch.equal(first, architect.gates(STEP).weight)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_the_gradient_is_that_of_torch_distributions_on_the_same_draw(double, spread):
    """What the backward pass of `Dirichlet(c).rsample()` calls, one choice after the other."""
    space = Ragged()
    architect = drnas(space, spread)
    G = torch.randn(space.shape)
    gates = architect.gates(STEP).weight
    (gates * G).sum().backward()
    for i, choice in enumerate(space.choices):
        n = len(choice.candidates)
        alpha, x = architect.alpha.detach()[i, :n].clone().requires_grad_(), gates[i, :n].detach()
        c = functional.elu(alpha) + 1
        slope = _Dirichlet_backward(x, c.detach(), G[i, :n])
        (expected,) = torch.autograd.grad((c * slope).sum(), alpha)
        assert torch.allclose(architect.alpha.grad[i, :n], expected, atol=1e-12)
    assert not architect.alpha.grad[~space.mask].any() and architect.alpha.grad.abs().max() > 1e-3


def test_draws_have_the_mean_and_its_gradient(double):
    """Mean c / sum(c), and the mean of the gradients of a linear loss is the gradient of the mean: z below 3."""
    space, draws = Ragged(), 20000
    architect, G = drnas(space), torch.randn(space.shape)
    c = architect.concentration().detach().repeat(draws, 1).requires_grad_()  # one draw a copy of the choices
    rows = [range(len(choice.candidates)) for choice in space.choices] * draws
    x = dirichlet(c, rows, torch.Generator().manual_seed(0))
    (gradients,) = torch.autograd.grad((x * G.repeat(draws, 1)).sum(), c)
    one = architect.concentration().detach().requires_grad_()
    mean = one / one.sum(1, keepdim=True)
    (slope,) = torch.autograd.grad((mean * G).sum(), one)
    for found, expected in ((x.detach(), mean.detach()), (gradients, slope)):
        found = found.view(draws, *space.shape)[:, space.mask]
        error = found.std(0) / draws**0.5
        assert ((found.mean(0) - expected[space.mask]) / error).abs().max() < 3
        assert (expected[space.mask] / error).abs().max() > 30


def test_scores_are_the_mean_and_decide_as_softmax_does(double):
    space = Ragged()
    architect = drnas(space)
    for row, alpha, valid in zip(architect.scores(), architect.alpha, space.mask, strict=True):
        mean = Dirichlet(functional.elu(alpha[valid]) + 1).mean
        assert torch.allclose(row[valid], mean, atol=1e-14) and not row[~valid].any()
        assert row.argmax() == alpha.masked_fill(~valid, -torch.inf).argmax()


def test_the_top_edges_by_scores_differ_from_those_by_softmax(double):
    """Said in the docstring: the largest scores of two edges can be in another order."""
    architect = drnas(Ragged())
    architect.alpha.data = torch.tensor([[0.2, -2, 0, 0, 0], [5.0, 0, 0, -9, -9], [0, 0, 0, 0, 0]])
    mean, softmax = architect.scores(), masked_softmax(architect.alpha, architect.mask)
    assert mean[0].max() > mean[1].max() and softmax[0].max() < softmax[1].max()


def test_the_loss_is_that_of_the_draw(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = drnas(space, cost=lambda loss, p: loss + p[:, 0].sum()), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    with frozen(supernet):
        loss = architect.loss(supernet, (x + 1, y), (x, y), None, STEP)
    c = functional.elu(architect.alpha.detach()) + 1
    expected = functional.cross_entropy(supernet(x, Gates(architect.gates(STEP).weight)), y)
    assert torch.allclose(loss, expected + (c / c.sum(1, keepdim=True))[:, 0].sum())
