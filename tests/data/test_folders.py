"""Image folders as people have them: each loads with the images and classes that its folders say, or is refused."""

import contextlib
import errno
import os
import shutil
import tempfile
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from oneshot.data import Augmentation, huggingface
from oneshot.data.folders import SPLITS, holds_images, read_folder
from oneshot.data.pixels import SUFFIXES, Pixels
from oneshot.data.tree import JUNK, Tree
from oneshot.errors import InputError

COLOUR = Augmentation([0.5] * 3, [0.25] * 3)
NFC, NFD = (unicodedata.normalize(form, "고양이 é") for form in ("NFC", "NFD"))


def write(root, *paths):
    """Images whose pixels are their number, so that what was loaded tells which they are."""
    for path in paths:
        number = len(list(root.rglob("*"))) + 1 if root.exists() else 1
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix[1:].lower() in SUFFIXES:
            picture(number).save(file, "PNG")  # Pillow looks at the content
        else:
            file.write_text(str(number))


def picture(number):
    return Image.fromarray(np.full((2, 2, 3), (number // 256, number % 256, 7), np.uint8))


def number(path):
    with Image.open(path) as file:
        red, green, _ = file.convert("RGB").getpixel((0, 0))
    return 256 * red + green


def load(root, **options):
    return huggingface(str(root), 2, COLOUR, **options)


def shown(images, classes):
    """Class -> the numbers of its images."""
    found = {name: [] for name in classes}
    for pixels, label in zip(images.images.tolist(), images.labels.tolist(), strict=True):
        found[classes[label]].append(256 * pixels[0][0][0] + pixels[0][0][1])
    return {name: sorted(numbers) for name, numbers in found.items()}


def loaded(root, **options):
    """What training and test images a data set has: for each, class -> the numbers of its images."""
    data = load(root, **options)
    classes = data.splits.classes
    return shown(data.splits.train(), classes), shown(data.splits.test(), classes)


def numbers(root, *patterns):
    return sorted(number(path) for pattern in patterns for path in root.glob(pattern) if path.is_file())


def simple(root, *more):
    """Two classes in two splits."""
    write(root, *(f"{split}/{name}/{i}.png" for split in ("train", "test") for name in ("cat", "dog") for i in "ab"))
    write(root, *more)
    return root


def both(root, names=("cat", "dog")):
    """What `simple` should load as."""
    return tuple({name: numbers(root, f"{split}/{name}/**/*.png") for name in names} for split in ("train", "test"))


def refused(root, *words, **options):
    """The message, which names all these words."""
    with pytest.raises(InputError) as error:
        load(root, **options).test()
    message = str(error.value)
    assert "\n" not in message and all(str(word) in message for word in words), message
    return message


def test_names_of_files_decide_nothing(tmp_path):
    names = ["train_1.png", "test_3.png", "validation-2.png", "eval.png", "dev_x.png", "x.test.png"]
    write(tmp_path, *(f"{kind}/{name}" for kind in ("cat", "dog") for name in names))
    train, test = loaded(tmp_path, test_fraction=0.5)
    for name in ("cat", "dog"):
        assert sorted(train[name] + test[name]) == numbers(tmp_path, f"{name}/*.png") and len(train[name]) == 3


@pytest.mark.parametrize("name", ["train", "test", "val", "Training"])
def test_a_class_may_be_called_as_a_split(tmp_path, name):
    write(tmp_path, *(f"{kind}/{i}.png" for kind in ("car", name) for i in "abcd"))
    data = load(tmp_path)
    assert data.splits.classes == tuple(sorted(("car", name)))
    assert shown(data.splits.train(), data.splits.classes) == {
        k: numbers(tmp_path, f"{k}/*.png") for k in ("car", name)
    }


def test_classes_called_as_splits_below_splits(tmp_path):
    write(
        tmp_path,
        *(f"{s}/{kind}/{i}.png" for s in ("train", "test") for kind in ("train", "plane", "val") for i in "ab"),
    )
    assert loaded(tmp_path) == both(tmp_path, ("plane", "train", "val"))


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "Test"), ("TRAINING", "testing"), ("train", "val"), ("train", "Valid"), ("training", "EVAL")]
    + [("train", "evaluation"), ("train", "dev"), ("train", "validation")],
)
def test_names_of_splits(tmp_path, train, test):
    write(tmp_path, *(f"{split}/{name}/{i}.png" for split in (train, test) for name in ("cat", "dog") for i in "ab"))
    found = loaded(tmp_path)
    assert found == tuple(
        {k: numbers(tmp_path, f"{split}/{k}/*.png") for k in ("cat", "dog")} for split in (train, test)
    )


