"""Data of one's own: each kind gives the same parts as the plain tensors; what cannot be meant is refused by name."""

import json
import random
import sys

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from helpers.own_data import Pairs, Stream, images
from PIL import Image
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

from oneshot.cli.main import main
from oneshot.data import Augmentation, ImageData, LabelledImages, Splits, own, tensors
from oneshot.errors import InputError
from oneshot.tasks import MultiLabel, Regression, Segmentation

X, Y = images(24, 4, 1)
XT, YT = images(9, 4, 1, seed=1)
SIZES = {"batch_size": 4}


def same(data, x=X, y=Y, test=None):
    """Whether the training images are these, in this order, and the test images too."""
    part = data.train()
    assert torch.equal(part.data.images, x) and torch.equal(part.data.labels, y)
    assert part.data.labels.dtype == torch.int64 and data.classes == 3
    if test:
        assert torch.equal(data.test().data.images, test[0]) and torch.equal(data.test().data.labels, test[1])
    return True


def floats(x=X):
    """As torchvision's ToTensor makes them: float32 (n, channels, height, width) in [0, 1]."""
    return x.permute(0, 3, 1, 2).float() / 255


class Named(Pairs):
    """Items are mappings, with more in them."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return {"id": index, "image": image, "label": int(label)}


class Module(pl.LightningDataModule):
    """Counts what is set up."""

    def __init__(self, loader=DataLoader):
        super().__init__()
        self.loader, self.stages = loader, []

    def prepare_data(self):
        self.stages.append("prepare")

    def setup(self, stage):
        self.stages.append(stage)

    def train_dataloader(self):
        return self.loader(Pairs(X, Y), batch_size=7, shuffle=True)

    def val_dataloader(self):
        return [self.loader(Pairs(XT, YT), batch_size=2)]

    def test_dataloader(self):
        return self.loader(Pairs(XT[:6], YT[:6]), batch_size=2)


@pytest.mark.parametrize(
    ("given", "test"),
    [
        ((X, Y), None),
        ((X.numpy(), Y.numpy()), None),
        ((list(X), Y.tolist()), None),
        ((X[..., 0], list(Y.numpy())), None),  # (n, height, width); labels are numpy's integers
        ((X, Y, XT, YT), (XT, YT)),
        (((X, Y), (XT, YT)), (XT, YT)),
        ({"train": (X, Y), "test": Pairs(XT, YT)}, (XT, YT)),
        (Pairs(X, Y), None),
        (Pairs(X.permute(0, 3, 1, 2).numpy(), Y.tolist()), None),
        (Pairs(floats(), Y), None),
        (Pairs(X[..., 0], Y, lambda image: Image.fromarray(image.numpy())), None),
        ((Pairs(X, Y), Pairs(XT, YT)), (XT, YT)),
        (TensorDataset(X, Y), None),
        (Subset(Pairs(torch.cat([XT, X]), torch.cat([YT, Y])), range(9, 33)), None),
        (Stream(X, Y), None),
        (DataLoader(Pairs(X, Y), batch_size=5, shuffle=True), None),
        (DataLoader(Stream(X, Y), batch_size=5), None),
        (Named(X, Y), None),
        (LabelledImages(X, Y), None),
        (Splits(("a", "b", "c"), lambda: LabelledImages(X, Y), lambda: LabelledImages(XT, YT)), (XT, YT)),
        ((floats(), Y), None),
        ((floats().double().numpy(), Y.float()), None),  # labels are floats that are whole
        ((X.int(), torch.nn.functional.one_hot(Y)), None),
        ((X.numpy().astype(np.int64), Y[:, None]), None),
    ],
)
def test_every_kind_gives_the_same_images_and_labels(given, test):
    assert same(own(given, **SIZES), test=test)


def test_floats_between_the_levels_are_kept():
    x = torch.rand(24, 4, 4, 1, generator=torch.Generator().manual_seed(0))
    for given in ((x, Y), Pairs(x, Y)):
        data = own(given, 4, Augmentation([0.0], [1.0]))
        kept = torch.cat([batch.x for batch in data.train().passes(24)])
        assert data.train().data.images.dtype == torch.float32 and len(kept.unique()) == len(x.unique())
        assert torch.allclose(kept.sort(dim=0).values, x.permute(0, 3, 1, 2).sort(dim=0).values, atol=1e-6)
    assert any("float32" in line for line in tensors(x, Y, **SIZES).about)


def test_floats_that_are_bytes_lose_nothing():
    x = torch.arange(256, dtype=torch.uint8).view(4, 8, 8, 1)
    for kind in (torch.float32, torch.float64):
        data = tensors(x.to(kind) / 255, [0, 1, 0, 1], batch_size=2)
        assert torch.equal(data.train().data.images, x) and "without loss" in data.about[0]


def test_booleans_are_black_and_white():
    data = tensors(X > 127, Y == 0, **SIZES)
    assert torch.equal(data.train().data.images, (X > 127).to(torch.uint8) * 255)
    assert torch.equal(data.train().data.labels, (Y == 0).long()) and data.classes == 2


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (floats().to(torch.uint8), r"all pixels are 0 or 1 of 255; were floats in \[0, 1\] converted to uint8"),
        ((X > 127).long(), "all pixels are 0 or 1 of 255; were floats in .* converted to int64"),
        (
            X.float(),
            r"must be in \[0, 1\]; image 0 is not, and the images together have 0 to 255; .* divide by 255",
        ),
        (floats() * 4 - 2, "have -2 to 2; give them before they are normalised"),
        (floats() / 255, "at most 0.0039; were they divided by 255 twice"),
        (X.float() * 256, "divide by their largest value, 65280"),
        (
            floats().masked_fill(torch.arange(24)[:, None, None, None] == 5, float("nan")),
            "image 5 has a pixel that is not",
        ),
        (
            floats().masked_fill(torch.arange(24)[:, None, None, None] == 6, float("inf")),
            "image 6 has a pixel that is not",
        ),
        (X.long() - 3, "int64 pixels from -3 to 252; whole numbers must be from 0 to 255"),
        (X.numpy().astype(np.uint16) * 257, "pixels are uint16; give uint8, or floats"),
        (floats().to(torch.complex64), "pixels are complex64"),
        (np.array([["a", "b"]] * 24), "pixels are <U1, not numbers"),
        (torch.zeros(24, 3, 8, 3, dtype=torch.uint8), r"is it \(n, channels, height, width\) or"),
        (torch.zeros(24, 4, 8, 5, dtype=torch.uint8), "not 1 or 3 channels layout="),
        (torch.zeros(24, 16, dtype=torch.uint8), r"has shape \(24, 16\)"),
        (torch.zeros(0, 4, 4, 1, dtype=torch.uint8), "no images"),
        ([X[0], X[1, :3]], "image 1 has shape .3, 4, 1., image 0 has .4, 4, 1."),
        (X[:23], "23 images, but 24 targets"),
    ],
)
def test_images_that_cannot_be_meant(x, message):
    with pytest.raises(InputError, match=message) as raised:
        tensors(x, Y, **SIZES)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (None, "there are no targets"),
        ([0, None] * 12, r"image 1 has no label \(None\), as have 12 in all"),
        ([0.5, 1.0] * 12, "image 0 has a target 0.5 that is no whole number; task=regression"),
        ([0.0, float("nan")] * 12, "target of image 1 is not a finite number"),
        ([-1, 0, 1] * 8, "train image 0 has label -1: must be from 0 to"),
        ([1, 2, 3] * 8, "labels are 1, 2, 3, not 0, 1, 2, ...; if that is meant, classes=N"),
        ([0, 500, 1000] * 8, "labels are 0, 500, 1000"),
        (["cat", "dog", 3] * 8, "image 2 has label 3 among names"),
        (torch.eye(3).repeat(8, 1).index_fill(0, torch.tensor([4]), 1.0), "image 4 has 3 labels; task=multilabel"),
        (torch.rand(24, 5), "targets have 5 numbers an image; task=regression"),
        (torch.zeros(24, 4, 4), r"targets have shape \(24, 4, 4\)"),
        ([[0, 1], [1]] * 12, "targets have several shapes"),
        ([1j] * 24, "complex"),
        ([0, 10**9] * 12, "a label is 1000000000; must be below 100000"),
        ([0] * 24, "the data has 1 class: at least 2"),
    ],
)
def test_labels_that_cannot_be_meant(y, message):
    with pytest.raises(InputError, match=message) as raised:
        tensors(X, y, **SIZES).train()
    assert "\n" not in str(raised.value)


def test_names_of_classes():
    data = tensors(X, ["dog", "cat", "dog", "emu"] * 6, (XT, ["emu"] * 9), **SIZES)
    assert data.splits.classes == ("cat", "dog", "emu") and data.train().data.labels[:4].tolist() == [1, 0, 1, 2]
    assert data.test().data.labels.tolist() == [2] * 9
    assert tensors(X, [1, 2, 3] * 8, classes=5, **SIZES).classes == 5
    with pytest.raises(InputError, match="image 0: unknown label 'cow'"):
        tensors(X, ["dog", "cat", "dog", "emu"] * 6, (XT, ["cow"] * 9), **SIZES).test()
    with pytest.raises(InputError, match="test image 8 has label 3: must be from 0 to 2"):
        tensors(X, Y, (XT, [0] * 8 + [3]), **SIZES).test()


def test_layouts():
    x = torch.randint(256, (24, 3, 5, 3), dtype=torch.uint8)
    assert tensors(x, Y, layout="channels_first", **SIZES).image_shape == (3, 5, 3)
    assert tensors(x, Y, layout="channels_last", **SIZES).image_shape == (3, 3, 5)
    many = torch.randint(256, (24, 5, 6, 4), dtype=torch.uint8)  # four channels, as of a satellite
    assert tensors(many, Y, layout="channels_last", **SIZES).image_shape == (4, 5, 6)
    with pytest.raises(InputError, match="unknown layout 'nchw'"):
        tensors(x, Y, layout="nchw", **SIZES)


def test_a_data_module_gives_weight_architecture_and_test_part():
    module = Module()
    data = own(module, **SIZES)
    weight, architecture = data.split()
    assert torch.equal(weight.data.images, X) and torch.equal(architecture.data.images, XT)
    assert torch.equal(data.train().data.images, torch.cat([X, XT])) and module.stages == ["prepare", "fit"]
    assert torch.equal(data.test().data.images, XT[:6]) and module.stages == ["prepare", "fit", "test"]
    assert any("a retraining trains on train and valid" in line for line in data.about)
    assert any("batch_size=7" in line for line in data.about)
    weight, architecture = own(Module(), train_size=22, **SIZES).split()
    assert len(weight) + len(architecture) == 22 and len(architecture) in (5, 6, 7)
    streamed, held = (own(Module(), 4, residence=name, workers=0).split() for name in ("stream", "device"))
    assert [torch.equal(s.batch(0, 3).x, r.batch(0, 3).x) for s, r in zip(streamed, held, strict=True)] == [1, 1]


def test_a_data_module_without_a_loader():
    class Few(pl.LightningDataModule):
        def train_dataloader(self):
            return DataLoader(Pairs(X, Y))

    data = own(Few(), **SIZES)
    assert [len(part) for part in data.split()] == [12, 12]
    with pytest.raises(InputError, match="no test split, which a retraining"):
        data.test()
    with pytest.raises(InputError, match="LightningDataModule: has no train_dataloader"):
        own(pl.LightningDataModule())
    with pytest.raises(InputError, match="Module.train_dataloader gives a list; must give one DataLoader"):
        own(Module(lambda *a, **k: [DataLoader(*a, **k)] * 2))


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (DataLoader(Pairs(X, Y), sampler=WeightedRandomSampler([1.0] * 24, 24)), "has a WeightedRandomSampler"),
        (DataLoader(Pairs(X, Y), sampler=SubsetRandomSampler(range(5))), "has a SubsetRandomSampler; .* as a Subset"),
        (DataLoader(Pairs(X, Y), batch_sampler=[[0, 1], [2, 3]]), "has a list"),
        (DataLoader(Pairs(X, Y), collate_fn=list), "has a collate_fn of its own"),
        (DataLoader(Pairs(X, Y), sampler=torch.utils.data.RandomSampler(Y, num_samples=5)), "has a RandomSampler"),
    ],
)
def test_loaders_that_do_more_than_batches(loader, message):
    with pytest.raises(InputError, match=message):
        own(loader, **SIZES)


def test_iterables():
    with pytest.raises(InputError, match="after 100 images .* has not ended .*map-style"):
        own(Stream(X, Y, again=True), limit=100, **SIZES)
    with pytest.raises(InputError, match="data.residence=stream needs a map-style data set"):
        own(Stream(X, Y), residence="stream", **SIZES)
    with pytest.raises(InputError, match="has no items"):
        own(Stream(X[:0], Y[:0]), **SIZES)
    assert same(own((pair for pair in zip(X, Y, strict=True)), **SIZES))  # a generator


def test_a_data_set_of_hugging_face():
    import datasets

    columns = {"img": [Image.fromarray(x[..., 0].numpy()) for x in X], "label": Y.tolist()}
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    whole = datasets.Dataset.from_dict(columns, features=features)
    assert same(own(whole, **SIZES)) and same(own(datasets.DatasetDict(train=whole, test=whole), **SIZES))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("digits", "str cannot be used as data"),
        (None, "NoneType cannot be used as data"),
        (X, "Tensor cannot be used as data"),
        ({"training": (X, Y)}, "has 'training'; must have train, valid, test"),
        (Pairs(X[:0], Y[:0]), "Pairs has no items"),
        (Pairs(X, [None] * 24), r"train, item 0: has no label \(None\)"),
        (Pairs(X, ["cat"] * 24), r"has label 'cat'; classes=\[NAME, ...\]"),
        (Pairs(X, Y, lambda image: 1 / 0), r"item 0: cannot be read \(ZeroDivisionError"),
        (Pairs(X, Y, lambda image: "text"), "the image is a str"),
        (Pairs(X, Y, lambda image: image.view(16)), r"the image has shape \(16,\)"),
        (Pairs(floats(), Y, lambda image: (image - 0.5) / 0.25), "item 0: float pixels must be in .*normalised"),
        (Pairs(X[..., 0], Y, lambda x: Image.fromarray(x.numpy()).convert("RGBA")), "picture of mode RGBA; convert it"),
        (Pairs(floats(), Y, lambda image: image.to(torch.uint8)), "all pixels are 0 or 1 of 255"),
    ],
)
@pytest.mark.parametrize("residence", ["auto", "stream"])
def test_data_sets_that_cannot_be_meant(given, message, residence):
    with pytest.raises(InputError, match=message) as raised:
        own(given, 4, residence=residence, workers=0)
    assert "\n" not in str(raised.value)


class Torchvision(Pairs):
    """Has `targets` and `classes`, as the data sets of torchvision."""

    def __init__(self, x, y, targets):
        super().__init__(x, y)
        self.targets, self.classes, self.reads = targets, ["ant", "bee", "cow"], 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)


def test_targets_of_a_data_set_are_believed_only_if_its_items_say_the_same():
    x, y = images(300, 4, 1)
    right, wrong = Torchvision(x, y, y.tolist()), Torchvision(x, y, (y + 1).tolist())
    for given in (right, wrong):
        data = own(given, residence="stream", workers=0, **SIZES)
        assert torch.equal(data.train().data.labels, y) and data.splits.classes == ("ant", "bee", "cow")
    assert right.reads < 300 < wrong.reads


def test_a_data_set_that_draws():
    """Held, it is drawn once, and this is said. Streamed, each pass draws anew, the same for any number of workers."""

    def noisy(image):
        return image + torch.randint(100, (), dtype=torch.uint8) + random.randrange(50) + int(np.random.randint(50))

    x = torch.full((24, 4, 4, 1), 7, dtype=torch.uint8)
    held = own(Pairs(x, Y, noisy), 4, workers=0)
    assert "drawn once" in held.about[0] and torch.equal(
        held.train().data.images, own(Pairs(x, Y, noisy), 4, workers=2).train().data.images
    )
    steps = []
    for workers in (0, 2):
        data = own(Pairs(x, Y, noisy), 4, residence="stream", workers=workers)
        part = data.train()
        assert "drawn anew for each batch" in data.about[0]
        steps.append([part.batch(0, step).x for step in range(12)])
        part.close()
    assert all(map(torch.equal, *steps))
    assert not torch.equal(torch.cat(steps[0][:6]).unique(), torch.cat(steps[0][6:]).unique())
    assert own(Pairs(x + Y[:, None, None, None].to(torch.uint8), Y), **SIZES).about == ()


@pytest.mark.parametrize("residence", ["auto", "stream"])
def test_targets_of_other_tasks(residence):
    several = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]]).repeat(6, 1)
    for y in (several, several.bool(), several.tolist()):
        for given in ((X, y), Pairs(X, y)):
            data = own(given, 4, residence=residence, workers=0, task=MultiLabel())
            weight, architecture = data.split()
            assert data.classes == 3 and weight.batch(0, 0).y.dtype == torch.float32
            rows = [part.data.labels.unique(dim=0, return_counts=True)[1].tolist() for part in (weight, architecture)]
            assert rows == [[3, 3, 3, 3]] * 2  # each combination has its share
    with pytest.raises(InputError, match=r"train targets are float32 \(24, 3\); task=multilabel needs float \(n, 2\)"):
        own((X, several), 4, task=MultiLabel(), classes=["a", "b"]).train()


@pytest.mark.parametrize("residence", ["auto", "stream"])
def test_a_class_a_pixel(residence):
    y = (X[..., 0] > 99).long()
    data = own(
        Pairs(X, y), 4, Augmentation([0.0], [1 / 255]), residence=residence, workers=0, task=Segmentation(), classes=2
    )
    batch = next(data.split()[0].passes(4))
    assert torch.equal((batch.x[:, 0] > 99).long(), batch.y) and data.classes == 2


@pytest.mark.parametrize("residence", ["auto", "stream"])
@pytest.mark.parametrize("kind", [tuple, Pairs])
def test_masks_that_cannot_be_meant(kind, residence):
    masks = (X[..., 0] > 99).long()

    def of(x, y, classes=2):
        given = (x, y) if kind is tuple else Pairs(x, y)
        plain = Augmentation([0.0], [1 / 255])
        return own(given, 4, plain, residence=residence, workers=0, task=Segmentation(), classes=classes)

    for y, words in (
        (Y, r"shape \((24,)?\).*a (segmentation has|class for each pixel|task=segmentation)"),
        (masks[:, :2, :2], r"(targets are 2x2 .*, images 4x4|the target has shape \(2, 2\), the image \(4, 4\))"),
        (masks[:, :, :2], r"(targets are 4x2 .*, images 4x4|the target has shape \(4, 2\))"),
        (masks.expand(2, -1, -1, -1).transpose(0, 1), r"shape \((24, )?2, 4, 4\)"),
    ):
        with pytest.raises(InputError, match=words):
            list(of(X, y).train().passes(4))
    for batch in of(X, masks[:, None]).train().passes(4):  # (n, 1, height, width) is meant, as torchvision's masks are
        assert torch.equal((batch.x[:, 0] > 99).long(), batch.y)


@pytest.mark.parametrize("kind", [tuple, Pairs])
def test_masks_without_a_class(kind):
    nothing = torch.full(X.shape[:3], -100)
    for classes in (None, 2):
        with pytest.raises(InputError, match="all are -100, which leaves a pixel out"):
            own((X, nothing) if kind is tuple else Pairs(X, nothing), 4, task=Segmentation(), classes=classes).train()
    if kind is Pairs:
        with pytest.raises(InputError, match="are read with the images, so classes=N must give the number of classes"):
            own(Pairs(X, nothing), 4, task=Segmentation(), residence="stream", workers=0)
    some = nothing.clone()
    some[1:] = Y[1:, None, None]
    assert own((X, some) if kind is tuple else Pairs(X, some), 4, task=Segmentation()).classes == 3


class Ragged(Pairs):
    """The targets of the last images have another shape."""

    def __init__(self, first):
        super().__init__(X, Y)
        self.first = first

    def __getitem__(self, i):
        return X[i], torch.zeros(2 + (i >= self.first))


@pytest.mark.parametrize("task", [MultiLabel(), Regression(), Segmentation(), None])
def test_targets_of_several_shapes(task, monkeypatch):
    """In one batch of reading, and from one to the next."""
    monkeypatch.setattr("oneshot.data.streaming.PIECE", 4)
    for first in (21, 20):
        with pytest.raises(InputError, match=r"target (of|has) shape \([23],\)"):
            own(Ragged(first), 4, task=task)


@pytest.mark.parametrize("label", [int, float, torch.tensor, np.int64, lambda y: ["dog", "cat", "owl"][y]])
@pytest.mark.parametrize("pair", [tuple, list, lambda two: {"image": two[0], "label": two[1]}])
def test_lists_of_pairs(label, pair):
    def listed(x, y):
        return [pair((image, label(int(k)))) for image, k in zip(x.numpy(), y, strict=True)]

    order = torch.tensor([1, 0, 2]) if isinstance(label(0), str) else torch.arange(3)
    train, test = listed(X, Y), listed(XT, YT)
    for given in ((train, test), [train, test], {"train": train, "test": test}):
        assert same(own(given, layout="channels_last", **SIZES), y=order[Y], test=(XT, order[YT]))
    assert same(own(train, layout="channels_last", **SIZES), y=order[Y])
    for number in (2, 4):  # a pair, or (x, y, test x, test y)?
        some = own(train[:3] + train[3:number], 2, architecture_fraction=0.3, layout="channels_last")
        assert some.train().data.size == max(3, number)


def test_lists_of_pairs_with_more_than_a_class():
    several = torch.tensor([[0, 0, 1], [1, 0, 1], [0, 1, 0], [1, 1, 1]]).repeat(6, 1)
    for task, y in ((MultiLabel(), several.float()), (Segmentation(), (X[..., 0] > 99).long())):
        data = own(([(a, b) for a, b in zip(X, y, strict=True)], (XT, y[:9])), 4, task=task)
        assert torch.equal(data.train().data.labels, y) and torch.equal(data.test().data.labels, y[:9])


def test_test_images_that_are_training_images_are_said():
    mixed = torch.cat([XT[:5], X[[3, 7]], XT[5:], X[[3]]])
    labels = torch.zeros(len(mixed), dtype=torch.int64)
    word = "data: warning: {} of 12 test images are among the training images (such as {} and test image 5); "
    word += "the test result is too good then"
    for given in (((X, Y), (mixed, labels)), (Pairs(X, Y), Pairs(mixed, labels)), ((floats(), Y), (mixed, labels))):
        data = own(given, 4)
        assert not any("among" in line for line in data.about)  # the test has not been read
        data.test()
        assert word.format(3, "training image 3") in data.about
        assert data.test() and sum("among" in line for line in data.about) == 1
    data = own({"train": (X[8:], Y[8:]), "valid": (X[:8], Y[:8]), "test": (mixed, labels)}, 4)
    data.test()
    assert word.format(3, "valid image 3") in data.about
    data = own(((X, Y), (XT, YT)), 4)
    data.test()
    assert not any("among" in line for line in data.about)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((X, 5), "train labels: are 5; must be one target for each image"),
        ((X, torch.tensor(5)), "train labels: are the single number 5"),
        ((X, None), "there are no targets"),
        (([[[1, 2], [3]]], [0]), "train images: are no arrays of numbers"),
        (([X[0].numpy(), X[1].float().numpy()], [0, 1]), "image 1 is float32, image 0 is uint8; must be one type"),
        ({"train": None}, "a mapping of splits has no split; must have train"),
        ({}, "a mapping of splits has no split; must have train"),
        ({"train": (X, Y), "val": (XT, YT), "validation": (X, Y)}, "'val' and 'validation', which are one split"),
        ({"train": (X, Y), 3: (X, Y)}, "has 'train', 3; must have train"),
        ([(X[0], 0, 1)] * 5, "train: list cannot be used as data"),
        ([(X[0], 0), 3, 4], "train, item 1: is a int; must be a pair"),
        (Pairs(torch.cat([floats()[:7], X[7:8].permute(0, 3, 1, 2).float()]), Y[:8]), "item 7: .* they are [1-9]"),
    ],
)
def test_what_is_no_data_is_refused_in_words(given, message):
    with pytest.raises(InputError, match=message):
        own(given, 4).train()


def test_names_of_splits_in_a_mapping():
    for valid in ("valid", "val", "validation"):
        data = own({"train": (X, Y), valid: (X[:9], Y[:9]), "test": (XT, YT)}, 4)
        assert [len(part) for part in (*data.split(), data.test())] == [24, 9, 9]


@pytest.mark.parametrize("task", [MultiLabel(), Regression(), Segmentation()])
def test_names_are_for_classes(task):
    with pytest.raises(InputError, match=f"targets are names, such as 'cat'; task={task.name} has numbers"):
        own((X, ["cat"] * 24), 4, task=task)


MAKE = """
import torch
from torch.utils.data import DataLoader, TensorDataset

