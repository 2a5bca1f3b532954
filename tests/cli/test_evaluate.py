"""`oneshot evaluate` as a user types it: what it says of a retrained network, against other ways to find it."""

import csv
import json
import os
import shutil
import sys

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from helpers.commands import is_first_line, run_all
from PIL import Image
from safetensors.torch import load_file, save_file

from oneshot.cost import network_cost
from oneshot.data import digits
from oneshot.export import TOLERANCE
from oneshot.runs.folder import FINISHED
from oneshot.spaces import DARTSCells

TRAIN = ["epochs=1", "space.channels=4", "data.train_size=128", "data.batch_size=32"]
TINY = ["batches=[1,3]", "repeats=2", "warmup=0"]
DARTS = ["space.cells=3", "space.nodes=1"]
LEFT = {
    ".lock", "status.json", "config.yaml", "metrics.jsonl", "timings.jsonl", "result.json",
    "confusion.csv", *(f"confusion.{kind}" for kind in ("pdf", "png", "svg")),
}  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Retrainings of both spaces, one in double precision, and a search."""
    folder = tmp_path_factory.mktemp("trained")
    jobs = [
        ("retrain", [*DARTS, "space.auxiliary=true", "architecture=random", "out=darts"]),
        (
            "retrain",
            ["space=nasbench201", "space.cells=1", "architecture=random", "trainer.precision=64-true", "out=nb"],
        ),
        ("search", [*DARTS, "architect=uniform", "selection.samples=2", "out=search"]),
    ]
    run_all(folder, [(command, [*TRAIN, *words]) for command, words in jobs])
    return folder


@pytest.fixture
def here(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def result(folder):
    return json.loads((folder / "result.json").read_text())


def test_a_network_with_an_auxiliary_head_and_its_export(pictures, run, here):
    code, out, err = run("evaluate", *TINY, "run=darts", "export=[torch,onnx]", "logger=csv", "out=e")
    assert (code, err) == (0, "")
    files = {p.name for p in (here / "e").iterdir()}
    assert files == LEFT | {"network.pt2", "network.onnx", "preprocessing.json", "csv"}
    found, before = result(here / "e"), result(here / "darts")
    assert found["status"] == FINISHED and found["run"] == "darts"
    assert found["test_accuracy"] == before["test_accuracy"]  # to the last digit
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=1, auxiliary=True)
    cost = network_cost(space, space.load(here / "darts" / "architecture.json"), (1, 8, 8))
    assert {name: found[name] for name in cost} == cost and found["multiply_accumulates"] > 0
    assert "the retraining itself" not in out and "images a call" in out and "network.onnx: on 359 test images" in out

    with open(here / "e" / "confusion.csv") as file:
        head, *rows = csv.reader(file)
    counts = np.array([row[1:] for row in rows], int)
    assert head[1:] == [row[0] for row in rows] == [str(d) for d in range(10)] and counts.sum() == 359
    assert counts.trace() / 359 == pytest.approx(found["test_accuracy"], rel=1e-6)
    assert found["class_accuracy"] == {str(d): counts[d, d] / counts[d].sum() for d in range(10)}
    (row,) = [json.loads(line) for line in (here / "e" / "metrics.jsonl").read_text().splitlines()]
    names = ("accuracy", "f1", "auroc", "top_5_accuracy", "loss")
    assert row == {"step": 0, **{f"test_{name}": found[f"test_{name}"] for name in names}}

    for kind, file in (("torch", "network.pt2"), ("onnx", "network.onnx")):
        made = found["export"][kind]
        assert made["bytes"] == (here / "e" / file).stat().st_size and made["images"] == 359
        assert made["largest_difference"] < made["tolerance"] == TOLERANCE and made["agreement"] == 1
    assert pixels_through(here / "e") == pytest.approx(found["test_accuracy"], rel=1e-6)


def pixels_through(folder):
    """The share of raw test images that the ONNX file finds, told by preprocessing.json alone."""
    told = json.loads((folder / "preprocessing.json").read_text())
    images, labels = digits().test().data
    mean, std = (np.array(told["input"][key], np.float32) for key in ("mean", "std"))
    values = ((images.numpy() / np.float32(255) - mean) / std).transpose(0, 3, 1, 2)
    assert list(values.shape[1:]) == told["input"]["shape"][1:]
    session = onnxruntime.InferenceSession(folder / "network.onnx")
    (logits,) = session.run([told["output"]["name"]], {told["input"]["name"]: values.astype(np.float32)})
    predicted = [told["classes"][k] for k in logits.argmax(axis=1)]
    return np.mean([name == str(label) for name, label in zip(predicted, labels.tolist(), strict=True)])


def test_another_space_in_double_precision_and_latest(pictures, run, here):
    """Space and precision come from the run, without a word on the command line."""
    for name, time in (("nb", 2e9), ("darts", 1e9)):
        shutil.copytree(here / name, here / "outputs" / "retrain" / name)
        os.utime(here / "outputs" / "retrain" / name / "result.json", (time, time))
    assert run("evaluate", *TINY)[0] == 0
    (folder,) = (here / "outputs" / "evaluate").iterdir()
    found = result(folder)
    assert found["test_accuracy"] == result(here / "nb")["test_accuracy"] and found["precision"] == "64-true"
    assert {p.name for p in folder.iterdir()} == LEFT
    assert found["export"] == {} and set(found["latency"]["images"]) == {"1", "3"}
    assert found["device"].startswith("cpu: ") and found["latency"]["images"]["1"]["median_ms"] > 0


def test_another_precision_is_said(run, here):
    """Here the weights' last digits do not count: only that the test was another one, and that it says so if it was."""
    code, out, _ = run("evaluate", *TINY, "run=nb", "trainer.precision=bf16-mixed", "out=e")
    same = result(here / "e")["test_accuracy"] == result(here / "nb")["test_accuracy"]
    assert code == 0 and ("the retraining itself found" in out) == (not same) and "test in bf16-mixed" in out


