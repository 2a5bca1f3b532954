"""What must hold for every data set in conf/data, and in the folder of `pytest --config-dir FOLDER`.

Data sets that are read from a source read a small folder of images here, so that nothing is downloaded.
"""

import inspect
from collections import Counter

import datasets
import numpy as np
import pytest
import torch
from helpers.groups import names, settings, small
from helpers.tasks import EXAMPLES
from hydra.utils import instantiate
from PIL import Image

from oneshot.data import ImageData

CLASSES, TRAIN, TEST = 3, 24, 8  # of that folder: images for each class
SIZES = {"batch_size": 16, "image_size": 8}


COLUMNS = {"multilabel": ["bright", "odd"], "regression": ["amount"]}  # of tables with the targets of other tasks


def tasks_of(name):
    """The tasks that a data set may have: all of them if `task` is one of its settings."""
    target = instantiate({"_target_": settings("data", name)["_target_"], "_partial_": True}).func
    return EXAMPLES if "task" in inspect.signature(target).parameters else ["classification"]


each_data = pytest.mark.parametrize(
    ("name", "task"), [(name, task) for name in names("data") for task in tasks_of(name)]
)


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


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The same number of images, no two alike, in a table for each split, with COLUMNS."""
    root, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(1)
    for split, number in (("train", CLASSES * TRAIN), ("test", CLASSES * TEST)):
        images = [Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)) for _ in range(number)]
        numbers = np.arange(number)
        columns = {"bright": numbers // 2 % 2, "odd": numbers % 2, "amount": rng.permutation(numbers) / 7}
        table = datasets.Dataset.from_dict({"image": images, **columns})
        table.cast_column("image", datasets.Image()).to_parquet(root / f"{split}-00000-of-00001.parquet")
    return root


@pytest.fixture
def build(folder, tables):
    """From a name, a task and settings to the data set."""

    def make(name, task, **more):
        known = list(settings("data", name))
        if settings("data", name)["_target_"] == "oneshot.data.Text":
            pytest.skip("a text has no images; see test_text.py")
        source = {"source": str(tables if task in COLUMNS else folder)} if "source" in known else {}
        source |= {"label_column": COLUMNS[task]} if task in COLUMNS and "label_column" in known else {}
        source |= {"dataset": {"_target_": "helpers.own_data.small", "task": task}} if "dataset" in known else {}
        node = small(settings("data", name), {**SIZES, **source, **more})
        told = {"task": EXAMPLES[task].task} if len(tasks_of(name)) > 1 else {}
        data = instantiate(node, _convert_="all", **told)
        assert isinstance(data, ImageData) and data.task.name == task
        return data

    return make


def pixels(part):
    """The images of a part with their targets: how often each comes."""
    pairs = zip(part.data.images, part.data.labels, strict=True)
    return Counter((image.numpy().tobytes(), str(label.tolist())) for image, label in pairs)


def strata(data):
    """From each training image to its stratum: its class, combination of labels, or tenth of the numbers."""
    whole = data.train().data
    return {i.numpy().tobytes(): s for i, s in zip(whole.images, data.task.strata(whole.labels).tolist(), strict=True)}


def counts(part, strata):
    """The images of each stratum."""
    found = Counter(strata[image.numpy().tobytes()] for image in part.data.images)
    return torch.tensor([found[stratum] for stratum in range(max(strata.values()) + 1)])


@each_data
def test_the_parts_of_a_search_are_the_training_images(name, task, build):
    data = build(name, task)
    weight, architecture = data.split()
    assert len(weight) and len(architecture)
    assert pixels(weight) + pixels(architecture) == pixels(data.train())  # so none is in both


@each_data
def test_the_parts_are_stratified_and_the_same_again(name, task, build):
    data, again = build(name, task), build(name, task)
    of = strata(data)
    whole, fraction = counts(data.train(), of), data.architecture_fraction
    for part, other, share in zip(data.split(), again.split(), (1 - fraction, fraction), strict=True):
        assert ((counts(part, of) - share * whole).abs() <= 1).all()
        assert torch.equal(part.data.images, other.data.images) and torch.equal(part.data.labels, other.data.labels)


@each_data
def test_a_subset_has_the_size_that_was_asked_for(name, task, build):
    if "train_size" not in settings("data", name):
        pytest.skip(f"the data set {name} has no setting train_size")
    data, whole = build(name, task, train_size=48), build(name, task)
    assert len(data.train()) == sum(len(part) for part in data.split()) == 48
    share, of = 48 / len(whole.train()), strata(whole)
    assert ((counts(data.train(), of) - share * counts(whole.train(), of)).abs() < 1).all()


@each_data
def test_batches_are_images_with_targets(name, task, build):
    data = build(name, task)
    for part in (*data.split(), data.train()):
        x, y = part.batch(0, 0)
        assert x.shape == (16, *data.image_shape) and x.dtype == torch.float32 and x.isfinite().all()
        if task == "classification":
            assert y.shape == (16,) and y.dtype == torch.int64 and 0 <= y.min() and y.max() < data.classes
        else:
            assert y.shape == (16, data.classes) and y.dtype == torch.float32 and y.isfinite().all()
            assert task != "multilabel" or set(y.unique().tolist()) == {0, 1}
        outputs = torch.zeros(16, data.classes)
        assert data.task.criterion()(outputs, y).isfinite() and data.metric.of_batch(outputs, y).isfinite()
        assert part.data.images.dtype in (torch.uint8, torch.float32)
        passed = list(part.passes())
        assert sum(len(batch.y) for batch in passed) == len(part)
        assert passed[0].x.shape[1:] == data.image_shape


@each_data
def test_a_batch_is_a_function_of_seed_and_step(name, task, build):
    part, other = build(name, task).split()[0], build(name, task).split()[0]
    steps = [0, 1, part.batches, 0]
    first = [part.batch(3, step) for step in steps]
    torch.manual_seed(1)  # whatever else is drawn in between
    again = [other.batch(3, step) for step in reversed(steps)][::-1]
    for a, b in zip(first, again, strict=True):
        assert torch.equal(a.x, b.x) and torch.equal(a.y, b.y)
    assert not torch.equal(first[0].x, part.batch(4, 0).x) and not torch.equal(first[0].x, first[2].x)


@each_data
def test_the_test_images_are_apart_and_a_search_does_not_read_them(name, task, build):
    data = build(name, task)
    test = data.test()
    assert len(test) and tuple(test.batch(0, 0).x.shape[1:]) == data.image_shape
    assert {image for image, _ in pixels(test)}.isdisjoint(image for image, _ in pixels(data.train()))

    def unread():
        raise AssertionError("the test images are read")

    fresh = build(name, task)
    fresh.splits = fresh.splits._replace(test=unread)
    for part in (*fresh.split(), fresh.train()):
        part.batch(0, 0)
    assert fresh.image_shape == data.image_shape
