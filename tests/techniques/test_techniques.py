"""Each technique against a closed form or a plain loop."""

import math
import random

import pytest
import pytorch_lightning as pl
import torch
import yaml
from helpers.support import QUIET, build, configured, small_space
from torch.nn import functional
from torch.optim import SGD

from oneshot.architects import DARTS, ENAS, SNAS, ProxylessNAS, Step, Uniform
from oneshot.architects.base import frozen
from oneshot.architecture import Gates
from oneshot.errors import InputError
from oneshot.schedule import Schedule
from oneshot.search import Search
from oneshot.spaces import NASBench201
from oneshot.spaces.nasbench201 import EDGES
from oneshot.techniques import (
    AdversarialPerturbation,
    AuxiliarySkip,
    BetaDecay,
    Composed,
    EdgeNormalization,
    EntropyPenalty,
    LogitDecay,
    RandomPerturbation,
    Regularizer,
    Transform,
    ZeroOne,
)
from oneshot.techniques.base import ramp
from oneshot.training.fit import fit


def nb201():
    return NASBench201((1, 8, 8), 10, cells=1, channels=4)


def random_logits(architect):
    torch.manual_seed(5)
    architect.alpha.data = torch.randn_like(architect.alpha) * architect.mask
    return architect


def test_a_ramp_is_exact_at_both_ends():
    assert [ramp(0.0, 50.0, Step(0, i, 11)) for i in (0, 5, 10, 12)] == [0.0, 25.0, 50.0, 50.0]
    assert ramp(0.03, 0.3, Step(0, 10, 11)) == 0.3 and ramp(1.0, 0.0, Step(0, 0, 1)) == 0.0


def test_edge_normalization_is_a_loop_over_the_edges_of_a_node(double):
    for space in (small_space(), nb201()):
        transform = EdgeNormalization(space)
        transform.edge_logits.data = 3 * torch.randn(len(space.choices))
        beta = []
        for i, choice in enumerate(space.choices):
            same = [j for j, other in enumerate(space.choices) if other.group == choice.group]
            total = sum(math.exp(float(transform.edge_logits[j].detach())) for j in same)
            beta.append(math.exp(float(transform.edge_logits[i].detach())) / total)
        weight = torch.rand(space.shape) * space.mask
        expected = torch.stack([row * b for row, b in zip(weight, beta, strict=True)])
        assert torch.allclose(transform(Gates(weight), Step(0, 0, 2)).weight, expected, atol=1e-14)
        assert torch.allclose(transform.scores(weight), expected, atol=1e-14)
        transform.edge_logits.data += 1000.0  # no overflow
        assert torch.allclose(transform.scores(weight), expected, atol=1e-12)


def test_an_auxiliary_skip_is_a_skip_beside_every_edge(double):
    torch.manual_seed(0)
    space, x, step = nb201(), torch.randn(4, 1, 8, 8), Step(0, 2, 5)  # beta is 1 - 2/4
    supernet, weight = space.supernet(), torch.softmax(torch.randn(space.shape), 1)
    transform = AuxiliarySkip(space)
    ours = supernet(x, transform(Gates(weight), step))

    def cell(block, x):
        states = [x]
        for target in range(1, 4):
            total = 0
            for i, edge in enumerate(EDGES):
                if edge.target == target:
                    operations = block.edges[str(i)].items()
                    places = {name: k for k, name in enumerate(space.choices[i].candidates)}
                    mixed = sum(
                        weight[i, places[name]] * operation(states[edge.source]) for name, operation in operations
                    )
                    total = total + mixed + 0.5 * states[edge.source]
            states.append(total)
        return states[-1]

    y = supernet.stem(x)
    for block in supernet.blocks:
        y = cell(block, y) if hasattr(block, "edges") else block(y)
    assert torch.allclose(ours, supernet.classifier(supernet.tail(y)), atol=1e-12)
    assert torch.equal(transform.scores(weight), weight)
    assert transform(Gates(weight), Step(0, 4, 5)).weight is weight  # it is 0 at the last step


