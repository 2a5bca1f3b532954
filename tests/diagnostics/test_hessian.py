"""Spectra against explicit Hessians in float64, against matrices that are known, and against what softmax implies."""

import pytest
import torch
from helpers.support import build, small_space
from torch.nn import functional

from oneshot.architecture import Gates
from oneshot.diagnostics import Landscape, hessian, lanczos, mean_gates, measuring, spectrum
from oneshot.schedule import Step
from oneshot.spaces import NASBench201

STEP = Step(0, 3, 10)


def matrix(values, seed=0):
    """A symmetric matrix with these eigenvalues."""
    values = torch.tensor(values, dtype=torch.float64)
    draws = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(len(values), len(values), generator=draws, dtype=torch.float64))[0]
    return q @ torch.diag(values) @ q.T


def examples(shape=(1, 8, 8), size=6):
    draws = torch.Generator().manual_seed(1)
    x = torch.randn(size, *shape, generator=draws, dtype=torch.float64).to(torch.get_default_dtype())
    return x, torch.arange(size) % 10


@pytest.mark.parametrize("dense", [0, 300])
def test_a_quadratic_with_a_known_spectrum(double, dense):
    values = [-7.0, -0.5, 0.0, 0.25, 0.25, 1.0, 2.0, 6.5]
    A = matrix(values)
    x = torch.randn(2, 4, requires_grad=True)
    found = spectrum(0.5 * x.flatten() @ A @ x.flatten() + x.sum(), x, dense=dense)
    expected = torch.tensor(values if dense else [-7.0, 6.5])
    assert torch.allclose(found, expected, rtol=0, atol=1e-6 * 7)


def test_rows_outside_the_mask_are_left_out(double):
    A = matrix([1.0, 2.0, 3.0, -4.0, 5.0, 6.0])
    x = torch.randn(2, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False], [True, False, True]])
    loss = 0.5 * x.flatten() @ A @ x.flatten()
    kept = mask.flatten()
    assert torch.allclose(hessian(loss, x, mask), A[kept][:, kept])
    assert spectrum(loss, x, torch.zeros_like(mask)).tolist() == []


def test_a_linear_loss_and_one_that_does_not_depend_on_the_parameter():
    x = torch.ones(3, requires_grad=True)
    assert spectrum((2 * x).sum(), x).tolist() == [0, 0, 0]
    assert spectrum((2 * x).sum(), x, dense=0).tolist() == [0, 0]
    other = torch.ones(3, requires_grad=True)
    assert spectrum(other.square().sum(), x).tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_lanczos_finds_both_ends_with_their_signs(seed):
    """Also where the larger end is negative, which a power iteration would give as the largest."""
    draws = torch.Generator().manual_seed(seed)
    A = torch.randn(200, 200, generator=draws, dtype=torch.float64)
    A = A + A.T - 15 * torch.eye(200)
    exact = torch.linalg.eigvalsh(A)
    products = []
    smallest, largest = lanczos(lambda v: products.append(v) or A @ v, 200)
    size = exact.abs().max()
    assert abs(smallest - exact[0]) <= 1e-6 * size and abs(largest - exact[-1]) <= 1e-6 * size
    assert exact[0] < 0 < exact[-1] < -exact[0] and len(products) < 120


def test_lanczos_ends_where_the_space_is_complete():
    assert lanczos(lambda v: 3 * v, 5) == pytest.approx((3.0, 3.0))
    assert lanczos(torch.zeros_like, 5) == (0.0, 0.0)
    assert lanczos(lambda v: -2 * v, 1) == pytest.approx((-2.0, -2.0))
    A = matrix([1.0] * 4 + [-2.0] * 3)
    assert lanczos(lambda v: A @ v, 7) == pytest.approx((-2.0, 1.0))
    assert all(value != value for value in lanczos(lambda v: v / 0, 3))


@pytest.mark.parametrize("settings", ["darts", "fair_darts", "drnas", "gaea", "snas", "pc_darts"])
def test_the_hessian_of_a_supernet_is_the_explicit_one(double, settings):
    """By torch's own function of a function, without our parts: no Landscape, no context."""
    space = small_space(nodes=1)
    architect = build(settings, space)
    net = space.supernet()
    x, y = examples()
    alpha = architect.log_p if settings == "gaea" else (getattr(architect, "architect", architect)).alpha
    with torch.no_grad():
        alpha.add_(0.3 * torch.randn(alpha.shape))

    def gates(alpha):
        inner, transforms = getattr(architect, "architect", architect), getattr(architect, "transforms", ())
        if settings == "fair_darts":
            weight = torch.sigmoid(alpha) * inner.mask
        elif settings == "drnas":
            c = functional.elu(alpha) + 1
            weight = c / c.sum(1, keepdim=True)
        elif settings == "gaea":  # its gradient is that for p: p is what moves
            weight = torch.softmax(inner.log_p.detach(), 1) + alpha - inner.log_p.detach()
        else:
            weight = torch.softmax(alpha, 1)
        result = Gates(weight)
        for transform in transforms:
            result = transform(result, STEP)
        return result

    def loss(alpha):
        return functional.cross_entropy(net(x, gates(alpha)), y)

    size = alpha.numel()
    rows = architect.mask.flatten()
    exact = torch.autograd.functional.hessian(loss, alpha.detach().clone()).reshape(size, size)[rows][:, rows]
    values = torch.linalg.eigvalsh(exact)
    with measuring(net):
        ours = Landscape(net, functional.cross_entropy, (x, y))(mean_gates(architect, STEP))
        found = spectrum(ours, alpha, architect.mask)
        ends = spectrum(ours, alpha, architect.mask, dense=0)
    assert torch.allclose(found, values, rtol=0, atol=1e-9 * values.abs().max())
    assert (ends - values[[0, -1]]).abs().max() <= 1e-6 * values.abs().max()
    assert values.abs().max() > 1e-6  # there is something to find


@pytest.mark.parametrize("space", [small_space(nodes=1), NASBench201((1, 8, 8), 10, cells=1, channels=4)])
def test_a_softmax_does_not_feel_a_shift_of_its_logits(space):
    """H times the ones of a choice is 0, in the precision in which a search measures."""
    torch.manual_seed(0)
    architect = build("darts", space)
    net = space.supernet()
    with measuring(net):
        loss = Landscape(net, functional.cross_entropy, examples())(mean_gates(architect, STEP))
        H = hessian(loss, architect.alpha, architect.mask)
    choices, candidates = space.shape
    sums = H.unflatten(1, (choices, candidates)).sum(2)
    assert sums.abs().max() < 1e-5 * H.abs().max() and H.abs().max() > 1e-5


def test_lanczos_on_a_real_supernet_in_single_precision():
    torch.manual_seed(0)
    space = small_space(nodes=1)
    architect = build("darts", space)
    net = space.supernet()
    with measuring(net):
        loss = Landscape(net, functional.cross_entropy, examples())(mean_gates(architect, STEP))
        every, ends = (spectrum(loss, architect.alpha, architect.mask, dense=dense) for dense in (300, 0))
    assert len(every) == 32 and (ends - every[[0, -1]]).abs().max() <= 1e-6 * every.abs().max()
