"""What every space gets from its choices: sampling, mutation, neighbours, encoding, graph view."""

import itertools
import math
import random
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare

from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.spaces import DARTSCells, NASBench201

SMALL = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=["none", "skip_connect", "max_pool_3x3"])
FULL = DARTSCells((1, 8, 8), 10)


def every_architecture(space):
    """All valid decisions, from the definition: exactly two edges of each node are not none."""
    none = space.candidates.index("none")
    groups = [choice.group for choice in space.choices]
    found = []
    for decisions in itertools.product(range(len(space.candidates)), repeat=len(groups)):
        kept = Counter(group for group, decision in zip(groups, decisions, strict=True) if decision != none)
        if all(kept[group] == 2 for group in set(groups)):
            found.append(decisions)
    return found


def test_is_valid_is_the_definition():
    valid = set(every_architecture(SMALL))
    assert len(valid) == (4 * 3 * 4) ** 2
    for decisions in itertools.product(range(3), repeat=len(SMALL.choices)):
        assert SMALL.is_valid(decisions) == (decisions in valid)


def test_sampling_is_uniform_over_the_valid_architectures():
    valid = every_architecture(SMALL)
    rng = random.Random(0)
    counts = Counter(SMALL.sample(rng).decisions for _ in range(10 * len(valid)))
    assert set(counts) <= set(valid)
    assert chisquare([counts[d] for d in valid]).pvalue > 0.01


def test_neighbours_are_symmetric_valid_and_connect_the_space():
    start = SMALL.architecture(every_architecture(SMALL)[0])
    reached, frontier = {start}, [start]
    while frontier:
        architecture = frontier.pop()
        for neighbour in SMALL.neighbours(architecture):
            assert SMALL.is_valid(neighbour.decisions)
            if neighbour not in reached:
                reached.add(neighbour)
                frontier.append(neighbour)
    assert len(reached) == len(every_architecture(SMALL))
    for neighbour in SMALL.neighbours(start):
        assert start in set(SMALL.neighbours(neighbour))


def test_neighbours_change_one_choice_or_move_one_edge():
    architecture = FULL.sample(random.Random(1))
    for neighbour in FULL.neighbours(architecture):
        changed = [
            c.group for c, a, b in zip(FULL.choices, architecture.decisions, neighbour.decisions, strict=True) if a != b
        ]
        assert len(changed) in (1, 2) and len(set(changed)) == 1
    # 16 kept edges with 6 other operations, and each of them moved to one of its node's absent edges, 7 operations
    absent = sum(2 * (inputs - 2) for inputs in (2, 3, 4, 5)) * 2
    assert len(list(FULL.neighbours(architecture))) == 16 * 6 + absent * 7


def test_mutation_draws_neighbours():
    architecture = SMALL.sample(random.Random(0))
    rng = random.Random(0)
    assert {SMALL.mutate(architecture, rng) for _ in range(2000)} == set(SMALL.neighbours(architecture))


def test_draws_are_a_function_of_the_generator():
    assert [FULL.sample(random.Random(3)) for _ in range(2)] == [FULL.sample(random.Random(3))] * 2


def test_one_hot():
    architecture = FULL.sample(random.Random(0))
    encoding = FULL.one_hot(architecture)
    assert encoding.shape == (28, 8)
    assert encoding.sum(1).tolist() == [1.0] * 28
    assert tuple(encoding.argmax(1).tolist()) == architecture.decisions


def test_graphs_hold_the_kept_edges():
    architecture = FULL.sample(random.Random(0))
    graphs = FULL.graphs(architecture)
    assert list(graphs) == ["normal", "reduce"]
    for cell, graph in graphs.items():
        operations = {f"{cell}/{s}->{t}": name for s, t, name in graph.edges.data("operation") if name}
        expected = {
            c.name: c.candidates[d]
            for c, d in zip(FULL.choices, architecture.decisions, strict=True)
            if c.name.startswith(cell) and c.candidates[d] != "none"
        }
        assert operations == expected
        assert len(operations) == 8


def test_wrong_decisions_are_named():
    with pytest.raises(InputError, match="3 given; the space has 28 choices"):
        FULL.architecture((1, 2, 3))
    with pytest.raises(InputError, match="'normal/c_{k-2}->0': 'none' is not allowed here"):
        FULL.architecture((0,) * 28)


@pytest.mark.parametrize("space", [DARTSCells, NASBench201])
def test_a_data_set_gives_image_shape_and_classes(space):
    data = digits()
    by_data, by_numbers = space(data), space(image_shape=(1, 8, 8), classes=10)
    assert (by_data.image_shape, by_data.classes) == (by_numbers.image_shape, by_numbers.classes) == ((1, 8, 8), 10)
    for arguments, message in [
        (((1, 8, 8),), "classes: must be given with an image shape"),
        ((data, 10), "classes=10: must not be given with a data set, which has 10"),
        (((8, 8), 10), "must be a data set or"),
        ((8, 10), "image_shape=8: must be a data set or"),
        (((1, 8, 8.0), 10), "image_shape: width=8.0: must be a whole number"),
        (((1, 8, 8), 0), "classes=0: must be"),
    ]:
        with pytest.raises(InputError, match=message):
            space(*arguments)


@pytest.mark.parametrize("tries", [0, 1000], ids=["enumerated", "rejected"])
def test_sampling_by_scores_is_proportional_to_their_product(monkeypatch, tries):
    monkeypatch.setattr("oneshot.spaces.base.TRIES", tries)
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2, candidates=["none", "skip_connect"])
    scores = torch.rand(space.shape, generator=torch.Generator().manual_seed(0)).add(0.2).tolist()
    valid = every_architecture(space)
    products = [math.prod(row[k] for row, k in zip(scores, d, strict=True)) for d in valid]
    rng = random.Random(1)
    counts = Counter(space.sample_by(scores, rng).decisions for _ in range(3000))
    assert set(counts) <= set(valid)
    assert chisquare([counts[d] for d in valid], [3000 * p / sum(products) for p in products]).pvalue > 0.001


def test_scores_that_almost_never_give_a_valid_architecture_still_draw_one():
    scores = [[1e-9, 1.0, 1.0] for _ in SMALL.choices]
    scores[-1] = [1.0, 0.0, 0.0]
    rng = random.Random(0)
    assert all(SMALL.is_valid(SMALL.sample_by(scores, rng).decisions) for _ in range(20))
    assert all(SMALL.sample_by(scores, rng).decisions[-1] == 0 for _ in range(20))
