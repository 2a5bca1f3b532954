"""What must hold for every architect in conf/architect, and in the folder of `pytest --config-dir FOLDER`."""

import copy
import random

import pytest
import torch
from helpers.support import OWN, REINFORCE, SETTINGS, SPACES, build, learns, moving, small_space
from helpers.tasks import EXAMPLES, Example, each_task
from torch.nn import functional

from oneshot.architects import Step
from oneshot.architects.base import frozen, shares
from oneshot.architecture import Gates
from oneshot.cost import ExpectedCost
from oneshot.errors import InputError

STEPS = {"enas": 1000, REINFORCE: 600}  # to decide the toy; 300 for the others
UNDECIDED = {"beta_darts"}  # a penalty of weight 50 holds the scores near uniform, by design; the order is right
WITHOUT_NONE = {"fair_darts"}  # `none` is no candidate of the method, so the toy's best is another one
RATES = {"enas": 0.003}  # of Adam there; 0.05 for the others


def test_architects_of_both_kinds_are_seen():
    assert 0 < len(moving()) < len(SETTINGS)


each_space = pytest.mark.parametrize("make", SPACES.values(), ids=SPACES)


@each_space
@pytest.mark.parametrize("name", SETTINGS)
def test_gates_and_scores(name, make):
    space = make()
    architect = build(name, space)
    gates = architect.gates(Step(0, 3, 10))
    assert isinstance(gates, Gates) and gates.weight.shape == space.shape
    scores = architect.scores()
    assert scores.shape == space.shape
    assert scores.min() >= 0 and not scores[~architect.mask].any() and bool(scores.sum(1).gt(0).all())
    assert not architect.mask[~space.decidable].any() and space.is_valid(space.discretize(scores).decisions)
    assert 0 <= float(architect.entropy().detach()) <= 1 + 1e-6
    again = architect.gates(Step(0, 3, 10))
    assert torch.equal(gates.weight, again.weight) and gates.active == again.active


@each_space
@pytest.mark.parametrize("name", SETTINGS)
def test_gates_are_a_mixture_of_what_is_mixed_or_a_whole_architecture(name, make):
    """So `none` has a gate where edges are absent from an architecture, and never beside another candidate."""
    space = make()
    architect, supernet = build(name, space), space.supernet()
    examples = torch.randn(4, 1, 8, 8), torch.randint(10, (4,))
    for index in range(6):
        step = Step(0, index, 10)
        for gates in (architect.gates(step), *architect.weight_gates(supernet, examples, step)):
            if gates.weight[~space.mask].any():
                assert space.is_valid(gates.weight.argmax(1).tolist())
                assert torch.equal(gates.weight, functional.one_hot(gates.weight.argmax(1), space.shape[1]).float())


@pytest.mark.parametrize("name", SETTINGS)
def test_an_optimizer_is_there_exactly_for_what_learns(name):
    architect = build(name, small_space())
    assert learns(architect) == (architect.optimizer is not None)


@pytest.mark.parametrize(
    ("costly", "task", "make"),
    [
        *((False, task, small_space) for task in EXAMPLES),
        *((True, "classification", make) for make in SPACES.values()),
    ],
)
@pytest.mark.parametrize("name", moving())
def test_a_step_moves_all_of_the_architect_and_none_of_the_supernet(name, costly, task, make):
    example = EXAMPLES[task]
    space = make(outputs=example.outputs)
    cost = ExpectedCost(torch.rand(space.shape), weight=0.1) if costly else None
    architect, supernet = build(name, space, cost, example=example), space.supernet()
    weights = torch.optim.SGD(supernet.parameters(), lr=0.1, momentum=0.9)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    batches = [(torch.randn(64, 1, 8, 8), example.y(64)) for _ in range(2)]
    with frozen(supernet):
        loss = architect.loss(supernet, *batches, weights, Step(0, 0, 10))
    loss.backward()
    for key, parameter in architect.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.abs().sum() > 0, key
    assert all(p.grad is None and p.requires_grad for p in supernet.parameters())
    assert all(torch.equal(before[key], value) for key, value in supernet.state_dict().items())
    assert not weights.state


@each_task
@pytest.mark.parametrize("name", moving())
def test_the_cost_has_a_gradient_of_its_own(double, name, task):
    torch.manual_seed(0)
    example = EXAMPLES[task]
    space = small_space(outputs=example.outputs)
    supernet, c = space.supernet(), torch.rand(space.shape)
    batches = [(torch.randn(16, 1, 8, 8), example.y(16).to(torch.get_default_dtype())) for _ in range(2)]
    if task == "classification":
        batches = [(x, y.long()) for x, y in batches]

    class Seen(ExpectedCost):
        """Keeps what the cost is expected under."""

        def expected(self, probabilities):
            self.probabilities = probabilities.detach()
            return super().expected(probabilities)

    def gradients(cost):
        architect = build(name, space, cost, example=example)
        with frozen(supernet):
            loss = architect.loss(supernet, *batches, torch.optim.SGD(supernet.parameters(), lr=0.1), Step(0, 0, 10))
        own = getattr(architect, "architect", architect)  # a cost is expected under the gates before the transforms
        return torch.autograd.grad(loss, list(own.parameters())), own

    cost = Seen(c, weight=0.3)
    (free, _), (paid, architect) = gradients(None), gradients(cost)
    assert all(not torch.allclose(a, b, rtol=1e-3) for a, b in zip(free, paid, strict=True))
    if torch.allclose(cost.probabilities, architect.scores().detach(), atol=1e-12):
        expected = torch.autograd.grad(0.3 * (architect.scores() * c).sum(), list(architect.parameters()))
        for a, b, g in zip(paid, free, expected, strict=True):
            assert torch.allclose(a - b, g, atol=1e-12) and g.abs().max() > 1e-3


