"""What must hold for every space in conf/space, and in the folder of `pytest --config-dir FOLDER`."""

import itertools
import random

import pytest
import torch
from helpers.groups import each, settings, small
from helpers.tasks import EXAMPLES, each_task
from hydra.utils import instantiate

from oneshot.architecture import Gates
from oneshot.cost import candidate_costs, count_multiply_accumulates, count_parameters, network_cost
from oneshot.errors import InputError

SHAPE, CLASSES = (3, 8, 8), 5


def build(name, classes=CLASSES, **sizes):
    make = instantiate(small(settings("space", name)), _partial_=True, _convert_="all")
    return make(image_shape=SHAPE, classes=classes, **sizes)


def samples(space, number=4):
    rng = random.Random(0)
    return [space.sample(rng) for _ in range(number)]


@each("space")
def test_samples_are_valid_and_a_function_of_the_generator(name):
    space = build(name)
    drawn = samples(space, 50)
    assert drawn == samples(build(name), 50) and len(set(drawn)) > 1
    assert all(a.space == space.fingerprint and space.is_valid(a.decisions) for a in drawn)


@each("space")
def test_mutations_are_valid_neighbours(name):
    space, rng = build(name), random.Random(1)
    for architecture in samples(space, 2):
        neighbours = list(space.neighbours(architecture))
        assert len(set(neighbours)) == len(neighbours) > 0 and architecture not in neighbours
        assert all(space.is_valid(a.decisions) for a in neighbours)
        assert {space.mutate(architecture, rng) for _ in range(10)} <= set(neighbours)


@each("space")
def test_names_are_unique_and_groups_are_consecutive(name):
    space = build(name)
    names = [choice.name for choice in space.choices]
    groups = [group for group, _ in itertools.groupby(choice.group for choice in space.choices)]
    assert len(set(names)) == len(names) and len(set(groups)) == len(groups)
    assert all(len(set(choice.candidates)) == len(choice.candidates) for choice in space.choices)


@each("space")
def test_an_encoding_is_one_hot(name):
    space = build(name)
    for architecture in samples(space):
        encoding = space.one_hot(architecture)
        assert encoding.shape == space.shape == space.mask.shape
        assert encoding.argmax(1).tolist() == list(architecture.decisions)
        assert torch.equal(encoding.sum(1), torch.ones(len(space.choices))) and not encoding[~space.decidable].any()
        assert not space.mask[~space.decidable].any() and space.mask.any(1).all()


@each("space")
def test_a_file_holds_an_architecture(name, tmp_path):
    space, path = build(name), tmp_path / "architecture.json"
    for architecture in samples(space):
        path.write_text(space.to_json(architecture))
        assert space.load(path) == architecture
        assert space.from_notation(space.notation(architecture)) == architecture and space.graphs(architecture)


@each("space")
def test_sizes_do_not_enter_the_fingerprint(name):
    space = build(name)
    keys = [key for key in ("cells", "channels") if key in settings("space", name)]
    for key, size in zip(keys, (6, 8), strict=False):
        assert build(name, **{key: size}).fingerprint == space.fingerprint


@each_task
@each("space")
def test_the_supernet_with_one_hot_gates_is_the_network(double, name, task):
    torch.manual_seed(0)
    example = EXAMPLES[task]
    space = build(name, example.outputs)
    supernet, x = space.supernet(), torch.randn(4, *SHAPE)
    for architecture in samples(space):
        gates, path = space.one_hot(architecture), tuple((k,) for k in architecture.decisions)
        network = space.network(architecture, inherit=supernet)
        draws = not torch.equal(network(x), network(x))  # a candidate does, in training mode
        for mode in (False,) if draws else (True, False):
            logits = network.train(mode)(x)
            assert logits.shape == (4, example.outputs)
            for active in (None, path):
                mixed = supernet.train(mode)(x, Gates(gates.to(x.dtype), active))
                assert torch.allclose(mixed, logits, atol=1e-9), (architecture, mode, active)


