"""A run that was ended, by whom- or whatever, and the same command again."""

import fcntl
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers.commands import is_first_line
from helpers.scripts import script
from helpers.support import ROOT, TINY
from helpers.wandb_file import Offline

from oneshot.runs.folder import is_locked
from oneshot.spaces import NASBench201

SAME = ("architecture.json", "scores.json", "metrics.jsonl", "supernet.safetensors", "architect.safetensors")


def command(name, *words):
    return [sys.executable, "-m", "oneshot", name, *words]


def status(folder):
    return json.loads((folder / "status.json").read_text())


def assert_same(whole, other):
    for name in SAME:
        assert (whole / name).read_bytes() == (other / name).read_bytes(), name


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A search that nobody disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run(command("search", *TINY, "out=run"), cwd=folder, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder / "run"


def test_a_finished_run_answers_with_its_result(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").iterdir() if p.name != "status.json"}
    code, out, err = run("search", *TINY, "out=run")
    assert (code, err) == (0, "") and "\nfinished before: run " in out and "supernet, validation accuracy" in out
    assert {p: p.stat().st_mtime_ns for p in before} == before and status(whole)["status"] == "finished"


def test_other_settings_are_refused_and_named(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    code, out, err = run("search", *TINY, "out=run", "seed=7", "architect.optimizer.lr=0.5")
    assert code == 2 and is_first_line("search", out)
    assert "was started with" in err and "seed=0 and not 7" in err and "architect.optimizer.lr=0.2 and not 0.5" in err
    code, _, err = run("search", *TINY, "out=run", "resume=false")
    assert code == 2 and "out=run: holds a run, and resume=false" in err
    assert run("search", *TINY, "out=run", "checkpoint.every=7")[0] == 0  # is none of the run's results
    for bad in ("a: &x [1]\nb: *x\n", "[1, 2", "3"):
        (tmp_path / "run" / "config.yaml").write_text(bad)
        code, _, err = run("search", *TINY, "out=run")
        assert code == 2 and "not the settings of a run" in err and err.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130), ("SIGUSR1", 143), ("SIGKILL", -9)])
