"""ReinMax: its expectation over all draws against the exact gradient, and the supernet that it sees."""

import itertools

import pytest
import torch
from helpers.ragged import Ragged
from helpers.support import small_space
from scipy.stats import chi2
from torch.nn import functional

from oneshot.architects import ReinMax, Step
from oneshot.architects.base import frozen
from oneshot.architects.reinmax import second_order
from oneshot.architecture import Gates
from oneshot.cli.benchmark.naive import naive
from oneshot.cost import ExpectedCost
from oneshot.errors import InputError

STEP = Step(3, 4, 10)


def reinmax(space, spread=1.0, **options):
    torch.manual_seed(0)
    architect = ReinMax(space, **options)
    architect.alpha.data = spread * torch.randn(space.shape) * space.mask
    return architect


def polynomial(space, degree):
    """A function of the gates, of this degree in those of each choice, in which the choices interact."""
    torch.manual_seed(degree)
    n = space.shape[0] * space.shape[1]
    a, A, b = torch.randn(n), torch.randn(n, n), torch.randn(space.shape)

    def f(weight):
        g = weight.flatten()
        if degree == 1:  # a product over the choices
            return a @ g + (b * weight).sum(1).prod()
        return a @ g + g @ A @ g + (0 if degree == 2 else (b * weight).sum(1).pow(3).sum())

    return f


def expectations(space, alpha, f, estimate):
    """(the expectation of the estimated gradient, the gradient of the expectation), by enumeration of the draws."""
    alpha = alpha.detach().requires_grad_()
    mean, loss = torch.zeros(space.shape), 0
    for drawn in itertools.product(*(range(len(c.candidates)) for c in space.choices)):
        pi = torch.softmax(alpha.masked_fill(~space.mask, -torch.inf), 1)
        probability = torch.stack([pi[i, k] for i, k in enumerate(drawn)]).prod()
        gates = estimate(alpha, torch.tensor(drawn))
        one_hot = functional.one_hot(torch.tensor(drawn), space.shape[1]).to(alpha.dtype)
        assert torch.equal(gates, one_hot)
        (gradient,) = torch.autograd.grad(f(gates), alpha)
        mean += probability.detach() * gradient
        loss = loss + probability * f(one_hot)
    return mean, torch.autograd.grad(loss, alpha)[0]


def straight_through(space):
    def estimate(alpha, drawn):
        pi = torch.softmax(alpha.masked_fill(~space.mask, -torch.inf), 1)
        return functional.one_hot(drawn, space.shape[1]) + (pi - pi.detach())

    return estimate


@pytest.mark.parametrize("degree", [1, 2])
def test_the_expectation_is_exact_to_second_order(double, degree):
    space = Ragged()
    alpha, f = torch.randn(space.shape) * space.mask, polynomial(space, degree)
    mean, exact = expectations(space, alpha, f, lambda alpha, drawn: second_order(alpha, space.mask, drawn))
    assert (mean - exact).abs().max() < 1e-12 and exact.abs().max() > 0.1
    first, _ = expectations(space, alpha, f, straight_through(space))
    if degree == 1:
        assert (mean - first).abs().max() < 1e-12
    else:
        assert (first - exact).abs().max() > 0.1


def test_a_cubic_is_beyond_second_order(double):
    """The test above sees something."""
    space = Ragged()
    alpha, f = torch.randn(space.shape) * space.mask, polynomial(space, 3)
    mean, exact = expectations(space, alpha, f, lambda alpha, drawn: second_order(alpha, space.mask, drawn))
    assert (mean - exact).abs().max() > 1e-3


@pytest.mark.parametrize("temperature", [1.0, 1.3])
def test_the_gradient_is_the_papers(double, temperature):
    """In scalars: 2 J(p) G - J(pi) G / 2, with p = (softmax(alpha / temperature) + D) / 2."""
    space = Ragged()
    alpha, G = torch.randn(space.shape), torch.randn(space.shape)
    alpha = (alpha * space.mask).requires_grad_()
    drawn = [1, 3, 0]
    (second_order(alpha, space.mask, torch.tensor(drawn), temperature) * G).sum().backward()
    expected = torch.zeros(space.shape)
    for i, choice in enumerate(space.choices):
        n = len(choice.candidates)
        pi = torch.softmax(alpha[i, :n].detach(), 0)
        p = (torch.softmax(alpha[i, :n].detach() / temperature, 0) + torch.eye(n)[drawn[i]]) / 2
        for k, j in itertools.product(range(n), range(n)):
            expected[i, k] += (
                2 * p[k] * (float(k == j) - p[j]) * G[i, j] - pi[k] * (float(k == j) - pi[j]) * G[i, j] / 2
            )
    assert (alpha.grad - expected).abs().max() < 1e-14


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_has_the_gradient_of_all_candidates(double, seed):
    """Against a supernet that computes one edge and one candidate after the other, and all of their gradients."""
    space = small_space()
    torch.manual_seed(seed)
    c = torch.rand(space.shape)
    architect, supernet = reinmax(space, cost=ExpectedCost(c, 0.7), temperature=1.2), space.supernet()
    step = STEP._replace(seed=seed)
    x, y = torch.randn(6, 1, 8, 8), torch.randint(10, (6,))
    with frozen(supernet):
        loss = architect.loss(supernet, (x + 1, y), (x, y), None, step)
    loss.backward()
    path = architect.gates(step)
    drawn = torch.tensor([k for (k,) in path.active])
    alpha = architect.alpha.detach().clone().requires_grad_()
    plain = functional.cross_entropy(naive(supernet)(x, Gates(second_order(alpha, space.mask, drawn, 1.2))), y)
    plain = plain + 0.7 * (torch.softmax(alpha, 1) * c).sum()
    (expected,) = torch.autograd.grad(plain, alpha)
    assert abs(loss.item() - plain.item()) < 1e-10
    assert (architect.alpha.grad - expected).abs().max() < 1e-10 and expected.abs().max() > 1e-3


def test_weights_get_the_gradient_of_the_drawn_path(double):
    """In a joint schedule: the candidates that were not drawn are computed, but get nothing."""
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = reinmax(space), space.supernet()
    x, y = torch.randn(6, 1, 8, 8), torch.randint(10, (6,))
    parameters = dict(supernet.named_parameters())
    both = torch.autograd.grad(
        architect.loss(supernet, (x, y), (x, y), None, STEP), list(parameters.values()), materialize_grads=True
    )
    path = functional.cross_entropy(supernet(x, architect.gates(STEP)), y)
    alone = torch.autograd.grad(path, list(parameters.values()), materialize_grads=True)
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(both, alone, strict=True))
    assert any(not a.any() for a in alone) and any(a.any() for a in alone)


def test_draws_have_the_frequencies_of_softmax(double):
    space, draws = Ragged(), 4000
    architect = reinmax(space)
    drawn = torch.stack([architect.gates(Step(0, index, draws)).weight for index in range(draws)])
    counts, expected = drawn.sum(0), draws * architect.scores().detach()
    for row, mean, valid in zip(counts, expected, space.mask, strict=True):
        assert not row[~valid].any()
        statistic = ((row - mean)[valid].square() / mean[valid]).sum()
        assert chi2.sf(float(statistic), int(valid.sum()) - 1) > 0.01


def test_bad_arguments():
    with pytest.raises(InputError, match="architect.temperature=0.0: .*above 0"):
        ReinMax(small_space(), temperature=0.0)
