"""Baselines whose queries are scored by several workers: the same bytes as in one process, whatever is killed."""

import csv
import itertools
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import run_all

from oneshot.spaces import NASBench201

COMPARED = ("queries.jsonl", "architecture.json", "metrics.jsonl")
SIZES = ["space=nasbench201", "space.cells=1", "space.channels=4", "data.train_size=256", "data.batch_size=32"]
RANDOM = ["strategy=random_search", "threads=1", "batch=3"]
OWN = """
import pathlib, time


class Own:
    \"\"\"Marks what it is asked; some cannot be scored.\"\"\"

    metrics = ("accuracy",)

    def __init__(self, images, batch_size):
        pass

    def __call__(self, queries):
        (query,) = queries
        name = "".join(map(str, query.architecture.decisions))
        mark = pathlib.Path("marks", name)
        with open(mark, "a") as file:
            file.write("x\\n")
        time.sleep(0.2)
        if sum(query.architecture.decisions) % 5 == 0:
            raise ValueError("a multiple of 5")
        return [{"accuracy": sum(query.architecture.decisions) / 24}]
"""


@pytest.fixture(scope="module")
def estimators(tmp_path_factory):
    """The settings of a ranking by a supernet and by a table."""
    folder, space = tmp_path_factory.mktemp("estimators"), NASBench201((3, 32, 32), 10)
    with open(folder / "table.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["arch", "own-val", "own-test"])
        for decisions in itertools.product(range(5), repeat=6):
            writer.writerow([space.notation(space.architecture(decisions)), 10 + sum(decisions), 10])
    run_all(folder, [("search", ["architect=uniform", *SIZES, "epochs=1", "threads=1", "out=net"])])
    table = [f"reference.table={folder}/table.csv", "reference.dataset=own"]
    return ["space=nasbench201", f"supernet={folder}/net", *table, "threads=1", "resamples=10"]


@pytest.mark.parametrize("executor", ["processes", "ray"])
def test_a_ranking_is_the_same_bytes_as_in_one_process(executor, estimators, run, request, tmp_path):
    """Of a supernet's answers and of a table's, by workers that make both."""
    chosen = [f"executor={executor}"]
    if executor == "ray":
        chosen.append(f"executor.address={request.getfixturevalue('cluster').address}")
    assert run("rank", *estimators, "architectures=9", "out=inline")[0] == 0
    code, _, err = run("rank", *estimators, "architectures=9", *chosen, "out=workers")
    assert (code, err) == (0, "")
    assert_same(tmp_path, ("estimator.jsonl", "reference.jsonl"))


def test_jobs_of_submitit_leave_the_same_bytes(estimators, run, tmp_path):
    pytest.importorskip("submitit", reason="the extra submitit is not installed")
    settings = [*estimators[:2], *RANDOM, "cost=parameters", "budget.queries=2"]
    assert run("baseline", *settings, "out=inline")[0] == 0
    code, _, err = run("baseline", *settings, "executor=submitit", "executor.cluster=local", "out=workers")
    assert (code, err) == (0, "")
    assert_same(tmp_path, COMPARED)


def assert_same(folder, names):
    """What both runs hold, by name, and these files."""
    inline, workers = folder / "inline", folder / "workers"
    assert {path.name for path in inline.iterdir()} == {path.name for path in workers.iterdir()}
    for name in names:
        content = (inline / name).read_bytes()
        assert content and content == (workers / name).read_bytes(), name


def test_a_run_that_is_killed_continues_elsewhere(run, tmp_path):
    """The same command with another executor ends it, and asks again only for what was not answered."""
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "marks").mkdir()
    settings = [*SIZES, *RANDOM, "estimator._target_=own.Own", "budget.queries=24", "batch=8", "failures=1"]
    command = [sys.executable, "-m", "oneshot", "baseline", *settings, "executor=processes", "out=killed"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    log = tmp_path / "killed" / "queries.jsonl"
    while not log.exists() or len(log.read_bytes().splitlines()) < 4:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.communicate()[1] == b""
    before = log.read_bytes()
    time.sleep(1)  # workers end with it, so this is no time that they could write in
    code, out, err = run("baseline", *settings, "out=killed")
    assert (code, err) == (0, "") and "continues killed after query" in out
    marks = {path.name: len(path.read_text().splitlines()) for path in (tmp_path / "marks").iterdir()}
    assert sum(marks.values()) <= len(marks) + 2  # what the two workers were at when the run was killed
    assert run("baseline", *settings, "out=whole")[0] == 0
    assert log.read_bytes().startswith(before)
    for name in COMPARED:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["executor=threads"], "unknown choice for executor 'threads'"),
        (["executor=processes", "executor.workers=0"], "executor.workers=0: must be a whole number"),
        (["executor=submitit", "executor.cluster=pbs"], "unknown cluster (executor.cluster) 'pbs'"),
    ],
)
def test_bad_input(settings, message, run, tmp_path):
    code, _, err = run("baseline", *settings, "out=bad")
    assert code == 2 and message in err and err.count("\n") == 1, err
    assert not (tmp_path / "bad").exists()
