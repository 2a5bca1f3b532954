"""What must hold for every technique in conf/technique with every architect, and for techniques of a user's own."""

import itertools

import pytest
import torch
from helpers.groups import names, settings
from helpers.support import build, moving, small_space
from helpers.tasks import EXAMPLES, each_task
from hydra.utils import get_class
from omegaconf import OmegaConf

from oneshot.architects import DARTS, Step
from oneshot.architects.base import frozen
from oneshot.cli.objects import make
from oneshot.errors import InputError
from oneshot.fitting.updates import Components, architecture_step, weight_step
from oneshot.spaces import NASBench201
from oneshot.techniques import Composed, Freeze, Perturbation, Regularizer, Transform
from oneshot.techniques.composed import taken_apart

NODES = {
    name: node
    for choice in names("technique")
    for name, node in settings("technique", choice).get("technique", {}).items()
}
NEUTRAL = {
    Regularizer: {"weight": 0.0, "start": 0.0},
    Perturbation: {"epsilon": 0.0, "start": 0.0},
    Freeze: {"threshold": -1.0},
}


def kind_of(name):
    return get_class(NODES[name]._target_)


def part(name, space, **others):
    """A technique of the group, with other settings."""
    of_space = {"space": space} if issubclass(kind_of(name), Transform | Freeze) else {}
    return make(OmegaConf.merge(NODES[name], others), **of_space)


def with_parts(architect, *parts):
    kinds = (Transform, Regularizer, Perturbation, Freeze)
    return Composed(architect, *([p for p in parts if isinstance(p, kind)] for kind in kinds))


def trajectory(architect, space, updates=2, seed=0, example=EXAMPLES["classification"]):
    """State of supernet and architect after some updates of each kind."""
    torch.manual_seed(seed)
    supernet = space.supernet()
    weights = torch.optim.SGD(supernet.parameters(), lr=0.05, momentum=0.9, weight_decay=3e-4)
    moving = [architect.optimizer(architect.parameters())]
    components = Components(supernet, architect, architect.criterion, weights, moving)
    total = 2 * updates
    for index in range(0, total, 2):
        torch.manual_seed(index)
        batches = [(torch.randn(8, 1, 8, 8), example.y(8)) for _ in range(2)]
        architecture_step(components, *batches, Step(seed, index, total))
        weight_step(components, batches[0], Step(seed, index + 1, total), batches[1])
    state = {name.rpartition("architect.")[2]: value for name, value in architect.state_dict().items()}
    state = {name: value for name, value in state.items() if not name.startswith("freezes.")}
    return [*supernet.state_dict().values(), torch.get_rng_state()], state


@pytest.mark.parametrize("name", moving())
def test_neutral_parts_leave_the_trajectory_of_every_architect_as_it_is(name):
    space = small_space(nodes=1)
    parts, bare = [], build(name, space)
    for technique in NODES:
        neutral = next((others for base, others in NEUTRAL.items() if issubclass(kind_of(technique), base)), None)
        neutral = {"beta": 0.0} if technique == "auxiliary_skip" else neutral
        if neutral is None:  # edge normalization has no neutral setting
            continue
        one = part(technique, space, **neutral)
        try:
            with_parts(build(name, space), one)
        except InputError as error:
            assert f"technique.{technique}" in str(error)
        else:
            parts.append(one)
    assert parts
    ours, state = trajectory(with_parts(build(name, space), *parts), space)
    expected, bare_state = trajectory(bare, space)
    assert all(torch.equal(a, b) for a, b in zip(ours, expected, strict=True))
    assert state.keys() == bare_state.keys() and all(torch.equal(state[key], bare_state[key]) for key in state)


@each_task
@pytest.mark.parametrize("pair", list(itertools.combinations(NODES, 2)), ids="+".join)
def test_pairs_run_or_are_refused_by_name(pair, task):
    example = EXAMPLES[task]
    space = NASBench201((1, 8, 8), example.outputs, cells=1, channels=4)
    parts = []
    try:
        parts = [part(name, space) for name in pair]
        architect = with_parts(DARTS(space), *parts)
    except InputError as error:
        assert any(f"technique.{name}" in str(error) for name in pair)
        return
    architect.measure_by(example.task.criterion(), example.metric)
    trajectory(architect, space, updates=1, example=example)
    scores = architect.scores()
    assert bool(scores.isfinite().all()) and scores.min() >= 0 and 0 <= float(architect.entropy()) <= 1 + 1e-6
    space.discretize(scores)


@pytest.mark.parametrize("name", [n for n in moving() if n not in ("enas", "proxyless architect.variant=reinforce")])
def test_the_gradient_of_a_penalty_is_composed_minus_bare(double, name):
    """For every method that has a meaning for it, second order included."""
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    batches = [(torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(2)]
    sgd = torch.optim.SGD(supernet.parameters(), lr=0.1)
    seen = 0
    for technique in NODES:
        if not issubclass(kind_of(technique), Regularizer):
            continue
        one = part(technique, space)
        architect = build(name, space)
        try:
            whole = Composed(architect, regularizers=[one])
        except InputError:
            continue
        step = Step(0, 3, 8)
        gradients = []
        for architect_or_whole in (whole, architect):
            with frozen(supernet):
                loss = architect_or_whole.loss(supernet, *batches, sgd, step)
            gradients.append(torch.autograd.grad(loss, list(architect.parameters()), materialize_grads=True))
        penalty = one(taken_apart(architect)[0], step)
        expected = torch.autograd.grad(penalty, list(architect.parameters()), materialize_grads=True)
        for a, b, g in zip(*gradients, expected, strict=True):
            assert torch.allclose(a - b, g, atol=1e-11 * (1 + float(g.abs().max())))
        seen += 1
    assert seen


@pytest.mark.parametrize("name", [t for t in NODES if issubclass(kind_of(t), Perturbation)])
def test_a_perturbation_reaches_weight_steps_only_and_leaves_no_trace(name):
    torch.manual_seed(0)
    space = small_space()
    supernet = space.supernet()
    bare, architect = (DARTS(space) for _ in range(2))
    architect.load_state_dict(bare.state_dict())
    whole = Composed(architect, perturbations=[part(name, space)])
    train, valid = ((torch.randn(8, 1, 8, 8), torch.randint(10, (8,))) for _ in range(2))
    sgd, step = torch.optim.SGD(supernet.parameters(), lr=0.1), Step(0, 3, 8)
    before = [value.clone() for value in supernet.state_dict().values()]
    for p in supernet.parameters():
        p.grad = torch.ones_like(p)
    state = torch.get_rng_state()
    with torch.no_grad():
        (seen,) = whole.weight_gates(supernet, train, step)
        (again,) = whole.weight_gates(supernet, train, step)
    assert torch.equal(seen.weight, again.weight) and not torch.equal(seen.weight, bare.gates(step).weight)
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, supernet.state_dict().values(), strict=True))
    assert all(bool((p.grad == 1).all()) and p.requires_grad for p in supernet.parameters())
    assert not seen.weight[~space.mask].any()
    assert torch.equal(whole.gates(step).weight, bare.gates(step).weight)
    gradients = []
    for one in (whole, bare):
        with frozen(supernet):
            gradients += torch.autograd.grad(one.loss(supernet, train, valid, sgd, step), list(one.parameters()))
    assert torch.equal(*gradients)