@each_task
@each("space")
def test_every_candidate_has_a_gradient(name, task):
    torch.manual_seed(0)
    example = EXAMPLES[task]
    space = build(name, example.outputs)
    weight = (space.mask / space.mask.sum(1, keepdim=True)).requires_grad_()
    supernet = space.supernet()
    example.task.criterion()(supernet(torch.randn(4, *SHAPE), Gates(weight)), example.y(4)).backward()
    assert weight.grad is not None and weight.grad.isfinite().all() and weight.grad.any(dim=1).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in supernet.parameters())


@each_task
@each("space")
def test_a_network_is_trained_from_scratch(name, task):
    torch.manual_seed(0)
    example = EXAMPLES[task]
    space = build(name, example.outputs)
    for architecture in samples(space, 2):
        network = space.network(architecture)
        logits = network(torch.randn(4, *SHAPE))
        assert logits.shape == (4, example.outputs)
        example.task.criterion()(logits, example.y(4)).backward()
        assert all(p.grad is not None for p in network.parameters())  # nothing is unused in it


@each("space")
def test_what_is_discretized_is_allowed(name):
    torch.manual_seed(0)
    space = build(name)
    for _ in range(20):
        scores = torch.softmax(4 * torch.randn(space.shape).masked_fill(~space.mask, -torch.inf), 1)
        found = space.discretize(scores)
        assert space.is_valid(found.decisions) and found == space.discretize(scores)
    assert space.is_valid(space.discretize(space.mask / space.mask.sum(1, keepdim=True)).decisions)
    for architecture in samples(space, 20):
        assert space.used(space.discretize(space.one_hot(architecture))) == space.used(architecture)


@each("space")
def test_the_cost_of_a_network_is_counted(name):
    space = build(name)
    for architecture in samples(space, 2):
        cost = network_cost(space, architecture, SHAPE)
        network = space.network(architecture)
        assert 0 < cost["parameters"] <= count_parameters(network, SHAPE)
        assert cost["multiply_accumulates"] > 0


@each("space")
@pytest.mark.parametrize(
    ("measure", "key"),
    [(count_parameters, "parameters"), (count_multiply_accumulates, "multiply_accumulates")],
    ids=["parameters", "multiply_accumulates"],
)
def test_costs_of_candidates_add_up(name, measure, key):
    """The costs of two networks differ by the costs of their candidates, where unused ones do not count."""
    space = build(name)
    try:
        table = candidate_costs(space, measure)
    except InputError as error:
        pytest.skip(str(error))
    first, second = (space.used(a) for a in samples(space, 2))

    def of_candidates(architecture):
        return float((table * space.one_hot(architecture)).sum())

    costs = [network_cost(space, a, SHAPE)[key] for a in (first, second)]
    assert costs[0] - costs[1] == of_candidates(first) - of_candidates(second)
    assert table.shape == space.shape and not table[~space.mask].any()


@each("space")
def test_branches_are_the_candidates_that_a_path_trains(name):
    """The weights of a candidate get a gradient under the paths that have it, and under no other."""
    space = build(name)
    supernet, x = space.supernet(), torch.randn(4, *SHAPE)
    try:
        branches = list(space.branches(supernet))
    except InputError as error:  # a space need not give them; what needs them then refuses it by name
        assert f"space {space.name!r} does not say where" in str(error)
        return
    inside = [p for _, _, module in branches for p in module.parameters()]
    assert inside and len({id(p) for p in inside}) == len(inside)
    seen = set()
    for architecture in samples(space, 8):
        used = space.used(architecture).decisions
        supernet.zero_grad()
        supernet(x, Gates(space.one_hot(architecture), tuple((k,) for k in architecture.decisions))).sum().backward()
        for place, (choice, candidate, module) in enumerate(branches):
            moved = [p.grad is not None for p in module.parameters()]
            if architecture.decisions[choice] != candidate:
                assert not any(moved)
            elif used[choice] == candidate:
                assert all(moved)
                seen |= {place} if moved else set()
    assert len(seen) > len(branches) / 8
