"""The commands as a user types them: search, retrain, and every kind of bad input."""

import json
import os
import subprocess
import sys

import pytest
from helpers.commands import is_first_line
from helpers.support import ROOT

from oneshot.cost import candidate_costs, count_multiply_accumulates
from oneshot.runs.folder import FINISHED
from oneshot.spaces import DARTSCells

TINY = [
    "epochs=1",
    "space.cells=3",
    "space.channels=4",
    "space.nodes=1",
    "data.train_size=128",
    "data.batch_size=32",
]
LEFT = {
    ".lock", "status.json", "checkpoints",
    "architect.safetensors", "architecture.json", "config.yaml", "metrics.jsonl", "result.json", "scores.json",
    "supernet.safetensors", "timings.jsonl",
    *(f"{name}.{kind}" for name in ("cells", "curves", "diagnostics", "scores") for kind in ("pdf", "png", "svg")),
}  # fmt: skip


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_search_then_retrain(pictures, run, tmp_path):
    code, out, err = run("search", *TINY, "out=found", "log_every=2")
    assert (code, err) == (0, "")
    assert {p.name for p in (tmp_path / "found").iterdir()} == LEFT
    result = json.loads((tmp_path / "found" / "result.json").read_text())
    assert result["status"] == FINISHED
    assert 0 <= result["valid_accuracy"] <= 1 and result["seconds"] > 0 and result["peak_memory_bytes"] > 1 << 20
    assert result["parameters"] > 0 and result["multiply_accumulates"] > 0
    assert len(rows(tmp_path / "found" / "metrics.jsonl")) == len(rows(tmp_path / "found" / "timings.jsonl"))
    assert "next: oneshot retrain " in out and "epoch 1/1" in out and "reduce" in out
    command = out.split("next: ")[1].split()
    assert command[-3:] == ["space.nodes=1", "data.batch_size=32", "architecture=found"]  # what both share

    code, out, err = run("retrain", *TINY, "architecture=found", "out=trained")
    assert (code, err) == (0, "")
    trained = json.loads((tmp_path / "trained" / "result.json").read_text())
    assert trained["architecture"] == result["architecture"]
    assert trained["test_accuracy"] == rows(tmp_path / "trained" / "metrics.jsonl")[-1]["test_accuracy"]
    assert (tmp_path / "trained" / "network.safetensors").stat().st_size > 1000


def test_default_folders_and_latest(run, tmp_path):
    assert run("search", *TINY)[0] == 0
    (found,) = (tmp_path / "outputs" / "search").iterdir()
    code, out, _ = run("retrain", *TINY)
    assert code == 0 and str(found.relative_to(tmp_path)) in out
    assert len(list((tmp_path / "outputs" / "retrain").iterdir())) == 1
    assert run("retrain", *TINY, "architecture=random", "seed=1")[0] == 0


def test_the_largest_architecture_is_a_control_of_its_own(run, tmp_path):
    """It has at least as many parameters as any architecture of the space."""
    sizes = ["epochs=1", "space=nasbench201", "space.cells=1", "space.channels=4", "data.train_size=64"]
    code, out, _ = run("retrain", *sizes, "architecture=largest", "out=largest")
    assert code == 0 and "architecture: largest" in out
    decided = json.loads((tmp_path / "largest" / "result.json").read_text())["architecture"]
    assert set(decided.values()) == {"nor_conv_3x3"}
    code, out, err = run("report", "largest", "out=page")
    assert (code, err) == (0, "") and "| largest |" in (tmp_path / "page" / "report.md").read_text()


def test_same_seed_same_files(pictures, run, tmp_path):
    for name in ("a", "b"):
        assert run("search", *TINY, f"out={name}", "seed=3")[0] == 0
    for name in (
        "metrics.jsonl",
        "architecture.json",
        "scores.json",
        "supernet.safetensors",
        "cells.png",
        "curves.svg",
    ):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_multirun_jobs_have_folders_of_their_own(run, tmp_path):
    assert run("search", "--multirun", *TINY, "seed=0,1", "out=sweep")[0] == 0
    assert {p.name for p in (tmp_path / "sweep").iterdir()} == {"0", "1"}
    assert run("search", "--multirun", *TINY, "seed=0,1")[0] == 0
    assert len(list((tmp_path / "outputs" / "search").iterdir())) == 2


