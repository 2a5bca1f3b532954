"""Image folders, parquet and the real CIFAR-10, and what can be wrong with them."""

import shutil
import tracemalloc
from pathlib import Path

import datasets
import numpy as np
import pytest
from helpers.support import CIFAR10
from PIL import Image

from oneshot.data import Augmentation, huggingface
from oneshot.data.duplicates import same_images
from oneshot.data.image_sets import _Table
from oneshot.data.pixels import Pixels
from oneshot.data.tree import Tree
from oneshot.errors import InputError
from oneshot.tasks import Classification

GREY = Augmentation([0.5], [0.25])
COLOUR = Augmentation([0.5] * 3, [0.25] * 3)


@pytest.fixture
def folder(tmp_path):
    """One folder a class: 4 cats and 4 dogs to train on, 2 of each to test."""
    for split, n in (("train", 4), ("test", 2)):
        for c, name in enumerate(("cat", "dog")):
            (tmp_path / "set" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = np.full((6, 6, 3), 100 * c + 10 * i, np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / split / name / f"{i}.png")
    return tmp_path / "set"


def parquet(path, columns, features=None, split="train"):
    (path / "p").mkdir(exist_ok=True)
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path / "p" / f"{split}-00000-of-00001.parquet")
    return str(path / "p")


def labelled(path, values, kind, split="train", first=0):
    """A table of as many images, whose first pixel is their number, with labels of this type."""
    pictures = [Image.fromarray(np.full((4, 4, 3), first + i, np.uint8)) for i in range(len(values))]
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    return parquet(path, {"image": pictures, "label": values}, features, split)


def test_image_folder(folder):
    data = huggingface(str(folder), 2, COLOUR)
    assert data.image_shape == (3, 6, 6) and data.classes == 2
    train, test = data.train(), data.test()
    assert sorted(zip(train.data.images[:, 0, 0, 0].tolist(), train.data.labels.tolist(), strict=True)) == [
        (100 * c + 10 * i, c) for c in range(2) for i in range(4)
    ]
    assert len(test) == 4


def test_resized_and_grey(folder):
    data = huggingface(str(folder), 2, GREY, image_size=4, grey=True)
    assert data.image_shape == (1, 4, 4)


def test_images_of_two_sizes_need_a_size(folder):
    Image.fromarray(np.zeros((8, 6, 3), np.uint8)).save(folder / "train" / "dog" / "9.png")
    with pytest.raises(InputError, match=r"dog/9.png: has 6x8 pixels, and .*cat/0.png has 6x6; data.image_size=N"):
        huggingface(str(folder), 2, COLOUR).train()


def test_damaged_image_is_named(folder):
    (folder / "train" / "cat" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="cat/0.png: cannot be decoded .no image of a known format"):
        huggingface(str(folder), 2, COLOUR).train()


def test_missing_folder_and_columns(tmp_path, folder):
    with pytest.raises(InputError, match="there is no such folder"):
        huggingface(str(tmp_path / "nowhere"), 2, COLOUR)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder is empty"):
        huggingface(str(tmp_path / "empty"), 2, COLOUR)
    with pytest.raises(InputError, match="no image column among x, y"):
        huggingface(parquet(tmp_path, {"x": [1, 2], "y": [0, 1]}), 2, COLOUR)
    with pytest.raises(InputError, match="data.label_column=labl: .* is a folder of images, without columns"):
        huggingface(str(folder), 2, COLOUR, label_column="labl")
    with pytest.raises(InputError, match="no split 'tset'"):
        huggingface(str(folder), 2, COLOUR, test_split="tset").test()


def test_labels_that_are_missing_or_outside(tmp_path):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    source = parquet(tmp_path, {"image": [picture] * 3, "label": [0, -1, 1]}, features)
    with pytest.raises(InputError, match="train image 1 has label -1: must be from 0 to 1"):
        huggingface(source, 2, COLOUR).train()


def test_labels_as_strings(tmp_path):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    data = huggingface(parquet(tmp_path, {"image": [picture] * 3, "label": ["b", "a", "b"]}, features), 2, COLOUR)
    assert data.train().data.labels.tolist() == [1, 0, 1] and data.classes == 2


