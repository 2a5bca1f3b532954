"""Unlucky moments: a closed screen, a lost session, Ctrl-C during imports, a folder that goes away."""

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

TINY = ["space.cells=3", "space.channels=4", "space.nodes=2", "data.train_size=128", "data.batch_size=32"]
LONG = [*TINY, "epochs=500", "architect=uniform", "selection.samples=2", "logger=none", "threads=1"]
SHORT = [*TINY, "epochs=3", *LONG[6:], "log_every=1", "checkpoint.every=1"]
COMMAND = [sys.executable, "-P", "-m", "oneshot"]


def started(folder, *words, **options):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "preexec_fn": hear_hangup, **options}
    return subprocess.Popen([*COMMAND, *words], cwd=folder, text=True, **pipes)


def hear_hangup():
    """The tests themselves may run under nohup, which processes inherit."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def rows(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


def wait_for_rows(process, folder, number):
    while len(rows(folder)) < number:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def status(folder):
    return json.loads((folder / "status.json").read_text())["status"]


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory):
    """The short run, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("alone")
    process = started(folder, "search", *SHORT, "out=out")
    assert process.wait() == 0
    return folder / "out"


def same(one, two):
    names = ("architecture.json", "metrics.jsonl", "scores.json", "supernet.safetensors", "architect.safetensors")
    return all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