def test_multirun_over_architects(run, tmp_path):
    """One of each kind: mixtures, paths, a controller, techniques, nothing that learns."""
    names = ["darts", "gdas", "enas", "pc_darts", "uniform"]
    code, _, err = run(
        "search",
        "--multirun",
        *TINY,
        "epochs=2",
        f"architect={','.join(names)}",
        "experiment=cifar10_cpu",
        "data=digits",
    )
    assert (code, err) == (0, "")
    folders = list((tmp_path / "outputs" / "search").iterdir())
    assert len(folders) == len(names)
    assert all(json.loads((folder / "result.json").read_text())["status"] == FINISHED for folder in folders)


def test_cost_is_in_the_result(run, tmp_path):
    cost = ["cost=multiply_accumulates", "cost.weight=1"]
    assert run("search", *TINY, "space.nodes=2", *cost, "out=costly")[0] == 0
    result, scores, found = (
        json.loads((tmp_path / "costly" / f"{name}.json").read_text()) for name in ("result", "scores", "architecture")
    )
    space = DARTSCells((1, 8, 8), 10, cells=3, channels=4, nodes=2)
    costs = candidate_costs(space, count_multiply_accumulates).tolist()
    expected = sum(p * c for pair in zip(scores[-1], costs, strict=True) for p, c in zip(*pair, strict=True))
    assert result["expected_cost"] == pytest.approx(expected, rel=1e-5) and expected > 0
    decided = [space.candidates.index(found["decisions"][choice.name]) for choice in space.choices]
    discretized = sum(row[k] for row, k in zip(costs, decided, strict=True))
    assert result["discretized_cost"] == discretized > 0 and discretized != pytest.approx(expected, rel=1e-2)