def test_the_names_of_splits_are_these():
    assert sorted(SPLITS) == sorted(
        "train training test testing eval evaluation val valid validation dev".split()
    ) and {SPLITS[name] for name in SPLITS} == {"train", "test", "validation"}


def test_the_folder_below_the_split_is_the_class(tmp_path):
    simple(
        tmp_path, "train/cat/day1/c.png", "train/cat/day1/night/d.png", "train/dog/train/e.png", "test/cat/day2/f.png"
    )
    found = loaded(tmp_path)
    assert found == both(tmp_path) and len(found[0]["cat"]) == 4 and len(found[0]["dog"]) == 3


def test_test_is_taken_before_validation_and_the_rest_is_said(tmp_path):
    simple(tmp_path, "val/cat/x.png", "val/dog/y.png")
    assert loaded(tmp_path) == both(tmp_path)
    assert f"left out: split {tmp_path}/val" in load(tmp_path).about[0]
    _, test = loaded(tmp_path, test_split="val")
    assert test == {"cat": numbers(tmp_path, "val/cat/*"), "dog": numbers(tmp_path, "val/dog/*")}
    assert loaded(tmp_path, test_split="validation") == loaded(tmp_path, test_split="VAL")


def test_a_test_split_of_another_name(tmp_path):
    write(
        tmp_path,
        *(f"{split}/{name}/{i}.png" for split in ("train", "holdout") for name in ("cat", "dog") for i in "ab"),
    )
    _, test = loaded(tmp_path, test_split="holdout")
    assert test == {name: numbers(tmp_path, f"holdout/{name}/*") for name in ("cat", "dog")}
    write(tmp_path, "more/x.png")
    refused(tmp_path, "no split 'holdout'", "its folders are classes", test_split="holdout")