def test_the_same_command_answers_and_multirun(run, here):
    assert run("evaluate", *TINY, "run=darts", "out=e")[0] == 0
    before = (here / "e" / "result.json").read_bytes()
    code, out, _ = run("evaluate", *TINY, "run=darts", "out=e")
    assert code == 0 and "finished before: e" in out and (here / "e" / "result.json").read_bytes() == before
    code, _, err = run("evaluate", *TINY, "run=nb", "out=e")
    assert code == 2 and "out=e: was started with" in err
    assert run("evaluate", "--multirun", *TINY, "run=darts,nb", "out=m")[0] == 0
    assert [result(here / "m" / n)["run"] for n in "01"] == ["darts", "nb"]


def test_data_that_has_moved(run, tmp_path):
    """Images in folders, and a space that the command line names again."""
    draws = np.random.default_rng(0)
    for split, n in (("train", 8), ("test", 5)):
        for name, level in (("dark", 40), ("light", 200)):
            (tmp_path / "a" / split / name).mkdir(parents=True)
            for i in range(n):
                pixels = (level + draws.integers(0, 40, (8, 8, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "a" / split / name / f"{i}.png")
    settings = ["space=nasbench201", "space.cells=1", "space.channels=4", "epochs=1", "data.batch_size=4"]
    assert run("retrain", *settings, "data=images", "data.source=./a", "architecture=random", "out=r")[0] == 0
    (tmp_path / "a").rename(tmp_path / "b")
    code, _, err = run("evaluate", *TINY, "run=r", "out=e")
    assert code == 2 and err.startswith("error: data.source=./a: there is no such folder") and err.count("\n") == 1
    assert run("evaluate", *TINY, "run=r", "data.source=./b", "space=nasbench201", "out=e")[0] == 0
    assert result(tmp_path / "e")["test_accuracy"] == result(tmp_path / "r")["test_accuracy"]
    assert set(result(tmp_path / "e")["class_accuracy"]) == {"dark", "light"}


def test_an_operation_of_the_users_own_is_given_again(run, tmp_path):
    """It is code, so the command line names it, not the run."""
    own = "+space.operations.mine={_target_: oneshot.spaces.operations.average_pool, _partial_: true}"
    settings = [*TRAIN, *DARTS, "space.candidates=[none,skip_connect,mine]", own]
    assert run("retrain", *settings, "architecture=random", "out=r")[0] == 0
    code, _, err = run("evaluate", *TINY, "run=r", "out=e")
    assert code == 2 and "space.operations.mine._target_=oneshot" in err and "command line alone" in err
    assert run("evaluate", *TINY, own, "run=r", "out=e")[0] == 0
    assert result(tmp_path / "e")["test_accuracy"] == result(tmp_path / "r")["test_accuracy"]


@pytest.mark.parametrize("space", ["darts_s1", "darts_s4"])
def test_candidates_of_each_edge_and_noise_are_taken_from_the_run(run, tmp_path, space):
    assert run("retrain", *TRAIN, *DARTS, f"space={space}", "architecture=random", "out=r")[0] == 0
    assert run("evaluate", *TINY, "run=r", "out=e")[0] == 0
    assert result(tmp_path / "e")["test_accuracy"] == result(tmp_path / "r")["test_accuracy"]


def change(file, key, value):
    """Give a setting of a run's config.yaml another value."""
    config = yaml.safe_load(file.read_text())
    *parents, last = key.split(".")
    place = config
    for parent in parents:
        place = place[parent]
    place[last] = value
    file.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("space._target_", "builtins.open", "darts/config.yaml: space._target_=builtins.open: none of conf/space"),
        ("space._target_", ["a"], "darts/config.yaml: space._target_=['a']: none of conf/space"),
        ("data._target_", [["a"]], "darts/config.yaml: data._target_=[['a']]: none of conf/data"),
        ("task._target_", ["a"], "darts/config.yaml: task._target_=['a']: none of conf/task"),
        ("data.augmentation._target_", ["a"], "data.augmentation._target_=['a']"),
        ("space.operations", {"x": {"_target_": "builtins.open"}}, "space.operations.x._target_=builtins.open"),
        ("space.candidates", [{"_target_": "builtins.open"}], "could name code"),
        ("space.candidates", [["skip_connect"], [{"_target_": "builtins.open"}]], "could name code"),
        ("space._args_", ["x"], "space._args_=['x'] (here None): could name code"),
        ("data.augmentation", 3, "data.augmentation=3"),
        ("data.augmentation._target_", "builtins.open", "data.augmentation._target_=builtins.open"),
        ("data.source", "${oc.env:HOME}", "data.source=${oc.env:HOME}"),
        ("space.cells", 4, "the configured space has"),
        ("space.cells", "many", "space.cells='many': must be a whole number"),
        ("data.augmentation.mean", [0.1, 0.2], "need one number above 0 a channel"),
        ("trainer.precision", "16-true", "unknown trainer.precision '16-true'"),
        ("trainer.precision", ["auto"], "unknown trainer.precision"),
    ],
)
def test_settings_of_a_run_that_are_not_adopted(run, here, key, value, message):
    change(here / "darts" / "config.yaml", key, value)
    code, out, err = run("evaluate", *TINY, "run=darts", "out=e")
    assert code == 2 and is_first_line("evaluate", out) and err.startswith("error: ") and err.count("\n") == 1
    assert message in err and not (here / "e").exists()