BAD = [
    ("search", ["epochs=[a=1]"], "epochs=[a=1]: cannot be read as SETTING=VALUE"),
    ("search", ["architct=darts"], "unknown setting 'architct'; did you mean 'architect'?"),
    ("search", ["epohcs=3"], "unknown setting 'epohcs'; did you mean 'epochs'?"),
    ("search", ["space.cels=3"], "unknown setting 'space.cels'; did you mean 'space.cells'?"),
    ("search", ["space=dart"], "unknown choice for space 'dart'; did you mean 'darts'? known: chain, darts"),
    ("search", ["architect=drts"], "did you mean 'darts'?"),
    ("search", ["data=cifar"], "did you mean 'cifar10'?"),
    ("search", ["experiment=digit"], "did you mean 'digits'?"),
    ("search", ["epochs=0"], "epochs=0: must be a whole number, from 1 to 100000"),
    ("search", ["epochs=many"], "epochs='many': must be a whole number"),
    ("search", ["epochs=[1"], "epochs=[1: cannot be read as SETTING=VALUE; a bracket is missing"),
    ("search", ["technique=[beta_decay"], "technique=[beta_decay: cannot be read as SETTING=VALUE; a bracket is miss"),
    (
        "search",
        ["space=chain", "task=segmentation"],
        "task segmentation: oneshot.spaces.Chain has no networks with log",
    ),
    ("search", ["cost=parameters", "cost.limit=10ms"], "cost.limit=10ms: is a limit of latency; cost=latency takes it"),
    (
        "search",
        ["cost=parameters", "cost.limit=many"],
        "cost.limit=many: must be a number of parameters above 0, as 300k",
    ),
    ("search", ["cost=parameters", "cost.limit=1"], "cost.limit=1: the smallest network of this space has "),
    ("search", ["cost=parameters", "cost.limit=90k", "final=3"], "final=3: must be a mapping of settings of space"),
    (
        "search",
        ["cost=parameters", "cost.limit=90k", "final={cellz: 3}"],
        "unknown name in final 'cellz'; did you mean 'cells'",
    ),
    ("search", ["cost.limit=90k"], "unknown setting 'cost.limit'; it needs a choice of cost, as cost="),
    ("search", ["cost=latency", "cost.table=x.json", "cost.limit=300k"], "x.json"),
    ("rank", ["cost=parameters", "cost.limit=90k"], "cost.limit: a ranking is of random architectures"),
    ("search", ["architect=largest", "cost=parameters", "cost.limit=90k"], "cost.limit: Largest has decided for one"),
    ("search", ["cost=parameters", "cost.limit=90k", "final={nodes: 3}"], "final={'nodes': 3}: is another space"),
    ("latency", ["space=chain"], "so its candidates cannot be measured one by one"),
    ("search", ["architect=darts_pt", "cost=parameters", "cost.limit=90k"], "cost.limit: the stages of this search"),
    ("baseline", ["cost=parameters", "cost.limit=1"], "cost.limit=1: the smallest network of this space has "),
    ("search", ["space=mbconv", "technique=[partial_channels]"], "oneshot.spaces.MBConvChain is a space without part"),
    ("search", ["architect=darts,snas"], "architect=darts,snas: the group takes one choice; --multirun makes a job of"),
    ("search", ["seed=1,2"], "seed=1,2: a list needs brackets, as 'seed=[1,2]'; --multirun makes a job of each value"),
    ("search", ["seed=-1"], "seed=-1"),
    ("search", ["space.cells=2"], "space.cells=2"),
    ("search", ["space.candidates=[none,sep_conv_4x4]"], "'sep_conv_4x4'"),
    ("search", ["architect.optimizer.lr=-1"], "architect.optimizer: Invalid learning rate: -1"),
    ("search", ["+architect.colour=red"], "unknown setting 'architect.colour'"),
    ("search", ["weights.gradient_clip=-1"], "gradient_clip=-1"),
    ("search", ["schedule.weight_steps=0"], "schedule.weight_steps=0"),
    ("search", ["trainer.precision=16"], "unknown trainer.precision 16; known: 32-true"),
    ("search", ["trainer=gpu"], "gpu"),
    ("search", ["data.batch_size=5000"], "data.batch_size=5000: must be at most"),
    ("search", ["data=images"], "data.source: must be given"),
    ("search", ["data=images", "data.source=/nowhere"], "data.source=/nowhere: there is no such folder"),
    ("search", ["data=images", "data.source=columns"], "no image column among x, y"),
    ("search", ["data=images", "data.source=labels"], "has label -1"),
    ("search", ["data=images", "data.source=odd"], "image shape 3x6x6"),
    ("search", ["out=full"], "out=full: the folder is not empty"),
    ("search", ["out=3"], "out=3: must be a path"),
    ("search", ["schedule=null"], "must be a mapping with _target_"),
    ("search", ["space.candidates=none"], "space.candidates='none': must be a list"),
    ("search", ["schedule.joint=perhaps"], "schedule.joint='perhaps': must be true or false"),
    ("search", ["schedule.warmup_epochs=6"], "schedule.warmup_epochs=6: must be below epochs=6"),
    ("search", ["schedule.architecture_steps=0"], "schedule.architecture_steps=0: this architect learns"),
    ("search", ["data.augmentation.pad=100"], "data.augmentation.pad=100: must be at most twice"),
    ("search", ["criterion._target_=torch.nn.L1Loss"], "a first forward pass fails"),
    ("search", ["trainer.accelerator=foo"], "foo"),
    ("search", ["threads=100000"], "threads=100000"),
    ("search", ["data=images", "data.source=3"], "data.source=3: must be a text"),
    ("search", ["data=images", "data.source=odd", "data.image_size=abc"], "data.image_size='abc'"),
    ("search", ["data=images", "data.source=odd", "data.image_size=8", "data.grey=true"], "images have 1 channels"),
    ("retrain", ["architecture=random", "criterion.label_smoothing=7"], "label_smoothing"),
    ("retrain", ["architecture=random", "data=images", "data.source=odd", "data.image_size=8"], "no split 'test'"),
    ("retrain", ["architecture=null"], "architecture=None: must be latest, random"),
    ("retrain", [], "architecture=latest: no finished search below outputs/search"),
    ("retrain", ["architecture=nowhere.json"], "architecture=nowhere.json: there is no such run or file"),
    (
        "retrain",
        ["architecture=."],
        "architecture=.: must be the folder of a finished search, which holds architecture",
    ),
    ("retrain", ["architecture=truncated.json"], "truncated.json: not a complete JSON file"),
    ("retrain", ["architecture=other.json"], "field 'space'"),
    (
        "retrain",
        ["architecture=unknown.json"],
        "field 'decisions', 'normal/c_{k-2}->0': unknown operation 'conv_9x9'",
    ),
    ("retrain", ["architecture=random", "drop_path=1"], "drop_path=1"),
]


