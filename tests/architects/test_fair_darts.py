"""FairDARTS: sigmoid gates, no `none`, and the zero-one loss in closed form."""

import math

import pytest
import torch
from helpers.support import build, small_space

from oneshot.architects.base import frozen
from oneshot.architects.fair_darts import FairDARTS
from oneshot.schedule import Step
from oneshot.spaces import NASBench201
from oneshot.techniques import EntropyPenalty, ZeroOne

STEP = Step(0, 3, 10)


def of(space, seed=0):
    architect = FairDARTS(space)
    with torch.no_grad():
        architect.alpha.copy_(torch.randn(space.shape, generator=torch.Generator().manual_seed(seed)))
    return architect


def candidates(space):
    """Which entries are candidates in the paper."""
    return torch.tensor([[name != "none" for name in choice.candidates] for choice in space.choices])


def test_gates_are_sigmoids_without_none():
    space = small_space()
    assert torch.equal(FairDARTS(space).gates(STEP).weight, 0.5 * candidates(space))
    architect = of(space)
    weight = architect.gates(STEP).weight
    for row, alpha, choice in zip(weight.tolist(), architect.alpha.tolist(), space.choices, strict=True):
        for gate, a, name in zip(row, alpha, choice.candidates, strict=True):
            assert gate == pytest.approx(0 if name == "none" else 1 / (1 + math.exp(-a)))


def test_none_is_never_selected():
    space = NASBench201((1, 8, 8), 10, cells=1, channels=4)
    architect = FairDARTS(space)
    with torch.no_grad():
        architect.alpha.fill_(-20)
        architect.alpha[:, space.choices[0].candidates.index("none")] = 20
    assert "none" not in space.notation(space.discretize(architect.scores()))


def test_the_zero_one_loss_is_minus_a_quarter_where_all_is_decided(double):
    architect = of(small_space())
    with torch.no_grad():
        architect.alpha.copy_(1000 * architect.alpha.sign())
    assert ZeroOne().penalty(architect) == -0.25


def test_its_gradient_in_closed_form(double):
    """-2 * lambda * (s - 1/2) * s' / n: composed minus bare."""
    space = small_space()
    composed = build("fair_darts", space)
    composed.architect.load_state_dict(of(space).state_dict())
    bare, supernet = of(space), space.supernet()
    batch = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    gradients = []
    for architect, alpha in ((composed, composed.architect.alpha), (bare, bare.alpha)):
        with frozen(supernet):
            loss = architect.loss(supernet, batch, batch, None, STEP)
        gradients.append(torch.autograd.grad(loss, alpha)[0])
    s, mask = torch.sigmoid(bare.alpha.detach()), candidates(space)
    expected = -2 * 10 * (s - 0.5) * s * (1 - s) / mask.sum() * mask
    assert torch.allclose(gradients[0] - gradients[1], expected, atol=1e-12) and expected.abs().max() > 1e-3


def test_entropy_is_that_of_shares():
    space = small_space()
    assert FairDARTS(space).entropy() == pytest.approx(1)
    architect = of(space)
    q = torch.sigmoid(architect.alpha.detach()) * candidates(space)
    q = (q / q.sum(1, keepdim=True))[:, 1:]
    expected = (-(q * q.log()).sum(1) / torch.tensor(7.0).log()).mean()
    assert space.choices[0].candidates.index("none") == 0
    assert architect.entropy() == pytest.approx(float(expected), rel=1e-5)
    assert EntropyPenalty().penalty(architect).detach() == pytest.approx(float(expected), rel=1e-5)
