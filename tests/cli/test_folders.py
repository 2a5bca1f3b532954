"""Commands on folders of images: what they say, what they never open, and an exported network on the raw files."""

import csv
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from helpers.raw_images import pixels
from PIL import Image

from oneshot.data.folders import read_folder
from oneshot.data.pixels import Pixels
from oneshot.data.tree import Tree

SMALL = ["data=images", "data.source=set", "data.image_size=8", "data.batch_size=4", "logger=none", "epochs=1"]
SPACE = ["space=nasbench201", "space.cells=1", "space.channels=4"]
OPENED: list[str] | None = None  # paths, while it is a list


def watch(event, arguments):
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


sys.addaudithook(watch)  # it stays, and does nothing outside of `opened`


class opened:
    """A context in which the path of every file that is opened is kept."""

    def __enter__(self):
        global OPENED
        OPENED = []
        return OPENED

    def __exit__(self, *_):
        global OPENED
        OPENED = None


def images(root, splits=("train", "test"), number=8, seed=0):
    """Dark and light images of 10x6 pixels with noise."""
    draws = np.random.default_rng(seed)
    for split in splits:
        for name, level in (("dark", 60), ("light", 140)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(number):
                noisy = (level + draws.integers(0, 60, (10, 6, 3))).astype(np.uint8)
                Image.fromarray(noisy).save(folder / f"test_{i}.png")
    return root


def is_below(path, folder):
    return str(folder) in path


def test_a_search_a_baseline_and_a_ranking_open_no_test_image(run, tmp_path):
    """They hold rubbish, and nothing of them is opened but the list of their names."""
    images(tmp_path / "set")
    for path in (tmp_path / "set" / "test").rglob("*.png"):
        path.write_bytes(b"rubbish")
        path.chmod(0)
    jobs = [
        ("search", ["architect=uniform", "selection.samples=2", "out=found"]),
        ("baseline", ["supernet=found", "strategy=random_search", "budget.queries=2", "out=baseline"]),
        (
            "rank",
            ["supernet=found", "estimator@reference=training", "reference.epochs=1", "architectures=3", "out=ranked"],
        ),
    ]
    for command, words in jobs:
        with opened() as paths:
            code, out, err = run(command, *SMALL, *SPACE, *words)
        assert (code, err) == (0, ""), (command, err)
        assert "data: 16 training images of 8x8 pixels in 2 classes (dark, light), 16 test images; set\n" in out
        assert sum(is_below(path, "set/train/") for path in paths) >= 16  # the hook sees what is opened
        assert not [path for path in paths if is_below(path, "set/test/")]
    code, out, err = run("retrain", *SMALL, *SPACE, "architecture=found", "out=r")
    assert code == 2 and err.startswith("error: 16 of 16 test images cannot be used: set/test/dark/test_0.png: ")


def test_images_held_out_are_not_opened_by_a_search(run, tmp_path):
    images(tmp_path, splits=["set"])
    held_out = read_folder(Tree(tmp_path / "set"), Pixels(8), test_fraction=0.25).test.files()
    assert len(held_out) == 4
    words = [*SMALL, *SPACE, "architect=uniform", "selection.samples=2", "data.test_fraction=0.25"]
    with opened() as paths:
        code, out, _ = run("search", *words, "out=found")
    names = {path.partition("/set/")[2] for path in held_out}
    seen = {path.partition("set/")[2] for path in paths if "set/" in path}
    assert code == 0 and len(seen & {str(p.relative_to(tmp_path / "set")) for p in tmp_path.glob("set/*/*")}) == 12
    assert not seen & names
    assert "data: 12 training images" in out and "4 test images (data.test_fraction=0.25)" in out
    assert "data.test_fraction=0.25" in out.splitlines()[-1]  # the next command holds out the same
    code, out, _ = run("retrain", *SMALL, *SPACE, "data.test_fraction=0.25", "architecture=found", "out=r")
    assert code == 0


def test_a_search_without_test_images_says_what_a_retraining_needs(run, tmp_path):
    images(tmp_path, splits=["set"])
    assert run("search", *SMALL, *SPACE, "architect=uniform", "selection.samples=2", "out=found")[0] == 0
    code, out, err = run("retrain", *SMALL, *SPACE, "architecture=found", "out=r")
    assert "data: without test images a retraining needs data.test_fraction; 0.2 holds out" in out
    assert code == 2 and err.startswith("error: data.source=set: no split 'test'; data.test_fraction=0.2 holds out")


def awkward(root):
    """Test files of every kind beside plain training images; returns path -> class."""
    images(root, splits=["train"], number=40)
    draws = np.random.default_rng(1)
    truth = {}
    for name, level in (("dark", 60), ("light", 110)):  # so near that a short training errs
        folder = root / "test" / name
        folder.mkdir(parents=True)
        for i in range(6):
            height, width = draws.integers(5, 30, 2)
            noisy = np.clip(level + draws.integers(-60, 120, (height, width, 3)), 0, 255).astype(np.uint8)
            alpha = draws.integers(0, 256, (height, width, 1), np.uint8)
            turned = Image.Exif()
            turned[0x0112] = int(draws.integers(1, 9))
            grey = noisy[..., 0]
            kinds = {
                "rgba.png": (np.concatenate([noisy, alpha], axis=2), {}),
                "deep.png": (grey.astype(np.uint16) * 256 + 31, {}),
                "deep.tiff": (grey.astype(np.uint16) * 250 + 7, {}),
                "float.tif": ((grey / 255).astype(np.float32), {}),
                "turned.jpg": (noisy, {"exif": turned}),
                "palette.png": (Image.fromarray(noisy).quantize(8), {"transparency": 3}),
                "one.gif": (grey, {"save_all": True, "append_images": [Image.fromarray(255 - grey)]}),
                "cmyk.jpg": (Image.fromarray(noisy).convert("CMYK"), {}),
                "bits.png": (Image.fromarray(grey > 128), {}),
            }
            for kind, (picture, options) in kinds.items():
                path = folder / f"{i}.{kind}"
                (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **options)
                truth[path] = name
    return truth


def test_an_exported_network_on_the_raw_files(run, tmp_path):
    """By preprocessing.json alone it gets the evaluation's accuracy, and the same confusions.

    Other settings of the pixels: tests/data/test_pixels.py.
    """
    settings = ["data.fit=pad", "data.background=[200,30,60]", "data.augmentation.mean=[0.5,0.4,0.3]"]
    truth = awkward(tmp_path / "set")
    longer = ["epochs=8", "data.batch_size=8", "drop_path=0", "architecture=random", "out=r"]
    assert run("retrain", *SMALL[:-1], *SPACE, *settings, *longer)[0] == 0
    words = ["run=r", "export=[onnx,torch]", "batches=[1]", "repeats=2", "warmup=0", "logger=none", "out=e"]
    code, out, err = run("evaluate", *words)
    assert (code, err) == (0, "")
    assert "images turned as EXIF says" in out and "images with transparent pixels, put on data.background" in out
    result = json.loads((tmp_path / "e" / "result.json").read_text())

    model = onnx.load(tmp_path / "e" / "network.onnx")
    told = json.loads((tmp_path / "e" / "preprocessing.json").read_text())
    assert told == json.loads({entry.key: entry.value for entry in model.metadata_props}["preprocessing.json"])
    extra = {"preprocessing.json": ""}
    torch.export.load(tmp_path / "e" / "network.pt2", extra_files=extra)
    assert json.loads(extra["preprocessing.json"]) == told

    values = np.stack([pixels(path, told["file_to_pixels"]) for path in truth]).astype(np.float32) / np.float32(255)
    mean, std = (np.array(told["input"][key], np.float32) for key in ("mean", "std"))
    inputs = ((values - mean) / std).transpose(0, 3, 1, 2)
    assert list(inputs.shape[1:]) == told["input"]["shape"][1:]
    session = onnxruntime.InferenceSession(tmp_path / "e" / "network.onnx")
    (logits,) = session.run([told["output"]["name"]], {told["input"]["name"]: inputs})
    found = [told["classes"][k] for k in logits.argmax(axis=1)]

    with open(tmp_path / "e" / "confusion.csv") as file:
        head, *rows = csv.reader(file)
    counts = {(row[0], name): int(n) for row in rows for name, n in zip(head[1:], row[1:], strict=True)}
    pairs = list(zip(truth.values(), found, strict=True))
    assert counts == {pair: pairs.count(pair) for pair in counts}
    share = sum(of == name for of, name in pairs) / len(pairs)
    assert result["test_accuracy"] == pytest.approx(share, rel=1e-6) and len(pairs) == 108
    assert len(set(found)) == 2  # else any reading of the files would do