def test_an_auxiliary_skip_is_computed_beside_a_drawn_path():
    space = nb201()
    skip = space.choices[0].candidates.index("skip_connect")
    weight = functional.one_hot(torch.tensor([0, 1, 2, 3, 4, skip]), 5).float()
    gates = Gates(weight, tuple((k,) for k in (0, 1, 2, 3, 4, skip)), tuple(() if k else (skip,) for k in range(6)))
    found = AuxiliarySkip(space)(gates, Step(0, 0, 5))
    assert all(skip in row for row in found.active) and all(skip not in row for row in found.silent)
    assert torch.equal(found.weight[:, skip], weight[:, skip] + 1)
    with pytest.raises(InputError, match="technique.auxiliary_skip.skip='nothing': no choice has it"):
        AuxiliarySkip(space, skip="nothing")


def test_transforms_are_applied_in_their_order():
    space = nb201()
    torch.manual_seed(0)
    first, second = AuxiliarySkip(space), EdgeNormalization(space)
    second.edge_logits.data.normal_()
    architect, step = DARTS(space), Step(0, 1, 5)
    whole, nested = Composed(architect, [first, second]), Composed(Composed(architect, [first]), [second])
    expected = second(first(architect.gates(step), step), step)
    for one in (whole, nested):
        assert torch.equal(one.gates(step).weight, expected.weight)
        assert torch.equal(one.scores(), second.scores(architect.scores()))


class Smooth(torch.nn.Module):
    """A supernet without kinks: logits are tanh layers mixed by the gates."""

    def __init__(self, space):
        super().__init__()
        self.w = torch.nn.Parameter(0.5 * torch.randn(*space.shape, 4, 3))
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x, gates):
        self.seen += 1
        mixed = torch.einsum("ck,ckio->io", gates.weight, torch.tanh(self.w))
        return torch.tanh(x @ mixed) @ mixed.T @ mixed


@pytest.mark.parametrize("hessian", ["exact", "finite_difference"])
def test_second_order_goes_through_transforms(double, hessian):
    """alpha and beta both get the gradient of plain autograd through the virtual step."""
    torch.manual_seed(0)
    space = nb201()
    supernet, architect = Smooth(space), DARTS(space, order=2, hessian=hessian, epsilon=1e-4)
    whole = Composed(random_logits(architect), [AuxiliarySkip(space), EdgeNormalization(space)])
    step, (x, y), (xv, yv) = Step(0, 1, 5), *((torch.randn(6, 4), torch.randint(3, (6,))) for _ in range(2))
    sgd = SGD(supernet.parameters(), lr=0.3, weight_decay=0.01)
    with frozen(supernet):
        loss = whole.loss(supernet, (x, y), (xv, yv), sgd, step)
    ours = torch.autograd.grad(loss, list(whole.parameters()))

    w = supernet.w.detach().requires_grad_()

    def plain(w, x, y):
        gates = torch.softmax(architect.alpha, 1) + 0.75 * whole.transforms[0].skips
        mixed = torch.einsum("ck,ckio->io", gates * whole.transforms[1].beta()[:, None], torch.tanh(w))
        return functional.cross_entropy(torch.tanh(x @ mixed) @ mixed.T @ mixed, y)

    (dw,) = torch.autograd.grad(plain(w, x, y), w, create_graph=True)
    ahead = w - 0.3 * (dw + 0.01 * w)
    expected = torch.autograd.grad(plain(ahead, xv, yv), list(whole.parameters()))
    for a, b in zip(ours, expected, strict=True):
        assert torch.allclose(a, b, atol=1e-15 if hessian == "exact" else 1e-6) and b.abs().max() > 1e-4
    assert supernet.seen == 0