@pytest.mark.parametrize("shell", ["2>&1 | head -1", "> /dev/full", ">&- 2>&- <&-"])
def test_a_run_goes_on_when_nobody_reads(tmp_path, left_alone, shell):
    words = " ".join([*COMMAND, "search", *SHORT, "out=out"])
    found = subprocess.run(
        f"set -o pipefail; {words} {shell}",
        shell=True,
        cwd=tmp_path,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == "" and found.stdout.count("\n") <= 1 and same(tmp_path / "out", left_alone)


def test_a_reader_that_goes_away_in_the_middle(tmp_path, left_alone):
    process = started(tmp_path, "search", *SHORT, "out=out")
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait() == 0 and same(tmp_path / "out", left_alone)


def test_characters_that_the_screen_cannot_show(tmp_path):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(
        [*COMMAND, "report", "r\u00e9sultats \u6728"], cwd=tmp_path, env=environment, capture_output=True
    )
    assert found.returncode == 2 and found.stderr.count(b"\n") == 1 and b"there is no such folder" in found.stderr


ANOTHER = """
from pathlib import Path
from oneshot.runs.folder import Run

with Run(Path("out"), "a: 1") as run:
    for step in range(5):
        run.record({"step": step})
    run.finish({})
"""


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_was_stopped_writes_nothing_into_its_successor(tmp_path):
    out = tmp_path / "out"
    process = started(tmp_path, "search", *LONG, "log_every=1", "out=out")
    wait_for_rows(process, out, 2)
    process.send_signal(signal.SIGSTOP)
    out.rename(tmp_path / "moved")
    assert subprocess.run([*COMMAND[:2], "-c", ANOTHER], cwd=tmp_path).returncode == 0 and status(out) == "finished"
    before = contents(tmp_path)
    process.send_signal(signal.SIGCONT)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 5 and error.count("\n") == 1 and contents(tmp_path) == before
    assert error == "error: out=out: cannot be written any more (out: is another folder now)\n"


def test_from_the_first_line_on_ctrl_c_is_heard_and_a_library_hears_none():
    """What is imported before the handler is Python's own; a trace would come from any other module."""
    program = (
        "import sys, signal; before = {*sys.modules}; handler = signal.getsignal(signal.SIGINT); import oneshot; "
        "oneshot.InputError, oneshot.Query; assert signal.getsignal(signal.SIGINT) is handler"
    )
    assert subprocess.run([*COMMAND[:2], "-c", program]).returncode == 0
    program = (
        "import sys; before = {*sys.modules}; import oneshot.cli.entry; print(*sorted({*sys.modules} - before)); "
        "import signal; assert signal.getsignal(signal.SIGINT) is oneshot.cli.entry._end"
    )
    found = subprocess.run([*COMMAND[:2], "-c", program], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("oneshot oneshot.cli oneshot.cli.entry\n", "")


BEGIN = "import sys; from oneshot.cli import entry; print('begun', flush=True); sys.argv[0] = 'oneshot'; entry.main()"


def test_ctrl_c_at_any_instant(tmp_path):
    """From the first line of ours on: imports, composing, the supernet, the search."""
    draw = random.Random(0)
    for at in sorted(draw.uniform(0.0, 1.0) ** 2 * 8 for _ in range(9)):
        words = [sys.executable, "-P", "-c", BEGIN, "search", *LONG, "resume=false"]
        process = subprocess.Popen(words, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout.readline() == "begun\n"
        time.sleep(at)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
        assert process.returncode == 130, (at, out, error)
        assert error.count("\n") == 1 and error.startswith(("interrupted", "stopped by SIGINT")), (at, error)


def test_a_lost_session_saves_and_a_second_process_is_refused(tmp_path):
    out = tmp_path / "out"
    words = ["search", *LONG, "log_every=1", "checkpoint.every=1000000", "out=out"]
    process = started(tmp_path, *words)
    wait_for_rows(process, out, 3)
    _, error = started(tmp_path, *words).communicate(timeout=300)
    assert error == f"error: out=out: process {process.pid} writes there now; name another folder\n"
    process.send_signal(signal.SIGHUP)
    _, error = process.communicate()
    assert (process.returncode, error) == (129, "stopped by SIGHUP; the same command continues out\n")
    assert status(out) == "interrupted" and any((out / "checkpoints").iterdir())


def ignore_hangup():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def test_nohup_then_a_stopped_process_then_a_folder_that_goes_away(tmp_path):
    out = tmp_path / "out"
    process = started(tmp_path, "search", *LONG, "log_every=1", "out=out", preexec_fn=ignore_hangup)
    wait_for_rows(process, out, 2)
    process.send_signal(signal.SIGHUP)
    wait_for_rows(process, out, len(rows(out)) + 5)
    assert status(out) == "running"

    process.send_signal(signal.SIGSTOP)
    before = time.monotonic()
    time.sleep(6)
    process.send_signal(signal.SIGCONT)
    stopped = time.monotonic() - before
    wait_for_rows(process, out, len(rows(out)) + 10)
    clocks = [json.loads(line) for line in (out / "timings.jsonl").read_text().splitlines()]
    pairs = list(itertools.pairwise(clocks))
    assert max(b["seconds"] - a["seconds"] for a, b in pairs) < stopped / 2
    assert all(b["process_seconds"] >= a["process_seconds"] for a, b in pairs)

    shutil.move(out, tmp_path / "moved")
    _, error = process.communicate(timeout=300)
    assert process.returncode == 5 and error.count("\n") == 1, error
    assert error.startswith("error: out=out: cannot be written any more (out") and "No such file" in error
    assert not out.exists()


def test_a_kill_an_empty_checkpoint_and_a_process_number_that_another_one_has(tmp_path, left_alone):
    """As a power cut can leave it: the checkpoint before is used, and the result is the same."""
    process = started(tmp_path, "search", *SHORT, "out=out")
    wait_for_rows(process, tmp_path / "out", 5)
    process.kill()
    process.communicate()
    newest = max((tmp_path / "out" / "checkpoints").glob("*.ckpt"))
    newest.write_bytes(b"")
    content = json.loads((tmp_path / "out" / "status.json").read_text())
    (tmp_path / "out" / "status.json").write_text(json.dumps({**content, "process": os.getpid()}))
    process = started(tmp_path, "search", *SHORT, "out=out")
    _, error = process.communicate()
    assert process.returncode == 0 and error.count("\n") == 1 and f"{newest.name}: is damaged and not used" in error
    assert same(tmp_path / "out", left_alone)


def test_the_process_of_wandb_is_killed(tmp_path, left_alone):
    environment = {**os.environ, "WANDB_MODE": "offline"}
    words = ["logger=wandb" if word == "logger=none" else word for word in SHORT]
    process = started(tmp_path, "search", *words, "out=out", env=environment)
    wait_for_rows(process, tmp_path / "out", 2)
    served = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "wandb-core"], capture_output=True, text=True)
    os.kill(int(served.stdout.split()[0]), signal.SIGKILL)
    _, error = process.communicate()
    assert process.returncode == 0 and error.count("\n") == 1 and error.startswith("warning: logger: "), error
    assert same(tmp_path / "out", left_alone)
