"""GAEA: exponentiated gradient in closed form and in a plain loop, bilevel and single level."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.ragged import Ragged
from helpers.support import QUIET, small_space
from torch.nn import functional

from oneshot.architects import GAEA, Step
from oneshot.architects.base import frozen
from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, architecture_step, joint_step
from oneshot.schedule import Schedule
from oneshot.search import Search
from oneshot.techniques import BetaDecay, Composed, DirichletKL, EntropyPenalty, LogitDecay, ZeroOne

STEP = Step(3, 4, 10)


class Linear(torch.nn.Module):
    """Its output is sum(c * gates)."""

    def __init__(self, c):
        super().__init__()
        self.c, self.w = c, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x, gates):
        return (gates.weight * self.c).sum() + self.w


def gaea(space, spread=1.0, **options):
    torch.manual_seed(0)
    architect = GAEA(space, **options)
    architect.log_p.data = spread * torch.randn(space.shape) * space.mask
    architect.after_step()
    return architect


def components(architect, supernet, criterion):
    weights = torch.optim.SGD(supernet.parameters(), lr=0.1)
    return Components(supernet, architect, criterion, weights, [architect.optimizer(architect.parameters())])


def test_p_starts_uniform(double):
    space = Ragged()
    expected = space.mask / space.mask.sum(1, keepdim=True)
    assert torch.allclose(GAEA(space).scores(), expected.double(), atol=1e-15)


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("eta", [0.1, 2.0])
def test_a_linear_loss_has_its_closed_form(double, joint, eta):
    """p_t is proportional to p_0 * exp(-eta * t * c)."""
    space, t = Ragged(), 50
    architect = gaea(space, optimizer=partial(torch.optim.SGD, lr=eta), criterion=lambda logits, y: logits)
    c, p0 = torch.randn(space.shape), architect.scores().detach()
    parts, batch = components(architect, Linear(c), architect.criterion), (torch.zeros(1), torch.zeros(1))
    for index in range(t):
        if joint:
            joint_step(parts, batch, Step(0, index, t))
        else:
            architecture_step(parts, batch, batch, Step(0, index, t))
    expected = p0 * torch.exp(-eta * t * c)
    assert torch.allclose(architect.scores(), expected / expected.sum(1, keepdim=True), rtol=1e-10, atol=0)
    assert not architect.scores()[~space.mask].any() and not architect.log_p[~space.mask].any()
    assert torch.allclose(architect.log_p.exp()[space.mask], architect.scores()[space.mask], atol=1e-14)
    assert (expected / expected.sum(1, keepdim=True) - p0).abs().max() > 0.1


def test_default_and_published_rate():
    assert GAEA(Ragged()).optimizer.keywords == {"lr": 0.1}


def test_a_candidate_comes_back_from_a_p_of_zero():
    """In single precision p is 0 there, and log p is not: no clamp is needed."""
    space = Ragged()
    architect = gaea(space, optimizer=partial(torch.optim.SGD, lr=1.0), criterion=lambda logits, y: logits)
    c, p0 = torch.zeros(space.shape), architect.scores().detach()
    c[:, 0] = 20.0
    for sign in (1, -1):
        parts = components(architect, Linear(sign * c), architect.criterion)
        for index in range(10):
            architecture_step(parts, (torch.zeros(1),) * 2, (torch.zeros(1),) * 2, Step(0, index, 10))
        assert sign == -1 or not architect.scores()[:, 0].any()
    assert torch.allclose(architect.scores(), p0, atol=1e-4)


def test_the_gradient_is_that_of_p(double):
    """Not the one through the softmax; against autograd on gates that are leaves, with a cost."""
    torch.manual_seed(0)
    space = small_space()
    c = torch.rand(space.shape)
    architect, supernet = gaea(space, cost=lambda loss, p: loss + (p.square() * c).sum()), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    with frozen(supernet):
        loss = architect.loss(supernet, (x + 1, y), (x, y), None, STEP)
    loss.backward()
    p = architect.scores().detach().requires_grad_()
    plain = functional.cross_entropy(supernet(x, Gates(p)), y) + (p.square() * c).sum()
    (expected,) = torch.autograd.grad(plain, p)
    assert torch.allclose(loss, plain, atol=1e-14)
    assert (architect.log_p.grad - expected).abs().max() < 1e-12 and expected.abs().max() > 1e-3


@pytest.mark.parametrize("joint", [False, True])
def test_a_search_equals_the_plain_loop(data, joint):
    """On p itself, with the published eta."""
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, GAEA(space), data, Schedule(joint=joint), seed=5)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)

    torch.manual_seed(0)
    p = (space.mask / space.mask.sum(1, keepdim=True)).requires_grad_()
    supernet = space.supernet().to(memory_format=torch.channels_last)
    part, valid = data.split()
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)

    def moved(p, gradient):
        raised = p.detach() * torch.exp(-0.1 * gradient)
        return (raised / raised.sum(1, keepdim=True)).requires_grad_()

    for t in range(part.batches):
        if not joint:
            x, y = valid.batch(5, t)
            p = moved(p, torch.autograd.grad(functional.cross_entropy(supernet(x, Gates(p)), y), p)[0])
        x, y = part.batch(5, t)
        sgd.zero_grad()
        functional.cross_entropy(supernet(x, Gates(p)), y).backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
        sgd.step()
        p = moved(p, p.grad) if joint else p
    assert torch.allclose(search.architect.scores(), p, atol=1e-6)
    assert (p - 1 / space.shape[1]).abs().max() > 1e-4


@pytest.mark.parametrize("regularizer", [EntropyPenalty(0.3, None), ZeroOne(0.3)])
def test_regularizers_of_scores_have_the_gradient_of_p(double, regularizer):
    space = Ragged()
    architect, alone = (gaea(space, criterion=lambda logits, y: logits) for _ in range(2))
    batch = torch.zeros(1), torch.zeros(1)
    loss = Composed(architect, regularizers=[regularizer]).loss(
        Linear(torch.zeros(space.shape)), batch, batch, None, STEP
    )
    loss.backward()
    p = alone.scores().detach().requires_grad_()
    alone.scores = lambda: p
    (expected,) = torch.autograd.grad(0.3 * regularizer.penalty(alone), p)
    expected = torch.where(space.mask, expected, 0)
    assert torch.allclose(architect.log_p.grad, expected, atol=1e-14) and expected.abs().max() > 1e-3


@pytest.mark.parametrize("regularizer", [BetaDecay(), LogitDecay(), DirichletKL()])
def test_regularizers_of_logits_are_refused(regularizer):
    with pytest.raises(InputError, match="needs an architect with .*; GAEA has none"):
        Composed(GAEA(small_space()), regularizers=[regularizer])


def test_weight_decay_is_refused():
    with pytest.raises(InputError, match="architect.optimizer.weight_decay=0.01: must be 0"):
        GAEA(small_space(), torch.optim.AdamW)
