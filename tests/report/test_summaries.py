"""What is read of run folders, sound, cut off and damaged."""

import json
import os
import pickle

import pytest
from helpers.run_folders import KNOWN, leave, records, retrain, search

from oneshot.cli.commands.report import known_methods
from oneshot.errors import InputError
from oneshot.report.summaries import ended_early, folders, method_of, read


def one(root):
    (summary,) = records(root)
    return summary


def test_every_run_is_found_but_a_supernet_and_hidden_ones(tmp_path):
    for name in ("a/b/0", "a/b/1", "a/b/1/supernet", ".hidden/x", "a/c"):
        search(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert folders(tmp_path) == [tmp_path / name for name in ("a/b/0", "a/b/1", "a/c")]
    assert folders(tmp_path / "a/c") == [tmp_path / "a/c"]
    with pytest.raises(InputError, match="nowhere: there is no such folder"):
        folders(tmp_path / "nowhere")


def test_kinds_and_methods(tmp_path):
    search(tmp_path / "0")
    search(tmp_path / "1", architect={"_target_": "oneshot.architects.darts.DARTS", "order": 2})
    search(tmp_path / "2", architect={"_target_": "my_architect.Sigmoid"})
    retrain(tmp_path / "3", "random")
    leave(tmp_path / "4", {"strategy": {"_target_": "oneshot.strategies.TPE"}}, {"best_accuracy": 0.5})
    leave(tmp_path / "5", {"sweep": {"program": "scripts/search.py"}}, {"jobs": 2})
    found = [(summary.kind, summary.method, summary.finished) for summary in records(tmp_path)]
    assert found == [
        ("search", "darts", True),
        ("search", "darts_second", True),
        ("search", "Sigmoid", True),
        ("retrain", "", True),
        ("baseline", "TPE", True),
        ("sweep", "", True),
    ]


def test_techniques_are_part_of_a_methods_name():
    known = known_methods()
    darts = {key: value for key, value in known["darts"].items() if key.startswith("architect.")}
    assert method_of(darts, "architect", known) == "darts"
    assert method_of({**darts, "technique.beta_decay.weight": 3.0}, "architect", known) == "beta_darts"
    whole = {**darts, "technique.edge_normalization._target_": "x", "space.partial_channels": 4}
    assert method_of({**whole, "architect.optimizer.lr": 0.2}, "architect", known) == "pc_darts"
    snas = {**known["snas"], "technique.beta_decay.weight": 3.0}
    assert method_of(snas, "architect", known) == "snas + beta_decay"


def test_techniques_that_are_removed_are_part_of_a_methods_name():
    known = known_methods()
    whole = known["fair_darts"]
    bare = {key: value for key, value in whole.items() if not key.startswith("technique.")}
    off = {**whole, "technique.zero_one.weight": 0, "technique.zero_one.start": None}
    ramp = {**off, "technique.zero_one.start": 10.0}
    other = {**bare, "technique.beta_decay.weight": 3.0}
    found = [method_of(settings, "architect", known) for settings in (whole, bare, off, ramp, other)]
    less = "fair_darts - zero_one"
    assert found == ["fair_darts", less, less, "fair_darts", "fair_darts + beta_decay - zero_one"]


def test_the_name_is_of_the_most_alike():
    settings = {"architect._target_": "oneshot.architects.DARTS", "architect.optimizer.lr": 0.7}
    assert method_of(settings, "architect", KNOWN) == "darts"
    assert method_of({**settings, "architect.order": 2}, "architect", KNOWN) == "darts_second"


def test_what_did_not_finish_says_why(tmp_path):
    leave(tmp_path / "0", {"drop_path": 0.1}, reason="too bad")
    leave(tmp_path / "1", {"drop_path": 0.1})
    failed, running = records(tmp_path)
    assert (failed.status, failed.reason) == ("failed", "ValueError: too bad")
    assert running.status == "running" and running.reason.startswith(f"or was killed: process {os.getpid()}, since ")


DAMAGES = {
    "result.json cut": ("result.json", '{"status": "fini', "says that it has finished, but holds no result"),
    "no status": ("result.json status.json", "", "has no status"),
    "odd status": ("result.json status.json", '{"status": ["x"]}', "has no status"),
    "settings no mapping": ("config.yaml", "- 1\n", "not the settings of a run"),
    "settings call": ("config.yaml", '!!python/object/apply:os.system ["true"]\n', "not the settings of a run"),
    "settings endless": ("config.yaml", "a: &a [1]\nb: [*a, *a]\n", "aliases are not read"),
    "settings large": ("config.yaml", "a: " + "x" * (1 << 18), "262147 bytes; at most 262144 are read"),
    "seed no number": ("config.yaml", "seed: <script>\n", "seed is '<script>', no whole number"),
    "no decisions": ("architecture.json", '{"a": 1}', "architecture.json: holds no decisions"),
    "accuracy no number": ("result.json", '{"status": "finished", "test_accuracy": "high"}', "test_accuracy is 'high'"),
    "accuracy of 7": ("result.json", '{"status": "finished", "test_accuracy": 7}', "test_accuracy is 7"),
    "accuracy NaN": ("result.json", '{"status": "finished", "valid_accuracy": NaN}', "valid_accuracy is nan"),
    "negative time": ("result.json", '{"status": "finished", "seconds": -1}', "seconds is -1"),
    "decisions": ("result.json", '{"status": "finished", "architecture": {"a": 1}}', "architecture is no mapping"),
    "a pickle": ("config.yaml", pickle.dumps(os.system).decode("latin-1"), "not the settings of a run"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_named(tmp_path, kind):
    files, text, reason = DAMAGES[kind]
    search(tmp_path / "run")
    for file in files.split():
        (tmp_path / "run" / file).write_text(text)
    summary = one(tmp_path)
    assert summary.status == "damaged" and reason in summary.reason and "\n" not in summary.reason
    assert not summary.result


def test_a_link_to_a_file_without_end_is_not_read(tmp_path):
    search(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "run" / "result.json").symlink_to("/dev/zero")
    assert "result.json: is a link" in one(tmp_path).reason


COMPARISON = {
    "methods": ["tpe"],
    "seeds": 2,
    "queries": 5,
    "retrain_settings": [],
    "metric": "accuracy",
    "estimator": {"_target_": "oneshot.estimators.Tabular", "table": "t.csv", "dataset": "cifar10"},
    "reference": {"_target_": "oneshot.estimators.Tabular", "table": "u.csv", "dataset": "cifar10"},
}


def test_a_comparison_on_a_table_is_its_searches(tmp_path):
    row = {"method": "tpe", "test_accuracy": 0.9, "seconds": 2.0, "notation": "x", "queries": 5}
    leave(tmp_path / "all", COMPARISON, {"jobs": 2, "searches": [{**row, "seed": seed} for seed in (0, 1)]})
    known = {"tpe": {"strategy._target_": "oneshot.strategies.TPE", "strategy.startup": 10}}
    first, second = read(tmp_path / "all", known)
    assert (first.seed, second.seed, first.method, first.kind) == ("0", "1", "tpe", "baseline")
    assert first.settings["estimator.table"] == "t.csv" and first.settings["budget.queries"] == 5
    assert first.settings["strategy.startup"] == 10 and not any(n.startswith("reference") for n in first.settings)
    assert first.result["search_seconds"] == 2.0 and "methods" not in first.settings
    assert first.log == tmp_path / "all" / "tpe" / "0.jsonl"


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", 3, "a" * 99])
def test_a_comparison_names_no_other_file(tmp_path, name):
    leave(tmp_path / "all", COMPARISON, {"searches": [{"method": name, "seed": 0, "test_accuracy": 0.9}]})
    summary = one(tmp_path)
    assert summary.status == "damaged" and "is no search" in summary.reason


def test_the_result_is_the_mark(tmp_path):
    """As for a run that is continued: what says finished, but has no result.json, has not."""
    search(tmp_path / "run")
    assert one(tmp_path).finished
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    (tmp_path / "run" / "result.json").unlink()
    assert status["status"] == "finished" and not one(tmp_path).finished


@pytest.mark.parametrize(
    ("stopped", "text"),
    [
        ({"epochs": 4, "updates": 9, "reason": "why", "kept_epoch": 3}, "after epoch 4, epoch 3 is kept: why"),
        ({"epochs": 4, "updates": 9}, "after epoch 4"),
        ({"epochs": 0, "updates": 2}, "within epoch 1"),
        ({"epochs": 4, "reason": "a\n\x1b[2Jb", "kept_epoch": "3"}, "after epoch 4: a \N{REPLACEMENT CHARACTER}[2Jb"),
        ({"epochs": 4, "reason": ["why"]}, "after epoch 4"),
        ({"epochs": "4"}, ""),
        ([4], ""),
    ],
)
def test_why_a_run_ended_early(stopped, text):
    assert ended_early({"stopped": stopped}) == text and ended_early({}) == ""
