"""One-shot scores against a plain loop over the discrete networks with the supernet's own weights."""

import random

import pytest
import torch
from helpers.support import small_space
from torch.nn import functional

from oneshot.architecture import Query
from oneshot.data import digits
from oneshot.errors import InputError
from oneshot.estimators import OneShot
from oneshot.spaces import NASBench201

DATA = digits(batch_size=32)
CPU = torch.device("cpu")


def spaces():
    return [small_space(DATA), NASBench201(DATA.image_shape, DATA.classes, cells=1, channels=4)]


@pytest.mark.parametrize("space", spaces(), ids=lambda s: s.name)
def test_scores_are_those_of_the_network_with_inherited_weights(space):
    torch.manual_seed(0)
    supernet, part = space.supernet(), DATA.split()[1]
    estimator = OneShot(space, supernet, part, functional.cross_entropy, CPU, batch_size=200)
    architectures = [space.sample(random.Random(seed)) for seed in range(3)]
    found = estimator([Query(a) for a in architectures])
    for architecture, scores in zip(architectures, found, strict=True):
        network = space.network(architecture, inherit=supernet).eval()
        right, loss = 0, 0.0
        with torch.no_grad():
            for x, y in part.passes(200):
                logits = network(x)
                right += int((logits.argmax(1) == y).sum())
                loss += float(functional.cross_entropy(logits, y, reduction="sum"))
        assert scores["accuracy"] == pytest.approx(right / len(part), abs=1e-6)
        assert scores["negative_loss"] == pytest.approx(-loss / len(part), rel=1e-4)
    assert found == [estimator([Query(a)])[0] for a in architectures]  # one by one as together
    assert len({scores["negative_loss"] for scores in found}) == 3


def test_weights_and_mode_are_left_alone():
    space = small_space(DATA)
    supernet = space.supernet().train()
    before = {name: w.clone() for name, w in supernet.state_dict().items()}
    OneShot(space, supernet, DATA.split()[1], functional.cross_entropy, CPU, images=100)(
        [Query(space.sample(random.Random(0)))]
    )
    assert supernet.training and all(torch.equal(w, before[name]) for name, w in supernet.state_dict().items())


def test_images_and_fidelity_take_a_share_of_every_class():
    space, part = small_space(DATA), DATA.split()[1]
    seen = []

    def criterion(logits, y):
        seen.append(y)
        return functional.cross_entropy(logits, y)

    estimator = OneShot(space, space.supernet(), part, criterion, CPU, images=200)
    query = Query(space.sample(random.Random(0)))
    for fidelity, images in ((1.0, 200), (0.25, 50)):
        seen.clear()
        estimator([query._replace(fidelity=fidelity)])
        labels = torch.cat(seen)
        assert len(labels) == images and torch.bincount(labels).min() >= images // 10 - 2
    assert len(part) > 200  # the part itself is as it was


def test_bad_numbers():
    space, part = small_space(DATA), DATA.split()[1]
    for settings, word in (
        ({"images": 10**6}, "images=1000000"),
        ({"images": -1}, "images"),
        ({"batch_size": 1}, "size=1"),
    ):
        with pytest.raises(InputError, match=word):
            OneShot(space, space.supernet(), part, functional.cross_entropy, CPU, **settings)
