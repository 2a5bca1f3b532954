"""Files from strangers: a planted pickle, or YAML that would call something, in each kind of file that is read."""

import hashlib
import pickle
import shutil

import pytest
import yaml
from helpers.commands import run_all

TINY = ["epochs=1", "space.cells=3", "space.channels=4", "space.nodes=1", "data.train_size=128", "data.batch_size=32"]


class Planted:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished search, a training and a baseline over the search's supernet."""
    folder = tmp_path_factory.mktemp("found")
    jobs = [
        ("search", [*TINY, "architect=uniform", "selection.samples=2", "out=search"]),
        ("retrain", [*TINY, "architecture=search", "out=retrain"]),
        ("baseline", ["supernet=search", "budget.queries=3", "out=baseline"]),
    ]
    run_all(folder, jobs)
    return folder


READ = [  # the file that is planted, and what reads it
    ("search/architecture.json", "retrain", [*TINY, "architecture=search"]),
    ("search/config.yaml", "baseline", ["supernet=search", "budget.queries=3"]),
    ("search/supernet.safetensors", "baseline", ["supernet=search", "budget.queries=3"]),
    ("search/result.json", "baseline", ["supernet=search", "budget.queries=3"]),
    ("search/config.yaml", "search", [*TINY, "architect=uniform", "selection.samples=2", "out=search"]),
    ("search/checkpoints", "search", [*TINY, "architect=uniform", "selection.samples=2", "out=search"]),
    ("retrain/checkpoints", "retrain", [*TINY, "architecture=search", "out=retrain"]),
    ("retrain/config.yaml", "evaluate", ["run=retrain"]),
    ("retrain/architecture.json", "evaluate", ["run=retrain"]),
    ("retrain/network.safetensors", "evaluate", ["run=retrain"]),
    ("retrain/result.json", "evaluate", ["run=retrain"]),
    ("baseline/queries.jsonl", "baseline", ["supernet=search", "budget.queries=3", "out=baseline"]),
    ("baseline/queries.timings.jsonl", "baseline", ["supernet=search", "budget.queries=3", "out=baseline"]),
    ("latency.json", "search", [*TINY, "cost=latency", "cost.table=latency.json"]),
    ("table.csv", "baseline", ["space=nasbench201", "estimator=tabular", "estimator.table=table.csv"]),
]


def called(planted):
    """Settings of an object that is not one of ours."""
    return {"_target_": "builtins.open", "file": str(planted.path), "mode": "w"}


def contents(planted):
    """A pickle, in binary and in text, and YAML that calls."""
    yield "pickle", pickle.dumps(planted)
    yield "text", pickle.dumps(planted, protocol=0)
    yield "yaml", f'!!python/object/apply:builtins.open ["{planted.path}", "w"]\n'.encode()
    yield "target", yaml.safe_dump({"space": called(planted), "data": {"_target_": "x"}}).encode()


@pytest.mark.parametrize("kind", ["pickle", "text", "yaml", "target"])
@pytest.mark.parametrize(("file", "command", "arguments"), READ, ids=[f"{f}-{c}" for f, c, _ in READ])
def test_it_is_not_executed(run, found, tmp_path, file, command, arguments, kind):
    shutil.copytree(found, tmp_path, dirs_exist_ok=True)
    planted = Planted(tmp_path / "executed")
    content = dict(contents(planted))[kind]
    for result in ("search", "retrain", "baseline"):  # of what continues
        if f"out={result}" in arguments:
            (tmp_path / result / "result.json").unlink()
    if file.endswith("checkpoints"):
        for path in (tmp_path / file).iterdir():
            path.unlink()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        (tmp_path / file / f"000000000001-{digest}.ckpt").write_bytes(content)
    elif kind == "target" and file.endswith("config.yaml"):  # the settings of the run, but for one
        settings = yaml.safe_load((tmp_path / file).read_text())
        (tmp_path / file).write_text(yaml.safe_dump(settings | {"space": called(planted)}))
    else:
        (tmp_path / file).write_bytes(content)
    code, _, err = run(command, *arguments)
    if "timings" in file or (b"\n" not in content and "queries" in file):  # lost clocks; a line that a kill has cut off
        assert code == 0
    else:
        unfinished = "is no finished run"
        named = {"search/result.json": unfinished, "retrain/result.json": unfinished, "target": "builtins.open"}
        expected = (
            named.get(file) or (named.get(kind) if "config" in file else None) or file.replace("points", "points/")
        )
        assert code == 2 and err.startswith("error: ") and err.count("\n") == 1, err
        assert expected in err
    assert not planted.path.exists()


@pytest.mark.parametrize("name", ["status.json", "metrics.jsonl", "timings.jsonl", "scores.json"])
def test_what_is_only_written_is_not_read(run, found, tmp_path, name):
    """A run that continues takes these from its checkpoint, or not at all."""
    shutil.copytree(found, tmp_path, dirs_exist_ok=True)
    (tmp_path / "search" / "result.json").unlink()
    planted = Planted(tmp_path / "executed")
    (tmp_path / "search" / name).write_bytes(pickle.dumps(planted))
    arguments = [*TINY, "architect=uniform", "selection.samples=2", "out=search"]
    out = tmp_path / "search"
    code, _, err = run("search", *arguments)
    assert (code, err) == (0, "") and not planted.path.exists()
    assert (out / "scores.json").read_bytes() == (found / "search" / "scores.json").read_bytes()
    assert (out / "metrics.jsonl").read_bytes() == (found / "search" / "metrics.jsonl").read_bytes()


CALLS = [
    "{_target_: builtins.open, file: executed, mode: w}",
    "{_target_: shutil.copy, src: search/result.json, dst: executed}",
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("setting", ["space.candidates", "space.cells", "data.train_size", "space.operations"])
def test_a_supernets_settings_call_nothing(run, found, tmp_path, setting, call):
    """Not even inside a list, where OmegaConf would find a mapping with _target_."""
    shutil.copytree(found, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "search" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    group, key = setting.split(".")
    config[group][key] = [yaml.safe_load(call)]
    file.write_text(yaml.safe_dump(config))
    run("baseline", "supernet=search", "budget.queries=3", "out=again")
    assert not (tmp_path / "executed").exists()


def test_large_and_endless_files_are_refused(run, found, tmp_path):
    shutil.copytree(found, tmp_path, dirs_exist_ok=True)
    (tmp_path / "endless").symlink_to("/dev/zero")
    code, _, err = run("retrain", *TINY, "architecture=endless")
    assert code == 2 and "endless: is a device, and not a file" in err
    with open(tmp_path / "search" / "config.yaml", "a") as file:
        file.write("".join(f"x{i}: 1\n" for i in range(100_000)))
    code, _, err = run("baseline", "supernet=search", "budget.queries=3")
    assert code == 2 and "at most 262144 are read" in err
