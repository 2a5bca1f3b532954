"""Batches as functions of (seed, stream, step), the split, and augmentation against plain loops."""

import numpy as np
import pytest
import torch

from oneshot.data import Augmentation, ImageData, LabelledImages, Splits, digits
from oneshot.data.images import stratified
from oneshot.draws import generator
from oneshot.errors import InputError

PLAIN = Augmentation([0.0], [1 / 255])


def numbered(n, classes=2, augmentation=PLAIN, **options):
    """Images whose pixels are their number, so that a batch tells which it holds."""
    images = torch.arange(n, dtype=torch.uint8)[:, None, None, None].expand(n, 2, 2, 1).clone()
    part = LabelledImages(images, torch.arange(n) % classes)
    return ImageData(Splits(tuple("ab")[:classes], lambda: part, lambda: part), augmentation=augmentation, **options)


def held(batch):
    return [round(v) for v in batch.x[:, 0, 0, 0].tolist()]


def test_a_batch_is_a_function_of_seed_and_step():
    first, second = (numbered(20, batch_size=4).train() for _ in range(2))
    forwards = [held(first.batch(7, step)) for step in range(12)]
    backwards = [held(second.batch(7, step)) for step in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert forwards != [held(first.batch(8, step)) for step in range(12)]


def test_a_pass_holds_every_image_once():
    part = numbered(20, batch_size=4).train()
    assert part.batches == 5
    for epoch in range(3):
        seen = [i for step in range(5) for i in held(part.batch(0, 5 * epoch + step))]
        assert sorted(seen) == list(range(20))
    sizes = [len(b.y) for b in part.passes(6)]
    assert sizes == [5, 5, 5, 5]  # equal as far as possible: batch norm of a batch of one is nothing


def test_an_evaluation_mixes_the_classes():
    """Batch norm of a supernet sees the batch alone: data sorted by class must not come class by class."""
    part = numbered(40, batch_size=4).train()
    part.data = LabelledImages(part.data.images, part.data.labels.sort().values)
    batches = list(part.passes(10))
    assert all(0 < int(b.y.sum()) < len(b.y) for b in batches)
    assert sorted(i for b in batches for i in held(b)) == list(range(40))
    assert [held(b) for b in batches] == [held(b) for b in part.passes(10)]


def test_test_images_of_another_shape_are_refused():
    train = LabelledImages(torch.zeros(8, 4, 4, 1, dtype=torch.uint8), torch.arange(8) % 2)
    test = LabelledImages(torch.zeros(8, 6, 4, 1, dtype=torch.uint8), torch.arange(8) % 2)
    with pytest.raises(InputError, match="test images are 6x4x1 .*, training images 4x4x1"):
        ImageData(Splits(("a", "b"), lambda: train, lambda: test), 2, PLAIN).test()


def test_parts_are_disjoint_stratified_and_the_same_for_every_seed():
    weight, architecture = numbered(40, batch_size=4, architecture_fraction=0.25).split()
    a = {i for b in weight.passes() for i in held(b)}
    b = {i for b in architecture.passes() for i in held(b)}
    assert len(a) == 30 and len(b) == 10 and not a & b
    assert architecture.data.labels.bincount().tolist() == [5, 5]
    assert {i for x in numbered(40, batch_size=4, architecture_fraction=0.25).split()[1].passes() for i in held(x)} == b


def test_streams_differ():
    weight, architecture = digits(batch_size=32).split()
    weight.data = architecture.data
    assert not torch.equal(weight.batch(0, 0).y, architecture.batch(0, 0).y)


def test_stratified_subset():
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    assert labels[stratified(labels, 10)].bincount().tolist() == [6, 3, 1]
    assert stratified(labels, 7).sum() == 7
    data = digits(train_size=100)
    assert data.train().data.labels.bincount().tolist() == [10] * 10


def test_digits_hold_out_a_fifth():
    data = digits()
    assert len(data.train()) == 1438 and len(data.test()) == 359
    assert data.image_shape == (1, 8, 8) and data.classes == 10
    pixels = data.train().data.images.float() / 255
    assert pixels.mean() == pytest.approx(0.3053, abs=2e-3)
    assert pixels.std() == pytest.approx(0.3761, abs=2e-3)


def test_augmentation_equals_a_loop_over_images():
    """Pad, crop, flip, normalize, cutout, written out one image and one pixel at a time."""
    images = torch.randint(256, (16, 5, 6, 3), dtype=torch.uint8)
    mean, std, pad, cutout = [0.4, 0.5, 0.6], [0.2, 0.3, 0.4], 2, 3
    got = Augmentation(mean, std, pad=pad, flip=True, cutout=cutout)(images, generator(3, "x", 0))

    draws = generator(3, "x", 0)
    down, right, mirrored = (torch.randint(h, (16, 1), generator=draws)[:, 0] for h in (2 * pad + 1, 2 * pad + 1, 2))
    y0, x0 = (torch.randint(h, (16, 1), generator=draws)[:, 0] for h in (5, 6))
    expected = np.zeros((16, 3, 5, 6))
    for n in range(16):
        for r in range(5):
            for c in range(6):
                row, column = r + int(down[n]) - pad, (5 - c if mirrored[n] else c) + int(right[n]) - pad
                inside = 0 <= row < 5 and 0 <= column < 6
                for k in range(3):
                    value = images[n, row, column, k] / 255 if inside else 0.0
                    cut = y0[n] - 1 <= r < y0[n] + 2 and x0[n] - 1 <= c < x0[n] + 2
                    expected[n, k, r, c] = 0 if cut else (value - mean[k]) / std[k]
    assert np.abs(got.numpy() - expected).max() < 1e-5
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_plain_is_normalization_alone():
    images = torch.randint(256, (4, 2, 3, 1), dtype=torch.uint8)
    got = Augmentation([0.5], [0.25], pad=1, flip=True, cutout=1).plain(images)
    assert torch.allclose(got, ((images / 255 - 0.5) / 0.25).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 1}, "data.batch_size=1"),
        ({"batch_size": 16}, "data.batch_size=16: must be at most 10, the size of the weight part"),
        ({"batch_size": 4, "train_size": 21}, "data.train_size=21: there are 20 training images"),
        ({"batch_size": 4, "architecture_fraction": 0.0}, "data.architecture_fraction=0.0"),
        ({"batch_size": 4, "architecture_fraction": 0.01}, "architecture part of the data is empty"),
    ],
)
def test_bad_sizes_are_named(options, message):
    with pytest.raises(InputError, match=message):
        numbered(20, **options).split()


def test_labels_outside_the_classes_are_named():
    part = LabelledImages(torch.zeros(3, 2, 2, 1, dtype=torch.uint8), torch.tensor([0, 1, 2]))
    data = ImageData(Splits(("a", "b"), lambda: part, lambda: part), 2, PLAIN)
    with pytest.raises(InputError, match="train image 2 has label 2: must be from 0 to 1"):
        data.train()


def test_channels_must_fit_the_normalization():
    with pytest.raises(InputError, match="images have 3 channels"):
        PLAIN.plain(torch.zeros(1, 2, 2, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="std"):
        Augmentation([0.5], [0.0])
