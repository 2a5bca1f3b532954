"""SNAS: its distribution, its temperature, its gradients against finite differences, and the joint search."""

from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.ragged import Ragged
from helpers.support import QUIET, small_space
from scipy.stats import chi2
from torch.nn import functional

from oneshot.architects.base import Step, frozen
from oneshot.architects.snas import SNAS
from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.search import Schedule, Search

ADAM = partial(torch.optim.Adam, lr=0.02)
STEP = Step(seed=3, index=4, total=10)


def snas(space, spread=1.0, cost=None, **options):
    torch.manual_seed(0)
    architect = SNAS(space, ADAM, functional.cross_entropy, cost, **options)
    architect.alpha.data = spread * torch.randn(space.shape)
    return architect


@pytest.mark.parametrize("straight_through", [False, True])
def test_gates_sum_to_one_and_are_zero_outside_the_mask(double, straight_through):
    space = Ragged()
    architect = snas(space, straight_through=straight_through)
    for index in range(10):
        weight = architect.gates(Step(0, index, 10)).weight
        assert torch.allclose(weight.sum(1), torch.ones(3), atol=1e-12)
        assert (weight[~space.mask] == 0).all() and (weight >= 0).all()
    assert torch.allclose(architect.scores().sum(1), torch.ones(3)) and (architect.scores()[~space.mask] == 0).all()


@pytest.mark.parametrize("straight_through", [False, True])
def test_cold_draws_are_one_hot_with_the_frequencies_of_softmax(double, straight_through):
    space, draws = Ragged(), 4000
    architect = snas(space, temperature=1e-6, minimum_temperature=1e-6, straight_through=straight_through)
    with torch.no_grad():
        drawn = torch.stack([architect.gates(Step(0, index, draws)).weight for index in range(draws)])
    assert torch.allclose(drawn, drawn.round(), atol=1e-9) and torch.allclose(drawn.sum(2), torch.ones(draws, 3))
    counts, expected = drawn.round().sum(0), draws * architect.scores().detach()
    for row, mean, valid in zip(counts, expected, space.mask, strict=True):
        statistic = ((row - mean)[valid].square() / mean[valid]).sum()
        assert chi2.sf(float(statistic), int(valid.sum()) - 1) > 0.01
    uniform = draws / space.mask.sum(1, keepdim=True)
    assert ((counts - uniform)[space.mask].square() / uniform.expand_as(counts)[space.mask]).sum() > 100


def test_a_draw_is_a_function_of_the_step():
    architect = snas(small_space())
    first = architect.gates(STEP).weight
    for other in (STEP._replace(index=5), STEP._replace(seed=4), STEP._replace(draw=1)):
        assert not torch.allclose(first, architect.gates(other).weight, atol=1e-3)
    assert torch.equal(first, architect.gates(STEP).weight)


def test_loss_and_gates_of_one_step_share_the_draw():
    space = small_space()
    seen = []

    def supernet(x, gates):
        seen.append(gates.weight)
        return x * gates.weight.sum()

    for options in ({}, {"straight_through": True}):
        architect = snas(space, **options)
        x, y = torch.randn(4, 10), torch.randint(10, (4,))
        architect.loss(supernet, (x, y), (x, y), None, STEP)
        assert torch.equal(seen.pop(), architect.gates(STEP).weight)


@pytest.mark.parametrize("annealing", ["linear", "exponential"])
def test_temperature(annealing):
    space = small_space()
    architect = snas(space, temperature=0.7, minimum_temperature=0.03, annealing=annealing)
    found = [architect.temperature_at(Step(0, index, 101)) for index in range(101)]
    assert found[0] == pytest.approx(0.7, abs=1e-12) and found[-1] == 0.03  # exactly
    assert found[50] == pytest.approx(0.365 if annealing == "linear" else (0.7 * 0.03) ** 0.5, abs=1e-12)
    assert found == sorted(found, reverse=True)
    assert architect.temperature_at(Step(0, 0, 1)) == 0.03

    last = Step(0, 100, 101)
    architect.gates(Step(0, 60, 101))
    resumed = snas(space, temperature=0.7, minimum_temperature=0.03, annealing=annealing)
    resumed.load_state_dict(architect.state_dict())
    assert float(resumed.temperature) == pytest.approx(found[60])
    assert torch.equal(resumed.gates(last).weight, architect.gates(last).weight)
    again = snas(space, temperature=0.7, minimum_temperature=0.03, annealing=annealing)
    again.load_state_dict(resumed.state_dict())
    assert float(again.temperature) == pytest.approx(0.03) and again.temperature_at(last) == 0.03


