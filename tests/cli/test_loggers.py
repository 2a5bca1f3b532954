"""What loggers are told, read back from what they wrote; and that none of them can hurt a run."""

import csv
import json
import sys

import pytest
from helpers.support import TINY
from helpers.wandb_file import Offline

from oneshot.cli import loggers
from oneshot.cli.commands import search


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """W&B without a key, as on a new machine."""
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.setenv("HOME", str(tmp_path))


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_names():
    numbers = {
        "step": 3,
        "valid_accuracy": 0.5,
        "entropy": 1.0,
        "peak_memory_bytes": 7,
        "status": "finished",
        "x": True,
    }
    assert loggers.slashed(numbers) == {"step": 3, "valid/accuracy": 0.5, "entropy": 1.0, "peak_memory_bytes": 7}


def test_an_offline_run_read_back(pictures, run, offline, monkeypatch, tmp_path):
    """History, summary, configuration, pictures, artifacts and lineage, of a search and the training after it."""
    monkeypatch.setenv("WANDB_RUN_GROUP", "a-sweep")
    code, out, err = run("search", *TINY, "out=searched", "logger.tags=[mine]")
    assert (code, err) == (0, "") and "`wandb sync searched/wandb/1/wandb/offline-run-" in out
    found = Offline(tmp_path / "searched" / "wandb")
    history = [{k: v for k, v in row.items() if k[0] != "_"} for row in found.rows]
    own = rows(tmp_path / "searched" / "metrics.jsonl")
    assert history[:-1] == [loggers.slashed(row) for row in own]
    result = json.loads((tmp_path / "searched" / "result.json").read_text())
    for name in ("valid/accuracy", "parameters", "multiply_accumulates", "seconds", "peak_memory_bytes"):
        assert found.summary[name] == result[name.replace("/", "_")], name
    assert found.metrics["*"].step_metric == "step" and found.exit_code == 0
    assert found.config["architect"]["_target_"].endswith("DARTS") and found.config["epochs"] == 3
    assert (found.run.job_type, found.run.run_group, found.run.project) == ("search", "a-sweep", "oneshot")
    assert {"architect:darts", "space:darts", "data:digits", "mine"} <= set(found.run.tags)
    pictures = {k for k, v in history[-1].items() if isinstance(v, dict) and v["_type"] == "image-file"}
    assert pictures == {"cells", "scores", "curves", "diagnostics"}
    assert history[-1]["scores/table"]["_type"] == "table-file"
    (table,) = (found.path.parent / "files" / "media" / "table").rglob("*.json")
    table = json.loads(table.read_text())
    scores = json.loads((tmp_path / "searched" / "scores.json").read_text())
    assert table["columns"] == ["epoch", "choice", "candidate", "probability"]
    assert [row[3] for row in table["data"]] == [p for epoch in scores for choice in epoch for p in choice]

    assert run("retrain", *TINY, "architecture=searched", "out=trained")[0] == 0
    trained = Offline(tmp_path / "trained" / "wandb")
    (name,) = [name for name in found.artifacts if name.startswith("architecture-")]
    assert not found.artifacts[name].use_after_commit and found.artifacts[name].type == "architecture"
    assert trained.artifacts[name].use_after_commit
    (weights,) = [artifact for artifact in trained.artifacts.values() if artifact.type == "weights"]
    assert not weights.use_after_commit
    assert trained.artifacts[name].digest == found.artifacts[name].digest
    assert {artifact.type for artifact in trained.artifacts.values()} == {"architecture", "weights"}
    test = json.loads((tmp_path / "trained" / "result.json").read_text())["test_accuracy"]
    assert trained.summary["test/accuracy"] == test and trained.run.job_type == "retrain"


def test_a_continued_run_stays_one_run(run, offline, monkeypatch, tmp_path):
    """Stopped in its second epoch, given again: the same id, one folder, every row once."""
    monkeypatch.setattr(search, "write_search", lambda *_: sys.exit(7))  # as if it were killed there
    assert run("search", *TINY, "out=run")[0] == 7
    before = Offline(tmp_path / "run" / "wandb")
    assert before.exit_code == 1
    monkeypatch.undo()
    monkeypatch.delenv("WANDB_MODE")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run("search", *TINY, "out=run")[0] == 0
    after = Offline(tmp_path / "run" / "wandb")  # one folder
    assert after.run.run_id == before.run.run_id and after.exit_code == 0
    assert [row["step"] for row in after.rows[:-1]] == [r["step"] for r in rows(tmp_path / "run" / "metrics.jsonl")]


@pytest.mark.parametrize("logger", ["csv", "tensorboard", "wandb"])
def test_no_logger_changes_a_run(run, offline, tmp_path, logger, request):
    assert run("search", *TINY, "logger=none", "out=plain")[0] == 0
    if logger == "tensorboard":  # it gets pictures; W&B does in the test above
        request.getfixturevalue("pictures")
    code, _, err = run("search", *TINY, f"logger={logger}", "out=logged")
    assert (code, err) == (0, "")
    for name in ("architecture.json", "metrics.jsonl", "supernet.safetensors"):
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "logged" / name).read_bytes()
    if logger == "csv":
        (file,) = (tmp_path / "logged" / "csv").rglob("metrics.csv")
        with open(file) as lines:
            logged = [row for row in csv.DictReader(lines) if row["valid/accuracy"]]
        assert [float(row["valid/accuracy"]) for row in logged] == [
            row["valid_accuracy"] for row in rows(tmp_path / "logged" / "metrics.jsonl") if "valid_accuracy" in row
        ]
    if logger == "tensorboard":
        assert any((tmp_path / "logged" / "tensorboard").rglob("events.out.tfevents.*"))


class Broken(loggers.WandB):
    """Fails at its fifth row."""

    def log(self, number, row):
        if number == 4:
            raise RuntimeError("no space left on the server")


def test_a_logger_that_fails_is_one_warning(run, monkeypatch, tmp_path):
    monkeypatch.setattr(loggers, "WandB", Broken)
    code, _, err = run("search", *TINY, "out=run")
    assert code == 0 and err.count("\n") == 1
    assert "warning: logger: RuntimeError: no space left on the server; the run goes on without it" in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["logger.mode=of"], "unknown logger.mode 'of'; known: auto, disabled, offline, online"),
        (["logger.tags=x"], "logger.tags='x': must be a list"),
        (["logger=wandbb"], "did you mean 'wandb'?"),
    ],
)
def test_bad_settings_write_nothing(run, tmp_path, arguments, text):
    code, _, err = run("search", *TINY, "out=run", *arguments)
    assert code == 2 and text in err and err.count("\n") == 1 and not (tmp_path / "run").exists()
