"""ENAS against a plain controller and enumeration of all architectures."""

import random
from functools import partial
from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, small_space
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional

from oneshot.architects.base import Step, frozen
from oneshot.architects.enas import ENAS
from oneshot.architecture import Choice
from oneshot.errors import Diverged, InputError
from oneshot.search import Schedule, Search
from oneshot.selection import BestOf
from oneshot.spaces import DARTSCells, SearchSpace
from oneshot.spaces.base import DropPath, set_drop_path

CHOICES = (("a", "b"), ("a", "b", "c"), ("a", "b", "c"), ("a", "b"))


class Ragged(SearchSpace):
    """Two to three candidates a choice; none may be that of the choice before it."""

    name = "ragged"
    choices = tuple(Choice(f"cell/{i}->{i + 1}", c, f"cell/{i + 1}") for i, c in enumerate(CHOICES))
    settings = {}

    def allowed(self, prefix):
        return tuple(k for k in range(len(CHOICES[len(prefix)])) if not prefix or k != prefix[-1])

    def supernet(self):
        return Table(self)

    def network(self, architecture, inherit=None):
        raise NotImplementedError

    def discretize(self, scores):
        raise NotImplementedError


class Table(nn.Module):
    """A supernet with an accuracy of its own for each architecture; keeps the decisions that it was asked for."""

    def __init__(self, space, examples=60):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.register_buffer("table", torch.randn(space.shape[0] * space.shape[1], examples * 3, generator=generator))
        self.w = nn.Parameter(torch.ones(()))
        self.asked = []

    def forward(self, x, gates):
        decisions = tuple(gates.weight.argmax(1).tolist())
        assert gates.active == tuple((d,) for d in decisions) and gates.weight.sum() == len(decisions)
        self.asked.append(decisions)
        return self.w * (gates.weight.flatten() @ self.table.to(gates.weight.dtype)).view(-1, 3)[: len(x)]


def darts_space(nodes, candidates):
    return DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=nodes, candidates=candidates)


SPACES = {
    "16 architectures": lambda: darts_space(1, ("none", "skip_connect", "avg_pool_3x3")),
    "9 architectures": lambda: darts_space(2, ("none", "skip_connect")),
    "ragged": Ragged,
}
EXAMPLES = torch.zeros(60, 1), torch.arange(60) % 3


def enas(space, spread=15.0, lr=0.02, **options):
    """An architect whose controller is far from uniform: its parameters are `spread` times those of the start."""
    torch.manual_seed(0)
    adam = partial(torch.optim.Adam, lr=lr)
    architect = ENAS(space, adam, functional.cross_entropy, **{"hidden": 5, "marginal_samples": 2000, **options})
    with torch.no_grad():
        for parameter in architect.parameters():
            parameter.mul_(spread)
    return architect


def every(space):
    return [a for a in product(*(range(len(c.candidates)) for c in space.choices)) if space.is_valid(a)]


def plain_log_pi(architect, decisions):
    """The equations of the controller, one choice after the other."""
    space, p = architect.space, dict(architect.named_parameters())
    h = c = torch.zeros(architect.lstm.hidden_size)
    x, total = p["embedding.weight"][0], 0
    for i, d in enumerate(decisions):
        z = p["lstm.weight_ih_l0"] @ x + p["lstm.bias_ih_l0"] + p["lstm.weight_hh_l0"] @ h + p["lstm.bias_hh_l0"]
        a, f, g, o = z.chunk(4)
        c = f.sigmoid() * c + a.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        logits = 2.5 * torch.tanh((p["output"][i] @ h + p["bias"][i]) / 5.0)
        legal = space.allowed(decisions[:i])
        total = total + logits[d] - logits[list(legal)].exp().sum().log()
        if i + 1 < len(decisions):
            x = p["embedding.weight"][1 + i * space.shape[1] + d]
    return total


def gradient(value, architect):
    value = torch.autograd.grad(value, list(architect.parameters()), retain_graph=True, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(value, architect.parameters(), strict=True)]


@pytest.mark.parametrize("name", SPACES)
def test_probabilities_are_the_plain_controllers_and_sum_to_one(double, name):
    space = SPACES[name]()
    architect = enas(space)
    architectures = every(space)
    log_pi = architect.log_probability(architectures)
    plain = torch.stack([plain_log_pi(architect, a) for a in architectures])
    assert torch.allclose(log_pi, plain, atol=1e-12)
    assert abs(log_pi.exp().sum() - 1) < 1e-12
    assert log_pi.exp().max() > 1.5 / len(architectures)  # far from uniform, or what follows shows little