@pytest.mark.parametrize(
    ("paths", "words"),
    [
        (["train/a.png", "test/b.png"], ["/train: 1 images", "no images in class folders", "FOLDER/train/CLASS/*.png"]),
        (["a.png", "b.png"], ["2 images (first: ", "/a.png)", "no images in class folders", "metadata.csv"]),
        (["cat/a.png", "cat/b.png"], ["has one class, 'cat'; at least 2", "data.source=", "/cat)"]),
        (["set/train/cat/a.png", "set/test/cat/b.png"], ["/set: holds the splits test, train", "above the classes"]),
        (["cat/train/a.png", "cat/test/b.png", "dog/train/c.png"], ["/cat: holds the splits test, train"]),
        (["test/cat/a.png", "test/dog/b.png"], ["no split 'train'; there are: test"]),
        (["train/cat/a.png", "train/dog/b.png", "Train/cat/c.png"], ["/Train and ", "/train: are two folders for one"]),
        (["train/cat/a.png", "train/dog/b.png", "val/cat/c.png", "valid/cat/d.png"], ["are two folders", "test_split"]),
        (
            ["train/cat/a.png", "train/dog/b.png", "test/cat/c.png", "test/cow/d.png"],
            ["/test/cow: test images", "'cow'"],
        ),
        (["train/cat/a.png", "train/dog/b.png", "test/Cat/c.png"], ["class 'Cat'", "(there are some of 'cat')"]),
        (["train/cat/a.png", "train/dog/b.png", "test/cat /c.png"], ["class 'cat '", "(there are some of 'cat')"]),
        (["cat/a.png", "cat /b.png", "dog/c.png"], ["/cat'", "/cat '", "differ in spaces alone"]),
        (["cat/a.png", " Cat/b.png", "dog/c.png"], ["differ in spaces alone"]),
        (["train/cat/a.png", "test/cat/b.png", "extra/c.png"], ["look like splits", "/extra beside them is none"]),
        (["train/cat/a.png", "train/dog/b.png", "test/c.png"], ["/test: no images in class folders"]),
        (["cat/a.heic", "dog/b.npy"], ["no images of a known format", "a.heic"]),
        (["cat/.a.png", "dog/._b.png"], ["the folder is empty"]),
        (["all.zip"], ["all.zip and no images; unpack it first"]),
        ([], ["there is no such folder"]),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_what_cannot_be_meant_is_refused_with_paths(tmp_path, paths, words):
    write(tmp_path / "set", *paths)
    refused(tmp_path / "set", *words)
    assert not paths or str(tmp_path) in refused(tmp_path / "set")


def test_an_empty_class_and_one_without_test_images_are_said(tmp_path):
    simple(tmp_path, "train/cow/x.png")
    (tmp_path / "train" / "fox").mkdir()
    (tmp_path / "test" / "owl").mkdir()
    data = load(tmp_path)
    assert data.splits.classes == ("cat", "cow", "dog")
    assert "2 class folders without images ('fox', 'owl')" in data.about[0]
    assert data.about[1:] == ("data: no test images of 1 class: 'cow'",)
    shutil.rmtree(tmp_path / "train" / "cow")
    (tmp_path / "train" / "cow").mkdir()
    write(tmp_path, "test/cow/y.png")
    refused(tmp_path, "/test/cow: test images of the class 'cow', of which", "/train has no images")


def test_names_that_differ_in_case_are_said(tmp_path):
    """Letters are classes too: A and a."""
    write(tmp_path, "A/a.png", "a/b.png", "B/c.png")
    data = load(tmp_path)
    assert data.splits.classes == ("A", "B", "a")
    assert "data: the classes 'A', 'a' differ in capital letters alone" in data.about


def test_forms_of_unicode_are_one_class(tmp_path):
    assert NFC != NFD
    write(
        tmp_path, f"train/{NFC}/a.png", f"train/{NFD}/b.png", "train/dog/c.png", f"test/{NFD}/d.png", "test/dog/e.png"
    )
    train, test = loaded(tmp_path)
    assert train == {
        NFC: numbers(tmp_path, f"train/{NFC}/*", f"train/{NFD}/*"),
        "dog": numbers(tmp_path, "train/dog/*"),
    }
    assert len(train[NFC]) == 2 and test[NFC] == numbers(tmp_path, f"test/{NFD}/*")


def test_what_systems_leave_behind_is_not_seen(tmp_path):
    simple(tmp_path)
    before = load(tmp_path).about
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png", ".hidden.png", "ehthumbs.db", "Icon\r"):
        for folder in ("", "train", "train/cat", "test"):
            (tmp_path / folder / name).write_bytes(b"x")
    for name in ("__MACOSX", ".ipynb_checkpoints", ".git", "@eaDir", "lost+found", "$RECYCLE.BIN", "__pycache__"):
        for folder in ("", "train", "train/cat", "test"):
            write(tmp_path, f"{folder}/{name}/a.png")
    assert load(tmp_path).about == before and {name.lower() for name in JUNK} == JUNK
    found = loaded(tmp_path)
    assert all(len(found[i][name]) == 2 for i in (0, 1) for name in ("cat", "dog"))


@pytest.mark.parametrize(
    "suffix", ["jpg", "JPG", "jpeg", "JPEG", "png", "webp", "tif", "TIFF", "bmp", "gif", "jp2", "ppm"]
)
def test_formats(tmp_path, suffix):
    kind = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(suffix.lower(), suffix.upper())
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2):
            Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / name / f"a b {i}.{suffix}", kind)
    images = load(tmp_path).splits.train().images
    assert images.shape == (4, 4, 4, 3) and (images.int() - 200).abs().max() < 4


def test_other_files_are_said(tmp_path):
    simple(
        tmp_path,
        "README.md",
        "train/cat/notes.txt",
        "train/cat/a.xml",
        "test/dog/b.heic",
        "train/beside.png",
        "top.png",
    )
    data = load(tmp_path)
    assert loaded(tmp_path) == both(tmp_path)
    assert f"3 files that are no images (first: {tmp_path}/train/cat/a.xml)" in data.about[0]
    assert f"2 images outside class folders (first: {tmp_path}/top.png)" in data.about[0]


