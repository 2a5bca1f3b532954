"""Targets in the columns of a table: numbers, labels of 0 and 1, lists of labels."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from oneshot.data import Augmentation, huggingface
from oneshot.errors import InputError
from oneshot.tasks import Classification, MultiLabel, Regression, Segmentation

ROWS = 20


def written(folder, rows):
    """Images of 8x8 whose level is their number, with a list of targets, in a split each."""
    for split in ("train", "test"):
        (folder / split).mkdir()
        lines = []
        for i, row in enumerate(rows):
            Image.fromarray(np.full((8, 8, 3), 10 * i, np.uint8)).save(folder / split / f"{i}.png")
            lines.append(json.dumps({"file_name": f"{i}.png", **row}))
        (folder / split / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return str(folder)


def read(folder, task, columns):
    plain = Augmentation([0.0] * 3, [1 / 255] * 3)
    return huggingface(folder, 2, plain, image_column="image", label_column=columns, task=task)


def pairs(data):
    """Number of an image -> its target."""
    found = {}
    for x, y in data.train().passes():
        found |= {round(float(image[0, 0, 0]) / 10): target.tolist() for image, target in zip(x, y, strict=True)}
    return found


def test_numbers_of_a_regression(tmp_path):
    folder = written(tmp_path, [{"age": 20 + i, "weight": i / 4} for i in range(ROWS)])
    data = read(folder, Regression(), ["age", "weight"])
    assert data.splits.classes == ("age", "weight") and data.metric.name == "mean_absolute_error"
    assert pairs(data) == {i: [20 + i, i / 4] for i in range(ROWS)}
    assert "with 2 numbers each (age, weight)" in data.about[0]
    assert pairs(read(folder, Regression(), "weight")) == {i: [i / 4] for i in range(ROWS)}
    for part in data.split():  # each has its share of each tenth of the range
        assert sorted((part.data.labels[:, 0] - 20).div(2, rounding_mode="floor").tolist()) == list(range(10))


def test_labels_of_0_and_1(tmp_path):
    folder = written(tmp_path, [{"red": i % 2, "round": i % 3 == 0} for i in range(ROWS)])
    data = read(folder, MultiLabel(), ["red", "round"])
    assert pairs(data) == {i: [i % 2, int(i % 3 == 0)] for i in range(ROWS)} and data.classes == 2
    assert "with 2 labels (red, round)" in data.about[0]


def test_lists_of_labels(tmp_path):
    sets = [["cat"] if i % 3 == 0 else ["dog", "cat"] if i % 3 == 1 else [] for i in range(ROWS)]
    data = read(written(tmp_path, [{"tags": tags} for tags in sets]), MultiLabel(), "tags")
    assert data.splits.classes == ("cat", "dog")
    assert pairs(data) == {i: [int("cat" in tags), int("dog" in tags)] for i, tags in enumerate(sets)}


@pytest.mark.parametrize(
    ("rows", "task", "columns", "message"),
    [
        ([{"age": None}], Regression(), "age", "image 0: column 'age' holds None; must be a finite number"),
        ([{"age": "old"}], Regression(), "age", "column 'age' holds 'old'; must be a finite number"),
        ([{"a": 2}], MultiLabel(), ["a"], "column 'a' holds 2; must be 0 or 1"),
        ([{"a": [0, 1]}], MultiLabel(), "a", "all its lists hold 2 times 0 or 1"),
        ([{"a": [0.5]}], MultiLabel(), "a", r"image 0 has \[0.5\]; must be a list of names"),
        (
            [{"a": 1, "b": 2}],
            Classification(),
            ["a", "b"],
            "a classification has one column; task=multilabel has several",
        ),
        ([{"a": 1}], Regression(), "age", "data.label_column: unknown column 'age'"),
        ([{"a": 1}], Segmentation(), "a", "targets in columns are for classification, multilabel and regression"),
    ],
)
def test_what_is_refused(tmp_path, rows, task, columns, message):
    with pytest.raises(InputError, match=message):
        data = read(written(tmp_path, rows * ROWS), task, columns)
        data.split()


def test_a_label_that_no_training_image_has(tmp_path):
    folder = written(tmp_path, [{"tags": ["cat"]}, {"tags": ["dog"]}] * 3)
    (tmp_path / "test" / "metadata.jsonl").write_text('{"file_name": "0.png", "tags": ["cow"]}\n')
    for i in range(1, 6):
        (tmp_path / "test" / f"{i}.png").unlink()
    data = read(folder, MultiLabel(), "tags")
    assert torch.equal(data.train().data.labels.sum(0), torch.tensor([3.0, 3.0]))
    with pytest.raises(InputError, match="unknown label 'cow'"):
        data.test()


def test_folders_of_classes_have_no_numbers(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (8, 8), (i, i, i)).save(tmp_path / "train" / name / f"{i}.png")
    with pytest.raises(InputError, match="task=regression: .* holds a folder for each class; for other targets put a"):
        huggingface(str(tmp_path), 2, Augmentation([0.0] * 3, [1.0] * 3), task=Regression())