def test_columns_of_a_table(tmp_path):
    source = labelled(tmp_path, [0, 1, 0], datasets.Value("int64"))
    with pytest.raises(InputError, match="data.label_column: unknown column 'labl'.*did you mean 'label'"):
        huggingface(source, 2, COLOUR, label_column="labl")
    with pytest.raises(InputError, match="data.image_column=label: holds"):
        huggingface(source, 2, COLOUR, image_column="label")


LABELS = [  # values, their type -> names of the classes, the class of each, what is said
    ([1, 2, 3, 1], "int64", ("1", "2", "3"), [0, 1, 2, 0], "holds 1, 2, 3; these 3 values are the classes"),
    ([500, 0, 1000, 0], "int32", ("0", "500", "1000"), [1, 0, 2, 0], "holds 0, 500, 1000; these 3 values"),
    ([2, 0, 1, 0], "uint8", ("0", "1", "2"), [2, 0, 1, 0], ""),
    ([-1, 1, 1, -1], "int8", ("-1", "1"), [0, 1, 1, 0], "holds -1, 1; these 2 values"),
    ([1.0, 2.0, 1.0], "float32", ("1", "2"), [0, 1, 0], "holds 1, 2; these 2 values"),
    ([True, False, True], "bool", ("False", "True"), [1, 0, 1], ""),
    (["a cat", "dog", "a cat"], "string", ("a cat", "dog"), [0, 1, 0], ""),
    (["10", "9", "10"], "large_string", ("10", "9"), [0, 1, 0], ""),
    (["Cat", "cat", "Cat"], "string", ("Cat", "cat"), [0, 1, 0], "differ in capital letters alone"),
    (["e\u0301", "\u00e9", "x"] * 2, "string", ("x", "\u00e9"), [1, 1, 0] * 2, ""),
]


@pytest.mark.parametrize(("values", "kind", "names", "classes", "said"), LABELS)
def test_labels_of_every_type_are_their_values(tmp_path, values, kind, names, classes, said):
    data = huggingface(labelled(tmp_path, values, datasets.Value(kind)), 2, COLOUR)
    assert data.splits.classes == names and data.train().data.labels.tolist() == classes
    assert len(data.about) == (3 if said else 2) and said in data.about[-1]


@pytest.mark.parametrize(
    ("values", "kind", "wrong"),
    [
        ([-1, 0, 1, 1], datasets.Value("int64"), "holds -1; a number of a class is at least 0"),
        ([7, 19, 4, 12], datasets.Value("int64"), "holds 4, 7, 12, 19, another value for each of 4 images"),
        (["a.png", "b.png", "c.png"], datasets.Value("string"), "another value for each of 3 images"),
        (["cat", "cat ", "cat"], datasets.Value("string"), "'cat' and 'cat ' differ in spaces alone"),
        ([float("nan"), 1.0, 0.0], datasets.Value("float64"), "holds nan"),
        ([1e300, 1.5, 1.0], datasets.Value("float64"), "holds 1.5"),
        ([[0, 1], [1, 0], [1, 1]], datasets.List(datasets.Value("int64")), "holds List"),
        ([None, True, False], datasets.Value("bool"), "holds None"),
        ([b"a", b"b", b"a"], datasets.Value("binary"), "holds b'a'"),
        ([0, None, 1], datasets.Value("int64"), "holds None"),
    ],
)
def test_labels_that_cannot_be_meant(tmp_path, values, kind, wrong):
    with pytest.raises(InputError, match="data.label_column=label: ") as error:
        huggingface(labelled(tmp_path, values, kind), 2, COLOUR)
    assert wrong in str(error.value)


def test_labels_of_the_test_split(tmp_path):
    """They are read when the test images are, and must be labels of training images."""
    source = labelled(tmp_path, [1, 2, 1], datasets.Value("int64"))
    labelled(tmp_path, [2, 3], datasets.Value("int64"), "test", 100)
    data = huggingface(source, 2, COLOUR)
    assert data.train().data.labels.tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="split test: image 1: unknown label 3; known: 1, 2"):
        data.test()


