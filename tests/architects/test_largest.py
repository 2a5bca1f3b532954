"""The largest architecture: against every architecture of small spaces, and as a search."""

import random
from itertools import product

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, small_space

from oneshot.architects.largest import Largest
from oneshot.architecture import Choice
from oneshot.cost.counting import candidate_costs, count_parameters, network_cost
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.schedule import Step
from oneshot.search import Search
from oneshot.spaces import DARTSCells, NASBench201, SearchSpace


def parameters(space, architecture):
    return network_cost(space, architecture, space.image_shape)["parameters"]


def test_no_cell_of_nasbench201_has_more_parameters():
    space = NASBench201((3, 8, 8), 10, cells=1, channels=4)
    table = candidate_costs(space, count_parameters)
    empty = parameters(space, space.architecture([0] * 6))
    rng = random.Random(0)
    for _ in range(6):  # the parameters of a network are a sum over its edges, where all lead to the output
        found = space.sample(rng)
        if space.used(found) == found:
            assert parameters(space, found) == empty + sum(table[i, k] for i, k in enumerate(found.decisions))
    sizes = [sum(row[k] for row, k in zip(table.tolist(), d, strict=True)) for d in product(range(5), repeat=6)]
    assert len(sizes) == 15625 and parameters(space, space.largest()) == empty + max(sizes)
    assert space.notation(space.largest()).count("nor_conv_3x3") == 6


def test_no_sampled_network_of_the_darts_space_has_more():
    space = DARTSCells((3, 8, 8), 10, cells=3, channels=4, nodes=2)
    most, rng = parameters(space, space.largest()), random.Random(0)
    assert all(parameters(space, space.sample(rng)) < most for _ in range(8))
    assert {space.candidates[k] for k in space.largest().decisions} == {"none", "sep_conv_5x5"}


class Ragged(SearchSpace):
    """Choices of different sizes, all allowed."""

    name = "ragged"
    settings = {}
    choices = tuple(Choice(f"cell/{i}->{i + 1}", tuple("abc"[:m]), "all") for i, m in enumerate((3, 1, 2, 3)))

    def allowed(self, prefix):
        return tuple(range(len(self.choices[len(prefix)].candidates)))

    supernet = network = discretize = None


def every(space):
    """The decisions of every valid architecture."""
    sizes = [range(len(choice.candidates)) for choice in space.choices]
    return [decisions for decisions in product(*sizes) if space.is_valid(decisions)]


def tables(space):
    """Twelve tables of integers, with many ties."""
    for seed in range(12):
        yield torch.randint(3, space.shape, generator=torch.Generator().manual_seed(seed)).double() * space.mask


SMALL = DARTSCells((1, 8, 8), 10, 3, 4, 2, candidates=("skip_connect", "none", "sep_conv_3x3"))


@pytest.mark.parametrize("space", [SMALL, Ragged()], ids=["darts", "ragged"])
def test_the_maximum_is_exact_and_ties_go_to_the_first(space):
    valid = every(space)
    for table in tables(space):
        rows = table.tolist()

        def rank(decisions, rows=rows):
            entries = [row[k] for row, k in zip(rows, decisions, strict=True)]
            return sum(entries), [(entry, -k) for entry, k in zip(entries, decisions, strict=True)]

        assert space.largest(table).decisions == max(valid, key=rank)


@pytest.mark.parametrize("space", [SMALL, Ragged()], ids=["darts", "ragged"])
def test_the_minimum_is_exact_and_leaves_no_edge_out_that_it_need_not(space):
    valid = every(space)
    for table in tables(space):
        rows = table.tolist()

        def rank(decisions, rows=rows):
            names = [choice.candidates[k] for choice, k in zip(space.choices, decisions, strict=True)]
            entries = [9 if n == "none" else row[k] for n, row, k in zip(names, rows, decisions, strict=True)]
            return names.count("none"), sum(entries), list(zip(entries, decisions, strict=True))

        assert space.smallest(table).decisions == min(valid, key=rank)


def test_a_group_of_many_choices_is_no_enumeration():
    class Long(Ragged):
        choices = tuple(Choice(f"layer/{i}->{i + 1}", tuple("abcdef"), "all") for i in range(40))

    table = torch.rand(40, 6, dtype=torch.float64)
    assert Long().largest(table).decisions == tuple(table.argmax(1).tolist())
    assert Long().smallest(table).decisions == tuple(table.argmin(1).tolist())


def test_a_search_trains_its_path_alone_and_finds_it():
    data = digits(batch_size=16, train_size=64)
    space = small_space(data)
    search = Search(space, Largest(space), data)
    before = {name: p.clone() for name, p in search.supernet.named_parameters()}
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    assert search.found == space.largest() and search.architect.entropy() == 0
    moved = {name for name, p in search.supernet.named_parameters() if not torch.equal(p, before[name])}
    ways = {".".join(name.split(".")[-5:]) for name in moved if ".edges." in name}
    assert ways and all("sep_conv_5x5" in name for name in ways)
    assert torch.equal(search.architect.gates(Step(0, 0, 1)).weight, space.one_hot(search.found))


def test_a_space_without_places_is_refused():
    with pytest.raises(InputError, match=r"space 'ragged' does not say where .* \(`operations`\)"):
        Largest(Ragged())
