"""Shapley values: the axioms, enumeration, and the selection on real supernets."""

import math
from fractions import Fraction
from itertools import combinations, permutations
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET, darts
from torch.nn import functional

import oneshot
from oneshot import draws, plots
from oneshot.architects import DARTS
from oneshot.architecture import Gates
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.search import Search
from oneshot.selection import Shapley, contributions, shapley_values
from oneshot.selection.shapley import standardized
from oneshot.spaces import DARTSCells, NASBench201
from oneshot.tasks import Classification, Regression

SMALL = {"cells": 3, "channels": 4, "nodes": 1}


def subsets(players):
    return [frozenset(s) for n in range(len(players) + 1) for s in combinations(players, n)]


def by_enumeration(value, players):
    """The definition: a weighted sum over all coalitions without the player."""
    n, found = len(players), []
    for player in players:
        others = [p for p in players if p != player]
        weights = {
            s: Fraction(math.factorial(len(s)) * math.factorial(n - len(s) - 1), math.factorial(n))
            for s in subsets(others)
        }
        found.append(sum(float(w) * (value(s | {player}) - value(s)) for s, w in weights.items()))
    return found


def mean_over_all_orders(value, players):
    rows = [contributions(value, order) for order in permutations(range(players))]
    return torch.tensor(rows, dtype=torch.float64).mean(0).tolist()


def game(players, seed):
    """A number for each coalition; multiples of 1/64, so that sums are exact."""
    numbers = torch.randint(0, 64, (2**players,), generator=torch.Generator().manual_seed(seed)) / 64
    table = dict(zip(subsets(range(players)), numbers.tolist(), strict=True))
    return table.__getitem__