def test_the_line_before_a_run(tmp_path):
    simple(tmp_path)
    assert load(tmp_path).about == (
        f"data: 4 training images of 2x2 pixels in 2 classes (cat, dog), 4 test images; {tmp_path}",
    )
    write(tmp_path / "more", "b/a.png", "c/a.png", "d/a.png", "e/a.png")
    line, second = load(tmp_path / "more", image_size=5, train_size=4).about
    assert line.startswith(
        "data: 4 training images (4 are used: data.train_size) of 5x5 pixels in 4 classes (b, c, d, e)"
    )
    assert "no test images; " in line and second == (
        "data: without test images a retraining needs data.test_fraction; 0.2 holds out a fifth of each class"
    )


def test_test_fraction_is_stratified_and_fixed(tmp_path):
    write(tmp_path, *(f"cat/{i}.png" for i in range(10)), *(f"dog/{i}.png" for i in range(20)))
    data = load(tmp_path, test_fraction=0.2)
    classes, train, test = data.splits.classes, data.splits.train(), data.splits.test()
    assert test.labels.bincount().tolist() == [2, 4] and train.labels.bincount().tolist() == [8, 16]
    found = shown(train, classes), shown(test, classes)
    for name in classes:
        assert sorted(found[0][name] + found[1][name]) == numbers(tmp_path, f"{name}/*")
    torch.manual_seed(5)  # nothing else decides
    assert loaded(tmp_path, test_fraction=0.2) == found
    moved = tmp_path.with_name("moved")
    shutil.copytree(tmp_path, moved)
    assert loaded(moved, test_fraction=0.2) == found
    assert "6 test images (data.test_fraction=0.2)" in data.about[0]


def test_test_fraction_that_cannot_be_used(tmp_path):
    write(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    refused(tmp_path, "no split 'test'", "data.test_fraction=0.2 holds out a fifth of each class")
    refused(tmp_path, "data.test_fraction=0.9", "would have no training images", test_fraction=0.9)
    refused(tmp_path, "data.test_fraction=0.1", "there would be no test images", test_fraction=0.1)
    refused(tmp_path, "data.test_fraction=1.5: must be a number", test_fraction=1.5)
    refused(simple(tmp_path / "s"), "is for data without a test split, and there is", "/s/test", test_fraction=0.2)


def test_duplicates_are_said_or_refused(tmp_path):
    simple(tmp_path)
    shutil.copy(tmp_path / "train/cat/a.png", tmp_path / "test/dog/copy.png")
    (tmp_path / "test/cat/link.png").symlink_to(tmp_path / "train/cat/b.png")
    write(tmp_path, "train/cat/c.png")  # of the same size as others, but other bytes
    data = load(tmp_path)
    before = data.about
    data.splits.train()
    assert data.about == before  # a search reads no test image
    data.splits.test()
    (line,) = set(data.about) - set(before)
    assert line.startswith("data: warning: 2 of 6 test images are among the training images (such as ")
    assert f"{tmp_path}/train/cat/b.png and {tmp_path}/test/cat/link.png" in line
    refused(tmp_path, "data.duplicates=refuse: 2 of 6 test images", duplicates="refuse")
    refused(tmp_path, "unknown data.duplicates 'refse'; did you mean 'refuse'?", duplicates="refse")
    (tmp_path / "test/cat/link.png").unlink()
    (tmp_path / "test/dog/copy.png").unlink()
    load(tmp_path, duplicates="refuse").test()


def test_large_files_that_begin_alike_are_no_duplicates(tmp_path):
    draws = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    other = draws.copy()
    other[-1, -1] ^= 255
    for path, pixels in (("train/a/x.bmp", draws), ("train/b/y.bmp", other), ("test/a/z.bmp", other)):
        (tmp_path / path).parent.mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / path)
    refused(tmp_path, "1 of 1 test images is among", "/train/b/y.bmp and", "/test/a/z.bmp", duplicates="refuse")
    Image.fromarray(255 - draws).save(tmp_path / "test/a/z.bmp")
    load(tmp_path, duplicates="refuse").test()


