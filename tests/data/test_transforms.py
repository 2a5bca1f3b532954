"""Each transform against Pillow, a plain loop or a closed form, image by image."""

import math
import random

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from scipy import stats

from oneshot.data.transforms import (
    Mixing,
    Pair,
    RandAugment,
    affine,
    autocontrast,
    brightness,
    by_choice,
    contrast,
    crops,
    draw_rectangles,
    equalize,
    erase,
    jitter,
    moved_targets,
    posterize,
    resized_crop,
    resized_targets,
    rotation,
    saturation,
    sharpness,
    solarize,
)
from oneshot.data.transforms.mixing import beta, cutmix, mixup
from oneshot.data.transforms.rand_augment import NAMES
from oneshot.draws import generator
from oneshot.errors import InputError

SIZES = [(8, 8), (21, 30)]


def pictures(channels, size=(21, 30), n=12):
    """Noise, a ramp, few values, one value, and dark images: what breaks a histogram."""
    draws = torch.Generator().manual_seed(sum(size) + channels)
    images = torch.randint(256, (n, *size, channels), dtype=torch.uint8, generator=draws)
    images[1] = torch.arange(size[0] * size[1]).reshape(*size, 1) % 256
    images[2] = images[2] // 128 * 77 + 3
    images[3] = 91
    images[4] = images[4] // 8
    images[5, ..., 0] = 200
    images[6] = 255 - images[6] // 16
    images[7] = 0
    images[7, 0, 0] = 255
    return images


def as_pil(image):
    return Image.fromarray(image.numpy() if image.shape[2] == 3 else image[..., 0].numpy())


def from_pil(image):
    found = np.asarray(image)
    return torch.from_numpy(found.copy() if found.ndim == 3 else found[..., None].copy())


def difference(got, expected):
    return (got.int() - torch.stack(expected).int()).abs().max().item()


FACTORS = [0.0, 0.1, 0.5, 0.73, 1.0, 1.27, 1.9, 3.0]
COLOUR = {
    "posterize": (posterize, [1, 2, 3, 4, 5, 6, 7, 8], lambda im, v: ImageOps.posterize(im, int(v))),
    "solarize": (solarize, [0, 1, 60, 128, 178.5, 200, 255, 256], lambda im, v: ImageOps.solarize(im, v)),
    "autocontrast": (lambda x, _: autocontrast(x), FACTORS, lambda im, v: ImageOps.autocontrast(im)),
    "equalize": (lambda x, _: equalize(x), FACTORS, lambda im, v: ImageOps.equalize(im)),
    "brightness": (brightness, FACTORS, lambda im, v: ImageEnhance.Brightness(im).enhance(v)),
    "contrast": (contrast, FACTORS, lambda im, v: ImageEnhance.Contrast(im).enhance(v)),
    "saturation": (saturation, FACTORS, lambda im, v: ImageEnhance.Color(im).enhance(v)),
    "sharpness": (sharpness, FACTORS, lambda im, v: ImageEnhance.Sharpness(im).enhance(v)),
}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", COLOUR)
def test_colour_operations_are_those_of_pillow(name, channels, size):
    operation, values, expected = COLOUR[name]
    images = pictures(channels, size)
    amounts = [values[i % len(values)] for i in range(len(images))]
    for shift in range(len(values)):
        turned = amounts[shift:] + amounts[:shift]
        got = operation(images, torch.tensor(turned))
        theirs = [from_pil(expected(as_pil(im), v)) for im, v in zip(images, turned, strict=True)]
        assert got.dtype == torch.uint8
        assert difference(got, theirs) <= (1 if name == "autocontrast" else 0)


@pytest.mark.parametrize("channels", [1, 3])
def test_affine_is_that_of_pillow(channels):
    images, fill = pictures(channels), [10, 200, 90][:channels]
    draws = np.random.default_rng(0)
    maps = np.stack(
        [[[1 + a, b, 6 * c], [d, 1 + e, 6 * f]] for a, b, c, d, e, f in draws.uniform(-0.4, 0.4, (len(images), 6))]
    )
    got = affine(images, torch.tensor(maps), torch.tensor(fill, dtype=torch.uint8))
    size = (images.shape[2], images.shape[1])
    colour = tuple(fill) if channels == 3 else fill[0]
    theirs = [
        from_pil(
            as_pil(im).transform(size, Image.Transform.AFFINE, m.ravel(), Image.Resampling.BILINEAR, fillcolor=colour)
        )
        for im, m in zip(images, maps, strict=True)
    ]
    assert difference(got, theirs) <= 1
    assert (got == torch.tensor(fill, dtype=torch.uint8)).all(dim=3).any()  # something came from outside