def test_gates_are_the_concrete_distribution(double):
    """Of two candidates: P(Z_0 < q) in closed form."""
    architect = snas(Ragged(), temperature=0.8, minimum_temperature=0.8)
    with torch.no_grad():
        Z = torch.stack([architect.gates(Step(1, index, 4000)).weight[0] for index in range(4000)])
    logit = (architect.alpha[0, 0] - architect.alpha[0, 1]).item()
    for q in (0.2, 0.5, 0.8):  # lambda * logit(Z_0) - (alpha_0 - alpha_1) is logistic
        share = (0.8 * torch.logit(torch.tensor(q)) - logit).sigmoid()
        assert abs((Z[:, 0] < q).double().mean() - share) < 3 * (0.25 / 4000) ** 0.5


def test_gradient_through_the_relaxation(double):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    architect = snas(space, cost=lambda loss, p: loss * (1 + p[:, 0].square().sum()), cost_of="drawn")
    alpha = architect.alpha.detach().clone()
    architect.loss(supernet, (x + 1, y), (x, y), None, STEP).backward()
    gradient = architect.alpha.grad.clone()

    def loss_at(moved):
        architect.alpha.data = moved
        with torch.no_grad():
            return architect.loss(supernet, (x + 1, y), (x, y), None, STEP)

    for i, k in ((0, 0), (1, 3), (6, 7), (9, 2)):
        moved = torch.zeros_like(alpha)
        moved[i, k] = 1e-5
        numeric = (loss_at(alpha + moved) - loss_at(alpha - moved)) / 2e-5
        assert abs(numeric - gradient[i, k]) < 1e-7 and gradient[i, k] != 0


@pytest.mark.parametrize("straight_through", [False, True])
def test_gradient_of_the_gates_is_that_of_softmax_over_lambda(double, straight_through):
    space = Ragged()
    soft = snas(space)
    architect = snas(space, straight_through=straight_through)
    G = torch.randn(space.shape) * space.mask
    (architect.gates(STEP).weight * G).sum().backward()
    Z, lambda_ = soft.gates(STEP).weight.detach(), soft.temperature_at(STEP)
    expected = Z * (G - (Z * G).sum(1, keepdim=True)) / lambda_
    assert torch.allclose(architect.alpha.grad, expected, atol=1e-12)


def test_straight_through_computes_the_drawn_candidates(double):
    space = small_space()
    architect, soft = snas(space, straight_through=True), snas(space)
    drawn = architect.gates(STEP)
    weight, active = drawn.weight, drawn.active
    assert active == tuple((k,) for k in soft.gates(STEP).weight.argmax(1).tolist())
    one_hot = torch.zeros(space.shape)
    one_hot[torch.arange(len(active)), torch.tensor(active)[:, 0]] = 1
    assert torch.equal(weight, one_hot)

    torch.manual_seed(0)
    supernet = space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    with frozen(supernet):
        architect.loss(supernet, (x, y), (x, y), None, STEP).backward()
    g = one_hot.clone().requires_grad_()  # the gradient of the gates, zero where nothing was computed
    functional.cross_entropy(supernet(x, Gates(g)), y).backward()
    Z, kept = soft.gates(STEP).weight.detach(), g.grad * one_hot
    expected = Z * (kept - (Z * kept).sum(1, keepdim=True)) / soft.temperature_at(STEP)
    assert torch.allclose(architect.alpha.grad, expected, atol=1e-10) and expected.abs().max() > 0


def test_gradient_of_the_expected_cost(double):
    space = Ragged()
    c = torch.rand(space.shape)
    architect = snas(space, cost=lambda loss, p: loss + 0.3 * (p * c).sum())
    x, y = torch.randn(4, 10), torch.randint(10, (4,))
    architect.loss(lambda x, gates: x, (x, y), (x, y), None, STEP).backward()  # a loss that alpha does not change
    p = architect.scores().detach()
    expected = 0.3 * p * (c - (p * c).sum(1, keepdim=True))
    assert torch.allclose(architect.alpha.grad, expected, atol=1e-14) and expected.abs().max() > 1e-3