def damage(root):
    """Files that are cut off, empty, of another kind, and a link that leads nowhere."""
    simple(root)
    (root / "train/cat/zero.png").write_bytes(b"")
    whole = (root / "train/cat/a.png").read_bytes()
    (root / "train/cat/cut.png").write_bytes(whole[: len(whole) // 2])
    (root / "train/dog/text.jpg").write_text("<html>404</html>")
    (root / "train/dog/gone.png").symlink_to("nowhere.png")
    return [
        root / name for name in ("train/cat/zero.png", "train/cat/cut.png", "train/dog/text.jpg", "train/dog/gone.png")
    ]


def test_all_damaged_files_are_named_at_once(tmp_path):
    files = damage(tmp_path)
    message = refused(tmp_path, "4 of 8 train images cannot be used (data.skip_corrupt=true leaves them out)", *files)
    assert (
        "zero.png: is empty" in message
        and "text.jpg: cannot be decoded (no image" in message
        and "gone.png: cannot be read" in message
    )
    for i in range(30):
        (tmp_path / "train/cat" / f"zero{i}.png").write_bytes(b"")
    assert refused(tmp_path, "34 of 38").endswith("; and 24 more")


def test_damaged_files_can_be_left_out(tmp_path):
    files = damage(tmp_path)
    data = load(tmp_path, skip_corrupt=True)
    train = shown(data.splits.train(), data.splits.classes)
    for path in files:
        path.unlink()
    assert train == both(tmp_path)[0]
    assert "data: train: left out 4 files that cannot be decoded (first: " in data.about[-1]
    assert f"{tmp_path}/train/cat/" in data.about[-1]


def test_nothing_is_left_of_a_class_or_a_split(tmp_path):
    simple(tmp_path)
    for name in "ab":
        (tmp_path / f"train/cat/{name}.png").write_bytes(b"")
    refused(tmp_path, "no image is left of the class 'cat'", skip_corrupt=True)
    for name in "ab":
        (tmp_path / f"train/dog/{name}.png").write_bytes(b"")
    refused(tmp_path, "4 of 4 train images cannot be used", skip_corrupt=True)


def test_whole_images_of_unclear_levels_are_never_left_out(tmp_path):
    simple(tmp_path)
    Image.fromarray(np.full((2, 2), 200.0, np.float32)).save(tmp_path / "train/cat/float.tif")
    (tmp_path / "train/cat/zero.png").write_bytes(b"")
    for skip in (False, True):
        refused(tmp_path, "float.tif: holds floating-point numbers from 200 to 200", skip_corrupt=skip)


def test_images_of_two_sizes(tmp_path):
    simple(tmp_path)
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(tmp_path / "train/dog/tall.png")
    refused(tmp_path, "/train/dog/tall.png: has 6x8 pixels, and", "/train/cat/a.png has 2x2; data.image_size=N")
    assert load(tmp_path, image_size=4).splits.train().images.shape == (5, 4, 4, 3)
    (tmp_path / "train/dog/tall.png").rename(tmp_path / "test/dog/tall.png")
    refused(tmp_path, "tall.png: has 6x8")


def test_what_is_done_to_pixels_is_said(tmp_path):
    simple(tmp_path)
    Image.fromarray(np.full((2, 2, 4), 9, np.uint8)).save(tmp_path / "train/cat/clear.png")
    Image.fromarray(np.full((2, 2), 60000, np.uint16)).save(tmp_path / "train/cat/deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(3).save(tmp_path / "train/dog/turned.png", exif=exif)
    picture(3).save(tmp_path / "train/dog/move.gif", save_all=True, append_images=[picture(999)])
    data = load(tmp_path, background="black")
    assert len(data.about) == 1
    images = data.splits.train().images
    assert set(data.about[1:]) == {
        "data: train: 1 images of more than 8 bits, scaled to 8 by the range of their type",
        "data: train: 1 images with several frames, of which the first is taken",
        "data: train: 1 images with transparent pixels, put on data.background",
        "data: train: 1 images turned as EXIF says",
    }
    levels = images[:, 0, 0].tolist()
    assert [0, 0, 0] in levels and [round(60000 / 257)] * 3 in levels


def test_links_are_followed(tmp_path):
    store = tmp_path / "store"
    write(store, "cats/a.png", "cats/b.png", "dogs/c.png", "dogs/d.png", "one.png")
    root = tmp_path / "set"
    for split in ("train", "test"):
        (root / split).mkdir(parents=True)
    (root / "train/cat").symlink_to(store / "cats")
    (root / "train/dog").mkdir()
    (root / "train/dog/x.png").symlink_to(store / "one.png")
    write(root, "test/cat/t.png", "test/dog/u.png")
    train, _ = loaded(root)
    assert train == {"cat": numbers(store, "cats/*"), "dog": numbers(store, "one.png")}


@pytest.mark.parametrize("target", [".", "..", "../..", "../../..", "loop", "/"])
def test_loops_do_not_hang(tmp_path, target):
    root = simple(tmp_path / "a" / "b")
    link = root / "train" / "cat" / "loop"
    link.symlink_to(target)
    if target == "loop":
        refused(root, "/train/cat/loop: is a link that leads nowhere")
        return
    data = load(root)
    assert shown(data.splits.train(), ("cat", "dog")) == both(root)[0]
    assert f"1 link to folders that are read elsewhere (first: {link})" in data.about[0]


def test_a_loop_beside_class_folders(tmp_path):
    write(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "up").symlink_to(".")
    data = load(tmp_path)
    assert data.splits.classes == ("cat", "dog") and "1 link to folders" in data.about[0]


def test_many_links_to_each_other_end(tmp_path):
    """Each of twenty folders holds two links to the next: a million ways to the last one."""
    write(tmp_path, "cat/a.png", "dog/b.png")
    for i in range(20):
        (tmp_path / "cat" / "deep" / str(i)).mkdir(parents=True)
    for i in range(19):
        for name in "xy":
            (tmp_path / "cat/deep" / str(i) / name).symlink_to(tmp_path / "cat/deep" / str(i + 1))
    write(tmp_path, "cat/deep/19/c.png")
    start = time.process_time()
    data = load(tmp_path)
    assert shown(data.splits.train(), ("cat", "dog"))["cat"] == numbers(tmp_path, "cat/a.png", "cat/deep/19/c.png")
    assert time.process_time() - start < 5


def test_one_folder_as_two_things(tmp_path):
    write(tmp_path, "train/cat/a.png", "train/dog/b.png")
    (tmp_path / "test").symlink_to("train")
    refused(tmp_path, "/train and", "/test: are one folder, so the test images are trained on")
    (tmp_path / "test").unlink()
    (tmp_path / "train/wolf").symlink_to("dog")
    refused(tmp_path, "/train/dog and", "/train/wolf: are one folder")


def test_broken_links_and_odd_files(tmp_path):
    simple(tmp_path)
    os.mkfifo(tmp_path / "train/cat/pipe.png")  # nobody writes into it
    assert "1 file that is no image" in load(tmp_path).about[0]
    (tmp_path / "train/owl").symlink_to("nowhere")
    refused(tmp_path, "/train/owl: is a link that leads nowhere; mend or remove it")


def test_names_that_are_not_utf8(tmp_path):
    simple(tmp_path)
    file = os.fsencode(tmp_path / "train/cat") + b"/\xff\xfe.png"
    shutil.copy(tmp_path / "train/cat/a.png", file)
    assert len(loaded(tmp_path)[0]["cat"]) == 3
    os.rename(os.fsencode(tmp_path / "train/dog"), os.fsencode(tmp_path / "train") + b"/d\xffg")
    assert "/d\N{REPLACEMENT CHARACTER}g: the name of this folder is not UTF-8" in refused(tmp_path)


def test_names_that_steer_a_terminal_are_shown_harmlessly(tmp_path):
    simple(tmp_path)
    (tmp_path / "train/cat" / "\x1b[31m\nred.png").write_bytes(b"")
    assert "\x1b" not in refused(tmp_path, "red.png: is empty")


@contextlib.contextmanager
def nobody():
    """As a user who is not root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_named():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        simple(root)
        (root / "train/cat/a.png").chmod(0)
        with nobody():
            refused(root, "1 of 4 train images cannot be used", f"{root}/train/cat/a.png: cannot be read", "Permission")
        (root / "train/dog").chmod(0)
        with nobody():
            refused(root, f"{root}/train/dog: cannot be read ({os.strerror(errno.EACCES)})")
        (root / "train/dog").chmod(0o755)
        (root / "train/cat/a.png").chmod(0o444)
        for folder in (root / "train/cat", root / "train", root):
            folder.chmod(0o555)  # read-only is enough
        with nobody():
            load(root).test()


def test_files_are_found_quickly(tmp_path):
    """4,000 files of which none is opened, in a tenth of the time that 100,000 may take."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(2_000):
            os.close(os.open(tmp_path / name / f"{i}.png", os.O_CREAT | os.O_WRONLY))
    start = time.process_time()
    tree = Tree(tmp_path)
    assert holds_images(tree)
    folder = read_folder(tree, Pixels(8), test_fraction=0.2)
    assert (len(folder.train), len(folder.test)) == (3_200, 800)
    assert time.process_time() - start < 1


def test_deep_folders(tmp_path):
    """Deeper than Python calls itself."""
    write(tmp_path, "cat/a.png", "dog/b.png")
    top = str(tmp_path / "cat")
    deep = [top + "/d" * depth for depth in range(1, 1021)]
    try:
        for path in deep:
            os.mkdir(path)
        assert load(tmp_path).splits.classes == ("cat", "dog")
    finally:
        for path in reversed(deep):  # pytest cannot remove them
            os.rmdir(path)


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "test_images"),
        ("train2017", "val2017"),
        ("Train-Set", "Test-Set"),
        ("trainingData", "validationData"),
        ("images train", "images test"),
        ("my_train_v2", "my_dev_v2"),
        ("train", "test2"),
        ("train_a", "test_b"),
        ("trainA", "trainB", "testA", "testB"),
        ("val1", "test1"),
    ],
)
def test_splits_with_more_in_their_names_are_no_classes(tmp_path, names):
    """Below them are the same folders."""
    write(tmp_path, *(f"{name}/{kind}/{i}.png" for name in names for kind in ("cat", "dog") for i in "ab"))
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations/all.json").write_text("{}")
    said = refused(tmp_path, "look like splits, but would be two classes; name them", "move them into a folder that is")
    assert sum(f"{tmp_path}/{name}" in said for name in names) == 2
    refused(tmp_path, "look like splits", test_split=names[0] if names[0] != "train" else "test")
    for name in names:  # as it says
        (tmp_path / "set/train").mkdir(parents=True, exist_ok=True)
        (tmp_path / name).rename(tmp_path / "set/train" / name)
    assert load(tmp_path / "set").splits.classes == tuple(sorted(names))