def break_weights(folder, how):
    file = folder / "network.safetensors"
    weights = load_file(file)
    name = "classifier.weight"
    if how == "cut":
        file.write_bytes(file.read_bytes()[:1000])
    elif how == "shape":
        save_file({**weights, name: weights[name][:5].contiguous()}, file)
    elif how == "missing":
        save_file({key: value for key, value in weights.items() if key != name}, file)
    else:
        save_file({**weights, name: torch.full_like(weights[name], float("nan"))}, file)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("cut", "cannot be read as weights"),
        ("shape", "classifier.weight is (5, 16), the configured space has (10, 16)"),
        ("missing", "classifier.weight is nothing"),
        ("nan", "classifier.weight holds numbers that are not finite"),
    ],
)
def test_damaged_weights(run, here, how, message):
    break_weights(here / "darts", how)
    code, out, err = run("evaluate", *TINY, "run=darts", "out=e")
    assert (
        code == 2
        and is_first_line("evaluate", out)
        and err.startswith("error: darts/network.safetensors: ")
        and err.count("\n") == 1
    )
    assert message in err and not (here / "e").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run=nowhere"], "run=nowhere: there is no such folder"),
        (["run=search"], "run=search: must be the folder of a finished retraining, which holds network.safetensors"),
        (["run=null"], "run=None: must be latest or the folder"),
        ([], "run=latest: no finished retrain below outputs/retrain; run `oneshot retrain` first"),
        (["run=cut"], "run=cut: is no finished run"),
        (["run=darts", "space=nasbench201"], "space._target_=oneshot.spaces.DARTSCells (here oneshot.spaces.NASBench"),
        (["run=darts", "data.source=x"], "oneshot.data.digits: got an unexpected keyword argument 'source'"),
        (["run=darts", "export=[onx]"], "unknown export 'onx'; did you mean 'onnx'?"),
        (["run=darts", "batches=[]"], "batches=[]: must be a list"),
        (["run=darts", "dtype=int8"], "unknown dtype 'int8'"),
        (["run=darts", "device=nowhere"], "device=nowhere: must be auto or the name of a device"),
        (["run=darts", "bach=1"], "unknown setting 'bach'"),
        (["run=darts", "trainer.precision=8"], "unknown trainer.precision 8"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_clear_line(run, here, arguments, message):
    shutil.copytree(here / "darts", here / "cut")
    (here / "cut" / "result.json").unlink()
    code, out, err = run("evaluate", *TINY, *arguments)
    assert code == 2 and is_first_line("evaluate", out)
    assert err.startswith("error: ") and message in err and err.count("\n") == 1
    assert not (here / "outputs").exists()


def test_a_missing_package_is_named_before_anything_is_done(run, here, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    code, out, err = run("evaluate", *TINY, "run=darts", "export=[torch,onnx]", "out=e")
    assert code == 2 and is_first_line("evaluate", out) and err.count("\n") == 1 and not (here / "e").exists()
    assert "export=onnx: onnxruntime cannot be imported" in err and 'pip install "oneshot[export]"' in err