@pytest.fixture(scope="module")
def bad_files(tmp_path_factory):
    """Broken architecture files and data sets."""
    import random

    import datasets
    import numpy as np
    from PIL import Image

    folder = tmp_path_factory.mktemp("bad")
    space = DARTSCells((1, 8, 8), 10)
    text = space.to_json(space.sample(random.Random(0)))
    (folder / "truncated.json").write_text(text[:300])
    other = DARTSCells((1, 8, 8), 10, nodes=2)
    (folder / "other.json").write_text(other.to_json(other.sample(random.Random(0))))
    content = json.loads(text)
    content["decisions"]["normal/c_{k-2}->0"] = "conv_9x9"
    (folder / "unknown.json").write_text(json.dumps(content))
    (folder / "full").mkdir()
    (folder / "full" / "kept.txt").write_text("kept")

    picture = Image.fromarray(np.zeros((6, 6, 3), np.uint8))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    sets = {
        "columns": datasets.Dataset.from_dict({"x": [1, 2], "y": [0, 1]}),
        "labels": datasets.Dataset.from_dict({"image": [picture] * 3, "label": [0, -1, 1]}, features=features),
        "odd": datasets.Dataset.from_dict({"image": [picture] * 300, "label": [0, 1] * 150}, features=features),
    }
    for name, data in sets.items():
        (folder / name).mkdir()
        data.to_parquet(folder / name / "train-00000-of-00001.parquet")
    return folder


def tree(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


@pytest.mark.parametrize(("command", "arguments", "message"), BAD, ids=[" ".join([c, *a]) for c, a, _ in BAD])
def test_bad_input_is_one_clear_line(run, bad_files, monkeypatch, command, arguments, message):
    monkeypatch.chdir(bad_files)
    before = tree(bad_files)
    code, out, err = run(command, *arguments)
    assert code == 2
    assert message in err and err.startswith("error: ")
    assert len(err.strip().splitlines()) == 1 and len(err) < 500
    assert is_first_line(command, out) and tree(bad_files) == before


def test_debug_shows_the_trace(run):
    with pytest.raises(ValueError, match="epochs=0"):
        run("search", "epochs=0", "debug=true")


def test_a_real_process_from_another_folder(tmp_path):
    """Exit code, one line on stderr and the trace on demand, with nothing of this process around it."""
    command = [sys.executable, "-m", "oneshot", "search", "space.cells=1"]
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert plain.returncode == 2 and is_first_line("search", plain.stdout)
    assert plain.stderr == "error: space.cells=1: must be a whole number, from 3 to 1000\n"
    environment = {**os.environ, "HYDRA_FULL_ERROR": "1"}
    full = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert full.returncode != 0 and "Traceback" in full.stderr and "space.cells=1" in full.stderr
    assert list(tmp_path.iterdir()) == []


def test_files_of_scripts_are_the_commands(run, tmp_path):
    """What W&B's agent and SLURM call: the same line, the same files, the same exit codes."""
    for name, words in (("search", ["out=found"]), ("retrain", ["architecture=found", "out=trained"])):
        command = [sys.executable, str(ROOT / "scripts" / f"{name}.py"), *TINY, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(f"{name}: ")
        refused = subprocess.run([*command, "epohcs=1"], cwd=tmp_path, capture_output=True, text=True)
        assert (refused.returncode, refused.stdout) == (2, "") and "did you mean 'epochs'?" in refused.stderr
    assert run("search", *TINY, "out=again")[0] == run("retrain", *TINY, "architecture=found", "out=more")[0] == 0
    for folder, same, names in (
        ("found", "again", ("metrics.jsonl", "architecture.json", "supernet.safetensors")),
        ("trained", "more", ("metrics.jsonl", "network.safetensors")),
    ):
        for name in names:
            assert (tmp_path / folder / name).read_bytes() == (tmp_path / same / name).read_bytes(), name
