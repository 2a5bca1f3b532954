"""Image folders, parquet and the real CIFAR-10, and what can be wrong with them."""

import datasets
import numpy as np
import pytest
from helpers.support import CIFAR10
from PIL import Image

from oneshot.data import Augmentation, huggingface
from oneshot.errors import InputError

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


def parquet(path, columns, features=None):
    (path / "p").mkdir()
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path / "p" / "train-00000-of-00001.parquet")
    return str(path / "p")


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
    with pytest.raises(InputError, match=r"image 8 is 6x8 pixels, image 0 is 6x6; data.image_size=N"):
        huggingface(str(folder), 2, COLOUR).train()


def test_damaged_image_is_named(folder):
    (folder / "train" / "cat" / "0.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match="image 0 cannot be decoded"):
        huggingface(str(folder), 2, COLOUR).train()


def test_missing_folder_and_columns(tmp_path, folder):
    with pytest.raises(InputError, match="there is no such folder"):
        huggingface(str(tmp_path / "nowhere"), 2, COLOUR)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="the folder is empty"):
        huggingface(str(tmp_path / "empty"), 2, COLOUR)
    with pytest.raises(InputError, match="no image column among x, y"):
        huggingface(parquet(tmp_path, {"x": [1, 2], "y": [0, 1]}), 2, COLOUR)
    with pytest.raises(InputError, match="data.label_column: unknown column 'labl'.*did you mean 'label'"):
        huggingface(str(folder), 2, COLOUR, label_column="labl")
    with pytest.raises(InputError, match="data.image_column=label: holds"):
        huggingface(str(folder), 2, COLOUR, image_column="label")
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


@pytest.mark.parametrize(
    ("values", "wrong"), [(["a", None, "b"], "None"), ([0.5, 1.0, 2.0], "0.5"), ([0, 1, 2000000000], "")]
)
def test_labels_that_are_no_classes(tmp_path, values, wrong):
    picture = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    kind = datasets.Value({str: "string", float: "float32", int: "int64"}[type(values[0])])
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    with pytest.raises(InputError, match=f"data.label_column=label: holds {wrong}"):
        huggingface(parquet(tmp_path, {"image": [picture] * 3, "label": values}, features), 2, COLOUR)


@pytest.mark.skipif(not CIFAR10.is_dir(), reason="CIFAR-10 is not at ../shared/data/cifar10")
def test_cifar10():
    augmentation = Augmentation([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
    test = huggingface(str(CIFAR10), 64, augmentation).test()
    assert len(test) == 10_000 and test.data.labels.bincount().tolist() == [1000] * 10
    x = next(test.passes(2000)).x
    assert x.mean().abs() < 0.05 and abs(x.std() - 1) < 0.05
