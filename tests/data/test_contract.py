"""What must hold for every data set in conf/data, and in the folder of `pytest --config-dir FOLDER`.

Data sets that are read from a source read a small folder of images here, so that nothing is downloaded.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from helpers.groups import each, settings, small
from hydra.utils import instantiate
from PIL import Image

from oneshot.data import ImageData

CLASSES, TRAIN, TEST = 3, 24, 8  # of that folder: images for each class
SIZES = {"batch_size": 16, "image_size": 8}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images of 8x8 pixels, no two alike, in a folder for each class."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, number in (("train", TRAIN), ("test", TEST)):
        for k in range(CLASSES):
            path = root / split / f"class_{k}"
            path.mkdir(parents=True)
            for i in range(number):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(path / f"{i}.png")
    return root


@pytest.fixture
def build(folder):
    """From a name and settings to the data set."""

    def make(name, **more):
        known = list(settings("data", name))
        if settings("data", name)["_target_"] == "oneshot.data.Text":
            pytest.skip("a text has no images; see test_text.py")
        source = {"source": str(folder)} if "source" in known else {}
        source |= {"dataset": {"_target_": "helpers.own_data.small"}} if "dataset" in known else {}
        node = small(settings("data", name), {**SIZES, **source, **more})
        data = instantiate(node, _convert_="all")
        assert isinstance(data, ImageData)
        return data

    return make


def pixels(part):
    """The images of a part with their classes: how often each comes."""
    pairs = zip(part.data.images, part.data.labels, strict=True)
    return Counter((image.numpy().tobytes(), int(label)) for image, label in pairs)


def counts(part, data):
    return torch.bincount(part.data.labels, minlength=data.classes)


@each("data")
def test_the_parts_of_a_search_are_the_training_images(name, build):
    data = build(name)
    weight, architecture = data.split()
    assert len(weight) and len(architecture)
    assert pixels(weight) + pixels(architecture) == pixels(data.train())  # so none is in both


@each("data")
def test_the_parts_are_stratified_and_the_same_again(name, build):
    data, again = build(name), build(name)
    whole, fraction = counts(data.train(), data), data.architecture_fraction
    for part, other, share in zip(data.split(), again.split(), (1 - fraction, fraction), strict=True):
        assert ((counts(part, data) - share * whole).abs() <= 1).all()
        assert torch.equal(part.data.images, other.data.images) and torch.equal(part.data.labels, other.data.labels)


@each("data")
def test_a_subset_has_the_size_that_was_asked_for(name, build):
    if "train_size" not in settings("data", name):
        pytest.skip(f"the data set {name} has no setting train_size")
    data, whole = build(name, train_size=48), build(name)
    assert len(data.train()) == sum(len(part) for part in data.split()) == 48
    share = 48 / len(whole.train())
    assert ((counts(data.train(), data) - share * counts(whole.train(), whole)).abs() < 1).all()


@each("data")
def test_batches_are_images_with_classes(name, build):
    data = build(name)
    for part in (*data.split(), data.train()):
        x, y = part.batch(0, 0)
        assert x.shape == (16, *data.image_shape) and x.dtype == torch.float32 and x.isfinite().all()
        assert y.shape == (16,) and y.dtype == torch.int64 and 0 <= y.min() and y.max() < data.classes
        assert part.data.images.dtype == torch.uint8
        passed = list(part.passes())
        assert sum(len(batch.y) for batch in passed) == len(part)
        assert passed[0].x.shape[1:] == data.image_shape


@each("data")
def test_a_batch_is_a_function_of_seed_and_step(name, build):
    part, other = build(name).split()[0], build(name).split()[0]
    steps = [0, 1, part.batches, 0]
    first = [part.batch(3, step) for step in steps]
    torch.manual_seed(1)  # whatever else is drawn in between
    again = [other.batch(3, step) for step in reversed(steps)][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
    assert not torch.equal(first[0].x, part.batch(4, 0).x) and not torch.equal(first[0].x, first[2].x)


@each("data")
def test_the_test_images_are_apart_and_a_search_does_not_read_them(name, build):
    data = build(name)
    test = data.test()
    assert len(test) and tuple(test.batch(0, 0).x.shape[1:]) == data.image_shape
    assert {image for image, _ in pixels(test)}.isdisjoint(image for image, _ in pixels(data.train()))

    def unread():
        raise AssertionError("the test images are read")

    fresh = build(name)
    fresh.splits = fresh.splits._replace(test=unread)
    for part in (*fresh.split(), fresh.train()):
        part.batch(0, 0)
    assert fresh.image_shape == data.image_shape