def test_classes_without_training_images_are_said(tmp_path):
    source = labelled(tmp_path, [0, 2, 0], datasets.ClassLabel(names=["a", "b", "c"]))
    data = huggingface(source, 2, COLOUR)
    assert data.classes == 3 and data.about[-1] == "data: 1 of the 3 classes have no training images: b"


def test_a_table_without_a_test_split(tmp_path):
    source = labelled(tmp_path, [0, 1] * 10, datasets.Value("int64"))
    with pytest.raises(InputError, match="no split 'test'; there are: train; data.test_fraction=0.2 holds out"):
        huggingface(source, 2, COLOUR).test()
    data = huggingface(source, 2, COLOUR, test_fraction=0.2)
    train, test = data.splits.train(), data.splits.test()
    assert train.labels.bincount().tolist() == [8, 8] and test.labels.bincount().tolist() == [2, 2]
    numbers = [int(image[0, 0, 0]) for part in (train, test) for image in part.images]
    labels = [int(label) for part in (train, test) for label in part.labels]
    assert sorted(numbers) == [*range(20)] and all(n % 2 == k for n, k in zip(numbers, labels, strict=True))
    labelled(tmp_path, [0, 1], datasets.Value("int64"), "test")
    with pytest.raises(InputError, match="is for data without a test split; there is 'test'"):
        huggingface(source, 2, COLOUR, test_fraction=0.2)


def test_duplicates_in_tables(tmp_path):
    source = labelled(tmp_path, [0, 1] * 5, datasets.Value("int64"))
    labelled(tmp_path, [0, 1, 0], datasets.Value("int64"), "test", 9)  # images 9, 10 and 11
    data = huggingface(source, 2, COLOUR)
    data.train(), data.test()
    assert "1 of 3 test images is among the training images" in data.about[-1]
    assert "split train: image 9 and" in data.about[-1] and "split test: image 0)" in data.about[-1]
    data = huggingface(source, 2, COLOUR, duplicates="refuse")
    data.train()
    with pytest.raises(InputError, match="data.duplicates=refuse: 1 of 3"):
        data.test()


def test_duplicates_in_streamed_tables(tmp_path):
    """Also where the training images alone are too many to hold, as they mostly are."""
    source = labelled(tmp_path, [0, 1] * 5, datasets.Value("int64"))
    labelled(tmp_path, [0, 1, 0], datasets.Value("int64"), "test", 8)  # images 8, 9 and 10
    streamed = dict(residence="stream", workers=0, image_size=4)
    data = huggingface(source, 2, COLOUR, **streamed)
    data.train(), data.test()
    assert "2 of 3 test images are among the training images" in data.about[-1]
    assert "split train: image 8 and" in data.about[-1] and "split test: image 0)" in data.about[-1]
    with pytest.raises(InputError, match="data.duplicates=refuse: 2 of 3"):
        huggingface(source, 2, COLOUR, duplicates="refuse", **streamed).test()