def test_rotation_is_that_of_pillow():
    images = pictures(3)
    angles = torch.linspace(-30, 30, len(images))
    got = affine(images, rotation(angles, (21, 30)), torch.zeros(3, dtype=torch.uint8))
    theirs = [
        from_pil(as_pil(im).rotate(float(a), Image.Resampling.BILINEAR)) for im, a in zip(images, angles, strict=True)
    ]
    assert difference(got, theirs) <= 1


def test_targets_move_as_a_loop_moves_them():
    targets = torch.arange(5 * 7 * 9).reshape(5, 7, 9)
    maps = rotation(torch.tensor([0.0, 20.0, -31.0, 90.0, 180.0]), (7, 9))
    got = moved_targets(targets, maps)
    for n in range(5):
        (a, b, c), (d, e, f) = maps[n].float().tolist()
        for row in range(7):
            for column in range(9):
                x, y = a * (column + 0.5) + b * (row + 0.5) + c, d * (column + 0.5) + e * (row + 0.5) + f
                inside = 0 <= x < 9 and 0 <= y < 7
                expected = targets[n, math.floor(y), math.floor(x)] if inside else -100
                assert got[n, row, column] == expected
    assert torch.equal(got[0], targets[0]) and (got[3] == -100).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_resized_crop_is_that_of_pillow(channels):
    images = pictures(channels, n=40)
    kept = crops(40, (21, 30), 0.08, generator(0, "x", 0))
    got, targets = resized_crop(images, kept), resized_targets(images[..., 0].long(), kept)
    theirs, nearest = [], []
    for im, t, le, h, w in zip(images, *kept, strict=True):
        cut = as_pil(im).crop((int(le), int(t), int(le + w), int(t + h)))
        theirs.append(from_pil(cut.resize((30, 21), Image.Resampling.BILINEAR)))
        nearest.append(from_pil(cut.resize((30, 21), Image.Resampling.NEAREST))[..., 0])
    assert difference(got, theirs) <= 1
    row, column = (
        (2 * torch.arange(21) + 1) * kept.height[:, None] % 42,
        (2 * torch.arange(30) + 1) * kept.width[:, None] % 60,
    )
    clear = (row != 0)[:, :, None] & (column != 0)[:, None, :]  # not in the middle between two pixels
    assert torch.equal(targets[clear], torch.stack(nearest).long()[clear]) and clear.float().mean() > 0.8


def loop_of_crops(size, smallest, number, draws):
    """Area and width / height of crops, as torchvision draws them."""
    height, width = size
    for _ in range(number):
        for _ in range(10):
            area = height * width * draws.uniform(smallest, 1)
            aspect = math.exp(draws.uniform(math.log(3 / 4), math.log(4 / 3)))
            w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < w <= width and 0 < h <= height:
                yield h * w / (height * width), w / h
                break
        else:
            yield 1.0, width / height


@pytest.mark.parametrize(("size", "smallest"), [((200, 200), 0.08), ((150, 260), 0.3)])
def test_areas_and_aspects_of_crops(size, smallest):
    top, left, h, w = crops(4000, size, smallest, generator(0, "x", 1))
    assert (top >= 0).all() and (left >= 0).all() and (top + h <= size[0]).all() and (left + w <= size[1]).all()
    expected = list(zip(*loop_of_crops(size, smallest, 4000, random.Random(0)), strict=True))
    got = (h * w / math.prod(size)).tolist(), (w / h).tolist()
    if size[0] == size[1]:  # else the loop has another largest rectangle
        for mine, theirs in zip(got, expected, strict=True):
            assert stats.ks_2samp(mine, theirs).pvalue > 0.01
    free = size[0] - h >= 50  # enough places to look continuous
    assert stats.kstest(((top + 0.5) / (size[0] - h + 1))[free].tolist(), "uniform").pvalue > 0.01


