"""Few-shot estimation: gradient matching against discrete networks, splits against all bipartitions, and its parts."""

import random
from functools import partial
from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from helpers.ragged import Ragged
from helpers.support import QUIET
from scipy.stats import chisquare
from torch.nn import functional

from oneshot.architecture import Query
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.estimators import FewShot, OneShot, Subspace, best_split, gradient_matching
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201

DATA = digits(batch_size=16, train_size=64)
SMALL = DARTSCells((1, 8, 8), 10, 3, 4, nodes=2, candidates=("none", "skip_connect", "sep_conv_3x3"))


def nb201():
    return NASBench201(DATA.image_shape, DATA.classes, cells=1, channels=4)


def valid_of(space):
    decisions = product(*(range(len(choice.candidates)) for choice in space.choices[:5]))  # the normal cell
    rest = space.sample(random.Random(0)).decisions[5:]
    return [space.architecture((*d, *rest)) for d in decisions if space.is_valid((*d, *rest))]


def test_gradient_matching_is_the_cosine_of_the_gradients_of_networks(double):
    """Of the discrete networks that inherit the weights; what a network lacks has the gradient 0."""
    torch.manual_seed(0)
    space = nb201()
    supernet, x, y = space.supernet(), torch.randn(8, 1, 8, 8), torch.randint(10, (8,))
    base, choice, candidates = space.architecture((2, 3, 1, 0, 3, 2)), 1, (0, 1, 3, 4)
    vectors = []
    for k in candidates:
        architecture = space.architecture((2, k, 1, 0, 3, 2))
        network = space.network(architecture, inherit=supernet)
        names = dict(network.named_parameters())
        found = torch.autograd.grad(functional.cross_entropy(network(x), y), names.values())
        found = dict(zip(names, found, strict=True))
        shared = [(n, w) for n, w in supernet.named_parameters() if f".edges.{choice}." not in n]
        vectors.append(torch.cat([found.get(n, torch.zeros_like(w)).flatten() for n, w in shared]))
    ours = gradient_matching(
        space, supernet, lambda gates: functional.cross_entropy(supernet(x, gates), y), base, choice, candidates
    )
    for i, j in product(range(4), repeat=2):
        a, b = vectors[i], vectors[j]
        assert ours[i, j] == pytest.approx(float(a @ b / a.norm() / b.norm()), abs=1e-12)
    assert ours.min() < 0.99 and all(p.grad is None for p in supernet.parameters())


def test_a_gradient_of_0_matches_nothing():
    space = nb201()
    supernet, x = space.supernet(), torch.randn(4, 1, 8, 8)
    architecture = space.sample(random.Random(0))
    ours = gradient_matching(space, supernet, lambda gates: 0 * supernet(x, gates).sum(), architecture, 0, (0, 2, 3))
    assert torch.equal(ours, torch.zeros(3, 3))


@pytest.mark.parametrize("number", [2, 3, 4, 5, 7])
def test_the_best_split_is_the_best_of_all_labellings(number):
    for seed in range(6):
        similarity = torch.randn(number, number, generator=torch.Generator().manual_seed(seed)).double()
        similarity = similarity + similarity.T
        (first, second), between = best_split(similarity)
        means = []
        for labels in product((False, True), repeat=number):
            mask = torch.tensor(labels)
            if abs(2 * int(mask.sum()) - number) <= 1:
                means.append(float(similarity[mask][:, ~mask].mean()))
        assert between == pytest.approx(min(means), abs=1e-12)
        assert between == pytest.approx(float(similarity[list(first)][:, list(second)].mean()), abs=1e-12)
        assert sorted(first + second) == list(range(number)) and 0 in first and abs(len(first) - len(second)) <= 1


def test_planted_groups_are_found():
    similarity = torch.full((5, 5), 0.1)
    for group in ((0, 3), (1, 2, 4)):
        for a, b in product(group, repeat=2):
            similarity[a, b] = 0.9
    assert best_split(similarity)[0] == ((0, 3), (1, 2, 4))


def test_every_architecture_is_in_exactly_one_part():
    first, second = Subspace.whole(SMALL).split(0, ((0, 2), (1,)))
    parts = [first, *second.split(3, ((0, 1), (2,)))]
    found = valid_of(SMALL)
    assert len(found) == 48 and all(Subspace.whole(SMALL).has(architecture) for architecture in found)
    assert {sum(part.has(architecture) for part in parts) for architecture in found} == {1}
    assert all(any(part.has(architecture) for architecture in found) for part in parts)


