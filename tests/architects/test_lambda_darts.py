"""Lambda: the agreement of the cells, and the gradient of what the weights descend."""

import copy
from itertools import combinations

import pytest
import torch
from helpers.support import small_space
from torch import nn
from torch.nn import functional

from oneshot.architects.darts import DARTS
from oneshot.architects.lambda_darts import LambdaDARTS, agreement
from oneshot.architecture import Choice, Gates
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, weight_step
from oneshot.schedule import Step
from oneshot.spaces import DARTSCells, NASBench201, SearchSpace
from oneshot.techniques import AuxiliarySkip, Composed, EdgeNormalization, RandomPerturbation

LAST = Step(0, 9, 10)
KINDS = ("a", "b", "a", "a", "b", "c")


def pairs_of(kinds):
    return [(i, j) for i, j in combinations(range(len(kinds)), 2) if kinds[i] == kinds[j]]


def table(kinds):
    pairs = torch.zeros(len(kinds), len(kinds), dtype=torch.bool)
    for i, j in pairs_of(kinds):
        pairs[i, j] = pairs[j, i] = True
    return pairs


def plain_lambda(g, kinds):
    """The mean cosine of pairs of cells of one kind, as a loop."""
    cosines = [functional.cosine_similarity(g[i].flatten(), g[j].flatten(), dim=0) for i, j in pairs_of(kinds)]
    return sum(cosines) / len(cosines)


def test_agreement_is_the_mean_cosine_and_its_gradient(double):
    g = torch.randn(6, 3, 4, requires_grad=True)
    value, v = agreement(g.detach(), table(KINDS))
    expected = plain_lambda(g, KINDS)
    assert torch.allclose(value, expected, atol=1e-14)
    assert torch.allclose(v, torch.autograd.grad(expected, g)[0], atol=1e-14)


def test_cells_that_want_the_same_agree_by_one(double):
    one, other = torch.randn(2, 3, 4)
    g = torch.stack([one, other, 2 * one, 0.1 * one, 7 * other, torch.randn(3, 4)])
    value, v = agreement(g, table(KINDS))
    assert torch.allclose(value, torch.tensor(1.0)) and v.abs().max() < 1e-12
    assert torch.allclose(agreement(torch.stack([one, -one]), table("aa"))[0], torch.tensor(-1.0))


def test_a_cell_without_a_gradient_gets_none(double):
    g = torch.randn(3, 3, 4)
    g[1] = 0
    value, v = agreement(g, table("aaa"))
    assert torch.allclose(value, functional.cosine_similarity(g[0].flatten(), g[2].flatten(), dim=0) / 3)
    assert v.isfinite().all() and not v[1].any() and v[0].any()


class Smooth(SearchSpace):
    """Cells in a row, of two kinds, which mix smooth functions of vectors."""

    name = "smooth"
    kinds = ("a", "b", "a", "b", "a")

    def __init__(self):
        self.choices = tuple(
            Choice(f"{kind}/{e}->{e + 1}", ("x", "y", "z"), f"{kind}/{e}") for kind in "ab" for e in range(2)
        )
        self.settings = {}

    def allowed(self, prefix):
        return 0, 1, 2

    def supernet(self):
        return SmoothNet(self.kinds)

    network = discretize = None


class SmoothNet(nn.Module):
    def __init__(self, kinds):
        super().__init__()
        self.kinds = kinds
        self.w = nn.Parameter(0.5 * torch.randn(len(kinds), 2, 3, 4, 4))
        self.last = nn.Linear(4, 5)

    def forward(self, x, gates):
        for i, kind in enumerate(self.kinds):
            weight = gates.of_cell(i).weight["ab".index(kind) * 2 :]
            for edge in range(2):
                y = torch.einsum("bi,kij->kbj", x, self.w[i, edge])
                x = x + (weight[edge, :, None, None] * torch.stack([y[0].tanh(), y[1].sin(), y[2].sigmoid()])).sum(0)
        return self.last(x)


