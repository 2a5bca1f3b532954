"""The newer recipe of a retraining and its parts, from the command line."""

import json
import re
import shlex

import pytest
import yaml
from helpers.support import ROOT
from safetensors.torch import load_file

TINY = ["logger=none", "architecture=random", "space=nasbench201", "space.cells=1", "space.channels=4"]
TINY += ["data.train_size=64", "data.batch_size=32"]


def test_a_retraining_with_the_recipe_evaluates_to_what_it_tested(run, tmp_path):
    code, _, err = run("retrain", *TINY, "recipe=modern", "epochs=6", "out=modern")
    assert code == 0, err
    config = yaml.safe_load((tmp_path / "modern" / "config.yaml").read_text())
    augmentation, weights = config["data"]["augmentation"], config["weights"]
    assert (augmentation["randaugment"], augmentation["random_erasing"]) == (2, 0.25)
    assert (config["mixup"], config["cutmix"], weights["warmup_epochs"], weights["average"]) == (0.2, 1.0, 5, 0.999)
    assert weights["decay_norms"] is False
    code, _, err = run("evaluate", "logger=none", "run=modern", "batches=[1]", "repeats=2", "warmup=0", "out=evaluated")
    assert code == 0, err
    tested, evaluated = (json.loads((tmp_path / f / "result.json").read_text()) for f in ("modern", "evaluated"))
    assert evaluated["test_accuracy"] == tested["test_accuracy"]
    assert not any(name.startswith("average") for name in load_file(tmp_path / "modern" / "network.safetensors"))


def test_the_line_for_adamw_in_the_documentation_runs(run, tmp_path):
    text = (ROOT / "docs" / "how_to.md").read_text()
    (line,) = re.findall(r"^oneshot retrain (.*AdamW.*)$", text, re.M)
    code, _, err = run("retrain", *shlex.split(line), *TINY, "epochs=2", "out=adamw")
    assert code == 0, err
    optimizer = yaml.safe_load((tmp_path / "adamw" / "config.yaml").read_text())["weights"]["optimizer"]
    assert optimizer["_target_"] == "torch.optim.AdamW" and "momentum" not in optimizer


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        ("retrain", ["epochs=5", "weights.warmup_epochs=5"], "weights.warmup_epochs=5: must be below epochs=5"),
        ("retrain", ["epochs=2", "weights.average=1"], "weights.average=1: must be a number"),
        ("retrain", ["epochs=2", "mixup=-1"], "mixup=-1: must be a number, at least 0.0"),
        ("retrain", ["recipe=newest"], "newest"),
        ("search", ["epochs=2", "weights.warmup_epochs=2"], "weights.warmup_epochs=2: must be below epochs=2"),
        ("search", ["mixup=0.2"], "mixup"),
    ],
)
def test_wrong_settings_end_with_a_line(run, tmp_path, command, words, message):
    tiny = [word for word in TINY if command == "retrain" or "architecture" not in word]
    code, _, err = run(command, *tiny, *words, "out=run")
    assert code == 2 and message in err and len(err.strip().splitlines()) <= 2, err
    assert not (tmp_path / "run").exists()
