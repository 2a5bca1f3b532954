"""ProxylessNAS against the paper's formula, enumeration and what the draws must be distributed as."""

import itertools
import math
import random
from collections import Counter
from functools import partial

import pytest
import torch
from helpers.support import small_space
from torch import nn
from torch.nn import functional

from oneshot.architects import Step
from oneshot.architects.base import frozen
from oneshot.architects.proxyless import ProxylessNAS
from oneshot.architecture import Choice, Gates
from oneshot.cost import ExpectedCost
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, SearchSpace
from oneshot.spaces.operations import separable

adam = partial(torch.optim.Adam, lr=0.05, betas=(0.0, 0.999))


class Layers(SearchSpace):
    """Choices of different sizes; each candidate is a linear layer, the first one of a choice is zero."""

    name = "layers"

    def __init__(self, *sizes):
        self.choices = tuple(Choice(f"l/{i}->{i + 1}", tuple(map(str, range(n))), str(i)) for i, n in enumerate(sizes))
        self.settings = {}

    def allowed(self, prefix):
        return tuple(range(len(self.choices[len(prefix)].candidates)))

    def supernet(self):
        return Mixture(self)

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        return self.architecture(scores.argmax(dim=1).tolist())


class Mixture(nn.Module):
    """Residual layers; a reward in training mode would see dropout of everything."""

    def __init__(self, space):
        super().__init__()
        self.layers = nn.ModuleList(nn.ModuleList(nn.Linear(3, 3) for _ in c.candidates) for c in space.choices)
        self.modes = []

    def forward(self, x, gates):
        self.modes.append((self.training, torch.is_grad_enabled()))
        for i, layer in enumerate(self.layers):
            mixed = [gates.weight[i, k] * torch.tanh(layer[k](x)) for k in gates.active[i] if k > 0]
            x = x + sum(mixed) if mixed else x
        return functional.dropout(x, 1.0, self.training) if self.modes[-1] == (True, False) else x


class Kept(nn.Module):
    """A supernet that keeps the gates it was given."""

    def __init__(self, supernet):
        super().__init__()
        self.supernet, self.gates = supernet, None

    def forward(self, x, gates):
        self.gates = gates
        return self.supernet(x, gates)


def step(index=0, seed=0):
    return Step(seed, index, 100)


def batch(space=None):
    if isinstance(space, DARTSCells):
        return torch.randn(6, *space.image_shape), torch.randint(10, (6,))
    return torch.randn(6, 3), torch.randint(3, (6,))


def architect(space, **options):
    made = ProxylessNAS(space, adam, functional.cross_entropy, **options)
    made.alpha.data = torch.randn(space.shape) * space.mask
    return made


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make", [small_space, lambda: Layers(4, 1, 2, 5)])
def test_gradient_is_the_papers_sum_over_two_paths(double, make, seed):
    torch.manual_seed(seed)
    space = make()
    c, weight = torch.rand(space.shape), 0.7
    ours, supernet, (x, y) = architect(space, cost=ExpectedCost(c, weight)), Kept(space.supernet()), batch(space)
    if seed == 0:
        ours.alpha.data[:, 0] = 3.0  # the zero candidate is one of the two almost everywhere
    with frozen(supernet):
        loss = ours.loss(supernet, (x + 1, y), (x, y), None, step(seed))
    loss.backward()
    g = supernet.gates.weight.detach().clone().requires_grad_()
    plain = functional.cross_entropy(supernet.supernet(x, Gates(g, supernet.gates.active)), y)
    (slope,) = torch.autograd.grad(plain, g)
    expected, total = torch.zeros(space.shape), float(plain.detach())
    for i, pair in enumerate(supernet.gates.active):
        assert len(pair) == min(2, len(space.choices[i].candidates))
        assert sorted(g[i, k].item() for k in pair) == [0.0, 1.0][-len(pair) :] and g[i].sum() == 1
        mass = sum(math.exp(ours.alpha[i, k].item()) for k in pair)
        q = {k: math.exp(ours.alpha[i, k].item()) / mass for k in pair}
        total += weight * sum(q[k] * c[i, k].item() for k in pair)
        for a, b in itertools.product(pair, pair):
            expected[i, a] += (slope[i, b] + weight * c[i, b]) * q[b] * ((a == b) - q[a])
    assert abs(loss.item() - total) < 1e-10
    assert (ours.alpha.grad - expected).abs().max() < 1e-10
    zero = [0 in pair and len(pair) == 2 for pair in supernet.gates.active]
    assert ours.alpha.grad.isfinite().all() and (seed > 0 or sum(zero) >= 2)
    assert all(ours.alpha.grad[i].abs().sum() > 0 for i, z in enumerate(zero) if z)


