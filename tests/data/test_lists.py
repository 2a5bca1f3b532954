"""Images that a metadata.csv, metadata.jsonl or metadata.parquet names: what it says is read, all else is said."""

import json

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from oneshot.data import Augmentation, huggingface
from oneshot.errors import InputError
from oneshot.tasks import Regression

PLAIN = Augmentation([0.0] * 3, [1 / 255] * 3)


def images(folder, *names):
    """Images whose level is their number in this call, each with a byte of its own."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(folder / name)
    return folder


def eight(folder, *rows, suffix="csv"):
    """Eight images 0.png to 7.png, and a list with these rows of a name and a label."""
    images(folder, *(f"{i}.png" for i in range(8)))
    write(folder, rows or [(f"{i}.png", "ab"[i % 2]) for i in range(8)], suffix)
    return folder


def write(folder, rows, suffix="csv"):
    path = folder / f"metadata.{suffix}"
    if suffix == "csv":
        path.write_text("\n".join(["file_name,label", *(f"{name},{label}" for name, label in rows)]) + "\n")
    elif suffix == "jsonl":
        path.write_text("\n".join(json.dumps({"file_name": name, "label": label}) for name, label in rows))
    else:
        names, labels = zip(*rows, strict=True)
        pyarrow.parquet.write_table(pyarrow.table({"file_name": names, "label": labels}), path)


def load(folder, **options):
    return huggingface(str(folder), 2, PLAIN, **options)


def pairs(part, classes):
    """Level of an image -> its label."""
    levels = part.data.images[:, 0, 0, 0].tolist()
    return {n: classes[k] for n, k in zip(levels, part.data.labels.tolist(), strict=True)}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_images_that_no_list_names_are_said(tmp_path, suffix):
    rows = [("1.png", "a"), ("3.png", "b"), ("6.png", "a"), ("7.png", "b")]
    data = load(eight(tmp_path / "one", *rows, suffix=suffix))
    assert pairs(data.train(), data.splits.classes) == {1: "a", 3: "b", 6: "a", 7: "b"}
    assert f"left out: 4 images that no list names (first: {tmp_path}/one/0.png)" in data.about[0]
    for split, count in (("train", 4), ("test", 7), ("val", 8)):
        eight(tmp_path / "two" / split, *((f"{i}.png", "ab"[i % 2]) for i in range(count)), suffix=suffix)
    images(tmp_path / "two", "beside.png")
    data = load(tmp_path / "two")
    assert len(data.train()) == 4 and len(data.test()) == 7
    assert f"left out: split {tmp_path}/two/val, 6 images that no list names (first: {tmp_path}" in data.about[0]
    assert "no list" not in load(eight(tmp_path / "three", suffix=suffix)).about[0]


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("again", [("3.png", "a"), ("./3.png", "b"), ("x/../3.png", "b")])
def test_a_file_that_is_listed_twice_is_refused(tmp_path, suffix, again):
    rows = [(f"{i}.png", "ab"[i % 2]) for i in range(8)]
    words = rf"{tmp_path}/3.png: is listed twice .the second time in row 9 of {tmp_path}/metadata.{suffix}"
    with pytest.raises(InputError, match=words):
        load(eight(tmp_path, *rows, again, suffix=suffix))


def test_two_lists_in_one_folder(tmp_path):
    eight(tmp_path, *((f"{i}.png", "ab"[i % 2]) for i in range(4)))
    write(tmp_path, [(f"{i}.png", "ab"[i % 2]) for i in range(4, 8)], "jsonl")
    images(tmp_path, *(f"{i}.png" for i in range(8)))
    data = load(tmp_path)
    assert pairs(data.train(), data.splits.classes) == {i: "ab"[i % 2] for i in range(8)}
    write(tmp_path, [(f"{i}.png", "ab"[i % 2]) for i in range(3, 8)], "jsonl")
    with pytest.raises(InputError, match=r"/3.png: is listed twice .*metadata.jsonl"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["../x/0.png", "/etc/0.png", "..", ""])
def test_names_that_are_not_in_the_folder(tmp_path, name):
    eight(tmp_path / "set", ("0.png", "a"), (name, "b"))
    with pytest.raises(InputError, match=f"{tmp_path}/set/metadata.csv: row 2 (names|has no file_name)"):
        load(tmp_path / "set")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "metadata.csv: has no rows"),
        ("file_name,label\n", "metadata.csv: has no rows"),
        ("name,label\n0.png,a\n", "must have a column file_name and none that is called image; there are: name, label"),
        ("file_name;label\n0.png;a\n", "there are: file_name;label"),
        ("file_name,image,label\n0.png,0,a\n", "none that is called image; there are: file_name, image, label"),
        ("file_name,label\n0.png\n", "row 1 has 1 fields, its first line has 2"),
        ("file_name,label,label\n0.png,a,b\n", "two columns have one name"),
        ("file_name,label\n0.png,a\n1.png,a\n", "data.label_column=label has one class, 'a'; at least 2 are needed"),
        ("file_name,label\n0.png,a\n1.png,\n", r"data.label_column=label: holds None \(image 1\)"),
        ("file_name,label\n0.png,a\nno.png,b\n", "1 of 2 train images cannot be used .*/no.png: cannot be read"),
    ],
)
def test_lists_that_cannot_be_meant(tmp_path, text, words):
    (eight(tmp_path) / "metadata.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        load(tmp_path).train()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"file_name": "0.png"}\n[1]\n', "line 2 is .1.; must be"),
        ("{\n", "line 1 is not JSON"),
        ('{"file_name": "0.png", "label": 1}\n{"file_name": "1.png", "label": "a"}\n', "column 'label' holds values"),
    ],
)
def test_lists_of_objects_that_cannot_be_meant(tmp_path, text, words):
    (eight(tmp_path) / "metadata.csv").unlink()
    (tmp_path / "metadata.jsonl").write_text(text)
    with pytest.raises(InputError, match=f"{tmp_path}/metadata.jsonl: {words}"):
        load(tmp_path)
    (tmp_path / "metadata.jsonl").rename(tmp_path / "metadata.parquet")
    with pytest.raises(InputError, match=f"{tmp_path}/metadata.parquet: is no parquet file"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["NA", "None"], ("NA", "None")),  # words that some readers take for a missing value
        (["nan", "null"], ("nan", "null")),
        (["01", "1"], ("01", "1")),
        ([10, 9], ("9", "10")),
        (["true", "False"], ("False", "True")),
        (["2020-01-01", "2020-01-02"], ("2020-01-01", "2020-01-02")),
    ],
)
def test_labels_are_what_is_written(tmp_path, values, classes):
    data = load(eight(tmp_path, *((f"{i}.png", values[i % 2]) for i in range(8))))
    assert data.splits.classes == classes
    found = pairs(data.train(), classes)
    assert found == {i: str(values[i % 2]).replace("true", "True") for i in range(8)}


def test_the_training_list_says_the_type_of_a_column(tmp_path):
    """One odd value in the test list is named, and changes nothing of the training."""
    eight(tmp_path / "train", *((f"{i}.png", i % 3) for i in range(8)))
    eight(tmp_path / "test", *((f"{i}.png", i % 3) for i in range(8)))
    assert pairs(load(tmp_path).test(), "012") == {i: str(i % 3) for i in range(8)}
    write(tmp_path / "test", [("0.png", "1"), ("1.png", "one")])
    with pytest.raises(InputError, match="split test: image 0: unknown label '1'"):
        load(tmp_path).test()
    (tmp_path / "test/metadata.csv").write_text("file_name\n0.png\n")
    with pytest.raises(InputError, match="split test: unknown column 'label'"):
        load(tmp_path).test()
    write(tmp_path / "train", [(f"{i}.png", i / 2) for i in range(8)])
    write(tmp_path / "test", [(f"{i}.png", i) for i in range(8)])
    assert load(tmp_path, task=Regression()).test().data.labels.tolist() == [[i] for i in range(8)]


def test_splits_are_chosen_as_those_of_class_folders(tmp_path):
    for split in ("train", "val", "valid"):
        eight(tmp_path / split)
    with pytest.raises(InputError, match=r"/val and .*/valid: are two folders for one split; join them, or choose one"):
        load(tmp_path)
    assert len(load(tmp_path, test_split="valid").test()) == 8
    eight(tmp_path / "Testing")
    data = load(tmp_path)
    assert f"left out: split {tmp_path}/val, split {tmp_path}/valid" in data.about[0] and len(data.test()) == 8
    (tmp_path / "Testing/metadata.csv").unlink()
    with pytest.raises(InputError, match="/Testing: has no list of its images"):
        load(tmp_path)


def test_class_folders_with_a_list(tmp_path):
    """The list says the labels, and this is said."""
    images(tmp_path, *(f"{name}/{i}.png" for name in "xy" for i in range(3)))
    write(tmp_path, [(f"{name}/{i}.png", "ab"[i % 2]) for name in "xy" for i in range(3)])
    data = load(tmp_path)
    assert data.splits.classes == ("a", "b") and len(data.train()) == 6
    assert "data: labels are those of metadata.csv, and not the names of the 2 folders of the images" in data.about


def test_a_name_in_another_form_of_unicode(tmp_path):
    images(tmp_path, "cafe\u0301.png", "b.png")
    write(tmp_path, [("caf\u00e9.png", "a"), ("b.png", "b")])
    assert load(tmp_path).train().data.labels.tolist() == [0, 1]


def test_a_list_above_folders_that_are_like_splits_says_what_is_meant(tmp_path):
    images(tmp_path, *(f"{name}_images/{i}.png" for name in ("train", "test") for i in range(4)))
    write(tmp_path, [(f"train_images/{i}.png", "ab"[i % 2]) for i in range(4)])
    data = load(tmp_path)
    assert len(data.train()) == 4
    assert f"left out: 4 images that no list names (first: {tmp_path}/test_images/0.png)" in data.about[0]


def test_a_list_is_streamed(tmp_path):
    data = load(eight(tmp_path), residence="stream", workers=1, image_size=4)
    part = data.train()
    batches = [(round(float(x[0, 0, 0]) * 255), int(y)) for b in part.passes(4) for x, y in zip(b.x, b.y, strict=True)]
    part.close()
    assert sorted(n // 255 for n, _ in batches) == [*range(8)] and all(n // 255 % 2 == y for n, y in batches)
