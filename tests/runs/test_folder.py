"""A run's folder."""

import errno
import fcntl
import json
import os
import time

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from oneshot.cli.faults import fault
from oneshot.errors import InputError, Lost
from oneshot.runs.files import write_text
from oneshot.runs.folder import (
    Run,
    latest,
    peak_memory_bytes,
    read_json,
    read_rows,
    write_weights,
)
from oneshot.runs.settings import read_settings


def test_seconds_that_do_not_count(tmp_path):
    run = Run(tmp_path / "run")
    before = run.cost
    with run.uncounted():
        start = time.process_time()
        while time.process_time() < start + 0.3:
            pass
    after = run.cost
    assert all(after[name] - before[name] < 0.15 for name in ("seconds", "process_seconds"))


def test_rows_and_result(tmp_path):
    run = Run(tmp_path / "a" / "b")
    run.record({"step": 1, "loss": 2.0})
    run.record({"step": 2, "loss": 1.0})
    rows = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    timings = [json.loads(line) for line in (run.path / "timings.jsonl").read_text().splitlines()]
    assert rows == [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}]
    assert [t["step"] for t in timings] == [1, 2] and timings[0]["seconds"] <= timings[1]["seconds"]
    assert run.finish({"test_accuracy": 0.5})["status"] == "finished"
    assert json.loads((run.path / "result.json").read_text())["test_accuracy"] == 0.5


def test_a_used_folder_and_a_file_are_refused(tmp_path):
    Run(tmp_path / "a").write("x", "kept")
    with pytest.raises(InputError, match="a: the folder is not empty"):
        Run(tmp_path / "a")
    with pytest.raises(InputError, match="cannot be used as a folder"):
        Run(tmp_path / "a" / "x")
    assert (tmp_path / "a" / "x").read_text() == "kept"


def test_an_interrupted_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = write_text(tmp_path / "result.json", "old")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_weights_round_trip(tmp_path):
    module = nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    loaded = load_file(write_weights(tmp_path / "w.safetensors", module))
    assert all(torch.equal(loaded[name], value) for name, value in module.state_dict().items())


def test_latest_is_the_newest_finished_search(tmp_path):
    with pytest.raises(InputError, match="architecture=latest: no finished .* below"):
        latest(tmp_path)
    with pytest.raises(InputError, match="run=latest: no finished retrain below .*`oneshot retrain` first or give run"):
        latest(tmp_path / "retrain", "run", "network.safetensors")
    for age, name in enumerate(("new", "old", "no_architecture", "failed", "broken")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text('{"status": "finished"}')
        (tmp_path / name / "architecture.json").write_text("{}")
        os.utime(tmp_path / name / "result.json", (1e9 - age, 1e9 - age))
    (tmp_path / "no_architecture" / "architecture.json").unlink()
    for name, text in (("failed", '{"status": "failed"}'), ("broken", '{"sta')):
        (tmp_path / name / "result.json").write_text(text)  # newest of all, and not finished
    assert latest(tmp_path) == tmp_path / "new"
    (tmp_path / "old" / "network.safetensors").touch()
    assert latest(tmp_path, "run", "network.safetensors") == tmp_path / "old"


def test_peak_memory_counts_bytes():
    before = peak_memory_bytes()
    block = torch.ones(2**26 + before // 4)
    assert peak_memory_bytes() >= block.numel() * 4


def test_a_device_is_no_file_of_ours(tmp_path):
    """It has no size and no end."""
    (tmp_path / "file").symlink_to("/dev/zero")
    for read in (read_json, read_rows, read_settings):
        with pytest.raises(InputError, match="file: is a link; only regular files"):
            read(tmp_path / "file")


def test_a_disk_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def none(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with Run(tmp_path / "run") as run:
        run.finish({})
    warned = capsys.readouterr().err
    assert warned.count("\n") == 1 and "run: this disk has no locks" in warned


def test_a_clock_that_jumps_changes_no_time_of_a_run(tmp_path, monkeypatch):
    with Run(tmp_path / "run", "a: 1") as run:
        run.record({"step": 1})
        monkeypatch.setattr(time, "time", lambda: 0.0)  # the clock of the day; a run uses another one
        run.record({"step": 2})
        assert 0 <= run.finish({})["seconds"] < 60
    first, second = (
        json.loads(line)["seconds"] for line in (tmp_path / "run" / "timings.jsonl").read_text().splitlines()
    )
    assert first <= second < 60


FAULTS = [errno.EROFS, errno.EPERM, errno.EACCES, errno.EIO, errno.ESTALE, errno.ENXIO, errno.ENOTCONN]
FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
CALLS = ["open", "write", "fsync", "replace"]


def fails(monkeypatch, call, number):
    """From now on this call of the system fails, as the system says it: without a name, or with a temporary one."""
    real = getattr(os, call)

    def failing(*given, **named):
        if call == "open" and not given[1] & (os.O_WRONLY | os.O_RDWR):
            return real(*given, **named)
        raise OSError(number, os.strerror(number), *(["temporary", None, "it"] if call == "replace" else []))

    monkeypatch.setattr(os, call, failing)


@pytest.mark.parametrize("number", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
def test_a_disk_that_fails_in_the_middle_is_one_error(tmp_path, monkeypatch, call, number):
    name = "metrics.jsonl" if call in ("open", "write") else "file"
    with pytest.raises(Lost) as caught, Run(tmp_path / "run", "a: 1") as run:
        run.record({"step": 1})
        fails(monkeypatch, call, number)
        run.record({"step": 2})
        run.write("file", "new")
    monkeypatch.undo()
    why = f"{run.path / name}: {os.strerror(number)}"
    assert caught.value.code == 5 and str(caught.value) == f"out={run.path}: cannot be written any more ({why})"
    assert read_json(run.path / "status.json")["status"] == ("failed" if call == "write" else "running")
    assert [row["step"] for row in read_rows(run.path / "metrics.jsonl")] == (
        [1] if call in ("open", "write") else [1, 2]
    )


@pytest.mark.parametrize("number", FULL, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
def test_a_full_disk_is_named_with_the_file(tmp_path, monkeypatch, call, number):
    with pytest.raises(OSError) as caught, Run(tmp_path / "run", "a: 1") as run:
        fails(monkeypatch, call, number)
        run.record({"step": 1})
        run.write("metrics.jsonl", "new")
    monkeypatch.undo()
    line, code = fault(caught.value, "search", None)
    told = f"({run.path / 'metrics.jsonl'}: {os.strerror(number)})"
    assert code == 5 and line == f"the disk is full {told}; what was kept is intact: make space, give the command again"


def test_a_disk_that_fails_outside_of_a_run():
    for number in FAULTS:
        line, code = fault(OSError(number, os.strerror(number), "page/report.html"), "report", None)
        assert line.startswith(f"page/report.html: {os.strerror(number)}")
        assert code == (2 if number in (errno.EPERM, errno.EACCES) else 5)
    assert fault(OSError(errno.ENOTCONN, "a socket"), "report", None)[0] is None  # a bug, whose trace is shown