def test_splits_with_more_in_their_names_and_images_in_them(tmp_path):
    write(tmp_path, *(f"{name}_images/{i}.png" for name in ("train", "test") for i in "ab"))
    refused(tmp_path, "/test_images and ", "/train_images: look like splits", "name them test and train")
    for name in ("train", "test"):  # and lists of their labels
        rows = "".join(f"{i}.png,{i}\n" for i in "ab")
        (tmp_path / f"{name}_images/metadata.csv").write_text("file_name,label\n" + rows)
    refused(tmp_path, "look like splits", "name them test and train")


@pytest.mark.parametrize(
    "names",
    [
        ("training shoe", "test tube"),
        ("train_images", "test_images", "cat"),
        ("train1", "train2"),
        ("strain", "contestant"),
        ("trainer", "tester", "car"),
    ],
)
def test_classes_whose_names_are_a_little_like_splits(tmp_path, names):
    write(tmp_path, *(f"{name}/{i}.png" for name in names for i in "ab"))
    assert load(tmp_path).splits.classes == tuple(sorted(names))


# The rules once more, as plainly as they can be said: paths of files in, what should happen out.

NAMES = ["cat", "Cat", "dog", "cat ", "train", "Test", "val", "dev", "day1", NFC, NFD, ".git", "__MACOSX", "val_x"]
FILES = ["train_1.png", "b.PNG", "notes.txt", ".c.png", "Thumbs.db", "t.webp"]