def test_a_step_leaves_the_unsampled_probabilities_and_moves_the_sampled_ones(double):
    torch.manual_seed(0)
    space = small_space()
    ours, supernet = architect(space), Kept(space.supernet())
    optimizer = ours.optimizer(ours.parameters())
    for index in range(5):  # behind the first step Adam has moments of earlier pairs
        before = ours.scores().detach()
        loss = ours.loss(supernet, batch(space), batch(space), None, step(index))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        moved = (ours.scores().detach() - before).abs()
        ours.after_step()
        after = ours.scores().detach()
        pairs = torch.zeros(space.shape, dtype=torch.bool)
        for i, pair in enumerate(supernet.gates.active):
            pairs[i, list(pair)] = True
        assert (after - before)[~pairs].abs().max() < 1e-12
        assert moved[~pairs].max() > 1e-5  # what the shift is for
        assert (after - before)[pairs].abs().min() > 1e-6
        ours.after_step()  # the pair is used once
        assert torch.equal(ours.scores().detach(), after)


def test_choices_of_one_and_two_candidates_and_nothing_outside_the_mask():
    torch.manual_seed(0)
    space = Layers(4, 1, 2, 5)
    for variant in ("gradient", "reinforce"):
        ours, supernet = architect(space, variant=variant), Mixture(space)
        optimizer = ours.optimizer(ours.parameters())
        for index in range(20):
            loss = ours.loss(supernet, batch(), batch(), None, step(index))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ours.after_step()
            gates = ours.gates(step(index))
            assert [len(row) for row in gates.active] == [1] * 4 and torch.equal(gates.weight.sum(1), torch.ones(4))
            assert all(space.mask[i, k] for i, (k,) in enumerate(gates.active))
        assert ours.alpha.isfinite().all() and (ours.alpha[~space.mask] == 0).all()
        assert (ours.scores()[~space.mask] == 0).all() and torch.allclose(ours.scores().sum(1), torch.ones(4))
    single = architect(Layers(1, 1))
    assert single.loss(Mixture(single.space), batch(), batch(), None, step()).isfinite()
    assert single.entropy() == 0


@pytest.mark.parametrize("variant", ["gradient", "reinforce"])
def test_huge_logits(variant):
    torch.manual_seed(0)
    space = Layers(3, 4)
    ours, supernet = architect(space, variant=variant), Mixture(space)
    ours.alpha.data = torch.tensor([[1e4, -1e4, 0.0, 0.0], [0.0, 1e4, 1e4, -1e4]])
    for index in range(10):
        loss = ours.loss(supernet, batch(), batch(), None, step(index))
        (ours.alpha.grad,) = torch.autograd.grad(loss, ours.alpha)
        ours.after_step()
        assert loss.isfinite() and ours.alpha.grad.isfinite().all() and ours.alpha.isfinite().all()
        assert ours.gates(step(index)).active[0] == (0,)
    assert torch.allclose(ours.scores()[1], torch.tensor([0.0, 0.5, 0.5, 0.0]))


