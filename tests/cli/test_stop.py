"""stop= as a user types it: what the screen and the files say, again, continued, and in a report."""

import json
import signal
import subprocess
import sys
import time

import pytest
from helpers.commands import is_first_line
from helpers.run_folders import search
from helpers.support import TINY

# nodes of two edges keep both, so one edge into the second node is none from the start
SKIPS = [
    *TINY,
    "space.nodes=2",
    "logger=none",
    "stop=skip_count",
    "stop.skip=none",
    "stop.limit=1",
    "stop.from_epoch=2",
    "out=run",
]
FILES = ("architecture.json", "scores.json", "metrics.jsonl", "supernet.safetensors", "architect.safetensors")
LINE = "after epoch 2, epoch 2 is kept: 1 times none in the cell 'normal', limit 1"


def ended_early(out):
    return [line.split(None, 2)[2] for line in out.splitlines() if line.startswith("ended early")]


def contents(folder):
    return {name: (folder / name).read_bytes() for name in FILES}


def test_it_says_why_it_ended_answers_continues_and_is_reported(run, tmp_path):
    code, out, err = run("search", *SKIPS)
    assert (code, err, ended_early(out)) == (0, "", [LINE]) and "3/3" not in out
    result, before = json.loads((tmp_path / "run" / "result.json").read_text()), contents(tmp_path / "run")
    assert result["stopped"] == {"epochs": 2, "updates": 16, "reason": LINE.split(": ")[1], "kept_epoch": 2}
    assert len(json.loads(before["scores.json"])) == 3

    code, out, err = run("search", *SKIPS)
    assert (code, err, ended_early(out)) == (0, "", [LINE]) and "finished before: run " in out
    assert contents(tmp_path / "run") == before

    (tmp_path / "run" / "result.json").unlink()
    code, out, err = run("search", *SKIPS)
    assert (code, err, ended_early(out)) == (0, "", [LINE]) and "continues run after update 16" in out
    assert contents(tmp_path / "run") == before

    search(tmp_path / "plain")
    assert run("report", "run", "plain", "out=reported")[0] == 0
    text = (tmp_path / "reported" / "report.md").read_text()
    assert text.count("| ended early |") == 1 and text.replace("\\", "").count(f"| {LINE} |") == 1


def test_a_signal_in_the_middle(run, tmp_path):
    command = [sys.executable, "-m", "oneshot", "search", *SKIPS, "checkpoint.every=1"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "run" / "checkpoints"
    while not (folder.is_dir() and any(path.name.startswith("000000000010") for path in folder.iterdir())):
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped by SIGINT; the same command continues run\n")
    code, out, err = run("search", *SKIPS)
    assert (code, err, ended_early(out)) == (0, "", [LINE]) and "continues run after update" in out
    assert run("search", *SKIPS[:-1], "out=whole")[0] == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["stop=eigenvalue", "architect=enas"],
            "diagnostics alpha_eigenvalue_largest: needs an architect whose scores are",
        ),
        (["stop=skip_count", "stop.cell=norml"], "unknown stop.cell 'norml'; did you mean 'normal'? known: normal, re"),
        (["stop=skip_count", "stop.limit=0"], "stop.limit=0: must be a whole number, at least 1"),
        (["stop=decided", "stop.entropy=null", "stop.epochs=null"], "stop.entropy=None: must be a number if"),
        (["stop=eigenvalue", "architect=darts"], "EigenvalueRise can end a search after epoch 23 at the earliest, and"),
        (["stop=skip_count", "stop.limt=3"], "limt"),
        (["stop=skip_cuont"], "skip_count"),
    ],
)
def test_what_is_refused_before_anything_is_written(run, tmp_path, words, message):
    code, out, err = run("search", *TINY, "logger=none", "out=run", *words)
    assert code == 2 and err.count("\n") <= 2 and message in err and is_first_line("search", out)
    assert not (tmp_path / "run").exists()


def test_a_supernet_of_a_baseline_may_end_early_too(run, tmp_path):
    words = ["architect=darts", "stop=decided", "stop.entropy=1", "budget.queries=2", "logger=none", "out=based"]
    assert run("baseline", *TINY, *words)[0] == 0
    stopped = json.loads((tmp_path / "based" / "supernet" / "result.json").read_text())["stopped"]
    assert (stopped["epochs"], stopped["kept_epoch"]) == (1, 1) and "is below 1" in stopped["reason"]