def test_rectangles_without_a_limit_have_the_distribution_that_they_say():
    (_, _, h, w), fits = draw_rectangles(
        4000, (300, 300), (0.02, 0.3), (0.5, 2.0), (300, 300), generator(0, "rectangles", 0)
    )
    assert fits.all()
    assert stats.kstest(((h * w / 300**2 - 0.02) / 0.28).tolist(), "uniform").pvalue > 0.01
    assert stats.kstest((torch.log(w / h) / math.log(4) + 0.5).tolist(), "uniform").pvalue > 0.01


def test_where_no_crop_fits_the_middle_is_kept():
    top, left, h, w = crops(50, (10, 100), 0.99, generator(0, "x", 0))
    assert set(zip(top.tolist(), left.tolist(), h.tolist(), w.tolist(), strict=True)) == {(0, 43, 10, 13)}


def test_erasing_blanks_one_rectangle():
    x = torch.rand(4000, 2, 20, 26, generator=generator(0, "x", 0)) + 1
    before = x.clone()
    got = erase(x, 0.4, generator(0, "x", 0))
    assert torch.equal(x, before)
    erased = (got == 0).all(dim=1)
    assert torch.equal(erased, (got == 0).any(dim=1)) and torch.equal(
        got[~erased[:, None].expand_as(x)], x[~erased[:, None].expand_as(x)]
    )
    some = erased.any(dim=(1, 2))
    assert abs(some.float().mean().item() - 0.4) < 4 * math.sqrt(0.24 / 4000)
    h, w = erased.any(dim=2).sum(dim=1), erased.any(dim=1).sum(dim=1)
    assert torch.equal(erased.sum(dim=(1, 2)), h * w)
    share = (h * w / 520)[some]
    assert share.min() > 0.01 and share.max() < 0.36 and 0.1 < share.mean() < 0.2
    assert not erase(x, 0.0, generator(0, "x", 0)).eq(0).any()


def test_each_image_gets_its_own_operation():
    images = pictures(3)
    choices = torch.tensor([0, 1, -1] * 4)
    amounts = torch.linspace(0.2, 1.8, 12)
    got = by_choice(images, choices, amounts, [brightness, contrast])
    for i in range(12):
        one = images[i : i + 1]
        expected = [brightness, contrast, lambda x, _: x][choices[i]](one, amounts[i : i + 1])
        assert torch.equal(got[i : i + 1], expected)


def test_jitter_changes_each_image_in_its_own_order():
    """Of a single image, all six orders occur, and factors fill their range."""
    image = pictures(3)[:1]
    found = jitter(image.expand(300, -1, -1, -1), 0.4, generator(0, "jitter", 0))
    draws = generator(0, "jitter", 0)
    orders, factors = torch.rand(2, 300, 3, generator=draws, dtype=torch.float64)
    orders, factors = orders.argsort(dim=1), 0.6 + 0.8 * factors
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    theirs = []
    for order, factor in zip(orders.tolist(), factors.tolist(), strict=True):
        one = as_pil(image[0])
        for k in order:
            one = enhance[k](one).enhance(factor[k])
        theirs.append(from_pil(one))
    assert difference(found, theirs) <= 1
    assert len({tuple(order) for order in orders.tolist()}) == 6
    assert torch.equal(jitter(image, 0.0, generator(0, "x", 0)), image)


def pillow_rand_augment(image, name, sign, magnitude, fill):
    """One operation of RandAugment with the ranges of torchvision, written with Pillow."""
    level, (width, height) = magnitude / 30, image.size
    signed = sign * level

    def move(*values):
        return image.transform(image.size, Image.Transform.AFFINE, values, Image.Resampling.BILINEAR, fillcolor=fill)

    return {
        "identity": lambda: image,
        "brightness": lambda: ImageEnhance.Brightness(image).enhance(1 + 0.9 * signed),
        "contrast": lambda: ImageEnhance.Contrast(image).enhance(1 + 0.9 * signed),
        "colour": lambda: ImageEnhance.Color(image).enhance(1 + 0.9 * signed),
        "sharpness": lambda: ImageEnhance.Sharpness(image).enhance(1 + 0.9 * signed),
        "posterize": lambda: ImageOps.posterize(image, 8 - round(magnitude / (30 / 4))),
        "solarize": lambda: ImageOps.solarize(image, 255 - 255 * level),
        "autocontrast": lambda: ImageOps.autocontrast(image),
        "equalize": lambda: ImageOps.equalize(image),
        "rotate": lambda: image.rotate(30 * signed, Image.Resampling.BILINEAR, fillcolor=fill),
        "shear_x": lambda: move(1, 0.3 * signed, 0, 0, 1, 0),
        "shear_y": lambda: move(1, 0, 0, 0.3 * signed, 1, 0),
        "translate_x": lambda: move(1, 0, int(150 / 331 * width * signed), 0, 1, 0),
        "translate_y": lambda: move(1, 0, 0, 0, 1, int(150 / 331 * height * signed)),
    }[name]()