def test_duplicates_of_images_that_are_held_out(tmp_path):
    twice = [Image.fromarray(np.full((4, 4, 3), i // 2, np.uint8)) for i in range(20)]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    source = parquet(tmp_path, {"image": twice, "label": [0, 1] * 10}, features)
    data = huggingface(source, 2, COLOUR, test_fraction=0.25)
    values = [{int(image[0, 0, 0]) for image in part.data.images} for part in (data.train(), data.test())]
    assert f"{len(values[0] & values[1])} of 5 test images" in data.about[-1]


def test_duplicates_in_a_folder_with_a_list(folder):
    listed = [path for path in folder.rglob("*") if path.suffix == ".png"]
    for split in ("train", "test"):
        lines = [f"{p.relative_to(folder / split)},{p.parent.name}" for p in listed if p.is_relative_to(folder / split)]
        (folder / split / "metadata.csv").write_text("\n".join(["file_name,label", *lines, ""]))
    shutil.copy(folder / "train/cat/3.png", folder / "test/cat/1.png")  # 0 and 1 are in both already
    data = huggingface(str(folder), 2, COLOUR)
    data.train(), data.test()
    assert "4 of 4 test images are among the training images" in data.about[-1]


def tables(source):
    table = _Table(source, Tree(Path(source)), "image", "label", Pixels(8), False, Classification())
    return table.given(0.0)


def test_the_same_images_are_those_of_a_plain_loop(tmp_path):
    """Bytes and files, missing and empty ones, in more rows than are in memory at a time."""
    draws = np.random.default_rng(1)
    values = [b"", b"a", b"b", *(bytes(5000) + k.to_bytes(2) for k in range(400))]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    known = {}
    for split, number in (("train", 600), ("test", 300)):
        cells, known[split] = [], []
        for i, k in enumerate(draws.integers(len(values), size=number)):
            path = tmp_path / f"{split}{i}"
            kind = draws.integers(4)
            if kind == 1:
                path.write_bytes(values[k])
            cells.append([{"bytes": values[k], "path": "x"}, {"bytes": None, "path": str(path)}, None][min(kind, 2)])
            known[split].append(values[k] if kind < 2 else b"")
        source = parquet(tmp_path, {"image": cells, "label": [0, 1] * (number // 2)}, features, split)
    expected = [
        (known["train"].index(content), i)
        for i, content in enumerate(known["test"])
        if content and content in known["train"]
    ]
    given = tables(source)
    assert 20 < len(expected) < 150 and same_images(given.train, given.test()) == expected


def test_a_comparison_takes_little_memory(tmp_path):
    """15 MB in each split, all of one size and most with the same beginning: at most 2 MB are in memory."""
    draws, size = np.random.default_rng(0), 50_000
    pictures = [bytes(5000) + draws.bytes(size - 5000) for _ in range(300)]
    other = [pictures[7], *(picture[:-1] + b"x" for picture in pictures[:298]), pictures[7]]
    for split, contents in (("train", [*pictures, pictures[7]]), ("test", other)):
        source = parquet(
            tmp_path, {"image": contents, "label": [0, 1] * 150 + [0] * (len(contents) - 300)}, split=split
        )
    del pictures, other
    given = tables(source)
    tracemalloc.start()
    assert same_images(given.train, given.test()) == [(7, 0), (7, 299)]
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()


def test_damaged_images_in_tables(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    good = {"bytes": None, "path": str(tmp_path / "good.png")}
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(good["path"])
    cells = [good, {"bytes": b"bad", "path": None}, None, good, {"bytes": b"", "path": None}]
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    source = parquet(tmp_path, {"image": cells, "label": [0, 1, 1, 1, 0]}, features)
    with pytest.raises(
        InputError, match="3 of 5 train images .*: image 1: .*: image 2: is empty; .*: image 4: is empty"
    ):
        huggingface(source, 2, COLOUR).train()
    data = huggingface(source, 2, COLOUR, skip_corrupt=True)
    assert data.train().data.labels.tolist() == [0, 1]


@pytest.mark.parametrize("plain", [True, False])
def test_images_as_bytes(tmp_path, plain):
    """As other programs than `datasets` write them into parquet."""
    Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    cells = [content if plain else {"bytes": content, "path": "a.png"}] * 4
    data = huggingface(parquet(tmp_path, {"image": cells, "label": [0, 1, 0, 1]}), 2, COLOUR)
    assert (data.train().data.images == 9).all() and data.image_shape == (3, 4, 4)


@pytest.mark.parametrize("place", ["below the splits", "without splits"])
def test_a_list_of_labels_beside_the_images(tmp_path, place):
    """metadata.csv, read by `datasets`; names of files decide nothing here either."""
    root = tmp_path / "set"
    numbers, rows = {}, {}
    for split in ("train", "test") if "without" not in place else ("",):
        (root / split).mkdir(parents=True, exist_ok=True)
        for i, name in enumerate(("train_1.png", "test_2.png", "val_3.png", "x.png")):
            number = len(numbers)
            Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(root / split / name)
            numbers[number] = (split, "cat" if i % 2 else "dog")
            folder = root / split if "below" in place else root
            rows.setdefault(folder, []).append(f"{(root / split / name).relative_to(folder)},{numbers[number][1]}")
    for folder, lines in rows.items():
        (folder / "metadata.csv").write_text("\n".join(["file_name,label", *lines]) + "\n")
    data = huggingface(str(root), 2, COLOUR)
    assert data.splits.classes == ("cat", "dog")
    for split, part in (("train", data.train()), ("test", data.test() if "without" not in place else None)):
        if part is not None:
            pairs = zip(part.data.images[:, 0, 0, 0].tolist(), part.data.labels.tolist(), strict=True)
            found = {n: data.splits.classes[k] for n, k in pairs}
            assert found == {n: name for n, (of, name) in numbers.items() if of in (split, "")}
    with pytest.raises(InputError, match="no label column among image, kind"):
        for folder, lines in rows.items():
            (folder / "metadata.csv").write_text("\n".join(["file_name,kind", *lines]) + "\n")
        huggingface(str(root), 2, COLOUR)
    assert huggingface(str(root), 2, COLOUR, label_column="kind").splits.classes == ("cat", "dog")


def test_a_list_above_the_splits_is_refused(folder):
    (folder / "metadata.csv").write_text("file_name,label\ntrain/cat/0.png,cat\n")
    with pytest.raises(InputError, match="metadata.csv: lists images of several splits; put such a list into each of"):
        huggingface(str(folder), 2, COLOUR)


def test_images_beside_tables_are_not_read(tmp_path):
    """As in a copy of a data set of the hub, with the pictures of its README."""
    source = labelled(tmp_path, [0, 1] * 3, datasets.Value("int64"))
    for name in ("assets/a.png", "assets/b.png", "c.png", "d.png"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), 99, np.uint8)).save(tmp_path / "p" / name)
    for i in range(1, 6):
        shutil.copy(tmp_path / "p/train-00000-of-00001.parquet", tmp_path / f"p/train-{i:05}-of-00006.parquet")
    data = huggingface(source, 2, COLOUR)
    assert sorted(data.train().data.images[:, 0, 0, 0].tolist()) == sorted([*range(6)] * 6)
    assert f"left out: 4 image files beside tables (first: {source}/c.png)" in data.about[0]


def test_class_folders_with_a_table_of_something_else(folder):
    datasets.Dataset.from_dict({"a": [1], "b": [2]}).to_parquet(folder / "features.parquet")
    with pytest.raises(
        InputError, match="holds tables .first: .*features.parquet. beside images .first: .*; move away"
    ):
        huggingface(str(folder), 2, COLOUR)


@pytest.mark.parametrize(
    ("values", "wrong"), [(["a", None, "b"], "None"), ([0.5, 1.0, 2.0], "0.5"), ([0, 1, 2000000000], "")]
)
def test_labels_that_are_no_classes(tmp_path, values, wrong):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    kind = datasets.Value({str: "string", float: "float32", int: "int64"}[type(values[0])])
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    with pytest.raises(InputError, match=f"data.label_column=label: holds {wrong}"):
        huggingface(parquet(tmp_path, {"image": [picture] * 3, "label": values}, features), 2, COLOUR)


def test_what_a_loader_says_is_said(tmp_path):
    """And not that an error occurred."""
    (tmp_path / "train.csv").write_text("a,b\n1,2\n1,2,3,4\n")
    with pytest.raises(InputError, match=f"data.source={tmp_path}: cannot be loaded") as raised:
        huggingface(str(tmp_path), 2, COLOUR)
    assert "An error occurred" not in str(raised.value) and "DatasetGenerationError" not in str(raised.value)


@pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not at ../shared/data/cifar10")
def test_cifar10():
    augmentation = Augmentation([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
    test = huggingface(str(CIFAR10), 64, augmentation).test()
    assert len(test) == 10_000 and test.data.labels.bincount().tolist() == [1000] * 10
    x = next(test.passes(2000)).x
    assert x.mean().abs() < 0.05 and abs(x.std() - 1) < 0.05
