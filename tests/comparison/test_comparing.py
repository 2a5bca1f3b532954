"""A comparison as one call: what each row holds, and verdicts against enumeration."""

import itertools
import random

import numpy as np
import pytest

from oneshot import InputError, compare
from oneshot.architecture import Architecture
from oneshot.cost import network_cost
from oneshot.estimators import Tabular
from oneshot.quantity import Quantity
from oneshot.spaces import NASBench201

SPACE = NASBench201((3, 32, 32), 10)
SEEDS = range(10)


def test_by_a_table():
    table = Tabular(SPACE, epochs=200)
    best = max(table.rows, key=lambda decisions: table.rows[decisions][1])
    lines = []
    methods = {"best": lambda seed: SPACE.architecture(best), "drawn": lambda seed: SPACE.sample(random.Random(-seed))}
    found = compare(SPACE, methods, table, range(3), say=lines.append)
    assert [(row["method"], row["seed"]) for row in found.rows] == [
        (name, seed) for name in ("best", "drawn", "largest") for seed in range(3)
    ]
    for row in found.rows:
        assert row["value"] == table.rows[row["architecture"].decisions][1] / 100
    assert found.judged["best"].verdicts[0].kind == "better than" and "random" not in found.judged
    assert lines[0].startswith("[1 of 9] best, seed 0: 94.37 %") and lines[-1].startswith("[9 of 9] largest, seed 2")
    assert "| best | 94.37" in found.table() and "- best: better than random" in found.table()


def test_by_trainings():
    """The judge is a function with noise of its own; the test is that of all signs."""
    rng = np.random.default_rng(0)
    noise = {(name, seed): rng.normal(0, 2) for name in ("random", "ours") for seed in SEEDS}

    def search(seed):
        return SPACE.sample(random.Random(seed + 100))

    def train(architecture, seed):
        name = "ours" if architecture == search(seed) else "random"
        return network_cost(SPACE, architecture, (3, 32, 32))["parameters"] / 1e6 + noise[name, seed]

    loss = Quantity("loss", "loss", maximize=False, share=False)
    found = compare(SPACE, {"ours": search}, train, SEEDS, loss, image_shape=(3, 32, 32))
    rows = {(row["method"], row["seed"]): row for row in found.rows}
    for seed in SEEDS:
        drawn = SPACE.sample(random.Random(seed))
        assert rows["random", seed]["architecture"] == drawn
        assert rows["largest", seed]["architecture"] == SPACE.largest()
        assert rows["random", seed]["value"] == train(drawn, seed)
        assert rows["ours", seed]["parameters"] == network_cost(SPACE, search(seed), (3, 32, 32))["parameters"]
        assert "seconds" in rows["ours", seed] and "seconds" not in rows["random", seed]
    signs = np.array(list(itertools.product((1, -1), repeat=10)))
    p = {}
    for name in ("ours", "largest"):
        gains = np.array([rows["random", seed]["value"] - rows[name, seed]["value"] for seed in SEEDS])
        p[name] = [np.mean(signs @ (way * gains) >= way * gains.sum() - 1e-9) for way in (1, -1)]
    for name in p:
        (beside,) = (verdict for verdict in found.judged[name].verdicts if verdict.control == "random")
        way = int(beside.kind == "worse than")  # its p is that of what it says
        first, second = sorted(p, key=lambda name: p[name][way])
        least = min(1, 2 * p[first][way])
        assert beside.p == pytest.approx(least if name == first else max(least, p[second][way]))
    titles = [axes.get_xlabel() for axes in found.figure().axes]
    assert titles == ["test loss", "search, s", "parameters"]


@pytest.mark.parametrize(
    ("methods", "seeds", "message"),
    [
        ({}, SEEDS, "methods: there are none"),
        ({"random": SPACE.sample}, SEEDS, "methods: random is the name of a control"),
        ({"ours": lambda seed: SPACE.largest()}, (), r"seeds=\[\]: must hold at least one"),
        ({"ours": lambda seed: SPACE.largest()}, (1, 1), r"seeds=\[1, 1\]: must hold at least one, and each once"),
        ({"ours": lambda seed: Architecture("other", (0,))}, SEEDS, "methods: ours found an architecture of other"),
    ],
)
def test_bad_input(methods, seeds, message):
    with pytest.raises(InputError, match=message):
        compare(SPACE, methods, lambda architecture, seed: 0.5, seeds)