def test_penalties_have_their_closed_forms(double):
    space = small_space()
    architect = random_logits(DARTS(space))
    alpha, choices = architect.alpha.detach(), len(space.choices)
    p = torch.softmax(alpha, 1)

    def gradient(regularizer):
        return torch.autograd.grad(regularizer(architect, Step(0, 5, 11)), architect.alpha)[0]

    assert torch.allclose(gradient(BetaDecay()), 25.0 * p / choices, atol=1e-14)
    assert torch.allclose(gradient(LogitDecay(0.1)), 0.1 * alpha, atol=1e-14)
    n = space.mask.sum()
    direct = -2 * 10 * (p - 0.5) / n
    assert torch.allclose(gradient(ZeroOne()), p * (direct - (direct * p).sum(1, keepdim=True)), atol=1e-14)
    entropy = -(p * p.log()).sum(1, keepdim=True)
    expected = -p * (p.log() + entropy) / math.log(space.shape[1]) / choices
    assert torch.allclose(gradient(EntropyPenalty(1.0, None)), expected, atol=1e-14)
    architect.alpha.data = 1000.0 * functional.one_hot(torch.zeros(choices, dtype=torch.long), space.shape[1])
    assert float(ZeroOne(1.0).penalty(architect).detach()) == pytest.approx(-0.25)
    assert float(EntropyPenalty().penalty(architect).detach()) == 0
    assert gradient(BetaDecay()).isfinite().all()


def test_permuting_the_candidates_permutes_all(double):
    space, order = nb201(), torch.tensor([3, 0, 4, 1, 2])
    for make in (BetaDecay, LogitDecay, ZeroOne, EntropyPenalty):
        gradients = []
        for permuted in (False, True):
            architect = random_logits(DARTS(space))
            if permuted:
                architect.alpha.data = architect.alpha.data[:, order]
            gradients.append(torch.autograd.grad(make()(architect, Step(0, 3, 5)), architect.alpha)[0])
        assert torch.allclose(gradients[0][:, order], gradients[1], atol=1e-14)


def test_the_random_perturbation_stays_in_its_box_and_fills_it():
    space = small_space()
    p = torch.softmax(torch.randn(space.shape), 1)
    draws = [RandomPerturbation(0.3, 0.3)(Gates(p), space.mask, None, Step(0, i, 400)).weight - p for i in range(400)]
    delta = torch.stack(draws).flatten().double()
    assert delta.abs().max() <= 0.3 + 1e-6
    standard_error = 0.3 / math.sqrt(3 * len(delta))
    assert abs(float(delta.mean())) < 4 * standard_error
    assert float(delta.var()) == pytest.approx(0.03, rel=0.02)  # of a uniform one: epsilon^2 / 3


def test_the_adversary_finds_the_worst_corner_of_a_linear_loss_and_climbs_on_a_supernet():
    space = small_space()
    torch.manual_seed(0)
    p, c = torch.softmax(torch.randn(space.shape), 1), torch.randn(space.shape)
    found = AdversarialPerturbation(0.2, 0.2)(Gates(p), space.mask, lambda g: (c * g.weight).sum(), Step(0, 0, 5))
    assert torch.allclose(found.weight - p, 0.2 * c.sign(), atol=1e-6)
    supernet, criterion = space.supernet(), functional.cross_entropy
    x, y = torch.randn(32, 1, 8, 8), torch.randint(10, (32,))

    def loss(gates):
        return criterion(supernet(x, gates), y)

    at = [Gates(p), *(AdversarialPerturbation(e, e)(Gates(p), space.mask, loss, Step(0, 0, 5)) for e in (0.03, 0.3))]
    with torch.no_grad():
        losses = [float(loss(gates)) for gates in at]
    random_one = RandomPerturbation(0.3, 0.3)(Gates(p), space.mask, loss, Step(0, 0, 5))
    assert losses[0] < losses[1] < losses[2] and losses[2] > float(loss(random_one))