def test_a_signal_in_the_middle(run, whole, tmp_path, name, code):
    """With TMPDIR on another file system than the run."""
    environment = {**os.environ, "TMPDIR": "/dev/shm"}
    process = subprocess.Popen(
        command("search", *TINY, "out=run", "checkpoint.every=1"), cwd=tmp_path, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = tmp_path / "run" / "checkpoints"
    while not (folder.is_dir() and any(path.name.startswith("000000000003") for path in folder.iterdir())):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    if name != "SIGKILL":
        assert err == f"stopped by {name}; the same command continues run\n"
        assert status(tmp_path / "run")["status"] == "interrupted" and name in status(tmp_path / "run")["reason"]
    else:
        assert status(tmp_path / "run")["status"] == "running"
    assert not (tmp_path / "run" / "result.json").exists()
    code, out, err = run("search", *TINY, "out=run")
    assert (code, err) == (0, "") and "continues run after update" in out
    assert_same(whole, tmp_path / "run")
    assert status(tmp_path / "run")["status"] == "finished" and status(tmp_path / "run")["process"] == os.getpid()


def test_without_out_the_newest_unfinished_run_is_taken_up(run, tmp_path):
    for _ in range(2):  # a finished one is left alone
        assert run("search", *TINY)[0] == 0
    first, second = sorted((tmp_path / "outputs" / "search").iterdir())
    (second / "result.json").unlink()
    assert run("search", *TINY, "seed=1")[0] == 0
    code, out, _ = run("search", *TINY)
    assert code == 0 and f"continues {second.relative_to(tmp_path)}" in out and (second / "result.json").exists()
    assert_same(first, second)
    (second / "result.json").unlink()
    assert run("search", *TINY, "resume=false")[0] == 0
    assert len(list((tmp_path / "outputs" / "search").iterdir())) == 4 and not (second / "result.json").exists()


def test_a_damaged_checkpoint(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    code, out, err = run("search", *TINY, "out=run")
    assert code == 0 and newest.name in err and "damaged" in err and "continues run after update 16" in out
    assert_same(whole, tmp_path / "run")


def test_a_checkpoint_of_something_else(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "run")
    assert run("retrain", *TINY, "architecture=random", "out=other")[0] == 0
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink()
    for path in (tmp_path / "other" / "checkpoints").iterdir():
        shutil.copy(path, tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "result.json").unlink()
    code, _, err = run("search", *TINY, "out=run")
    assert code == 2 and "the checkpoint does not fit this run" in err and err.count("\n") == 1


def test_two_processes_on_one_folder(run, tmp_path):
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, out, err = run("search", *TINY, "out=run")
        assert code == 2 and is_first_line("search", out) and "out=run: process another writes there now" in err
        assert [p.name for p in (tmp_path / "run").iterdir()] == [".lock"]
    assert run("search", *TINY, "out=run", "epochs=1", "architect=uniform")[0] == 0


def test_a_sweep_skips_what_has_finished_and_continues_the_rest(run, tmp_path):
    sweep = ["--multirun", *TINY, "seed=0,1", "architect=uniform", "selection.samples=2", "out=sweep"]
    assert run("search", *sweep)[0] == 0
    for name in ("1",):
        (tmp_path / "sweep" / name / "result.json").unlink()
    kept = (tmp_path / "sweep" / "1" / "metrics.jsonl").read_bytes()
    code, out, _ = run("search", *sweep)
    assert code == 0 and "finished before: sweep/0" in out and "continues sweep/1 after update" in out
    assert (tmp_path / "sweep" / "1" / "metrics.jsonl").read_bytes() == kept
    again = [argument for argument in sweep if not argument.startswith("out=")]
    for _ in range(2):
        code, out, _ = run("search", *again)
        assert code == 0
    assert out.count("finished before: outputs/search") == 2
    assert len(list((tmp_path / "outputs" / "search").iterdir())) == 2


def test_a_training_keeps_the_architecture_that_it_began_with(run, whole, tmp_path):
    shutil.copytree(whole, tmp_path / "outputs" / "search" / "first")
    assert run("retrain", *TINY, "out=trained")[0] == 0
    os.utime(shutil.copytree(whole, tmp_path / "outputs" / "search" / "second") / "result.json")
    (tmp_path / "trained" / "result.json").unlink()
    assert run("retrain", *TINY, "out=trained")[0] == 0  # the latest search is another one now
    assert "architecture: outputs/search/first" in (tmp_path / "trained" / "config.yaml").read_text()
    (tmp_path / "trained" / "result.json").unlink()
    first = tmp_path / "outputs" / "search" / "first" / "architecture.json"
    content = json.loads(first.read_text())
    choice = next(iter(content["decisions"]))
    content["decisions"][choice] = next(
        name for name in ("sep_conv_3x3", "max_pool_3x3") if name != content["decisions"][choice] != "none"
    )
    first.write_text(json.dumps(content))
    code, _, err = run("retrain", *TINY, "out=trained")
    assert code == 2


CRITERIA = """
import torch

class Poisoned(torch.nn.CrossEntropyLoss):
    calls = 0
    def forward(self, x, y):
        Poisoned.calls += 1
        return super().forward(x, y) * (float("nan") if Poisoned.calls == 12 else 1)
"""


def test_a_diverged_run_says_so_and_keeps_its_last_checkpoint(run, tmp_path, monkeypatch):
    (tmp_path / "my_criteria.py").write_text(CRITERIA)
    monkeypatch.setattr(sys, "path", [*sys.path])
    code, _, err = run("search", *TINY, "out=run", "criterion._target_=my_criteria.Poisoned", "checkpoint.every=1")
    assert code == 3 and "the run has diverged" in err and err.count("\n") == 1
    assert status(tmp_path / "run")["status"] == "diverged" and "is nan" in status(tmp_path / "run")["reason"]
    newest = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    state = torch.load(newest, weights_only=True)["state_dict"]
    assert f"update {int(newest.name[:12])}:" in err
    assert all(value.isfinite().all() for value in state.values())
    sys.modules.pop("my_criteria")


def test_out_of_memory(tmp_path):
    def limited():
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))

    arguments = ["space.channels=128", "space.cells=3", "data.batch_size=512", "out=run", "threads=1"]
    done = subprocess.run(
        command("search", *arguments), cwd=tmp_path, capture_output=True, text=True, preexec_fn=limited
    )
    assert done.returncode == 4, done.stderr
    assert "out of memory with data.batch_size=512; lower it" in done.stderr and done.stderr.count("error") == 1
    assert status(tmp_path / "run")["status"] == "failed"