def test_draws_are_distributed_as_the_paper_says_and_follow_seed_and_step():
    torch.manual_seed(0)
    space, n = Layers(4), 4000
    ours, supernet = architect(space), Kept(Mixture(space))
    p = ours.scores()[0].tolist()
    paths, pairs = Counter(), Counter()
    for index in range(n):
        paths[ours.gates(step(index)).active[0][0]] += 1
        with torch.no_grad():
            ours.loss(supernet, batch(), batch(), None, step(index))
        pairs[supernet.gates.active[0], supernet.gates.weight[0].argmax().item()] += 1
    expected = {k: p[k] for k in range(4)}
    assert sum((paths[k] - n * e) ** 2 / (n * e) for k, e in expected.items()) < 16.3  # chi-square, 3 d.o.f., 0.1 %
    expected = {}
    for a, b in itertools.combinations(range(4), 2):
        both = p[a] * p[b] / (1 - p[a]) + p[b] * p[a] / (1 - p[b])
        expected |= {((a, b), k): both * p[k] / (p[a] + p[b]) for k in (a, b)}
    assert abs(sum(expected.values()) - 1) < 1e-6
    assert sum((pairs[k] - n * e) ** 2 / (n * e) for k, e in expected.items()) < 31.3  # 11 d.o.f., 0.1 %

    def drawn(seed):
        for index in range(20):
            ours.loss(supernet, batch(), batch(), None, step(index, seed))
            yield supernet.gates.active, supernet.gates.weight.tolist()
            yield ours.gates(step(index, seed)).active

    assert list(drawn(0)) == list(drawn(0)) != list(drawn(1))


@pytest.mark.parametrize("form", ["additive", "multiplicative"])
def test_mean_reinforce_gradient_is_that_of_the_expected_reward(double, form):
    torch.manual_seed(1)
    space = Layers(3, 2, 1)
    cost = ExpectedCost(torch.rand(space.shape), 0.3, form, 1.5)
    ours, supernet, (x, y) = architect(space, variant="reinforce", cost=cost), Mixture(space), batch()
    ours.baseline += 0.2  # changes no mean
    samples = {}
    for index in range(500):
        with frozen(supernet):
            loss = ours.loss(supernet, None, (x, y), None, step(index))
        log_p, reward = loss / (ours.baseline - ours.reward), ours.reward
        path = min(  # the draw, told by its probability: all six differ
            itertools.product(range(3), range(2), range(1)), key=lambda d: abs(probability(ours, d).log() - log_p)
        )
        samples[path] = (torch.autograd.grad(loss, ours.alpha)[0], reward)
    assert len(samples) == 6 and set(supernet.modes) == {(False, False)} and supernet.training
    mean, expected = 0, 0
    for path, (gradient, reward) in samples.items():
        one_hot = space.one_hot(space.architecture(path))
        logits = supernet.eval()(x, Gates(one_hot, tuple((k,) for k in path)))
        error, c = 1 - (logits.argmax(1) == y).double().mean(), (one_hot * cost.table).sum()
        true = 1 - error - 0.3 * c / 1.5 if form == "additive" else 1 - error * (c / 1.5) ** 0.3
        assert abs(reward - true) < 1e-12
        mean = mean + probability(ours, path).detach() * gradient
        expected = expected - probability(ours, path) * true.detach()
    assert (mean - torch.autograd.grad(expected, ours.alpha)[0]).abs().max() < 1e-10


def probability(ours, path):
    rows = [row[: len(c.candidates)] for row, c in zip(ours.alpha, ours.space.choices, strict=True)]
    return torch.stack([torch.softmax(row, 0)[k] for row, k in zip(rows, path, strict=True)]).prod()


def test_baseline_is_a_mean_then_a_moving_average_and_is_saved():
    torch.manual_seed(0)
    space = Layers(3, 3)
    ours, supernet = architect(space, variant="reinforce", baseline_decay=0.75), Mixture(space)
    b = 0.0
    for n in range(8):
        ours.loss(supernet, batch(), batch(), None, step(n))
        assert abs(ours.baseline - b) < 1e-6  # a loss leaves it as it is
        b += (ours.reward.item() - b) * max(0.25, 1 / (n + 1))
        ours.after_step()
    assert b > 0 and abs(ours.baseline - b) < 1e-6
    other = architect(space, variant="reinforce")
    other.load_state_dict(ours.state_dict())
    assert other.baseline == ours.baseline and other.rewards == 8