def expected(paths):
    """(class -> training images, class -> test images or None) by path; or None if it is refused."""

    def is_seen(path):
        return not any(name.startswith(".") or name in ("__MACOSX", "Thumbs.db") for name in path.split("/"))

    folders = {"/".join(p.split("/")[:i]) for p in paths for i in range(1, p.count("/") + 1)}
    folders, paths = {f for f in folders if is_seen(f)}, [p for p in paths if is_seen(p)]

    def inside(folder):
        return {f for f in folders if f.rpartition("/")[0] == folder}

    def last(path):
        return path.rpartition("/")[2]

    def form(name):
        return unicodedata.normalize("NFC", name)

    def role(folder):
        return {"train": "train", "test": "test", "val": "validation", "dev": "validation"}.get(last(folder).casefold())

    def classes(split):
        found = {}
        for folder in inside(split):
            below = {role(f) for f in inside(folder)}
            if None not in below and "train" in below and len(below) > 1:
                raise InputError("splits below a class")
            name = form(last(folder))
            pictures = [p for p in paths if p.startswith(folder + "/") and p.lower().endswith((".png", ".webp"))]
            found[name] = found.get(name, []) + pictures
        for a in found:
            for b in found:
                if a.strip().casefold() == b.strip().casefold() and a.casefold() != b.casefold():
                    raise InputError("spaces")
        return found

    top = inside("")
    if not any(p.lower().endswith((".png", ".webp")) for p in paths):
        raise InputError("no images")
    test = None
    if top and all(role(f) for f in top):
        by_role = {r: [f for f in top if role(f) == r] for r in ("train", "test", "validation")}
        tests = by_role["test"] or by_role["validation"]
        if len(by_role["train"]) != 1 or len(tests) > 1:
            raise InputError("splits")
        train = classes(by_role["train"][0])
        test = classes(tests[0]) if tests else None
    else:
        for a in top:
            for b in top:
                shared = {form(last(f)).casefold() for f in inside(a)} & {form(last(f)).casefold() for f in inside(b)}
                if role(a) and role(b) and role(a) != role(b) and shared:
                    raise InputError("splits beside other folders")
        full = {f for f in top if any(p.startswith(f + "/") and p.lower().endswith((".png", ".webp")) for p in paths)}
        if all(role(last(f).removesuffix("_x")) for f in full):  # of which one may have something added
            for a in full:
                for b in full:
                    shared = {form(last(f)).casefold() for f in inside(a)} & {
                        form(last(f)).casefold() for f in inside(b)
                    }
                    added = last(a).endswith("_x"), last(b).endswith("_x")
                    if role(last(a).removesuffix("_x")) != role(last(b).removesuffix("_x")):
                        if shared or added[0] == added[1]:
                            raise InputError("splits with something added")
        train = classes("")
    full = {name for name, images in train.items() if images}
    if len(full) < 2 or (test is not None and (not any(test.values()) or any(test[n] and n not in full for n in test))):
        raise InputError("classes")
    return {n: sorted(train[n]) for n in full}, test and {n: sorted(test.get(n, [])) for n in full}