@pytest.mark.parametrize("name", SETTINGS)
def test_parameters_are_disjoint_and_saved(name):
    space = small_space()
    architect = build(name, space)
    saved = architect.state_dict()
    assert set(dict(architect.named_parameters())) <= set(saved)
    other = build(name, space)
    for parameter in other.parameters():
        parameter.data.add_(1)
    other.load_state_dict(saved)
    assert torch.equal(other.scores(), architect.scores())


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("name", SETTINGS)
def test_candidates_that_were_left_out_get_nothing(name, size):
    space = small_space()
    architect, toy = build(name, space), Toy(space)
    if not architect.narrows:
        with pytest.raises(InputError, match="cannot leave out candidates"):
            architect.restrict(space.mask)
        return
    order = (torch.rand(space.shape) * architect.mask).argsort(1, descending=True)
    kept = torch.zeros_like(space.mask).scatter(1, order[:, :size], True)
    architect.restrict(kept)
    descend(architect, toy, adam(name, architect), range(3), 20)
    auxiliary = getattr(architect, "transforms", ())
    for index in range(4):
        gates = architect.gates(Step(0, index, 20))
        inner = architect.architect.gates(Step(0, index, 20)) if auxiliary else gates
        assert gates.weight.isfinite().all() and not inner.weight[~kept].any()
        assert all(kept[i, k] for i, row in enumerate(inner.active) for k in row)
    scores = architect.scores()
    assert not scores[~kept].any() and bool(scores.sum(1).gt(0).all()) and 0 <= float(architect.entropy()) <= 1 + 1e-6
    assert torch.equal(space.mask, small_space().mask)
    if size == 1:
        assert torch.allclose(shares(scores), kept.to(scores))


class Toy(torch.nn.Module):
    """A supernet that is the better, in loss and in accuracy, the more choices take their best candidate.

    As in a supernet with batch norms, the size of a choice's gates has no effect, only their shares.
    x: thresholds in [0, 1]; an example is right where the share of good choices exceeds its threshold. In a regression
    the error falls with that share.
    """

    def __init__(self, space, task="classification", none=True):
        super().__init__()
        self.task = task
        self.best = torch.tensor(space.sample(random.Random(0)).decisions)
        if not none:
            taken = [choice.candidates[k] == "none" for choice, k in zip(space.choices, self.best, strict=True)]
            self.best[torch.tensor(taken)] = space.choices[0].candidates.index("sep_conv_3x3")
        self.value = torch.nn.functional.one_hot(self.best, space.shape[1]).float()
        self.w = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, gates):
        good = ((gates.weight * self.value).sum(1) / gates.weight.sum(1)).mean()
        margin = 8 * (good - x[:, 0]) + 0 * self.w
        if self.task == "regression":
            return (1 - good + 0 * margin)[:, None]
        return (
            torch.stack([torch.zeros_like(margin), margin], dim=1) if self.task == "classification" else margin[:, None]
        )


def descend(architect, toy, optimizer, steps, total):
    """Architecture steps on the toy, as the search takes them."""
    x = torch.linspace(0, 1, 64)[:, None]
    y = {"classification": torch.ones(64, dtype=torch.long), "multilabel": torch.ones(64, 1)}.get(
        toy.task, torch.zeros(64, 1)
    )
    weights = torch.optim.SGD(toy.parameters(), lr=0.1)
    for index in steps:
        with frozen(toy):
            loss = architect.loss(toy, (x, y), (x, y), weights, Step(0, index, total))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        architect.after_step()


def adam(name, architect):
    """With the averages that its method needs, at a rate for the toy."""
    betas = architect.optimizer.keywords.get("betas", (0.5, 0.999))
    return torch.optim.Adam(architect.parameters(), lr=RATES.get(name, 0.05), betas=betas)


@pytest.mark.parametrize(
    ("name", "task"),
    [(name, task) for task in EXAMPLES for name in moving() if task == "classification" or name.split()[0] in OWN],
)
def test_the_best_candidate_of_a_toy_wins(name, task):
    """With other tasks those that have code of their own: the others differ from one of them in techniques alone."""
    space = small_space()
    outputs = Example(EXAMPLES[task].task, 2 if task == "classification" else 1)
    architect, toy = build(name, space, example=outputs), Toy(space, task, name not in WITHOUT_NONE)
    if task == "multilabel":  # its usual metric says nothing of a label that all examples have
        architect.measure_by(outputs.task.criterion(), outputs.task.metric(1, "accuracy"))
    steps = STEPS.get(name, 600 if task == "regression" else 300)  # a squared error is flat near its best
    descend(architect, toy, adam(name, architect), range(steps), steps)
    scores = architect.scores()
    assert torch.equal(scores.argmax(1), toy.best)
    if name not in UNDECIDED:
        scores = torch.maximum(scores, shares(scores))  # edge normalization multiplies rows
        assert scores[torch.arange(len(space.choices)), toy.best].min() >= 0.8


@pytest.mark.parametrize("name", moving())
def test_saved_state_continues_the_same_trajectory(name):
    space = small_space()
    toy, first = Toy(space), build(name, space)
    optimizer = adam(name, first)
    descend(first, toy, optimizer, range(5), 20)
    second = build(name, space)
    for parameter in second.parameters():
        parameter.data.add_(1)
    second.load_state_dict(first.state_dict())
    other = adam(name, second)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for architect, adam_of_it in ((first, optimizer), (second, other)):
        descend(architect, toy, adam_of_it, range(5, 12), 20)
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
