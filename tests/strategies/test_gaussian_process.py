"""Labels of a graph by hand, dead edges, and the pick against the closed form."""

import random
from collections import Counter

import numpy as np
import pytest
from helpers.support import small_space
from scipy.special import ndtr

from oneshot.spaces import NASBench201
from oneshot.strategies import GaussianProcess, gaussian_process
from oneshot.strategies.gaussian_process import features, live, places, reached, weisfeiler_lehman

SPACE = NASBench201((1, 8, 8), 10)


def test_labels_of_a_small_graph():
    """in -a-> x -b-> out, in -c-> out."""
    edges = {("in", "x"): "a", ("in", "out"): "c", ("x", "out"): "b"}
    assert Counter(weisfeiler_lehman(edges, 0)) == Counter(["in:a", "in:c", "b"])
    assert Counter(weisfeiler_lehman(edges, 2)) == Counter(
        ["in:a", "in:c", "b"] + ["in:a()", "in:c()", "b(in:a)"] + ["in:a()()", "in:c()()", "b(in:a)(in:a())"]
    )
    assert Counter(places(edges)) == Counter(["in->x:a", "in->out:c", "x->out:b"])


def test_a_label_collects_what_enters_in_any_order():
    first = {("in", "x"): "b", ("i2", "x"): "a", ("x", "out"): ""}
    second = {("i2", "x"): "a", ("in", "x"): "b", ("x", "out"): ""}
    assert weisfeiler_lehman(first, 1)[-1] == "(i2:a,in:b)"
    assert Counter(weisfeiler_lehman(first, 1)) == Counter(weisfeiler_lehman(second, 1))
    assert places(first) == ["in->x:b", "i2->x:a"]  # a concatenation is no operation


def test_live_edges_lie_on_a_path_through():
    edges = {("0", "1"): "a", ("1", "3"): "b", ("0", "2"): "dead end", ("4", "3"): "not fed"}
    assert live(edges, {"0"}, {"3"}) == {("0", "1"): "a", ("1", "3"): "b"}
    assert reached(edges, {"0"}) == {"0", "1", "2", "3"}


def kernel(space, first, second):
    strategy = GaussianProcess(space)
    rows = features([strategy._labels(a) for a in (first, second)])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1])
    return float(strategy.kernel.k1(rows)[0, 1])


def test_dead_edges_change_nothing():
    def cell(first, second, third):
        return SPACE.from_notation(f"|{first}~0|+|{second}~0|{third}~1|+|nor_conv_3x3~0|none~1|nor_conv_1x1~2|")

    one = cell("none", "nor_conv_3x3", "avg_pool_3x3")  # node 1 is not fed
    assert kernel(SPACE, one, cell("none", "nor_conv_3x3", "skip_connect")) == pytest.approx(1)
    assert kernel(SPACE, one, cell("none", "nor_conv_3x3", "none")) == pytest.approx(1)
    assert kernel(SPACE, one, cell("avg_pool_3x3", "nor_conv_3x3", "none")) == pytest.approx(1)  # 1 is not read
    assert kernel(SPACE, one, cell("avg_pool_3x3", "nor_conv_3x3", "avg_pool_3x3")) < 0.99
    assert kernel(SPACE, one, cell("none", "nor_conv_1x1", "none")) < 0.99


def test_every_kept_edge_of_a_darts_cell_is_live():
    space, rng = small_space(nodes=4), random.Random(0)
    both = space.ends()
    assert both == {cell: ({"c_{k-2}", "c_{k-1}"}, {"c_{k}"}) for cell in ("normal", "reduce")}
    for _ in range(20):
        for cell, graph in space.graphs(space.sample(rng)).items():
            edges = {(s, t): name for s, t, name in graph.edges.data("operation")}
            assert live(edges, *both[cell]) == edges and len(edges) == 8 + 4
    assert SPACE.ends() == {"cell": ({"0"}, {"3"})}


def test_the_pick_is_the_largest_expected_improvement_in_closed_form(monkeypatch):
    rng = random.Random(1)
    candidates = [SPACE.sample(rng) for _ in range(40)]
    monkeypatch.setattr(gaussian_process, "pool", lambda *arguments: candidates)
    strategy = GaussianProcess(SPACE, startup=30)
    for i in range(46):
        query = strategy.ask()
        if strategy.fits:
            break
        strategy.tell(query, {"accuracy": sum(query.architecture.decisions)} if i % 3 else {})
    told = list(strategy.scores)
    assert len(told) == 30
    parameters = strategy.kernel.get_params()
    scale, length = parameters["k1__k1__constant_value"], parameters["k1__k2__length_scale"]
    noise = parameters["k2__noise_level"]
    rows = features([strategy._labels(a) for a in (*told, *candidates)])
    z = np.sqrt(5) * np.linalg.norm(rows[:, None] - rows[None], axis=2) / length
    covariance = scale * (1 + z + z**2 / 3) * np.exp(-z)  # Matern, nu = 5/2
    scores = np.array([strategy.scores[a] for a in told])
    smaller, equal = (scores < scores[:, None]).sum(1), (scores == scores[:, None]).sum(1)
    quantiles = (smaller + equal / 2) / 30
    values = gaussian_process.normal_scores(scores)
    assert ndtr(values) == pytest.approx(quantiles)
    centre, width = values.mean(), values.std()
    inverse = np.linalg.inv(covariance[:30, :30] + noise * np.eye(30))
    across = covariance[30:, :30]
    mean = centre + width * across @ inverse @ ((values - centre) / width)
    deviation = width * np.sqrt(scale - np.einsum("ij,jk,ik->i", across, inverse, across))
    u = (mean - values.max()) / deviation
    gain = deviation * (u * ndtr(u) + np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi))
    assert query.architecture == candidates[int(gain.argmax())]