@pytest.mark.parametrize("magnitude", [0, 9, 15.5, 30])
def test_rand_augment_applies_to_each_image_what_was_drawn(magnitude):
    images, fill = pictures(3, n=160), torch.tensor([125, 123, 114], dtype=torch.uint8)
    augment = RandAugment(1, magnitude)
    (chosen,), (signs,) = augment.draw(160, generator(0, "x", 0))
    assert set(chosen.tolist()) == set(range(14))
    got, targets = augment(images, None, fill, generator(0, "x", 0))
    theirs = [
        from_pil(pillow_rand_augment(as_pil(im), NAMES[k], float(s), magnitude, (125, 123, 114)))
        for im, k, s in zip(images, chosen, signs, strict=True)
    ]
    assert targets is None and difference(got, theirs) <= 1


def test_rand_augment_chooses_uniformly_and_independently():
    chosen, signs = RandAugment(2).draw(20_000, generator(0, "x", 0))
    assert len(NAMES) == 14
    for layer in chosen:
        assert stats.chisquare(layer.bincount(minlength=14)).pvalue > 0.01
    pairs = (14 * chosen[0] + chosen[1]).bincount(minlength=196)
    assert stats.chisquare(pairs).pvalue > 0.01
    assert abs(signs.mean().item()) < 0.02 and set(signs.unique().tolist()) == {-1.0, 1.0}


def test_two_operations_are_one_after_the_other_and_targets_follow():
    """An image whose pixels are its targets: after moves alone they still agree, and colours leave the targets."""
    targets = torch.randint(1, 256, (80, 16, 16), generator=generator(0, "t", 0))
    images = targets[..., None].to(torch.uint8)
    fill = torch.zeros(1, dtype=torch.uint8)
    augment = RandAugment(2, 12)
    chosen, signs = augment.draw(80, generator(0, "x", 0))
    got, moved = augment(images, targets, fill, generator(0, "x", 0))
    first = NAMES.index("rotate")
    shifts = {NAMES.index("translate_x"), NAMES.index("translate_y"), 0}
    seen = set()
    for i in range(80):
        kinds = set(chosen[:, i].tolist())
        if max(kinds) < first:
            assert torch.equal(moved[i], targets[i])
            seen.add("colours")
        elif kinds <= shifts:  # no interpolation
            assert torch.equal(got[i, ..., 0].long(), moved[i].clamp(min=0))
            seen.add("shifts")
        theirs = as_pil(images[i])
        for k, s in zip(chosen[:, i].tolist(), signs[:, i].tolist(), strict=True):
            theirs = pillow_rand_augment(theirs, NAMES[k], s, 12, 0)
        amplified = {"equalize", "autocontrast", "posterize", "solarize", "brightness", "contrast", "sharpness"}
        if not kinds & {NAMES.index(name) for name in amplified}:
            assert difference(got[i], list(from_pil(theirs))) <= 2  # one level for each
    assert seen == {"colours", "shifts"} and (moved == -100).any()


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 4.0])
def test_shares_follow_the_beta_distribution(alpha):
    draws = generator(0, "beta", 0)
    shares = [beta(alpha, draws) for _ in range(3000)]
    small = [share for share in shares if share < 0.5]  # near 1 a float cannot hold them
    assert abs(len(small) / 3000 - 0.5) < 0.03
    assert stats.kstest(small, lambda share: 2 * stats.beta(alpha, alpha).cdf(share)).pvalue > 0.01
    assert all(0 <= beta(1e-6, draws) <= 1 for _ in range(100))