COSTS = {
    "none": (None, lambda accuracy, c: accuracy),
    "additive": (lambda c: lambda loss, p: loss + 0.3 * (p * c).sum(), lambda accuracy, c: accuracy - 0.3 * c),
    "multiplicative": (
        lambda c: lambda loss, p: loss * ((p * c).sum() / 2) ** 0.5,
        lambda accuracy, c: 1 - (1 - accuracy) * (c / 2) ** 0.5,
    ),
}


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize(("entropy_weight", "baseline"), [(0.0, 0.0), (0.0, 0.7), (0.05, 0.7)])
@pytest.mark.parametrize("name", SPACES)
def test_mean_reinforce_gradient_is_that_of_the_expected_reward(double, name, entropy_weight, baseline, cost):
    """Every architecture's gradient, weighted by pi, against autograd through E[R] + entropy_weight * H."""
    space = SPACES[name]()
    make, combine = COSTS[cost]
    per_candidate = torch.rand(space.shape, generator=torch.Generator().manual_seed(2))
    architect = enas(space, entropy_weight=entropy_weight, cost=make and make(per_candidate))
    architect.baseline.fill_(baseline)
    supernet = Table(space).eval()
    gradients, architectures = {}, every(space)
    for index in range(3000):
        step = Step(0, index, 3000)
        if architect.gates(step).active not in gradients:
            with frozen(supernet):
                loss = architect.loss(supernet, EXAMPLES, EXAMPLES, None, step)
            gradients[tuple((d,) for d in supernet.asked[-1])] = gradient(loss, architect)
        if len(gradients) == len(architectures):
            break
    gradients = {tuple(d for (d,) in active): g for active, g in gradients.items()}
    assert set(gradients) == set(architectures)

    log_pi = {a: plain_log_pi(architect, a) for a in architectures}
    value = 0
    for a in architectures:
        one_hot = functional.one_hot(torch.tensor(a), space.shape[1]).double()
        logits = (one_hot.flatten() @ supernet.table.double()).view(-1, 3)
        accuracy = (logits.argmax(1) == EXAMPLES[1]).double().mean()
        reward = combine(accuracy, (one_hot * per_candidate).sum())
        value = value + log_pi[a].exp() * (reward - entropy_weight * log_pi[a])
    exact = gradient(-value, architect)
    assert max(float(g.abs().max()) for g in exact) > 1e-3
    for i, g in enumerate(exact):
        mean = sum(log_pi[a].exp() * gradients[a][i] for a in architectures)
        assert (mean - g).abs().max() < 1e-9


def test_several_samples_are_averaged(double):
    space = Ragged()
    architect = enas(space, samples=7, entropy_weight=0.02)
    architect.baseline.fill_(0.3)
    supernet = Table(space)
    with frozen(supernet):
        loss = architect.loss(supernet, EXAMPLES, EXAMPLES, None, Step(0, 0, 1))
    assert len(supernet.asked) == 7 and len(set(supernet.asked)) > 1
    expected = 0
    for a in supernet.asked:
        weight = functional.one_hot(torch.tensor(a), 3).double()
        logits = (weight.flatten() @ supernet.table.double()).view(-1, 3)
        reward = (logits.argmax(1) == EXAMPLES[1]).double().mean()
        log_pi = plain_log_pi(architect, a)
        expected = expected - (reward - 0.02 * log_pi.detach() - 0.3) * log_pi / 7
    assert torch.allclose(loss, expected, atol=1e-12)


@pytest.mark.parametrize("name", SPACES)
def test_draws_follow_pi_and_are_functions_of_seed_and_step(name):
    space = SPACES[name]()
    architect, architectures = enas(space), every(space)
    drawn = [architect.gates(Step(0, index, 10)) for index in range(1000)]
    counts = dict.fromkeys(architectures, 0)
    for gates in drawn:
        counts[tuple(d for (d,) in gates.active)] += 1  # KeyError: not a valid architecture
    pi = architect.log_probability(architectures).exp().detach().double()
    expected = pi / pi.sum() * len(drawn)
    assert chisquare(list(counts.values()), expected.numpy()).pvalue > 0.001
    assert architect.gates(Step(0, 5, 10)).active == drawn[5].active
    others = [architect.gates(Step(0, 5, 10, draw=n)).active for n in range(1, 20)]
    assert len(set(others)) > 1 and len({g.active for g in drawn[:20]}) > 1