class Running(torch.nn.Module):
    """A supernet with running statistics, as a space of a user's own may have."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Linear(6, 10))

    def forward(self, x, gates):
        first, others = x[:, :1], x[:, 1:]  # a batch norm would divide a factor of all away
        return self.layers(torch.cat([first * gates.weight.square().sum(), others], dim=1))


def test_an_attack_leaves_running_statistics_as_they_are():
    torch.manual_seed(0)
    space, supernet = small_space(), Running()
    whole = Composed(DARTS(space), perturbations=[AdversarialPerturbation()])
    before = [buffer.clone() for buffer in supernet.buffers()]
    x, y = torch.randn(8, 4), torch.randint(10, (8,))
    with torch.no_grad():
        (gates,) = whole.weight_gates(supernet, (x, y), Step(0, 3, 8))
    assert not torch.equal(gates.weight, whole.scores())
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.buffers(), strict=True))
    functional.cross_entropy(supernet(x, gates), y).backward()


def test_what_has_no_meaning_is_refused_by_name():
    space = small_space()
    for make, message in (
        (
            lambda: Composed(ENAS(space), regularizers=[BetaDecay()]),
            "technique.beta_decay: needs an architect with logits",
        ),
        (
            lambda: Composed(ENAS(space), regularizers=[EntropyPenalty()]),
            "technique.entropy_penalty: its penalty has no",
        ),
        (
            lambda: Composed(ENAS(space), [EdgeNormalization(space)]),
            "technique.edge_normalization: needs an architect whose",
        ),
        (lambda: Composed(ProxylessNAS(space, variant="reinforce"), [EdgeNormalization(space)]), "ProxylessNAS is not"),
        (lambda: Composed(Uniform(space), regularizers=[BetaDecay()]), "Uniform has no parameters"),
        (lambda: Composed(ProxylessNAS(space), perturbations=[RandomPerturbation()]), "ProxylessNAS draws paths"),
        (lambda: BetaDecay(weight=-1.0), "technique.beta_decay.weight=-1.0: must be a number, at least 0"),
        (lambda: RandomPerturbation(epsilon=-1.0), "technique.random_perturbation.epsilon=-1.0"),
    ):
        with pytest.raises(InputError, match=message):
            make()


def test_a_joint_schedule_refuses_a_perturbation(data):
    space = small_space(data)
    whole = Composed(SNAS(space), perturbations=[RandomPerturbation()])
    with pytest.raises(InputError, match="schedule.joint=true"):
        Search(space, whole, data)
    Search(space, whole, data, Schedule())


def test_published_settings_of_the_methods_that_are_combinations():
    space = small_space()
    kinds = {
        "beta_darts": ([], [BetaDecay], []),
        "darts_minus": ([AuxiliarySkip], [], []),
        "smooth_darts_random": ([], [], [RandomPerturbation]),
        "smooth_darts_adversarial": ([], [], [AdversarialPerturbation]),
        "pc_darts": ([EdgeNormalization], [], []),
    }
    for name, expected in kinds.items():
        whole = build(name, space)
        assert isinstance(whole.architect, DARTS)
        parts = (whole.transforms, whole.regularizers, whole.perturbations)
        assert tuple([type(p) for p in kind] for kind in parts) == expected
        defaults = [type(p)(space) if i == 0 else type(p)() for i, kind in enumerate(parts) for p in kind]
        plain = [{k: v for k, v in vars(p).items() if isinstance(v, float | int)} for kind in parts for p in kind]
        assert plain == [{k: v for k, v in vars(p).items() if isinstance(v, float | int)} for p in defaults]


def test_what_a_search_from_python_is_composed_of_is_kept(data, tmp_path):
    space = small_space(data, nodes=1)
    whole = Composed(Composed(DARTS(space), regularizers=[BetaDecay(weight=3.0)]), [EdgeNormalization(space)])
    fit(Search(space, whole, data), 1, tmp_path / "run", accelerator="cpu", show=False)
    kept = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert kept["architect"]["class"].endswith(".DARTS") and kept["architect"]["optimizer"]["lr"] == 3e-4
    assert set(kept["technique"]) == {"beta_decay", "edge_normalization"}
    assert kept["technique"]["beta_decay"] == {
        "class": "oneshot.techniques.regularizers.BetaDecay",
        "start": 0.0,
        "weight": 3.0,
    }
    other = Composed(DARTS(space), [EdgeNormalization(space)], [BetaDecay(weight=4.0)])
    with pytest.raises(InputError, match="weight"):
        fit(Search(space, other, data), 1, tmp_path / "run", accelerator="cpu", show=False)


@pytest.mark.parametrize("logits", [[-2000, 3000, -3000, 800, 0, -900], [0, 110, 100, 0, 0, 0]])
def test_a_node_whose_logits_are_far_below_those_of_another_is_normalized_too(logits):
    space = nb201()
    transform = EdgeNormalization(space)
    transform.edge_logits.data = torch.tensor(logits, dtype=torch.float32)
    beta = transform.beta().double()
    for group in {choice.group for choice in space.choices}:
        rows = [i for i, choice in enumerate(space.choices) if choice.group == group]
        assert torch.allclose(beta[rows], torch.tensor([logits[i] for i in rows]).double().softmax(0), atol=1e-6)


@pytest.mark.parametrize("parts", [1, 4])
def test_candidates_that_are_silent_change_nothing_but_the_gradient_of_the_gates(double, parts):
    """With partial channels an edge that drew `none` passes nothing; with an auxiliary skip beta times its input."""
    torch.manual_seed(0)
    space = NASBench201((1, 8, 8), 10, cells=1, channels=8, partial_channels=parts)
    supernet, x, rng = space.supernet(), torch.randn(4, 1, 8, 8), random.Random(0)
    everything = tuple(range(5))
    for transforms in ([], [AuxiliarySkip(space)], [EdgeNormalization(space), AuxiliarySkip(space)]):
        for _ in range(4):
            architecture = space.sample(rng)
            weight, path = space.one_hot(architecture).double(), tuple((k,) for k in architecture.decisions)
            silent = tuple(tuple(k for k in everything if k != row[0]) for row in path)
            outputs = []
            for gates in (Gates(weight, path), Gates(weight, (everything,) * 6, silent)):
                for transform in transforms:
                    gates = transform(gates, Step(0, 2, 10))
                outputs.append(supernet(x, gates))
            assert torch.allclose(*outputs, rtol=1e-10)


def test_with_partial_channels_reinmax_has_the_loss_of_the_path_that_it_draws(double):
    torch.manual_seed(0)
    space = NASBench201((1, 8, 8), 10, cells=1, channels=8, partial_channels=4)
    architect, supernet = build("reinmax", space), space.supernet()
    x, y = torch.randn(8, 1, 8, 8), torch.arange(8)
    for index in range(6):
        step = Step(0, index, 10)
        with frozen(supernet):
            loss = architect.loss(supernet, (x, y), (x, y), SGD(supernet.parameters(), lr=0.1), step)
        assert torch.allclose(loss, functional.cross_entropy(supernet(x, architect.gates(step)), y), rtol=1e-12)


class Bad(Transform):
    """Its gates and its scores are what two functions make of those that it gets."""

    def __init__(self, space, gives, scores=None):
        super().__init__(space)
        self.gives, self.other = gives, scores

    def forward(self, gates, step):
        return self.gives(gates)

    def scores(self, scores):
        return scores if self.other is None else self.other(scores)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (lambda space: Bad(space, lambda g: None), r"technique.bad: gives NoneType; must be Gates of shape \(6, 5\)"),
        (lambda space: Bad(space, lambda g: g.weight), "technique.bad: gives Tensor"),
        (lambda space: Bad(space, lambda g: Gates(g.weight.repeat(2, 1))), r"gives Gates of shape \(12, 5\)"),
        (lambda space: Bad(space, lambda g: Gates(g.weight.detach())), "its gates are not finite, or have no gradient"),
        (lambda space: Bad(space, lambda g: Gates(g.weight / 0)), "its gates are not finite, or have no gradient"),
        (lambda space: Bad(space, lambda g: g, lambda s: -s), r"its scores must be at least 0 and of shape \(6, 5\)"),
        (lambda space: Bad(space, lambda g: g, lambda s: s[:2]), "its scores must be at least 0"),
        (lambda space: AuxiliarySkip(small_space()), "technique.auxiliary_skip: is of space 'darts', the architect of"),
    ],
)
def test_a_transform_that_gives_no_gates_of_the_space_is_named(bad, said):
    space = nb201()
    with pytest.raises(InputError, match=said):
        Composed(DARTS(space), [bad(space)])


class Given(Regularizer):
    """Its penalty is what it was given."""

    def __init__(self, gives):
        super().__init__(1.0)
        self.gives = gives

    def penalty(self, architect):
        return self.gives(architect.alpha)


@pytest.mark.parametrize(
    "gives", [lambda a: 1.0, lambda a: None, lambda a: a.sum(1), lambda a: a.sum()[None], lambda a: a.sum() * math.nan]
)
def test_a_penalty_that_is_no_finite_scalar_is_named(gives):
    with pytest.raises(InputError, match="technique.given: its penalty is .*; must be a finite scalar tensor"):
        Composed(DARTS(nb201()), regularizers=[Given(gives)])


def test_parts_of_another_kind_are_named():
    space = nb201()
    for arguments, said in (
        ({"regularizers": BetaDecay()}, "Composed: regularizers must be a list, not BetaDecay"),
        ({"transforms": [BetaDecay()]}, "Composed: transforms must hold parts of the class Transform, not"),
        ({"regularizers": [RandomPerturbation()]}, "regularizers must hold parts of the class Regularizer"),
        ({"perturbations": [EdgeNormalization(space)]}, "perturbations must hold parts of the class Perturbation"),
    ):
        with pytest.raises(InputError, match=said):
            Composed(DARTS(space), **arguments)
    with pytest.raises(InputError, match="Composed: needs an architect, not NASBench201"):
        Composed(space)


def test_a_perturbation_that_gives_no_gates_is_named():
    class Lost(RandomPerturbation):
        def perturb(self, gates, mask, loss, epsilon, step):
            return gates.weight

    space = nb201()
    architect = Composed(DARTS(space), perturbations=[Lost()])
    with pytest.raises(InputError, match="technique.lost: gives Tensor; must be Gates of shape"):
        architect.weight_gates(space.supernet(), (torch.randn(2, 1, 8, 8), torch.arange(2)), Step(0, 0, 10))


def test_composed_twice_is_composed_once(double):
    space, batch = nb201(), (torch.randn(4, 1, 8, 8), torch.arange(4))
    torch.manual_seed(0)
    supernet, found = space.supernet(), []
    for twice in (False, True):
        architect = random_logits(DARTS(space, criterion=functional.cross_entropy))
        parts = [LogitDecay(0.3), BetaDecay(2.0, 2.0)]
        if twice:
            composed = Composed(Composed(architect, regularizers=parts[:1]), regularizers=parts[1:])
        else:
            composed = Composed(architect, regularizers=parts)
        with frozen(supernet):
            loss = composed.loss(supernet, batch, batch, SGD(supernet.parameters(), lr=0.1), Step(0, 0, 10))
            plain = architect.loss(supernet, batch, batch, SGD(supernet.parameters(), lr=0.1), Step(0, 0, 10))
        assert torch.allclose(loss - composed.penalty, plain, rtol=1e-12)
        found.append((loss, *torch.autograd.grad(loss, architect.alpha)))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(*found, strict=True))


def test_an_auxiliary_skip_of_none_is_refused():
    with pytest.raises(InputError, match="technique.auxiliary_skip.skip=none: none gives nothing"):
        AuxiliarySkip(nb201(), skip="none")


def test_rows_give_the_loss_and_the_penalty_apart(data):
    search = configured("beta_darts", data)
    plain = configured("darts", data)
    for module in (search, plain):
        pl.Trainer(**QUIET, max_epochs=2).fit(module)
    rows = [row for row in search.rows if "architecture_loss" in row]
    assert rows[-1]["penalty"] > 10 * rows[-1]["architecture_loss"] > 0  # 50 * logsumexp of 8 logits near 0 is 104
    assert (
        abs(rows[0]["architecture_loss"] - next(r for r in plain.rows if "architecture_loss" in r)["architecture_loss"])
        < 0.5
    )
    assert not any("penalty" in row for row in plain.rows)
