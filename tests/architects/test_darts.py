"""DARTS of first order, and of second order against closed forms, autograd and a version with deep copies."""

import copy
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts, small_space
from torch import nn
from torch.nn import functional

from oneshot.architects.base import Step, frozen
from oneshot.architects.darts import DARTS
from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.search import Schedule, Search
from oneshot.spaces import DARTSCells
from oneshot.spaces.operations import batch_norm

STEP = Step(seed=0, index=0, total=10)
SGD = dict(lr=0.05, momentum=0.9, weight_decay=3e-2)
ADAM = partial(torch.optim.Adam, lr=1e-3)


def second(space, criterion=functional.cross_entropy, cost=None, spread=1.0, **options):
    """Of second order, with alpha away from its start, where softmax is nearly linear."""
    torch.manual_seed(1)
    architect = DARTS(space, ADAM, criterion, cost, order=2, **options)
    architect.alpha.data = spread * torch.randn(space.shape)
    return architect


def gradient(architect, supernet, train, valid, weights):
    architect.alpha.grad = None
    with frozen(supernet):
        loss = architect.loss(supernet, train, valid, weights, STEP)
    loss.backward()
    return architect.alpha.grad


def images(count=8):
    return [(torch.randn(count, 1, 8, 8), torch.randint(10, (count,))) for _ in range(2)]


def stepped(supernet, x, gates, y, **settings):
    """An optimizer with non-zero momentum buffers."""
    weights = torch.optim.SGD(supernet.parameters(), **{**SGD, **settings})
    functional.cross_entropy(supernet(x, gates), y).backward()
    weights.step()
    weights.zero_grad()
    return weights


def test_first_order_gradient_is_that_of_the_validation_loss(double):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = darts(space), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    architect.loss(supernet, (x + 1, y), (x, y), None, STEP).backward()
    gradient = architect.alpha.grad

    def loss_at(alpha):
        return functional.cross_entropy(supernet(x, Gates(torch.softmax(alpha, 1))), y)

    for i, k in ((0, 0), (1, 3), (6, 7), (9, 2)):  # central differences
        moved = torch.zeros_like(architect.alpha)
        moved[i, k] = 1e-5
        numeric = (loss_at(architect.alpha + moved) - loss_at(architect.alpha - moved)) / 2e-5
        assert abs(numeric - gradient[i, k]) < 1e-7


def test_scores_are_probabilities_and_alpha_starts_small():
    torch.manual_seed(0)
    architect = darts(small_space())
    assert torch.allclose(architect.scores().sum(1), torch.ones(10))
    assert 0.5e-3 < architect.alpha.std() < 2e-3
    assert 0.9999 < architect.entropy() <= 1
    architect.alpha.data[:, 0] = 100
    assert architect.entropy() < 1e-6


