"""Each task of images through the commands: search, retraining, evaluation, baseline, ranking, report."""

import json

import pytest
import torch
from helpers.commands import call

from oneshot.errors import InputError
from oneshot.tasks import MultiLabel, Regression

SIZES = ["space=nasbench201", "space.cells=1", "space.channels=4", "logger=none", "threads=1", "trainer=cpu"]
TASKS = {  # -> its usual metric, the best constant answer's value on the test images or a bound for it
    "multilabel": "average_precision",
    "regression": "mean_absolute_error",
    "segmentation": "mean_iou",
}


def read(path):
    return json.loads(path.read_text())


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module", params=TASKS)
def ran(request, tmp_path_factory):
    """A search of a task, the training of what it found, and its evaluation."""
    task, folder = request.param, tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        small = [*SIZES, f"task={task}", "data.train_size=256", "data.batch_size=32"]
        assert call("search", *small, "epochs=1", "out=s") == 0
        assert call("retrain", *small, "epochs=2", "architecture=s", "out=r") == 0
        assert call("evaluate", "run=r", "out=e", "logger=none", "export=[torch]", "repeats=2", "batches=[1]") == 0
        assert call("report", "s", "r", "e", "out=page") == 0
    return task, folder


def test_numbers_have_the_name_of_the_metric(ran):
    task, folder = ran
    name = TASKS[task]
    found, trained, tested = (read(folder / run / "result.json") for run in "sre")
    assert found["metric"]["name"] == trained["metric"]["name"] == name
    assert {f"valid_{name}", f"found_valid_{name}"} <= set(found) and not any("accuracy" in key for key in found)
    assert trained[f"test_{name}"] == tested[f"test_{name}"] == rows(folder / "r" / "metrics.jsonl")[-1][f"test_{name}"]
    assert f"valid_{name}" in rows(folder / "s" / "metrics.jsonl")[-1]
    told = read(folder / "e" / "preprocessing.json")
    assert told["task"] == task and told["output"]["values"]
    assert "class_accuracy" not in tested and not (folder / "e" / "confusion.csv").exists()


def test_the_report_shows_the_metric_and_no_accuracy(ran):
    task, folder = ran
    page = (folder / "page" / "report.md").read_text()
    label = read(folder / "s" / "result.json")["metric"]["label"]
    assert f"test {label}" in page and f"validation {label}" in page
    assert "accurac" not in page.replace("accuracy of pixels", "")


def test_a_network_learns_the_task(ran):
    """Better than the best answer that looks at no image; segmentation of ink is learned in two epochs."""
    task, folder = ran
    tested = read(folder / "e" / "result.json")
    constants = {
        "multilabel": tested["test_auroc"] - 0.5 if task == "multilabel" else 0,
        "regression": 4.6 - tested.get("test_mean_absolute_error", 0),  # 0 for every image is wrong by 4.5
        "segmentation": tested.get("test_mean_iou", 0) - 0.25,  # one class everywhere has an IoU below 0.5 and 0
    }
    assert constants[task] > 0


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_a_baseline_and_a_ranking(task, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = [*SIZES, f"task={task}", "data.train_size=128", "data.batch_size=32", "epochs=1"]
    assert call("baseline", *small, "strategy=evolution", "budget.queries=4", "out=b") == 0
    name = TASKS[task]
    result, log = read(tmp_path / "b" / "result.json"), rows(tmp_path / "b" / "queries.jsonl")
    score = name if task == "multilabel" else f"negative_{name}"
    best = max(row["scores"][score] for row in log)
    assert result[f"best_{name}"] == (best if task == "multilabel" else -best)
    assert call("rank", *small, "supernet=b/supernet", "architectures=5", "estimator@reference=one_shot", "out=k") == 0
    assert read(tmp_path / "k" / "result.json")["agreement"]["estimator"]["kendall_tau"]["value"] == pytest.approx(1)
    assert call("baseline", *small, "metric=accuracy" if task == "regression" else "metric=r2", "out=x") == 2
    assert "error: " in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_wrong_settings_of_tasks(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def refused(*words):
        assert call("search", *SIZES, *words, "out=x") == 2
        assert not (tmp_path / "x").exists()
        return capsys.readouterr().err

    assert "task 'regression': unknown metric 'accuracy'" in refused("task=regression", "metric=accuracy")
    assert "criterion.weight=[1, 2]: must hold 10 numbers of at least 0" in refused("criterion.weight=[1,2]")
    assert "task=language_modelling: the digits have targets for" in refused("task=language_modelling")
    assert call("retrain", *SIZES, "task=regression", "label_smoothing=0.1", "architecture=random", "out=x") == 2
    assert "label_smoothing=0.1: torch.nn.MSELoss has none" in capsys.readouterr().err


def test_weights_of_classes_change_the_loss_and_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = [*SIZES, "data.train_size=64", "data.batch_size=16", "epochs=1"]
    for name, more in (("plain", []), ("ones", ["criterion.weight=[" + ",".join("1" * 10) + "]"]),
                       ("rare", ["criterion.weight=[9,1,1,1,1,1,1,1,1,1]"])):  # fmt: skip
        assert call("search", *small, *more, f"out={name}") == 0
    plain, ones, rare = (rows(tmp_path / name / "metrics.jsonl")[-1] for name in ("plain", "ones", "rare"))
    assert plain["valid_loss"] == pytest.approx(ones["valid_loss"], rel=1e-6)
    assert abs(rare["valid_loss"] - plain["valid_loss"]) > 1e-4


def test_a_data_set_with_a_task_needs_no_other_setting_in_python():
    import oneshot

    data = oneshot.data.digits(batch_size=32, train_size=128, task=Regression("r2"))
    space = oneshot.spaces.NASBench201(data, cells=1, channels=4)
    architect = oneshot.architects.ENAS(space)
    search = oneshot.Search(space, architect, data)
    assert search.metric.name == architect.metric.name == "r2"
    x, y = search.weight_part.first()
    assert torch.equal(architect.criterion(x[:, 0, 0, :1], y), (x[:, 0, 0, :1] - y).square().mean())
    with pytest.raises(InputError, match="space.dense=True: the task 'multilabel' of the data needs False"):
        oneshot.spaces.NASBench201(oneshot.data.digits(task=MultiLabel()), dense=True)