def make_data(number=96, loader=False):
    draws = torch.Generator().manual_seed(0)
    y = torch.arange(number) % 2
    x = (torch.rand(number, 1, 8, 8, generator=draws) + y[:, None, None, None]) / 2
    data = TensorDataset(x, y)
    return DataLoader(data, batch_size=4) if loader else data
"""
DIRECT = "_target_: my_module.make_data\nnumber: 80\nloader: true\nworkers: 0\n"
SMALL = ["epochs=1", "space.cells=3", "space.channels=4", "space.nodes=1", "logger=none", "out=run"]


OWN = ["data=own", "data.dataset={_target_: my_module.make_data}", "data.batch_size=16", "data.workers=1"]
OWN += ["data.augmentation.mean=[0.5]", "data.augmentation.std=[0.25]", "data.residence=stream"]


@pytest.mark.parametrize("words", [OWN, ["data=my_data", "--config-dir", "conf", "data.batch_size=20"]])
def test_from_the_command_line(tmp_path, monkeypatch, words):
    (tmp_path / "my_module.py").write_text(MAKE)
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "my_data.yaml").write_text(DIRECT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "my_module", raising=False)
    monkeypatch.setattr(sys, "argv", ["oneshot", "search", *words, *SMALL])
    main()
    updates = [json.loads(line)["step"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert updates[-1] == (2 * 3 if words == OWN else 2 * 2)  # 48 images of 16, 40 of 20
    monkeypatch.setattr(sys, "argv", ["oneshot", "search", *words, *SMALL, "+data.nonsense=1"])
    with pytest.raises(SystemExit, match="2"):
        main()


def test_a_data_set_of_ours_stays_what_it_is():
    data = tensors(X, Y, **SIZES)
    assert own(data) is data and isinstance(data, ImageData)