def test_a_full_disk(run, whole, tmp_path):
    """A limit on the size of files: a checkpoint does not fit, the one before stays."""
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    folder = tmp_path / "run" / "checkpoints"
    newest, before = sorted(folder.iterdir())[-1], sorted(folder.iterdir())[0]
    newest.unlink()
    size = before.stat().st_size

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))

    done = subprocess.run(
        command("search", *TINY, "out=run"), cwd=tmp_path, capture_output=True, text=True, preexec_fn=limited
    )
    assert done.returncode == 5 and "the disk is full" in done.stderr and done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == [before]
    assert run("search", *TINY, "out=run")[0] == 0
    assert_same(whole, tmp_path / "run")


@pytest.mark.parametrize("key", ["", "0" * 40])
def test_wandb_that_cannot_be_reached_is_a_warning(whole, tmp_path, key):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    environment |= {"WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    if key:
        environment["WANDB_API_KEY"] = key
    arguments = [*TINY, "out=run", "logger=wandb", "logger.mode=online"]
    done = subprocess.run(command("search", *arguments), cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "warning: W&B: " in done.stderr and "logs offline" in done.stderr
    assert_same(whole, tmp_path / "run")
    assert done.stderr.count("\n") == 1 and "`wandb sync run/wandb/1/wandb/offline-run-" in done.stdout
    assert [row["step"] for row in Offline(tmp_path / "run" / "wandb" / "1" / "wandb").rows[:-1]] == [
        json.loads(line)["step"] for line in (whole / "metrics.jsonl").read_text().splitlines()
    ]
    assert json.loads((tmp_path / "run" / "result.json").read_text())["seconds"] < 20


def test_torture_in_short(tmp_path):
    """The full one: scripts/torture.py --kills 200."""
    jobs = ["enas", "retrain", "evolution"]
    words = ["--kills", "6", "--per-run", "2", "--jobs", *jobs, "--out", "torture"]
    program = [sys.executable, str(ROOT / "scripts" / "torture.py"), *words]
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    result = json.loads((tmp_path / "torture" / "result.json").read_text())
    assert result["kills"] == 6 and result["unequal"] == [] and list(result["jobs"]) == jobs


def test_torture_notices_what_differs(tmp_path):
    """The comparison itself: one byte, one missing file, one clock."""
    for name in ("a", "b"):
        (tmp_path / name / "supernet").mkdir(parents=True)
        (tmp_path / name / "supernet" / "metrics.jsonl").write_text("1\n")
        (tmp_path / name / "timings.jsonl").write_text(name)
        (tmp_path / name / "result.json").write_text(json.dumps({"seconds": name, "accuracy": 1}))
    torture = script("torture")
    assert torture.compare(tmp_path / "a", tmp_path / "b") == []
    (tmp_path / "b" / "supernet" / "metrics.jsonl").write_text("2\n")
    (tmp_path / "b" / "queries.jsonl").write_text("")
    (tmp_path / "b" / "result.json").write_text(json.dumps({"seconds": 1, "accuracy": 2}))
    assert torture.compare(tmp_path / "a", tmp_path / "b") == ["queries.jsonl", "result.json", "supernet/metrics.jsonl"]


TABLE = ["space=nasbench201", "estimator=tabular", "estimator.table=table.csv", "budget.queries=30"]


@pytest.fixture
def table(tmp_path):
    """A table of the whole space, with an accuracy that is any function of the cell."""
    space = NASBench201((3, 32, 32), 10, 1, 4)
    lines = ["arch,cifar10-val,cifar10-test"]
    for decisions in itertools.product(range(5), repeat=6):
        value = 20 + sum(k * w for k, w in zip(decisions, (3, 1, 4, 1, 5, 2), strict=True))
        lines.append(f"{space.notation(space.architecture(decisions))},{value},{value - 1}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"


def test_a_refused_command_changes_nothing(run, table, tmp_path):
    """A folder of somebody else, other settings, another process: the log there is not even read."""
    assert run("baseline", *TABLE, "out=run")[0] == 0
    (tmp_path / "run" / "result.json").unlink()
    with open(tmp_path / "run" / "queries.jsonl", "a") as file:
        file.write('{"query": 31')
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "queries.jsonl").write_text("cut off")

    def content():
        files = [p for p in tmp_path.rglob("*") if p.is_file() and p.name not in (".lock", "status.json")]
        return {p: p.read_bytes() for p in files}

    before = content()
    assert run("baseline", *TABLE, "out=foreign")[0] == 2
    assert run("baseline", *TABLE, "out=run", "seed=5")[0] == 2
    with open(tmp_path / "run" / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, _, err = run("baseline", *TABLE, "out=run")
        assert code == 2 and "writes there now" in err
    assert content() == before
    code, out, _ = run("baseline", *TABLE, "out=run")
    assert code == 0 and "continues run after query 30" in out


def test_a_table_that_has_changed_is_refused(run, table, tmp_path):
    assert run("baseline", *TABLE, "out=run")[0] == 0
    (tmp_path / "run" / "result.json").unlink()
    table.write_text(table.read_text().replace(",30,29", ",31,29"))
    code, _, err = run("baseline", *TABLE, "out=run")
    assert code == 2 and "table.csv: has changed since run began to read it" in err


def test_a_full_disk_is_no_fault_of_an_architecture(tmp_path):
    """Weights that children inherit do not fit: the run ends, and no query is logged as failed."""
    arguments = [
        "strategy=evolution", "strategy.inherit=true", "strategy.population=3", "strategy.tournament=2", "out=run",
        "estimator=training", "estimator.epochs=1", "estimator.sizes={cells: 3, channels: 4}", "budget.queries=4",
        "data.train_size=128", "data.batch_size=16", "space.nodes=2",
    ]  # fmt: skip

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 13, 1 << 13))

    done = subprocess.run(
        command("baseline", *arguments), cwd=tmp_path, capture_output=True, text=True, preexec_fn=limited
    )
    assert done.returncode == 5 and "the disk is full" in done.stderr, done.stderr
    log = tmp_path / "run" / "queries.jsonl"
    assert not log.exists() or "error" not in log.read_text()


def test_a_sweep_goes_on_after_a_job_that_diverged(run, tmp_path):
    sweep = ["--multirun", *TINY, "weights.optimizer.lr=1e30,0.02", "architect=uniform", "selection.samples=2", "out=s"]
    code, _, err = run("search", *sweep)
    assert code == 3 and err.count("has diverged") == 1
    assert status(tmp_path / "s" / "0")["status"] == "diverged" and status(tmp_path / "s" / "1")["status"] == "finished"


def test_a_comparison_that_is_killed(tmp_path):
    """Its job ends with it, saves, and is taken up by the same command, without out= too."""
    sizes = [*TINY, "experiment=digits", "checkpoint.every=1"]
    arguments = ["methods=[darts]", "seeds=1", *sizes, "search_settings=['epochs=300']"]
    process = subprocess.Popen(command("compare", *arguments), cwd=tmp_path, stdout=subprocess.DEVNULL)
    while not any(tmp_path.glob("outputs/compare/*/darts/0/search/checkpoints/*.ckpt")):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (folder,) = tmp_path.glob("outputs/compare/*")
    job = folder / "darts" / "0" / "search"
    patience = time.monotonic() + 120
    while is_locked(job) and time.monotonic() < patience:
        time.sleep(0.1)
    assert status(job)["status"] == "interrupted" and not (job / "result.json").exists()
    process = subprocess.Popen(command("compare", *arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while status(job)["status"] != "running":
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert "the same command continues outputs/compare" in process.communicate(timeout=120)[1]
    assert process.returncode == 143 and len(list(tmp_path.glob("outputs/compare/*"))) == 1
    assert status(folder)["status"] == status(job)["status"] == "interrupted"