def saved_bytes(compute, module):
    """Bytes of the storages that a backward pass needs, without parameters."""
    parameters = {p.untyped_storage().data_ptr() for p in module.parameters()}
    storages = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        kept = compute()
    assert kept.requires_grad
    return sum(storages.values())


def test_memory_is_that_of_the_paths_whatever_the_number_of_candidates():
    weights, architectures = [], []
    for n in (2, 4, 8):
        torch.manual_seed(0)
        operations = {f"conv_{k}": separable(3) for k in range(n)}
        candidates = ["none", *operations]
        space = DARTSCells((3, 8, 8), 10, 3, 8, 2, candidates, operations, execution="edges")  # grouped keeps less
        supernet, (x, y), ours = space.supernet(), batch(space), architect(space)
        ours.alpha.data[:, 0] = -1e3  # never none: every path then has the same size
        path = tuple((1 + i % n,) for i in range(len(space.choices)))

        def loss(gates, supernet=supernet, x=x, y=y):
            return functional.cross_entropy(supernet(x, gates), y)

        hot = torch.zeros(space.shape)
        plain = saved_bytes(lambda hot=hot, path=path, loss=loss: loss(Gates(hot, path)), supernet)
        found = space.sample(random.Random(0))
        network = space.network(found, inherit=supernet)
        discrete = saved_bytes(lambda n=network, x=x, y=y: functional.cross_entropy(n(x), y), network)
        gates = Gates(space.one_hot(found), tuple((k,) for k in found.decisions))
        assert saved_bytes(lambda g=gates, loss=loss: loss(g), supernet) <= 1.05 * discrete
        with torch.no_grad():
            gates = ours.gates(step())
        weights.append(saved_bytes(lambda g=gates, loss=loss: loss(g), supernet) / plain)
        with frozen(supernet):
            two = saved_bytes(lambda s=supernet, b=(x, y), a=ours: a.loss(s, b, b, None, step()), supernet)
        architectures.append(two / plain)
    assert max(weights) <= 1.05 and max(architectures) <= 2.1
    assert max(architectures) <= 1.01 * min(architectures)


@pytest.mark.parametrize("on", [1, 2])
def test_memory_of_an_architecture_step_whichever_of_a_cheap_and_a_dear_path_is_active(on):
    torch.manual_seed(0)
    candidates = ["none", "skip_connect", "sep_conv_5x5"]
    space = DARTSCells((3, 8, 8), 10, cells=3, channels=8, nodes=2, candidates=candidates)
    supernet, (x, y), ours = space.supernet(), batch(space), architect(space)
    ours.alpha.data.zero_()[:, 0] = -1e3
    ours.alpha.data[:, on] = 40.0  # drawn with the other one, and active
    path = tuple((on,) for _ in space.choices)
    hot = torch.zeros(space.shape)
    hot[:, on] = 1.0
    one = saved_bytes(lambda: functional.cross_entropy(supernet(x, Gates(hot, path)), y), supernet)
    kept = Kept(supernet)
    with frozen(supernet):
        two = saved_bytes(lambda: ours.loss(kept, (x, y), (x, y), None, step()), supernet)
    assert kept.gates.silent == tuple((3 - on,) for _ in space.choices)
    assert two <= 2.1 * one


def test_bad_settings_are_named():
    space = Layers(2)
    with pytest.raises(InputError, match="unknown architect.variant 'gradients'.*did you mean 'gradient'"):
        architect(space, variant="gradients")
    for decay in (-0.1, 1.1, math.nan):
        with pytest.raises(InputError, match="architect.baseline_decay"):
            architect(space, baseline_decay=decay)