@pytest.mark.parametrize("name", SPACES)
def test_scores_are_marginals(double, name):
    space = SPACES[name]()
    architect = enas(space)
    exact = torch.zeros(space.shape)
    for a, p in zip(every(space), architect.log_probability(every(space)).exp().detach(), strict=True):
        exact[torch.arange(len(a)), torch.tensor(a)] += p
    scores = architect.scores()
    assert (scores - exact).abs().max() < 4 * 0.5 / 2000**0.5
    assert torch.allclose(scores.sum(1), torch.ones(len(space.choices)), atol=1e-12)
    assert (scores[~space.mask] == 0).all() and (scores[exact == 0] == 0).all()
    assert torch.equal(scores, architect.scores())
    assert not scores.requires_grad


def test_bfloat16_does_not_reach_the_controller():
    space = small_space()
    architect = enas(space, spread=3.0)
    decisions = [tuple(d for (d,) in architect.gates(Step(0, 0, 1)).active)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, drawn = architect.log_probability(decisions), architect.gates(Step(0, 0, 1))
    assert torch.equal(inside, architect.log_probability(decisions))
    assert drawn.active == tuple((d,) for d in decisions[0])


def noisy(channels, stride, affine):
    return nn.Sequential(nn.AvgPool2d(stride), nn.Conv2d(channels, channels, 1), nn.Dropout(0.5), Branch())


class Branch(DropPath):
    def __init__(self):
        super().__init__()
        set_drop_path(self, 0.5)


def test_dropout_and_drop_path_are_off_during_the_reward_and_modes_come_back(double):
    torch.manual_seed(0)
    space = DARTSCells((1, 8, 8), 10, 3, 4, 1, ("none", "noisy"), {"noisy": noisy})
    architect, supernet = enas(space), space.supernet()
    supernet.classifier.eval()
    modes = [m.training for m in supernet.modules()]
    assert any(modes) and not all(modes)
    x, y = torch.randn(500, 1, 8, 8), torch.randint(10, (500,))
    gates = architect.gates(Step(0, 0, 1))
    rewards, outputs = [], []
    for seed in range(3):
        torch.manual_seed(seed)
        with frozen(supernet):
            architect.loss(supernet, (x, y), (x, y), None, Step(0, 0, 1))
        rewards.append(architect.reward)
        outputs.append(supernet(x, gates))
        assert [m.training for m in supernet.modules()] == modes
    assert not torch.equal(outputs[0], outputs[1])  # in training there is noise
    quiet = supernet.eval()(x, gates)
    log_pi = architect.log_probability([tuple(d for (d,) in gates.active)])
    expected = (quiet.argmax(1) == y).double().mean() - 1e-3 * log_pi.detach().mean()
    assert all(abs(reward - expected) < 1e-12 for reward in rewards)
    for m, mode in zip(supernet.modules(), modes, strict=True):
        m.training = mode
    with pytest.raises(RuntimeError):
        architect.loss(supernet, (x, y), (x[:, :0], y), None, Step(0, 0, 1))
    assert [m.training for m in supernet.modules()] == modes


def moved(architect, optimizer, supernet, steps):
    for index in steps:
        with frozen(supernet):
            loss = architect.loss(supernet, EXAMPLES, EXAMPLES, None, Step(0, index, 20))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        architect.after_step()


def test_baseline_is_the_moving_average_and_a_saved_controller_goes_on_alike(double):
    space = Ragged()
    supernet = Table(space)
    straight = enas(space, entropy_weight=0.0, baseline_decay=0.9)
    optimizer = straight.optimizer(straight.parameters())
    rewards, baselines = [], []
    for index in range(12):
        moved(straight, optimizer, supernet, [index])
        one_hot = functional.one_hot(torch.tensor(supernet.asked[-1]), 3).double()
        logits = (one_hot.flatten() @ supernet.table.double()).view(-1, 3)
        rewards.append((logits.argmax(1) == EXAMPLES[1]).double().mean())
        baselines.append(straight.baseline.clone())
    expected = rewards[0]
    assert len(set(map(float, rewards))) > 3
    for reward, baseline in zip(rewards, baselines, strict=True):
        expected = 0.9 * expected + 0.1 * reward
        assert abs(baseline - expected) < 1e-12

    first, second = (enas(space, entropy_weight=0.0, baseline_decay=0.9) for _ in range(2))
    optimizer = first.optimizer(first.parameters())
    moved(first, optimizer, supernet, range(5))
    second.load_state_dict(first.state_dict())
    other = second.optimizer(second.parameters())
    other.load_state_dict(optimizer.state_dict())
    moved(second, other, supernet, range(5, 12))
    assert second.baseline == straight.baseline
    assert all(torch.equal(a, b) for a, b in zip(second.parameters(), straight.parameters(), strict=True))


class Watch(pl.Callback):
    """The baseline at both ends of each epoch."""

    def __init__(self):
        self.first, self.last = [], []

    def on_train_epoch_start(self, trainer, search):
        self.first.append(float(search.architect.baseline))

    def on_train_epoch_end(self, trainer, search):
        self.last.append(float(search.architect.baseline))


def test_a_search_in_phases_keeps_the_baseline_over_epochs(data):
    torch.manual_seed(0)
    space = small_space(data)
    schedule = Schedule(warmup_epochs=1, weight_steps=3, architecture_steps=4)
    search = Search(space, enas(space, spread=1.0), data, schedule=schedule, selection=BestOf(4))
    watch = Watch()
    pl.Trainer(max_epochs=4, callbacks=[watch], **QUIET).fit(search)
    assert watch.first[0] == watch.last[0] == 0
    assert watch.first[1:] == watch.last[:-1] and len(set(watch.last)) > 2
    assert search.scores[1] != search.scores[-1]
    assert space.is_valid(search.found.decisions)
    assert search.supernet.training


def test_joint_moves_weights_and_controller(data):
    torch.manual_seed(0)
    space = small_space(data)
    search = Search(space, enas(space, spread=1.0), data, schedule=Schedule(joint=True), selection=BestOf(2))
    before = [p.clone() for p in search.supernet.parameters()]
    pl.Trainer(max_epochs=2, **QUIET).fit(search)
    assert search.scores[0] != search.scores[-1]
    assert any(not torch.equal(a, b) for a, b in zip(before, search.supernet.parameters(), strict=True))


class Votes(nn.Module):
    """A supernet whose accuracy is the part of choices that take their best candidate; one example a choice."""

    def __init__(self, best):
        super().__init__()
        self.best = best
        self.w = nn.Parameter(torch.zeros(()))

    def forward(self, x, gates):
        good = gates.weight[torch.arange(len(self.best)), self.best]
        return torch.stack([torch.full_like(good, 0.5), good], dim=1) + 0 * self.w


def test_the_best_architecture_of_a_toy_wins_within_500_steps():
    space = small_space()
    architect = enas(space, spread=1.0, hidden=100, marginal_samples=500)
    best = torch.tensor(space.sample(random.Random(0)).decisions)
    toy = Votes(best)
    optimizer = torch.optim.Adam(architect.parameters(), lr=0.003)
    examples = torch.zeros(len(best), 1), torch.ones(len(best), dtype=torch.long)
    for index in range(500):
        with frozen(toy):
            loss = architect.loss(toy, examples, examples, None, Step(0, index, 500))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        architect.after_step()
    assert architect.scores()[torch.arange(len(best)), best].min() >= 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0}, "architect.temperature=0"),
        ({"tanh_constant": -1.0}, "architect.tanh_constant=-1.0"),
        ({"entropy_weight": -0.1}, "architect.entropy_weight=-0.1"),
        ({"baseline_decay": 1.5}, "architect.baseline_decay=1.5"),
        ({"samples": 0}, "architect.samples=0"),
        ({"hidden": 0}, "architect.hidden=0"),
        ({"marginal_samples": 0}, "architect.marginal_samples=0"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(InputError, match=message):
        enas(Ragged(), **options)


def test_a_controller_that_has_diverged_says_so():
    ours = enas(Ragged())
    ours.bias.data.fill_(float("nan"))
    with pytest.raises(Diverged, match="controller's probabilities are not finite"):
        ours.gates(Step(0, 0, 1))