class Linear(nn.Module):
    """logits = A a + B b + C p, for two weights a, b and the gates p: L is quadratic in all of them."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(2))

    def forward(self, x, gates):
        a, b, c = x
        return a @ self.a + b @ self.b + c @ gates.weight.flatten()


def square(z, y):
    return (z - y).square().sum() / 2


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.05, 0.02)])
@pytest.mark.parametrize("with_cost", [False, True])
def test_second_order_on_a_quadratic_is_the_closed_form(double, hessian, rates, with_cost):
    torch.manual_seed(0)
    space, supernet = small_space(), Linear()
    size = space.shape[0] * space.shape[1]
    prices = torch.randn(space.shape)
    cost = (lambda loss, p: loss * (1 + (p * prices).sum() ** 2)) if with_cost else None
    architect = second(space, square, cost, hessian=hessian)
    groups = [dict(params=[w], lr=rate) for w, rate in zip(supernet.parameters(), rates, strict=True)]
    sgd = torch.optim.SGD(groups, **SGD)
    supernet.a.grad, supernet.b.grad = torch.randn(3), torch.randn(2)
    sgd.step()
    sgd.zero_grad()
    batches = [((torch.randn(9, 3), torch.randn(9, 2), torch.randn(9, size)), torch.randn(9)) for _ in range(2)]
    found = gradient(architect, supernet, *batches, sgd)

    p = torch.softmax(architect.alpha.detach(), 1)
    w = torch.cat([supernet.a, supernet.b]).detach()
    xi = torch.tensor([rates[0]] * 3 + [rates[1]] * 2)
    buffer = torch.cat([sgd.state[v]["momentum_buffer"] for v in supernet.parameters()])
    assert buffer.abs().min() > 0
    (A, C, y), (Av, Cv, yv) = ((torch.cat(x[:2], 1), x[2], y) for x, y in batches)
    u = 0.9 * buffer + A.T @ (A @ w + C @ p.flatten() - y) + 3e-2 * w
    residual = Av @ (w - xi * u) + Cv @ p.flatten() - yv
    excess = (p * prices).sum()
    scale = 1 + excess**2 if with_cost else 1.0  # what the cost multiplies L_valid with
    dp = scale * (Cv.T @ residual - C.T @ A @ (xi * (Av.T @ residual))).reshape(space.shape)
    if with_cost:
        dp = dp + residual.square().sum() * excess * prices
    expected = p * (dp - (p * dp).sum(1, keepdim=True))
    assert (found - expected).norm() / expected.norm() < 1e-9


class SmoothCell(nn.Module):
    """One cell without kinks: softplus for ReLU, average pools, batch norm."""

    def __init__(self, space):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, space.channels, 3, padding=1), batch_norm(space.channels, False))
        self.plan = space.edges(False)
        self.operations = nn.ModuleList(
            nn.ModuleList(space.factories[c](space.channels, 1, False) for c in space.candidates if c != "none")
            for _ in self.plan
        )
        self.classifier = nn.Linear(space.nodes * space.channels, space.classes)

    def forward(self, x, gates):
        s = self.stem(x)
        states = [s, functional.softplus(s)] + [0] * (max(edge.target for edge in self.plan) - 1)
        for weight, edge, operations in zip(gates.weight, self.plan, self.operations, strict=False):
            y = sum(weight[k + 1] * operation(states[edge.source]) for k, operation in enumerate(operations))
            states[edge.target] = states[edge.target] + y
        return self.classifier(torch.cat(states[2:], 1).mean(dim=(2, 3)))


def smooth_convolution(channels, stride, affine):
    depthwise = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    return nn.Sequential(nn.Softplus(), depthwise, pointwise, batch_norm(channels, affine))


def test_the_finite_difference_converges_to_exact_on_a_smooth_cell(double):
    torch.manual_seed(0)
    candidates = ("none", "avg_pool_3x3", "skip_connect", "smooth_conv")
    space = DARTSCells((1, 8, 8), 10, 3, 4, 2, candidates, {"smooth_conv": smooth_convolution})
    supernet = SmoothCell(space)
    train, valid = images()
    sgd = stepped(supernet, train[0], Gates(torch.rand(space.shape)), train[1])
    exact = gradient(second(space, hessian="exact"), supernet, train, valid, sgd)
    errors = []
    for epsilon in (1e-1, 1e-2, 1e-3):
        errors.append((gradient(second(space, epsilon=epsilon), supernet, train, valid, sgd) - exact).norm())
    assert errors[0] > 50 * errors[1] > 50 * 50 * errors[2]
    assert errors[1] > 0

    def unrolled(alpha):  # L_valid(w'(alpha), alpha) itself, for central differences of it
        ahead = copy.deepcopy(supernet)
        gates = Gates(torch.softmax(alpha, 1))
        weights = torch.optim.SGD(ahead.parameters(), **SGD)
        weights.load_state_dict(copy.deepcopy(sgd.state_dict()))
        functional.cross_entropy(ahead(train[0], gates), train[1]).backward()
        weights.step()
        return float(functional.cross_entropy(ahead(valid[0], gates), valid[1]).detach())

    alpha = second(space).alpha.detach()
    for i, k in ((0, 1), (1, 3), (4, 2)):
        moved = torch.zeros_like(alpha)
        moved[i, k] = 1e-4
        assert abs((unrolled(alpha + moved) - unrolled(alpha - moved)) / 2e-4 - exact[i, k]) < 1e-8


def deep_copies(supernet, alpha, train, valid, sgd, epsilon):
    """Equations 7 and 8 as the authors compute them: a copy takes the step, and the weights themselves move by R."""

    def loss(model, examples):
        x, y = examples
        return functional.cross_entropy(model(x, Gates(torch.softmax(alpha, 1))), y)

    alpha = alpha.detach().requires_grad_()
    ahead = copy.deepcopy(supernet)
    weights = torch.optim.SGD(ahead.parameters(), **SGD)
    weights.load_state_dict(copy.deepcopy(sgd.state_dict()))
    loss(ahead, train).backward()
    weights.step()
    weights.zero_grad()
    alpha.grad = None
    loss(ahead, valid).backward()
    first, vector = alpha.grad, [p.grad for p in ahead.parameters()]
    R = epsilon / torch.cat([v.flatten() for v in vector]).norm()
    sides = []
    for sign in (1, -1):
        model = copy.deepcopy(supernet)
        for p, v in zip(model.parameters(), vector, strict=True):
            p.data.add_(sign * R * v)
        sides.append(torch.autograd.grad(loss(model, train), alpha)[0])
    return first - sgd.param_groups[0]["lr"] * (sides[0] - sides[1]) / (2 * R)


def test_the_finite_difference_on_the_published_cell_equals_deep_copies(double):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    train, valid = images()
    sgd = stepped(supernet, train[0], Gates(space.mask.double() / space.shape[1]), train[1])
    architect = second(space)
    expected = deep_copies(supernet, architect.alpha, train, valid, sgd, 0.01)
    found = gradient(architect, supernet, train, valid, sgd)
    assert (found - expected).norm() / expected.norm() < 1e-10
    plain = gradient(darts_of_first_order(space, architect), supernet, train, valid, sgd)
    assert (found - plain).norm() / expected.norm() > 1e-2


def darts_of_first_order(space, architect):
    first = darts(space)
    first.alpha.data.copy_(architect.alpha)
    return first


def conv_that_counts(channels, stride, affine):
    """With running statistics, which every forward in training mode changes."""
    return nn.Sequential(nn.Conv2d(channels, channels, 3, stride, padding=1), nn.BatchNorm2d(channels))


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_nothing_is_left_behind(hessian, momentum):
    torch.manual_seed(0)
    candidates = ("none", "max_pool_3x3", "counted")
    space = DARTSCells((1, 8, 8), 10, 3, 4, 2, candidates, {"counted": conv_that_counts})
    supernet = space.supernet()
    train, valid = images()
    sgd = stepped(supernet, train[0], Gates(torch.rand(space.shape)), train[1], momentum=momentum)
    for p in supernet.parameters():
        p.grad = torch.randn_like(p)
    architect = second(space, hessian=hessian)

    def everything():
        state = copy.deepcopy((supernet.state_dict(), sgd.state_dict(), [p.grad for p in supernet.parameters()]))
        return [*state[0].values(), *state[2], *(v["momentum_buffer"] for v in state[1]["state"].values())]

    before, alpha, known = everything(), architect.alpha.detach().clone(), len(sgd.state)
    assert any("running_mean" in name for name in supernet.state_dict())
    gradient(architect, supernet, train, valid, sgd)
    after = everything()
    assert len(before) == len(after) and len(sgd.state) == known
    for a, b in zip(before, after, strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert torch.equal(architect.alpha, alpha)
    assert all(p.requires_grad for p in supernet.parameters())
    fresh = torch.optim.SGD(supernet.parameters(), **SGD)
    gradient(architect, supernet, train, valid, fresh)
    assert not fresh.state


def test_the_value_is_the_validation_loss_one_step_ahead(double):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    train, valid = images()
    sgd = torch.optim.SGD(supernet.parameters(), **SGD)
    architect = second(space, cost=lambda loss, p: loss + 3 * p.sum())
    loss = architect.loss(supernet, train, valid, sgd, STEP)
    ahead, gates = copy.deepcopy(supernet), Gates(torch.softmax(architect.alpha.detach(), 1))
    functional.cross_entropy(ahead(train[0], gates), train[1]).backward()
    torch.optim.SGD(ahead.parameters(), **SGD).step()
    assert loss.shape == () and torch.allclose(loss, functional.cross_entropy(ahead(valid[0], gates), valid[1]) + 30)


@pytest.mark.parametrize("hessian", ["finite_difference", "exact"])
def test_its_passes_stay_in_fp32_under_autocast(hessian):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet().to(memory_format=torch.channels_last)
    (x, y), valid = images()
    train = (x.contiguous(memory_format=torch.channels_last), y)
    sgd = stepped(supernet, x, Gates(torch.rand(space.shape)), y)
    architect, seen = second(space, hessian=hessian), []
    hook = supernet.cells[0].register_forward_hook(
        lambda *found: seen.append((found[2].dtype, torch.backends.mkldnn.matmul.fp32_precision))
    )
    plain = gradient(architect, supernet, train, valid, sgd)
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = gradient(architect, supernet, train, valid, sgd)
            assert torch.get_autocast_dtype("cpu") == torch.bfloat16 and torch.is_autocast_enabled("cpu")
            assert set(seen) == {(torch.float32, "ieee")}
            assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
            seen.clear()
            gradient(darts_of_first_order(space, architect), supernet, train, valid, sgd)
            assert seen[0][0] == torch.bfloat16  # so this test can fail
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(precision)
        hook.remove()
    assert torch.equal(plain, mixed)


@pytest.mark.parametrize(
    ("schedule", "precision", "kinds"),
    [(Schedule(), "bf16-mixed", 4), (Schedule(joint=True), "32-true", 2)],
)
def test_a_search_of_second_order_moves_both(data, schedule, precision, kinds):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, second(space, spread=0.0), data, schedule, log_every=1)
    before = [p.detach().clone() for p in search.supernet.parameters()]
    pl.Trainer(max_epochs=1, precision=precision, **QUIET).fit(search)
    assert search.total == kinds and search.scores[0] != search.scores[1]
    assert all(p.isfinite().all() for p in search.parameters())
    assert all(not torch.equal(a, b) for a, b in zip(before, search.supernet.parameters(), strict=True))


def test_a_search_of_second_order_equals_the_plain_loop(double, data):
    """Architecture steps on the batch of the next weight step and one of the architecture part, at its rate."""
    torch.manual_seed(0)
    space = small_space(data, nodes=1)
    search = Search(space, second(space), data, optimizer=partial(torch.optim.SGD, **SGD), seed=5)
    supernet, alpha = copy.deepcopy(search.supernet), search.architect.alpha.detach().clone().requires_grad_()
    start = alpha.detach().clone()
    pl.Trainer(max_epochs=2, precision="64-true", **QUIET).fit(search)

    weight_part, architecture_part = data.split()
    sgd, adam = torch.optim.SGD(supernet.parameters(), **SGD), ADAM([alpha])
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 2, 0.001)
    for t in range(2 * weight_part.batches):
        train, valid = weight_part.batch(5, t), architecture_part.batch(5, t)
        alpha.grad = deep_copies(supernet, alpha, train, valid, sgd, 0.01)
        adam.step()
        sgd.zero_grad()
        functional.cross_entropy(supernet(train.x, Gates(torch.softmax(alpha.detach(), 1))), train.y).backward()
        torch.nn.utils.clip_grad_norm_(supernet.parameters(), 5)
        sgd.step()
        if (t + 1) % weight_part.batches == 0:
            cosine.step()
    assert (search.architect.alpha - alpha).abs().max() < 1e-10
    assert (search.architect.alpha - start).abs().max() > 1e-3


def test_in_a_joint_step_the_weights_get_the_gradient_of_the_training_loss(double):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    (x, y), _ = images()
    architect = second(space)
    architect.loss(supernet, (x, y), (x, y), torch.optim.SGD(supernet.parameters(), **SGD), STEP).backward()
    found = [p.grad for p in supernet.parameters()]
    supernet.zero_grad()
    functional.cross_entropy(supernet(x, Gates(torch.softmax(architect.alpha.detach(), 1))), y).backward()
    for p, g in zip(supernet.parameters(), found, strict=True):
        assert torch.allclose(p.grad, g, atol=1e-12)


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True), "weights.optimizer: SGD with nesterov"),
        (partial(torch.optim.SGD, lr=0.1, momentum=0.9, dampening=0.1), "weights.optimizer: SGD with dampening"),
        (partial(torch.optim.SGD, lr=0.1, maximize=True), "weights.optimizer: SGD with maximize"),
        (torch.optim.Adam, "weights.optimizer: Adam; .*order 2 needs SGD"),
    ],
)
def test_other_weight_optimizers_are_refused(optimizer, message):
    space = small_space()
    supernet = space.supernet()
    with pytest.raises(InputError, match=message):
        second(space).loss(supernet, *images(), optimizer(supernet.parameters()), STEP)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(order=3), "architect.order=3"),
        (dict(hessian="exakt"), "unknown architect.hessian 'exakt'; .*did you mean 'exact'"),
        (dict(epsilon=0.0), "architect.epsilon=0.0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        DARTS(small_space(), ADAM, functional.cross_entropy, **options)