@pytest.mark.parametrize("straight_through", [False, True])
def test_the_cost_of_the_drawn_gates(double, straight_through):
    space = Ragged()
    c = torch.rand(space.shape)
    options = dict(cost=lambda loss, p: 0 * loss + (p * c).sum(), straight_through=straight_through)
    x, y = torch.randn(4, 10), torch.randint(10, (4,))
    drawn = snas(space, cost_of="drawn", **options)
    loss = drawn.loss(lambda x, gates: x, (x, y), (x, y), None, STEP)
    weight = drawn.gates(STEP).weight
    assert torch.allclose(loss, (weight * c).sum())
    loss.backward()
    assert drawn.alpha.grad.abs().max() > 1e-3
    other = snas(space, cost_of="expected", **options).loss(lambda x, gates: x, (x, y), (x, y), None, STEP)
    assert not torch.allclose(loss, other)


def test_outside_a_joint_schedule_the_loss_is_of_the_validation_batch(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = snas(space), space.supernet()
    train, valid = [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(2)]
    with frozen(supernet):
        loss = architect.loss(supernet, train, valid, None, STEP)
    assert torch.allclose(loss, functional.cross_entropy(supernet(valid[0], architect.gates(STEP)), valid[1]))


def searched(data, schedule, epochs=2, precision="32-true", **options):
    torch.manual_seed(0)
    space = small_space(data)
    architect = SNAS(space, ADAM, functional.cross_entropy, **options)
    search = Search(space, architect, data, schedule, seed=5)
    pl.Trainer(max_epochs=epochs, precision=precision, **QUIET).fit(search)
    return search


def test_a_joint_search_equals_the_plain_loop(data):
    """One backward pass a batch of the weight part; lambda from 1 to 0.03 over the steps."""
    search = searched(data, Schedule(joint=True))
    assert float(search.architect.temperature) == pytest.approx(0.03)

    torch.manual_seed(0)
    space = small_space(data)
    alpha = (1e-2 * torch.randn(space.shape)).requires_grad_()
    supernet = space.supernet().to(memory_format=torch.channels_last)
    part, _ = data.split()
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.025, momentum=0.9, weight_decay=3e-4)
    adam = torch.optim.Adam([alpha], lr=0.02)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 2, 0.001)
    before, total = [p.detach().clone() for p in supernet.parameters()], 2 * part.batches
    start = alpha.detach().clone()
    for t in range(total):
        x, y = part.batch(5, t)
        noise = torch.empty(space.shape).exponential_(generator=Step(5, t, total).generator("snas")).log().neg()
        Z = torch.softmax((alpha + noise) / (1 - 0.97 * t / (total - 1)), 1)
        sgd.zero_grad()
        adam.zero_grad()
        functional.cross_entropy(supernet(x, Gates(Z)), y).backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
        sgd.step()
        adam.step()
        if (t + 1) % part.batches == 0:
            cosine.step()
    assert torch.allclose(search.architect.alpha, alpha, atol=1e-5)
    assert not torch.allclose(start, alpha, atol=1e-2)
    for a, b, old in zip(search.supernet.parameters(), supernet.parameters(), before, strict=True):
        assert torch.allclose(a, b, atol=1e-5) and not torch.equal(b, old)


@pytest.mark.parametrize(
    ("schedule", "precision", "options"),
    [(Schedule(), "bf16-mixed", {}), (Schedule(joint=True), "bf16-mixed", {"straight_through": True})],
)
def test_other_searches(data, schedule, precision, options):
    search = searched(data, schedule, 1, precision, **options)
    assert search.scores[0] != search.scores[1]
    assert all(p.isfinite().all() for p in search.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(temperature=0.0), "architect.temperature=0.0"),
        (dict(minimum_temperature=0.0), "architect.minimum_temperature=0.0"),
        (dict(temperature=0.5, minimum_temperature=0.6), "architect.minimum_temperature=0.6: .*at most 0.5"),
        (dict(annealing="exponental"), "unknown architect.annealing 'exponental'; .*did you mean 'exponential'"),
        (dict(cost_of="sampled"), "unknown architect.cost_of 'sampled'"),
        (dict(straight_through="yes"), "architect.straight_through='yes'"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        snas(small_space(), **options)