def test_samples_of_a_part_are_uniform_over_it():
    space = DARTSCells((1, 8, 8), 10, 3, 4, nodes=1, candidates=("none", "skip_connect", "sep_conv_3x3"))
    part = Subspace.whole(space).split(0, ((0, 2), (1,)))[0]
    valid = [d for d in product(range(3), repeat=4) if space.is_valid(d) and d[0] != 1]
    counts, rng = dict.fromkeys(valid, 0), random.Random(0)
    for _ in range(800):
        counts[part.sample(space, rng).decisions] += 1  # KeyError: not in the part
    assert len(valid) == 8 and chisquare(list(counts.values())).pvalue > 0.001


def few_shot(space, supernet, **settings):
    return FewShot(
        space,
        supernet,
        DATA,
        partial(Search, space, data=DATA),
        lambda epochs: pl.Trainer(max_epochs=epochs, **QUIET),
        device=torch.device("cpu"),
        **{"epochs": 1, "batches": 2, **settings},
    )


def test_without_a_split_it_is_one_shot():
    torch.manual_seed(0)
    space = nb201()
    supernet = space.supernet()
    queries = [Query(space.sample(random.Random(seed))) for seed in range(3)]
    expected = OneShot(space, supernet, DATA.split()[1], functional.cross_entropy, torch.device("cpu"))(queries)
    assert few_shot(space, supernet, splits=0)(queries) == expected


def test_each_part_trains_its_own_candidates_and_answers_for_them():
    torch.manual_seed(0)
    space = nb201()
    supernet = space.supernet()
    before = {name: weight.clone() for name, weight in supernet.state_dict().items()}
    estimator = few_shot(space, supernet, epochs=3)
    queries = [Query(space.sample(random.Random(seed))) for seed in range(6)]
    answers = estimator(queries)
    assert all(torch.equal(weight, before[name]) for name, weight in supernet.state_dict().items())
    scores = [
        best_split(estimator._matching(Subspace.whole(space), supernet, choice)) for choice in range(len(space.choices))
    ]
    choice = min(range(6), key=lambda i: scores[i][1])
    assert [part.kept[choice] for part, _ in estimator.parts] == list(scores[choice][0])
    for part, one_shot in estimator.parts:
        moved = set()
        for i, k, module in space.branches(one_shot.supernet):
            same = [
                torch.equal(w, before[n])
                for n, w in one_shot.supernet.named_parameters()
                if w in set(module.parameters())
            ]
            if i == choice and k not in part.kept[i]:
                assert all(same)
            moved |= {k} if not all(same) else set()
        assert moved == {2, 3}  # the convolutions
        inside = [n for n, query in enumerate(queries) if part.has(query.architecture)]
        assert [answers[n] for n in inside] == one_shot([queries[n] for n in inside])
    assert len(estimator.parts) == 2 and {
        n for n, q in enumerate(queries) for p, _ in estimator.parts if p.has(q.architecture)
    } == {*range(6)}


def test_parts_are_split_again():
    torch.manual_seed(0)
    space = nb201()
    estimator = few_shot(space, space.supernet(), splits=2, batches=1)
    estimator([Query(space.sample(random.Random(0)))])
    parts = [part for part, _ in estimator.parts]
    assert len(parts) == 4 and all(sum(len(row) < 5 for row in part.kept) == 2 for part in parts)
    drawn = [space.sample(random.Random(seed)) for seed in range(50)]
    assert {sum(part.has(architecture) for part in parts) for architecture in drawn} == {1}


class Closed(Ragged):
    """A space that does not give the candidates of its supernet."""


def test_what_has_no_meaning_is_refused():
    space = nb201()
    for settings, message in (
        ({"splits": 7}, "estimator.splits=7: must be a whole number, from 0 to 6"),
        ({"epochs": 0}, "estimator.epochs=0"),
        ({"batches": 0}, "estimator.batches=0"),
        ({"images": -1}, "estimator.images=-1"),
    ):
        with pytest.raises(InputError, match=message):
            few_shot(space, space.supernet(), **settings)
    with pytest.raises(InputError, match="space 'ragged' does not say where its supernet has its candidates"):
        few_shot(Closed(), torch.nn.Linear(1, 1))
    for number in (1, 17):
        with pytest.raises(InputError, match=f"candidates of a choice that is split={number}: must be .* from 2 to 16"):
            best_split(torch.zeros(number, number))
    nothing = Subspace(((0,), (0,), (0,), (0,), (0,), (1,), (1,), (0,), (0,), (0,)))
    with pytest.raises(InputError, match="a part of it has next to no architectures"):
        nothing.sample(SMALL, random.Random(0))