@pytest.mark.parametrize(("players", "seed"), [(1, 0), (2, 1), (3, 2), (3, 3), (4, 4), (5, 5)])
def test_the_mean_over_all_orders_is_the_definition(players, seed):
    value = game(players, seed)
    assert mean_over_all_orders(value, players) == pytest.approx(by_enumeration(value, range(players)), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_each_order_shares_out_the_whole_value(seed):
    """Efficiency, exactly."""
    value, everyone = game(5, seed), frozenset(range(5))
    found = shapley_values(value, 5, 8, torch.Generator().manual_seed(seed))
    assert found.shape == (8, 5) and found.dtype == torch.float64
    assert (found.sum(1) == value(everyone) - value(frozenset())).all()


def test_symmetry_and_the_null_player():
    """Players 0 and 1 are alike; player 2 changes nothing; 3 is worth more with 0 or 1."""

    def value(s):
        return 0.25 * len(s & {0, 1}) ** 2 + (0.5 if 3 in s and s & {0, 1} else 0)

    found = mean_over_all_orders(value, 4)
    assert found[0] == pytest.approx(found[1], abs=1e-15) and found[0] != found[3]
    assert all(contributions(value, order)[2] == 0 for order in permutations(range(4)))


def test_an_additive_game_is_exact_after_one_order():
    worth = [0.5, -0.25, 0.0, 2.0, 0.125]
    found = shapley_values(lambda s: sum(worth[i] for i in s), 5, 1, torch.Generator().manual_seed(3))
    assert found.tolist() == [worth]


def test_drawn_orders_are_those_of_the_generator_and_have_no_bias():
    value = game(4, 7)
    orders = torch.Generator().manual_seed(11)
    expected = [contributions(value, torch.randperm(4, generator=orders).tolist()) for _ in range(6)]
    assert shapley_values(value, 4, 6, torch.Generator().manual_seed(11)).tolist() == expected
    found = shapley_values(value, 4, 4000, torch.Generator().manual_seed(0))
    z = (found.mean(0) - torch.tensor(by_enumeration(value, range(4)))) / (found.std(0) / 4000**0.5)
    assert float(z.abs().max()) < 4


def test_the_whole_is_asked_for_once():
    asked = []

    def value(s):
        asked.append(s)
        return float(len(s))

    shapley_values(value, 3, 5, torch.Generator().manual_seed(0))
    assert asked.count(frozenset(range(3))) == 1 and len(asked) == 1 + 5 * 3


def test_truncation():
    worth = {0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}
    asked = []

    def value(s):
        asked.append(s)
        return sum(worth[i] for i in s)

    assert contributions(value, [3, 2, 1, 0], 0.5) == [0, 3, 2, 1]  # 10, 9, 7, 4: below 5
    assert asked[-1] == {0}
    assert contributions(value, [1, 2, 3, 0], 0.5) == [0, 3, 2, 1]  # 10, 7, 5, 4: 5 is not below
    assert contributions(value, [0, 1, 2, 3], 0.0) == [4, 3, 2, 1]
    assert contributions(lambda s: value(s) - 100, [0, 1, 2, 3], 0.5) == [4, 3, 2, 1]  # -90: has no share


def test_standardized_in_each_cell():
    space = DARTSCells((1, 8, 8), 10, **SMALL)
    values = torch.rand(space.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    values[2:] *= 100
    found = standardized(values, space.choices)
    for rows in (slice(0, 2), slice(2, 4)):
        flat = values[rows].flatten().tolist()
        mean = sum(flat) / 16
        deviation = math.sqrt(sum((v - mean) ** 2 for v in flat) / 15)
        assert found[rows].flatten().tolist() == pytest.approx([(v - mean) / deviation for v in flat])
    assert (standardized(torch.full(space.shape, 0.3), space.choices) == 0).all()


class Additive:
    """A supernet whose metric is a sum over the gates."""

    def __init__(self, worth, metric):
        self.worth, self.metric, self.calls = worth, metric, []

    def evaluate(self, gates, batches=0):
        self.calls.append(batches)
        return {"loss": 0.0, self.metric.name: float((gates(0).weight * self.worth).sum())}


@pytest.mark.parametrize("task", [Classification(), Regression()])
def test_values_are_read_from_gates_that_are_set_to_0(task):
    """Whatever the direction of the metric: a removal that makes it worse is a value above 0."""
    space = DARTSCells((1, 8, 8), 10, **SMALL)
    architect, metric = darts(space), task.metric(10)
    with torch.no_grad():
        architect.alpha.copy_(torch.randn(space.shape, generator=torch.Generator().manual_seed(1)))
    worth = torch.rand(space.shape, generator=torch.Generator().manual_seed(2)) - 0.3
    supernet = Additive(worth, metric)
    shapley = Shapley(permutations=3, batches=7, threshold=0.0, deviations=0.0)
    found = shapley.values(space, architect, supernet)
    sign = 1 if metric.quantity.maximize else -1
    expected = sign * (architect.scores().detach() * worth)
    assert torch.allclose(found[:, 1:], expected[:, 1:].double(), atol=1e-6) and (found[:, 0] == 0).all()
    assert set(supernet.calls) == {7} and len(supernet.calls) == 1 + 3 * 28
    assert {metric.quantity.maximize for metric in (Classification().metric(10), Regression().metric(10))} == {
        True,
        False,
    }


def test_the_largest_values_are_kept():
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2)
    for seed in range(10):
        values = torch.rand(space.shape, generator=torch.Generator().manual_seed(seed))
        supernet = Additive(values * 8, Classification().metric(10))
        found = Shapley(1, threshold=0.0)(space, darts(space), supernet).decisions
        for edge in range(10):
            assert found[edge] in (0, 1 + int(values[edge, 1:].argmax()))
        assert sum(map(bool, found)) == 8


def fitted(space, data, selection=None):
    torch.manual_seed(0)
    search = Search(space, DARTS(space), data, selection=selection, seed=3)
    pl.Trainer(max_epochs=1, **QUIET).fit(search)
    return search


def accuracy_without(search, weight, removed):
    """By hand, on the whole architecture part."""
    weight = weight.clone()
    for i, k in removed:
        weight[i, k] = 0
    right = count = 0
    search.supernet.eval()
    with torch.no_grad():
        for x, y in search.architecture_part.passes():
            right += int((search.supernet(x, Gates(weight)).argmax(1) == y).sum())
            count += len(y)
    return right / count


def test_three_players_of_a_supernet_as_enumerated(data):
    """Three candidates of a cell of NAS-Bench-201 can go; the others stay."""
    space = NASBench201(data, cells=1, channels=4)
    search = fitted(space, data)
    weight = search.architect.scores().detach()
    players = [(0, 3), (3, 3), (5, 2)]

    def value(present):
        gates = weight.clone()
        for n in {0, 1, 2} - present:
            gates[players[n]] = 0
        return search.evaluate(lambda _: Gates(gates))["accuracy"]

    def by_hand(present):
        return accuracy_without(search, weight, [players[n] for n in {0, 1, 2} - present])

    expected = by_enumeration(by_hand, range(3))
    assert mean_over_all_orders(value, 3) == pytest.approx(expected, abs=1e-6) and any(expected)


def test_the_values_of_a_search_are_contributions_in_its_supernet(data):
    """Four players: one candidate besides none on each of four edges; 24 orders or any of them."""
    space = DARTSCells(data, **SMALL, candidates=("none", "sep_conv_3x3"))
    search = fitted(space, data)
    weight = search.architect.scores().detach()
    table = {s: accuracy_without(search, weight, [(i, 1) for i in set(range(4)) - s]) for s in subsets(range(4))}
    assert len(set(table.values())) > 4
    shapley = Shapley(permutations=6, batches=0, threshold=0.0, deviations=0.0, seed=5)
    orders = draws.generator(5, "selection/shapley", 0)
    rows = shapley_values(table.__getitem__, 4, 6, orders)
    found = shapley.values(space, search.architect, search)
    assert torch.allclose(found[:, 1], rows.mean(0), atol=1e-6)
    careful = Shapley(permutations=6, batches=0, threshold=0.0, deviations=2.0, seed=5)
    expected = rows.mean(0) - 2 * ((rows - rows.mean(0)) ** 2).mean(0).sqrt()
    assert torch.allclose(careful.values(space, search.architect, search)[:, 1], expected, atol=1e-6)


def test_an_evaluation_sees_the_first_batches():
    data = digits(batch_size=32, train_size=1200, architecture_fraction=0.95)
    space = NASBench201(data, cells=1, channels=4)
    search = fitted(space, data)
    gates = Gates(search.architect.scores().detach())
    batches = list(search.architecture_part.passes())
    assert len(batches) == 3
    search.supernet.eval()
    with torch.no_grad():
        losses = [float(functional.cross_entropy(search.supernet(x, gates), y)) for x, y in batches]
    sizes = [len(y) for _, y in batches]
    for number, seen in ((1, 1), (2, 2), (3, 3), (9, 3), (0, 3)):
        mean = sum(loss * n for loss, n in zip(losses[:seen], sizes, strict=False)) / sum(sizes[:seen])
        assert search.evaluate(lambda _: gates, number)["loss"] == pytest.approx(mean, rel=1e-5)


def test_a_search_that_is_cut_off_in_its_selection_ends_as_one_that_was_not(tmp_path, data, monkeypatch):
    class Enough(Exception):
        pass

    def make():
        torch.manual_seed(0)
        space = NASBench201(data, cells=1, channels=4)
        return oneshot.Search(space, DARTS(space), data, selection=Shapley(1, threshold=0.0, seed=4), log_every=1)

    monkeypatch.setattr(plots, "save", lambda figure, path: [])  # pictures take longer than these searches
    fit = {"accelerator": "cpu", "show": False}
    whole = make()
    oneshot.fit(whole, 1, tmp_path / "whole", **fit)
    calls, evaluate = [], Search.evaluate

    def cut(self, gates, batches=0):
        calls.append(batches)
        if calls.count(2) == 9:
            raise Enough
        return evaluate(self, gates, batches)

    with monkeypatch.context() as patch, pytest.raises(Enough):
        patch.setattr(Search, "evaluate", cut)
        oneshot.fit(make(), 1, tmp_path / "cut", **fit)
    again = make()
    oneshot.fit(again, 1, tmp_path / "cut", **fit)
    assert again.found == whole.found and again.found_valid == whole.found_valid
    names = ("metrics.jsonl", "architecture.json", "supernet.safetensors")
    assert all((tmp_path / "cut" / n).read_bytes() == (tmp_path / "whole" / n).read_bytes() for n in names)


def test_orders_depend_on_the_seed():
    space = DARTSCells((1, 8, 8), 10, **SMALL)
    supernet = SimpleNamespace(metric=Classification().metric(10))
    supernet.evaluate = lambda gates, batches: {"accuracy": float(gates(0).weight.sum() ** 3)}
    architect = darts(space)
    first, same, other = (Shapley(2, threshold=0.0, seed=s).values(space, architect, supernet) for s in (0, 0, 1))
    assert torch.equal(first, same) and not torch.allclose(first, other)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("permutations", v) for v in (0, 1.5, True)),
        *(("batches", v) for v in (-1, 0.5)),
        *(("threshold", v) for v in (-0.1, 1.1, "x")),
        *(("deviations", v) for v in (-1.0, float("nan"))),
        ("seed", -1),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(InputError, match=f"selection.{name}={value!r}"):
        Shapley(**{name: value})