def batch(n=6, classes=4):
    draws = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, 5, 8, generator=draws), torch.arange(n) % classes, torch.randn(n, classes, generator=draws)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_mixup_is_the_loss_of_the_mixed_target(share):
    x, y, logits = batch()
    order = torch.tensor([3, 4, 5, 0, 2, 1])
    mixed = mixup(x, y, Pair(order, share))
    for i in range(6):
        assert torch.allclose(mixed.x[i], share * x[i] + (1 - share) * x[order[i]], atol=1e-6)
    one_hot = torch.nn.functional.one_hot(y, 4).float()
    soft = share * one_hot + (1 - share) * one_hot[order]
    for smoothing in (0.0, 0.1):
        criterion = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)
        assert mixed.loss(criterion, logits) == pytest.approx(float(criterion(logits, soft)), rel=1e-5)
    binary = torch.nn.BCEWithLogitsLoss()
    many = mixup(x, one_hot, Pair(order, share))
    assert many.loss(binary, logits) == pytest.approx(float(binary(logits, soft)), rel=1e-5)
    assert torch.equal(mixed.y, y if share > 0.5 else y[order])  # what the accuracy is measured against
    logits.requires_grad_()
    squared = torch.nn.MSELoss()
    (mine,) = torch.autograd.grad(many.loss(squared, logits), logits)
    (theirs,) = torch.autograd.grad(squared(logits, soft), logits)
    assert torch.allclose(mine, theirs, atol=1e-6)


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels():
    x, y, logits = batch()
    order = torch.tensor([3, 4, 5, 0, 2, 1])
    shares = set()
    for step in range(60):
        draws = generator(0, "cutmix", step)
        row, column = (int(torch.randint(side, (), generator=draws)) for side in (5, 8))
        share = step / 60
        mixed = cutmix(x, y, Pair(order, share), generator(0, "cutmix", step))
        high, wide = int(5 * math.sqrt(1 - share)), int(8 * math.sqrt(1 - share))
        pasted = 0
        for r in range(5):
            for c in range(8):
                inside = row - high // 2 <= r < row + high // 2 and column - wide // 2 <= c < column + wide // 2
                pasted += inside
                assert torch.equal(mixed.x[:, :, r, c], x[order][:, :, r, c] if inside else x[:, :, r, c])
        left = 1 - pasted / 40
        criterion = torch.nn.functional.cross_entropy
        expected = left * criterion(logits, y) + (1 - left) * criterion(logits, y[order])
        assert float(mixed.loss(criterion, logits)) == pytest.approx(float(expected), rel=1e-5)
        assert mixed.share == pytest.approx(max(left, 1 - left))
        shares.add(mixed.share)
    assert len(shares) > 5


def test_targets_of_pixels_are_pasted():
    x, _, _ = batch()
    dense = x[:, 0].round().long()
    mixed = cutmix(x, dense, Pair(torch.tensor([5, 4, 3, 2, 1, 0]), 0.3), generator(0, "x", 0))
    assert mixed.other is None and torch.equal(mixed.x[:, 0].round().long(), mixed.y)
    assert not torch.equal(mixed.y, dense)


def test_a_batch_is_mixed_by_one_of_both():
    x, y, _ = batch()
    both, kinds = Mixing(0.4, 1.0), []
    for step in range(400):
        mixed = both(x, y, generator(0, "mixing", step))
        kinds.append(bool((mixed.x[:, :, 0, 0] == x[:, :, 0, 0]).all() or torch.isin(mixed.x, x).all()))
        again = both(x, y, generator(0, "mixing", step))
        assert torch.equal(mixed.x, again.x) and mixed.share == again.share
    assert 0.4 < np.mean(kinds) < 0.65
    plain = Mixing()(x, y, generator(0, "mixing", 0))
    assert plain.x is x and plain.y is y and plain.other is None


def test_only_images_are_mixed():
    Mixing(0.2).check(torch.zeros(2, 3, 4, 4))
    Mixing().check(torch.zeros(2, 7, dtype=torch.int64))
    with pytest.raises(InputError, match="mixup=0.2, cutmix=0.0: only images"):
        Mixing(0.2).check(torch.zeros(2, 7, dtype=torch.int64))
    with pytest.raises(InputError, match="cutmix=-1"):
        Mixing(cutmix=-1)
