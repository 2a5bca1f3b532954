"""Runs that take what an earlier run found or trained: their task, metric, images and classes against those of it."""

import contextlib
import json
import shlex
import shutil

import numpy as np
import pytest
import yaml
from helpers.commands import call, run_all
from PIL import Image

TINY = ["space=nasbench201", "space.cells=1", "space.channels=4", "epochs=1", "logger=none"]
SEARCH = [*TINY, "architect=uniform", "selection.samples=2"]
EVALUATE = ["batches=[1]", "repeats=2", "warmup=0", "logger=none"]
WEIGHTS = "[1,2,3,4]"
LABELS = ["task=multilabel", "metric=f1", f"criterion.pos_weight={WEIGHTS}", "data.train_size=64", "data.batch_size=16"]
FOLDER = ["data=images", "data.image_size=8", "data.batch_size=4"]


def images(root, names, number=6):
    """Images of 8x8 pixels of noise; each class is brighter than the one before."""
    draws = np.random.default_rng(0)
    for n, name in enumerate(names):
        (root / name).mkdir(parents=True)
        for i in range(number):
            noisy = (60 * n + draws.integers(0, 60, (8, 8, 3))).astype(np.uint8)
            Image.fromarray(noisy).save(root / name / f"{i}.png")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A multi-label search of digits; trainings on folders with test images, and a search of a folder without."""
    folder = tmp_path_factory.mktemp("earlier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONESHOT_PICTURES", "none")
        for name, classes in {"pets": "bcd", "renamed": "acd", "others": "bc", "first": "bce"}.items():
            for split in ("train", "test"):
                images(folder / name / split, classes)
        images(folder / "whole", "bcd", 10)
        pets = [*FOLDER, "data.source=./pets"]
        jobs = [
            ("search", [*SEARCH, *LABELS, "out=labels"]),
            ("search", [*SEARCH, *FOLDER, "data.source=./whole", "out=whole_search"]),
            ("search", [*SEARCH, *pets, "out=pets_search"]),
            ("retrain", [*TINY, *pets, "architecture=random", "out=pets_net"]),
        ]
        run_all(folder, jobs)
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    monkeypatch.setenv("ONESHOT_PICTURES", "none")
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


def result(folder):
    return json.loads((folder / "result.json").read_text())


def settings(folder):
    return yaml.safe_load((folder / "config.yaml").read_text())


def next_words(out):
    """Command and settings of the line after `next: `."""
    (line,) = [line for line in out.splitlines() if line.startswith("next: ")]
    words = shlex.split(line)
    return words[words.index("oneshot") + 1 :]


def test_task_metric_and_loss_go_along(run, here):
    code, out, _ = run("search", *SEARCH, *LABELS, "out=labels")  # finished before
    assert code == 0 and "next: " not in out
    code, out, _ = run("baseline", *TINY, *LABELS, "supernet=labels", "budget.queries=2", "out=b")
    command, *words = next_words(out)
    assert code == 0 and {*LABELS[:3], "architecture=b"} <= {*words}
    code, out, err = run(command, *words, *TINY, "data.train_size=64", "out=t")
    assert (code, err) == (0, "") and "test_f1" in result(here / "t")
    assert settings(here / "t")["criterion"]["pos_weight"] == json.loads(WEIGHTS)
    command, *words = next_words(out)
    assert run(command, *words, *EVALUATE, "out=e")[0] == 0
    assert result(here / "e")["test_f1"] == result(here / "t")["test_f1"]


def test_a_score_that_is_no_metric_stays_with_the_baseline(run, here):
    more = ["task=multilabel", "supernet=labels", "metric=reward", "cost=parameters", "budget.queries=2", "out=b"]
    code, out, _ = run("baseline", *TINY, "data.batch_size=16", "cost.weight=1e-6", *more)
    command, *words = next_words(out)
    assert code == 0 and command == "retrain" and not any(word.startswith(("metric", "cost")) for word in words)


def test_another_task_than_the_searchs(run, here):
    """Refused, unless the command line names the task: then it is meant."""
    code, _, err = run("retrain", *TINY, "architecture=labels", "out=t")
    assert code == 2 and err.count("\n") == 1 and not (here / "t").exists()
    assert "task=classification: labels was found with task=multilabel; give task=multilabel" in err
    code, _, err = run("retrain", *TINY, "architecture=labels/architecture.json", "out=t")
    assert code == 2 and "was found with task=multilabel" in err
    code, out, _ = run("retrain", *TINY, "task=classification", "architecture=labels", "out=t")
    assert code == 0 and "found with task=multilabel, and is trained with task=classification" in out
    code, _, err = run("baseline", *TINY, "supernet=labels", "budget.queries=2", "out=b")
    assert code == 2 and "task=classification: the supernet of labels was trained with task=multilabel" in err

    # the report of both: each number has the name of its own metric
    assert run("report", "labels", "t", "out=page")[0] == 0
    page = (here / "page" / "report.md").read_text()
    assert "Validation F1" in page and "Validation accuracy over time" not in page
    assert "Searched by F1, mean of the labels; trained and tested by accuracy." in page
    found = f"{100 * result(here / 'labels')['found_valid_f1']:.2f}"
    (head,) = [line for line in page.splitlines() if line.startswith("| group | seeds | ")]
    row = next(line for line in page.splitlines() if line.startswith("| uniform | 1 | "))
    named = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    (name,) = [name for name in named if "validation" in name]
    assert "F1" in name and named[name] == found


def test_another_metric_is_said(run, here):
    words = [*TINY, "task=multilabel", "data.train_size=64", "data.batch_size=16", "architecture=labels"]
    code, out, _ = run("retrain", *words, "metric=auroc", "out=t")
    assert code == 0 and "the architecture was found by F1" in out and "trained and tested by area under ROC" in out
    code, out, _ = run("retrain", *words, "metric=f1", "out=u")
    assert code == 0 and "was found" not in out


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("renamed", "only there: b; only here: a"),
        ("first", "only there: d; only here: e"),
        ("others", "only there: d"),
    ],
)
def test_other_classes_are_refused(run, here, source, message):
    """By their names: as many, or in the same places, or fewer."""
    code, _, err = run("evaluate", *EVALUATE, "run=pets_net", f"data.source=./{source}", "out=e")
    assert code == 2 and err.count("\n") == 1 and message in err and not (here / "e").exists(), err
    assert err.startswith("error: run=pets_net: was trained on 3 classes (b, c, d), and the data have ")
    words = ["supernet=pets_search", f"data.source=./{source}", "budget.queries=2", "out=b"]
    code, _, err = run("baseline", *TINY, *FOLDER, *words)
    assert code == 2 and "supernet=pets_search: was trained on 3 classes (b, c, d)" in err and message in err


def test_another_order_of_classes_is_refused_and_numbers_are_said(run, here):
    file = here / "pets_net" / "result.json"
    kept = result(here / "pets_net")
    assert kept["classes"] == ["b", "c", "d"]
    file.write_text(json.dumps({**kept, "classes": ["c", "b", "d"]}))
    code, _, err = run("evaluate", *EVALUATE, "run=pets_net", "out=e")
    assert code == 2 and "class 0 was c and is b" in err
    file.write_text(json.dumps({**kept, "classes": ["0", "1", "2"]}))
    code, out, _ = run("evaluate", *EVALUATE, "run=pets_net", "out=e")
    assert (
        code == 0 and "3 classes (0, 1, 2), the data have 3 classes (b, c, d); taken as the same, in this order" in out
    )
    for of_old in ({}, {"classes": "bcd"}, {"classes": [1, 2, 3]}):  # a run without names, or a stranger's
        file.write_text(json.dumps({**{k: v for k, v in kept.items() if k != "classes"}, **of_old}))
        assert run("evaluate", *EVALUATE, "run=pets_net", f"out=e{len(str(of_old))}")[0] == 0


@pytest.mark.parametrize("source", ["./renamed", "./pets"])
def test_weights_of_other_classes_are_said(run, here, source):
    words = ["architecture=pets_net", "network.weights=pets_net/network.safetensors", f"data.source={source}"]
    code, out, _ = run("retrain", *TINY, *FOLDER, *words, "out=t")
    said = "these weights were trained on 3 classes (b, c, d), and the data have 3 classes (a, c, d)" in out
    assert code == 0 and said == (source == "./renamed")


def test_a_search_that_saw_the_test_images(run, here):
    """A folder of classes alone: the line after the search works, and its training says what its test is worth."""
    with contextlib.redirect_stdout(None):
        shutil.rmtree(here / "whole_search")
    code, out, _ = run("search", *SEARCH, *FOLDER, "data.source=./whole", "out=whole_search")
    command, *words = next_words(out)
    assert code == 0 and "data.test_fraction=0.2" in words and "the test will be too good" in out
    code, out, err = run(command, *words, *TINY, "out=t")
    assert (code, err) == (
        0,
        "",
    ) and "warning: test images may be among those that the architecture was found on" in out
    assert "data.test_fraction=0.0, this run has data.test_fraction=0.2" in out
    code, out, _ = run("evaluate", *EVALUATE, "run=t", "data=images", "data.test_fraction=0.4", "out=e")
    assert code == 0 and "among those that the network was trained on: t had data.test_fraction=0.2" in out

    held_out = [*FOLDER, "data.source=./whole", "data.test_fraction=0.2"]
    code, out, _ = run("search", *SEARCH, *held_out, "out=s")
    command, *words = next_words(out)
    assert code == 0 and "too good" not in out and words.count("data.test_fraction=0.2") == 1
    code, out, _ = run(command, *words, *TINY, "out=u")
    assert code == 0 and "warning" not in out
    code, out, _ = run("evaluate", *EVALUATE, "run=u", "out=f")
    assert code == 0 and "warning" not in out


def test_a_data_set_of_the_users_own_goes_along_to_the_evaluation(run, here, monkeypatch):
    (here / "mine_of_test.py").write_text(
        "import torch\n\n\ndef make():\n    x = torch.randint(256, (24, 8, 8, 3), dtype=torch.uint8)\n"
        "    return (x, torch.arange(24) % 3), (x.flip(0), torch.arange(24) % 3)\n"
    )
    monkeypatch.syspath_prepend(here)
    words = ["data=own", "data.dataset={_target_: mine_of_test.make}", "data.batch_size=8", "architecture=random"]
    code, out, err = run("retrain", *TINY, *words, "out=t")
    assert (code, err) == (0, "")
    command, *words = next_words(out)
    assert run(command, *words, *EVALUATE, "out=e")[0] == 0 and call("evaluate", *EVALUATE, "run=t", "out=f") == 2