TREES = st.lists(
    st.builds(
        lambda folders, file: "/".join([*folders, file]),
        st.lists(st.sampled_from(NAMES), max_size=3),
        st.sampled_from(FILES),
    ),
    max_size=12,
    unique=True,
)
LIKELY = st.lists(
    st.builds(
        lambda *parts: "/".join(parts),
        st.sampled_from(["train", "Test", "train", "val"]),
        st.sampled_from(["cat", "dog", NFC, NFD, "Cat"]),
        st.sampled_from(["a.png", "day1/b.png", "test_c.png", "train/d.webp", "x.txt"]),
    ),
    min_size=4,
    max_size=14,
    unique=True,
)
OUTCOMES = {"loaded": 0, "refused": 0}


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(paths=st.one_of(TREES, LIKELY))
def test_any_tree_is_read_by_the_rules_or_refused_with_a_path(paths):
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        written = [path for path in paths if put(root / path)]
        try:
            wanted = expected(written)
        except InputError:
            wanted = None
        try:
            tree = Tree(root)
            assert holds_images(tree)
            folder = read_folder(tree, Pixels())
        except InputError as error:
            OUTCOMES["refused"] += 1
            assert wanted is None, (written, str(error))
            assert str(root) in str(error)
            return
        OUTCOMES["loaded"] += 1
        assert wanted is not None, written
        assert folder.classes == tuple(sorted(wanted[0]))
        assert (folder.test is None) == (wanted[1] is None)
        for part, images in ((folder.train, wanted[0]), (folder.test, wanted[1])):
            if part is None:
                continue
            found = {name: [] for name in folder.classes}
            for path, label in zip(part.files(), part.targets.tolist(), strict=True):
                found[folder.classes[label]].append(str(Path(path).relative_to(root)))
            assert {name: sorted(paths) for name, paths in found.items()} == images


def put(path):
    """Write an empty file; false if a file is where a folder should be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        return False
    return True


def test_the_trees_were_of_both_kinds():
    assert sum(OUTCOMES.values()) == 0 or min(OUTCOMES.values()) > 25, OUTCOMES