def setting(space, seed=0, **options):
    torch.manual_seed(seed)
    architect, supernet = LambdaDARTS(space, **options), space.supernet()
    with torch.no_grad():
        architect.alpha.add_(torch.randn(space.shape) * space.mask)
    return architect, supernet


def stepped(architect, supernet, batch, step=LAST):
    """The gradients of a weight step."""
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1)
    weight_step(Components(supernet, architect, functional.cross_entropy, sgd, ()), batch, step)
    return [p.grad for p in supernet.parameters()]


def exact(architect, supernet, batch, weight):
    """The gradient of L - weight * Lambda by autograd, through the gradients of the cells."""
    x, y = batch
    p, kinds = architect.scores().detach(), architect.space.kinds
    cells = torch.zeros(len(kinds), *p.shape, requires_grad=True)
    loss = functional.cross_entropy(supernet(x, Gates(p, cells=cells)), y)
    (g,) = torch.autograd.grad(loss, cells, create_graph=True)
    objective = loss - weight * plain_lambda(g, kinds)
    return torch.autograd.grad(objective, list(supernet.parameters()), materialize_grads=True)


def distance(found, expected):
    return float(sum((a - b).square().sum() for a, b in zip(found, expected, strict=True)).sqrt())


def test_a_weight_step_has_the_exact_gradient_to_the_order_of_the_difference(double):
    batch = torch.randn(7, 4), torch.randint(5, (7,))
    errors = []
    for epsilon in (4e-2, 2e-2, 1e-2):
        architect, supernet = setting(Smooth(), weight=0.7, epsilon=epsilon)
        expected = exact(architect, supernet, batch, 0.7)
        errors.append(distance(stepped(architect, supernet, batch), expected))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1) and errors[1] / errors[2] == pytest.approx(4, rel=0.1)
    architect, supernet = setting(Smooth(), weight=0.7)
    expected, bare = (exact(architect, supernet, batch, weight) for weight in (0.7, 0.0))
    assert distance(stepped(architect, supernet, batch), expected) < 1e-6 * distance(expected, bare)


@pytest.mark.parametrize("space", [DARTSCells((1, 8, 8), 10, 4, 4, 2), NASBench201((1, 8, 8), 10, 1, 4)])
def test_and_in_real_supernets(double, space):
    """Far from kinks of ReLU and pools, which a difference this small does not cross."""
    torch.manual_seed(1)
    batch = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    architect, supernet = setting(space, epsilon=1e-7)
    expected, bare = (exact(architect, supernet, batch, weight) for weight in (0.125, 0.0))
    found = stepped(architect, supernet, batch)
    found = [torch.zeros_like(b) if a is None else a for a, b in zip(found, bare, strict=True)]
    assert distance(found, expected) < 1e-3 * distance(expected, bare)


