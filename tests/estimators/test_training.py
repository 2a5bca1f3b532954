"""Stand-alone training: each knob, fidelity, inherited weights, and images that must not be seen."""

import random
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from helpers.support import QUIET

from oneshot.architecture import Query
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.estimators import Training
from oneshot.retrain import Retrain
from oneshot.runs.folder import write_weights
from oneshot.spaces import DARTSCells

DATA = digits(batch_size=32, train_size=256)
ARCHITECTURE = DARTSCells((1, 8, 8), 10, nodes=2).sample(random.Random(3))


def spaces(shape, sizes):
    return DARTSCells(shape, 10, **sizes, nodes=2)


def build(seen=None, lr=0.05, **knobs):
    def retrain(network, parts, seed):
        module = Retrain(network, parts, partial(torch.optim.SGD, lr=lr, momentum=0.9), drop_path=0.0, seed=seed)
        if seen is not None:
            seen.append(module)
        return module

    def trainer(epochs):
        return pl.Trainer(max_epochs=epochs, **QUIET)

    sizes = {name: knobs.pop(name, size) for name, size in {"cells": 3, "channels": 4}.items()}
    knobs = dict(epochs=2, fraction=1.0, resolution=0, sizes=sizes) | knobs
    return Training(spaces, DATA, trainer, retrain, **knobs)


def test_a_query_is_a_function_of_seed_and_architecture():
    torch.manual_seed(1)
    seen = []
    first = build(seen)([Query(ARCHITECTURE)])
    after = torch.random.get_rng_state()
    torch.manual_seed(2)
    assert build(seen)([Query(ARCHITECTURE)]) == first and 0 <= first[0]["accuracy"] <= 1
    torch.manual_seed(1)
    assert torch.equal(torch.random.get_rng_state(), after)  # the caller's draws are its own
    weights = [module.network.state_dict() for module in seen]
    assert all(torch.equal(w, weights[1][name]) for name, w in weights[0].items())
    seen.clear()
    build(seen, seed=1)([Query(ARCHITECTURE)])
    assert not torch.equal(seen[0].network.state_dict()["stem.0.weight"], weights[0]["stem.0.weight"])


def test_it_learns_and_never_reads_the_test_images(monkeypatch):
    monkeypatch.setattr(DATA, "splits", DATA.splits._replace(test=lambda: pytest.fail("the test images were read")))
    seen = []
    (scores,) = build(seen, epochs=12)([Query(ARCHITECTURE)])
    assert scores["accuracy"] > 0.5
    weight, architecture = DATA.split()
    assert torch.equal(seen[0].part.data.labels, weight.data.labels)
    assert torch.equal(seen[0].test.data.images, architecture.data.images)


@pytest.mark.parametrize(
    ("knob", "full", "fidelity", "expected"),
    [("epochs", 4, 0.5, 2), ("epochs", 4, 0.01, 1), ("fraction", 0.5, 0.5, 0.25), ("resolution", 16, 0.5, 8),
     ("cells", 4, 0.75, 3), ("channels", 8, 0.25, 2)],
)  # fmt: skip
def test_fidelity_scales_one_knob(knob, full, fidelity, expected):
    seen = []
    training = build(seen, **({"epochs": 1} | {knob: full}), fidelity=knob)
    training([Query(ARCHITECTURE, fidelity)])
    (module,) = seen
    sizes = {
        "epochs": module.done // module.part.batches,
        "fraction": len(module.part) / 128,
        "resolution": module.part.data.images.shape[1],
        "cells": len(module.network.cells),
        "channels": module.network.stem[0].out_channels // 3,  # the stem of a DARTS network is three times as wide
    }
    assert sizes[knob] == expected
    assert len(module.test) == 128  # measured on all of the architecture part, whatever the fidelity


def test_a_child_starts_from_its_parent(tmp_path):
    seen = []
    training = build(seen, lr=1e-12, epochs=1, folder=tmp_path / "weights")
    space = spaces((1, 8, 8), {"cells": 3, "channels": 4})
    child = space.mutate(ARCHITECTURE, random.Random(0))
    training([Query(ARCHITECTURE)])
    trained = {name: w.clone() for name, w in seen[0].network.state_dict().items()}
    with torch.no_grad():  # make the parent's weights recognizable
        for parameter in seen[0].network.parameters():
            parameter.fill_(0.25)
    write_weights(training._file(ARCHITECTURE), seen[0].network)
    training([Query(child, parent=ARCHITECTURE), Query(child)])
    inherited, own = (module.network.state_dict() for module in seen[1:])
    shared = [name for name in inherited if name in trained and name.endswith("weight")]
    assert len(shared) > 5
    for name in shared:
        assert torch.allclose(inherited[name], torch.full_like(inherited[name], 0.25), atol=1e-6), name
    assert any(not torch.allclose(own[name], torch.full_like(own[name], 0.25), atol=1e-3) for name in shared)


def test_an_unknown_parent_means_from_scratch(tmp_path):
    space = spaces((1, 8, 8), {"cells": 3, "channels": 4})
    parent = space.mutate(ARCHITECTURE, random.Random(1))
    training = build(epochs=1, folder=tmp_path / "weights")
    assert training([Query(ARCHITECTURE, parent=parent)]) == build(epochs=1)([Query(ARCHITECTURE)])


@pytest.mark.parametrize(
    "knobs",
    [
        {"epochs": 0},
        {"fraction": 0.0},
        {"fraction": 1.5},
        {"resolution": -4},
        {"sizes": {"cells": 0}},
        {"sizes": {"cells": "3"}},
        {"sizes": {"epochs": 3}},
        {"sizes": [3]},
        {"fidelity": "time"},
    ],
)
def test_bad_knobs(knobs):
    with pytest.raises(InputError, match="estimator.|fidelity"):
        build(**knobs)
