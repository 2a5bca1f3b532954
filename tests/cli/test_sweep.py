"""`oneshot sweep` as a user types it: stopped, continued, with jobs that fail and jobs that are stopped early."""

import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest
import yaml
from helpers.commands import call, is_first_line

from oneshot.cli.sweep.suggestions import STORAGE

TINY = "experiment=digits architect=uniform space.cells=3 space.channels=4 space.nodes=2 data.train_size=128".split()
COMMAND = ["${env}", "${interpreter}", "${program}", *TINY, "logger=wandb", "log_every=1", "${args_no_hyphens}"]
SWEEP = {
    "program": "scripts/search.py",
    "method": "grid",
    "metric": {"name": "weight/loss", "goal": "minimize"},
    "parameters": {
        "epochs": {"value": 60},
        "weights.optimizer": {"parameters": {"lr": {"values": [0.1, 1.0e-9, -1.0]}}},  # learns, stays, is refused
    },
    "early_terminate": {"type": "hyperband", "min_iter": 20, "eta": 3},
    "command": COMMAND,
}
ROW = 20
ARGUMENTS = ["sweep.yaml", "out=swept"]


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def status(folder):
    return json.loads((folder / "status.json").read_text())["status"]


def write(folder, **changes):
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP | changes))


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A sweep that SIGTERM has ended in the middle of its first job."""
    folder = tmp_path_factory.mktemp("sweep")
    write(folder)
    command = [sys.executable, "-m", "oneshot", "sweep", *ARGUMENTS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=folder, **pipes) as process:
        deadline = time.monotonic() + 120
        while not any(len(rows(job / "metrics.jsonl")) > 2 for job in folder.glob("swept/*-*")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert (process.returncode, err) == (143, "stopped by SIGTERM; the same command continues swept\n")
    first, second = out.splitlines()
    assert first.startswith("sweep: file ") and second == "job 1 of 3: weights.optimizer.lr=0.1"
    return folder


@pytest.fixture(scope="module")
def ended(stopped, tmp_path_factory):
    """The same command again: the folder, and what it said to stdout and stderr."""
    (job,) = stopped.glob("swept/*-*")
    assert status(stopped / "swept") == status(job) == "interrupted"
    folder = tmp_path_factory.mktemp("again")
    shutil.copytree(stopped, folder, dirs_exist_ok=True)
    said, complained = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said), redirect_stderr(complained):
        patch.chdir(folder)
        patch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # no job may ask for it
        assert call("sweep", *ARGUMENTS) == 1
    return folder, said.getvalue(), complained.getvalue()


def test_it_continues_and_goes_on_past_a_failure(ended):
    folder, out, err = ended
    swept = folder / "swept"
    first, second = (next(swept.glob(f"{n}-*")) for n in (1, 2))  # the third was refused before it had a folder
    assert len(rows(first / "metrics.jsonl")) == 121  # two updates an epoch, each once, and what it ended with
    assert status(first) == "finished" and status(second) == "interrupted"
    assert json.loads((second / "stopped.json").read_text()) == {"row": ROW}
    assert ROW < len(rows(second / "metrics.jsonl")) < 121 and not (second / "result.json").exists()
    assert not (swept / "result.json").exists() and status(swept) == "failed"
    assert err == (
        "error: 1 of 3 jobs were refused their settings; give others in the file or as settings=, and a new out="
        " (swept/table.md says why)\n"
    )
    assert out.count("job ") == 7 and "job 2: stopped early" in out
    assert out.splitlines()[1] == "job 1 of 3: weights.optimizer.lr=0.1; continues"


def test_the_table_is_best_first(ended):
    folder, out, _ = ended
    swept = folder / "swept"
    found = json.loads((swept / "results.json").read_text())
    assert [row["status"] for row in found] == ["finished", "stopped early", "refused"]
    assert [row["parameters"]["weights.optimizer.lr"] for row in found] == [0.1, 1e-9, -1.0]
    losses = [
        [row["weight_loss"] for row in rows(swept / job["folder"] / "metrics.jsonl") if "weight_loss" in row]
        for job in found
    ]
    assert found[0]["metric"] == losses[0][-1] and found[1]["metric"] == losses[1][ROW] > min(losses[0][: ROW + 1])
    assert found[2]["metric"] is None and "Invalid learning rate: -1.0" in found[2]["reason"]
    table = (swept / "table.md").read_text()
    assert table in out and len(table.splitlines()) == 5
    cells = [cell.strip() for cell in table.splitlines()[2].strip("|").split("|")]
    assert cells[:2] == [found[0]["folder"], "weights.optimizer.lr=0.1"] and cells[2] == f"{losses[0][-1]:.6g}"


def test_what_has_ended_is_not_run_again(run, ended, tmp_path):
    """With a result in place of the failure nothing is left to do, and the sweep has finished."""
    folder, *_ = ended
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    before = {path: path.stat().st_mtime_ns for n in (1, 2) for path in tmp_path.glob(f"swept/{n}-*/*")}
    failed = json.loads((tmp_path / "swept" / "results.json").read_text())[2]["folder"]
    shutil.copytree(next(tmp_path.glob("swept/1-*")), tmp_path / "swept" / failed)
    code, out, err = run("sweep", *ARGUMENTS, "jobs=2")
    assert (code, err) == (0, "") and "failed" not in out and "refused" not in out
    assert len(re.findall(r"^job \d of 3: .*; ended before: ", out, re.MULTILINE)) == out.count("job ") - 1 == 3
    assert {path: path.stat().st_mtime_ns for path in before} == before
    result = json.loads((tmp_path / "swept" / "result.json").read_text())
    assert (result["status"], result["jobs"]) == ("finished", 3) and result["weight_loss"] < 2.4


def test_another_sweep_is_refused(run, ended, tmp_path):
    shutil.copytree(ended[0], tmp_path, dirs_exist_ok=True)
    table = (tmp_path / "swept" / "table.md").stat().st_mtime_ns
    for change, named in [
        ({"metric": {"name": "valid/loss", "goal": "minimize"}}, "sweep.metric.name=weight/loss and not valid/loss"),
        ({"command": [word.replace("nodes=2", "nodes=3") for word in COMMAND]}, "space.nodes=3"),
        ({"parameters": {"epochs": {"value": 61}}}, "sweep.parameters.epochs.value=60 and not 61"),
    ]:
        write(tmp_path, **change)
        code, out, err = run("sweep", *ARGUMENTS)
        assert code == 2 and is_first_line("sweep", out) and len(err.splitlines()) == 1
        assert err.startswith("error: out=swept: was started with ") and named in err
    write(tmp_path)
    code, _, err = run("sweep", *ARGUMENTS, "seed=1")
    assert code == 2 and "seed=0 and not 1" in err
    assert (tmp_path / "swept" / "table.md").stat().st_mtime_ns == table


def test_bayes_by_an_executor(run, tmp_path):
    """A job by a call of the executor. With this seed the first draws a rate that no optimizer takes: it gets another.

    The same command again finds all of it told.
    """
    rates = {"epochs": {"value": 1}, "weights.optimizer.lr": {"values": [0.1, 0.05, -1.0]}}
    write(tmp_path, method="bayes", parameters=rates, metric={"name": "valid/accuracy"})
    arguments = [
        *ARGUMENTS,
        "runs=2",
        "seed=1",
        "+executor._target_=oneshot.executors.Inline",
        "settings=['log_every=2']",
    ]
    code, out, err = run("sweep", *arguments)
    assert (code, err) == (0, "") and len(re.findall("finished, valid/accuracy", out)) == 2
    assert "job 1: refused: " in out and out.count("job 1 of 2: ") == 2
    found = json.loads((tmp_path / "swept" / "results.json").read_text())
    assert len(found) == 2
    for row in found:
        result = json.loads((tmp_path / "swept" / row["folder"] / "result.json").read_text())
        assert row["metric"] == result["valid_accuracy"] and row["seconds"] == result["seconds"]
        config = yaml.safe_load((tmp_path / "swept" / row["folder"] / "config.yaml").read_text())
        assert config["weights"]["optimizer"]["lr"] == row["parameters"]["weights.optimizer.lr"]
        assert config["log_every"] == 2
    storage = (tmp_path / "swept" / STORAGE).read_bytes()
    assert run("sweep", *arguments, "jobs=2")[0] == 0
    assert (tmp_path / "swept" / STORAGE).read_bytes() == storage


def test_where_all_settings_are_refused_it_ends(run, tmp_path):
    write(tmp_path, method="random", parameters={"weights.optimizer.lr": {"value": -1.0}})
    code, out, err = run("sweep", *ARGUMENTS, "runs=1")
    assert code == 1 and out.count(" of 1: ") == 1
    assert err.startswith("error: 1 of 1 jobs were refused their settings; give others in the file or as settings=")


BAD = [
    (["absent.yaml"], "absent.yaml: cannot be read"),
    ([], "name a sweep"),
    (["."], ".: is a folder, and not a file"),
    (["sweep.yaml", "other.yaml"], "must be the path of one sweep"),
    ([""], "file='': must be the path of one sweep"),
    (["--help", "nope"], "unknown topic of --help 'nope'"),
    (["sweep.yaml", "jobs=0"], "jobs=0"),
    (["sweep.yaml", "runs=0"], "runs=0"),
    (["sweep.yaml", "settings=7"], "settings=7"),
    (["sweep.yaml", "settings=['epohcs=1']"], "oneshot search: Could not override 'epohcs'"),
    (["sweep.yaml", "settings=['data=digit']"], "unknown choice for data 'digit'; did you mean 'digits'?"),
    (["sweep.yaml", "executor=rya"], "unknown choice for executor 'rya'"),
    (["sweep.yaml", "job=2"], "unknown setting 'job'; did you mean 'jobs'?"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_clear_line(run, tmp_path, arguments, message):
    write(tmp_path)
    code, out, err = run("sweep", *arguments, "out=swept")
    assert code == 2 and is_first_line("sweep", out) and not (tmp_path / "swept").exists()
    assert message in err and err.startswith("error: ") and len(err.splitlines()) == 1