@pytest.mark.parametrize("execution", ["grouped", "edges"])
@pytest.mark.parametrize("kind", ["darts", "nasbench201"])
def test_gates_of_single_cells(double, kind, execution):
    """A change in a cell is seen by this cell alone, and one in all cells is a change of the gates."""
    torch.manual_seed(0)
    if kind == "darts":
        space = DARTSCells((1, 8, 8), 10, cells=4, channels=4, nodes=2, execution=execution)
    else:
        space = NASBench201((1, 8, 8), 10, cells=2, channels=4, execution=execution)
    supernet, x, p = space.supernet(), torch.randn(4, 1, 8, 8), torch.rand(space.shape)
    delta = torch.randn(space.shape)
    assert torch.equal(supernet(x, Gates(p)), supernet(x, Gates(p, cells=torch.zeros(len(space.kinds), *space.shape))))
    everywhere = supernet(x, Gates(p, cells=delta.expand(len(space.kinds), -1, -1)))
    assert torch.allclose(everywhere, supernet(x, Gates(p + delta)), atol=1e-12)
    cells = supernet.cells if kind == "darts" else [block for block in supernet.blocks if hasattr(block, "edges")]
    assert len(cells) == len(space.kinds)
    kinds = list(dict.fromkeys(space.kinds))
    assert kinds == (["normal", "reduce"] if kind == "darts" else ["cell"])
    for i, cell in enumerate(cells):
        start = kinds.index(space.kinds[i]) * len(space.choices) // len(kinds)
        change = delta[start : start + len(space.choices) // len(kinds)]
        hook = cell.register_forward_pre_hook(
            lambda _, inputs, change=change: (*inputs[:-1], inputs[-1]._replace(weight=inputs[-1].weight + change))
        )
        expected = supernet(x, Gates(p))
        hook.remove()
        alone = torch.zeros(len(cells), *space.shape)
        alone[i] = delta
        assert torch.allclose(supernet(x, Gates(p, cells=alone)), expected, atol=1e-12)


def test_of_weight_zero_or_at_the_first_step_it_is_darts():
    batch = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    for options, step in (({"weight": 0.0}, LAST), ({}, Step(0, 0, 10))):
        architect, supernet = setting(small_space(), **options)
        torch.manual_seed(0)
        plain = DARTS(small_space())
        plain.load_state_dict(architect.state_dict())
        other = copy.deepcopy(supernet)
        for a, b in zip(stepped(architect, supernet, batch, step), stepped(plain, other, batch, step), strict=True):
            assert torch.equal(a, b)


class Noisy(Smooth):
    """With dropout, and a buffer that counts the passes."""

    def supernet(self):
        net = SmoothNet(self.kinds)
        net.last = nn.Sequential(nn.Dropout(0.5), net.last)
        return net


def test_its_passes_have_the_same_draws_and_leave_the_random_state(double):
    architect, supernet = setting(Noisy())
    batch = torch.randn(64, 4), torch.randint(5, (64,))
    before = torch.get_rng_state()
    first, second = (sum(architect.weight_terms(supernet, batch, LAST)).detach() for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)
    quiet = sum(architect.weight_terms(supernet.eval(), batch, LAST)).detach()
    assert first.abs() < 20 * quiet.abs() + 1  # with draws of their own it would be 1e3


@pytest.mark.parametrize("part", [EdgeNormalization, AuxiliarySkip])
def test_behind_a_transform_the_terms_are_of_the_transformed_gates(double, part):
    torch.manual_seed(0)
    space = small_space()
    architect, supernet = setting(space, epsilon=1e-6)
    composed = Composed(architect, [part(space)])
    step = Step(0, 5, 11)
    batch = torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    terms = torch.autograd.grad(sum(composed.weight_terms(supernet, batch, step)), list(supernet.parameters()))
    assert all(p.grad is None for p in composed.parameters())

    class Fixed(LambdaDARTS):
        def gates(self, step):
            return composed.gates(step)

    fixed = Fixed(space, epsilon=1e-6)
    expected = torch.autograd.grad(sum(fixed.weight_terms(supernet, batch, step)), list(supernet.parameters()))
    assert all(torch.allclose(a, b, atol=1e-9) for a, b in zip(terms, expected, strict=True))
    assert any(a.abs().max() > 1e-4 for a in terms)


def test_what_has_no_meaning():
    space = small_space()
    with pytest.raises(InputError, match="random_perturbation: LambdaDARTS has weight steps of its own"):
        Composed(LambdaDARTS(space), perturbations=[RandomPerturbation()])
    for options in ({"weight": -1.0}, {"epsilon": 0.0}):
        with pytest.raises(InputError, match=f"architect.{next(iter(options))}"):
            LambdaDARTS(space, **options)
    single = Smooth()
    single.kinds = ("a", "b")
    with pytest.raises(InputError, match="space 'smooth' has none"):
        LambdaDARTS(single)
