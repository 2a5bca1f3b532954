"""The options of Augmentation together: their order, their draws, targets of pixels, and what is refused."""

import hashlib

import pytest
import torch

from oneshot.data import Augmentation, LabelledImages, Part
from oneshot.data.transforms import RandAugment, crops, erase, jitter, resized_crop
from oneshot.draws import generator
from oneshot.errors import InputError

MEAN, STD = [0.49, 0.48, 0.45], [0.25, 0.24, 0.26]
EVERYTHING = {
    "pad": 2,
    "flip": True,
    "cutout": 4,
    "random_resized_crop": 0.3,
    "randaugment": 2,
    "magnitude": 9,
    "colour_jitter": 0.3,
    "random_erasing": 0.5,
}


def images(n=16, size=(12, 12), channels=3):
    return torch.randint(256, (n, *size, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_batches_without_the_new_options_have_the_bytes_of_before():
    """The digest was taken before there were other options than pad, flip and cutout."""
    x = Augmentation(MEAN, STD, pad=4, flip=True, cutout=5)(images(), generator(3, "weight/augmentation", 7))
    assert (
        hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).hexdigest()
        == "d09709650ac5e5f3aa2676041f029a1f"
    )


def test_the_options_are_applied_in_order():
    """Each by its own function, tested in test_transforms, with one generator."""
    x, draws = images(), generator(0, "x", 0)
    got = Augmentation(MEAN, STD, **EVERYTHING)(x, generator(0, "x", 0))
    x = resized_crop(x, crops(16, (12, 12), 0.3, draws))
    down, right, mirrored = (torch.randint(high, (16, 1), generator=draws)[:, 0] for high in (5, 5, 2))
    cut = torch.zeros_like(x)
    for i in range(16):
        padded = torch.nn.functional.pad(x[i], (0, 0, 2, 2, 2, 2))
        one = padded[down[i] : down[i] + 12, right[i] : right[i] + 12]
        cut[i] = one.flip(1) if mirrored[i] else one
    fill = (torch.tensor(MEAN) * 255).round().to(torch.uint8)
    x, _ = RandAugment(2, 9)(cut, None, fill, draws)
    x = jitter(x, 0.3, draws)
    x = ((x / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    row, column = (torch.randint(12, (16, 1), generator=draws)[:, 0] for _ in range(2))
    for i in range(16):
        x[i, :, max(0, row[i] - 2) : row[i] + 2, max(0, column[i] - 2) : column[i] + 2] = 0
    x = erase(x, 0.5, draws)
    assert torch.allclose(got, x, atol=1e-5)
    assert got.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("option", ["random_resized_crop", "randaugment", "colour_jitter", "random_erasing"])
@pytest.mark.parametrize("channels", [1, 3])
def test_each_option_changes_images_and_is_a_function_of_its_draws(option, channels):
    x = images(channels=channels)
    augmentation = Augmentation(MEAN[:channels], STD[:channels], **{option: EVERYTHING[option]})
    before = x.clone()
    first, second, other = (augmentation(x, generator(seed, "x", 0)) for seed in (1, 1, 2))
    plain = augmentation.plain(x)
    assert torch.equal(first, second) and not torch.equal(first, other) and not torch.equal(first, plain)
    assert first.shape == plain.shape and first.dtype == plain.dtype and torch.equal(x, before)
    assert first.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(plain, Augmentation(MEAN[:channels], STD[:channels]).plain(x))


@pytest.mark.parametrize("precision", ["double", "autocast"])
def test_draws_and_operations_do_not_depend_on_the_precision(precision):
    x = images(64)
    usual = Augmentation(MEAN, STD, **EVERYTHING)(x, generator(0, "x", 0))
    if precision == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            got = Augmentation(MEAN, STD, **EVERYTHING)(x, generator(0, "x", 0))
        assert torch.equal(got, usual)
        return
    torch.set_default_dtype(torch.float64)
    try:
        got = Augmentation(MEAN, STD, **EVERYTHING)(x, generator(0, "x", 0))
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.dtype == torch.float64 and torch.allclose(got.float(), usual, atol=1e-5)


@pytest.mark.parametrize("option", ["pad", "flip", "random_resized_crop", "randaugment"])
def test_targets_of_pixels_follow_their_pixels(option):
    """A picture of two flat halves that are its targets: pixels and targets agree but where they are interpolated."""
    halves = torch.zeros(64, 16, 16, dtype=torch.int64)
    halves[::2, :, 8:] = 1
    halves[1::2, :8] = 1
    options = {"randaugment": 1, "magnitude": 20} if option == "randaugment" else {option: EVERYTHING[option]}
    pixels = (halves * 200)[..., None].to(torch.uint8)
    augmentation = Augmentation([0.0], [1 / 255], **options)
    x, targets = augmentation.pair(pixels, halves, generator(0, "x", 0))
    assert torch.equal(x, augmentation(pixels, generator(0, "x", 0)))
    assert not torch.equal(targets, halves) and set(targets.unique().tolist()) <= {-100, 0, 1}
    if option == "randaugment":  # colours change what the pixels are
        moved = RandAugment(1).draw(64, _after_crop(64))[0][0] > 8
        x, targets = x[moved], targets[moved]
    inside = targets >= 0
    sure = inside & ((x[:, 0] - 100).abs() > 1)  # not in the middle between two pixels
    assert len(x) > 10 and torch.equal((x[:, 0] > 100).long()[sure], targets[sure])
    assert sure.sum() > 0.99 * inside.sum()
    assert inside.all() == (option in ("flip", "random_resized_crop"))
    assert (x[:, 0][~inside] == 0).all()


def _after_crop(n):
    """The generator after the draws of the crop, which are always made."""
    draws = generator(0, "x", 0)
    for _ in range(2):
        torch.randint(1, (n, 1), generator=draws)
    return draws


@pytest.mark.parametrize("options", [{"cutout": 6}, {"random_erasing": 1.0}, {"colour_jitter": 0.5}])
def test_what_moves_no_pixel_leaves_the_targets(options):
    x, targets = images(), torch.randint(5, (16, 12, 12))
    got, left = Augmentation(MEAN, STD, **options).pair(x, targets, generator(0, "x", 0))
    assert torch.equal(left, targets) and not torch.equal(got, Augmentation(MEAN, STD).plain(x))


@pytest.mark.parametrize(
    "targets", [torch.arange(16), torch.rand(16, 4), torch.rand(16, 12)], ids=lambda t: str(t.dim())
)
def test_other_targets_stay(targets):
    part = Part("train", LabelledImages(images(), targets), 8, Augmentation(MEAN, STD, **EVERYTHING))
    x, y = part.batch(0, 1)
    order = torch.randperm(16, generator=generator(0, "train/order", 0))
    assert x.shape == (8, 3, 12, 12) and torch.equal(y, targets[order[8:]])
    assert torch.equal(x, part.augmentation(images()[order[8:]], generator(0, "train/augmentation", 1)))


def test_a_part_moves_targets_of_pixels():
    targets = images()[..., 0].long()
    part = Part(
        "train", LabelledImages(images(), targets), 16, Augmentation([0.0] * 3, [1 / 255] * 3, pad=3, flip=True)
    )
    x, y = part.batch(0, 0)
    assert torch.equal(x[:, 0].round().long(), y.clamp(min=0)) and (y == -100).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"random_resized_crop": 1.5}, "data.augmentation.random_resized_crop=1.5"),
        ({"randaugment": 1.5}, "data.augmentation.randaugment=1.5"),
        ({"randaugment": -1}, "data.augmentation.randaugment=-1"),
        ({"magnitude": 31}, "data.augmentation.magnitude=31"),
        ({"colour_jitter": -0.1}, "data.augmentation.colour_jitter=-0.1"),
        ({"random_erasing": True}, "data.augmentation.random_erasing=True"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(InputError, match=message):
        Augmentation(MEAN, STD, **options)


@pytest.mark.parametrize("option", ["randaugment", "colour_jitter"])
def test_colours_need_grey_or_colour_images(option):
    augmentation = Augmentation([0.5] * 4, [0.25] * 4, **{option: 1})
    with pytest.raises(InputError, match=rf"data.augmentation.{option}=1: needs images of 1 or 3 channels, not 4"):
        augmentation.check((8, 8, 4))


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 40)])
def test_small_and_long_images(size):
    x = images(8, size)
    options = {**EVERYTHING, "pad": 0, "cutout": 0}
    got = Augmentation(MEAN, STD, **options)(x, generator(0, "x", 0))
    assert got.shape == (8, 3, *size) and got.isfinite().all()
