"""The folder of a run that goes on: when it is moved, removed or replaced, nothing is written to another folder."""

import gc
import os
import shutil
import threading
from pathlib import Path

import pytest

from oneshot.errors import InputError, Lost
from oneshot.fitting.checkpoints import Checkpoints
from oneshot.runs import files, held
from oneshot.runs.folder import Run, read_json, read_rows


def state(path):
    return {str(p): p.read_bytes() if p.is_file() else b"" for p in sorted(path.rglob("*"))}


def moved(run, other):
    run.rename(run.with_name("moved"))


def a_new_one(run, other):
    """As a second run leaves it, with its own files under the same names."""
    run.rename(run.with_name("moved"))
    (run / "below").mkdir(parents=True)
    for name in (".lock", "config.yaml", "status.json", "metrics.jsonl", "rows", "below/rows"):
        (run / name).write_text("second\n")


def a_link(run, other):
    run.rename(run.with_name("moved"))
    run.symlink_to(other)


def removed(run, other):
    shutil.rmtree(run)


def a_file(run, other):
    run.rename(run.with_name("moved"))
    run.write_text("a file")


def every_file(run, other):
    for path in run.rglob("*"):
        path.unlink() if path.is_file() else None


def the_lock(run, other):
    (run / ".lock").unlink()


def another_lock(run, other):
    (run / ".lock").unlink()
    (run / ".lock").touch()


def a_known_file(run, other):
    (run / "config.yaml").unlink()


def another_file(run, other):
    (run / "rows").unlink()
    (run / "rows").write_text("other rows\n")


def a_shorter_file(run, other):
    os.truncate(run / "rows", 1)


def of_a_copy(run, other):
    """The folder has the same files, and is another one."""
    shutil.copytree(run, run.with_name("copy"))
    run.rename(run.with_name("moved"))
    run.with_name("copy").rename(run)


FOLDERS = (moved, a_new_one, a_link, removed, a_file, the_lock, another_lock, every_file, of_a_copy)
FILES = (a_known_file, another_file, a_shorter_file)
WRITES = {
    "append": lambda path: files.append(path / "rows", "more\n"),
    "append below": lambda path: files.append(path / "below" / "rows", "more\n"),
    "append below, with a root": lambda path: files.append(path / "below" / "rows", "more\n", path),
    "a new file": lambda path: files.append(path / "new", "more\n"),
    "write": lambda path: files.write_text(path / "rows", "new\n"),
    "write below": lambda path: files.write_text(path / "below" / "rows", "new\n"),
    "truncate": lambda path: files.truncate(path / "rows", 0),
    "rename": lambda path: files.rename(path / "rows", "other"),
    "remove": lambda path: files.remove(path / "rows"),
    "make": lambda path: files.make_folder(path / "made"),
    "fresh": lambda path: files.fresh_folder(path / "wandb"),
    "checkpoint": lambda path: Checkpoints(path / "checkpoints").save_checkpoint({}, path / "checkpoints" / f"{1:012}"),
    "a run inside": lambda path: Run(path / "inside"),
    "before another process": held.check,
}


def begun(path):
    run = Run(path, "a: 1")
    files.append(path / "rows", "first\n")
    files.make_folder(path / "below")
    files.append(path / "below" / "rows", "first\n")
    return run


@pytest.fixture
def other(tmp_path):
    """A folder that must not change."""
    shutil.copytree(tmp_path, tmp_path / "other")
    (tmp_path / "other" / "below").mkdir(parents=True)
    for name in ("rows", "below/rows", "config.yaml"):
        (tmp_path / "other" / name).write_text("precious")
    return tmp_path / "other"


def lost(path, happens, other, write):
    """The line of a run to which this happens before this write; nothing has changed since."""
    with pytest.raises(Lost, match=r"^out=\S+run: cannot be written any more \(\S+run.*: ") as caught:
        with begun(path / "run"):
            happens(path / "run", other)
            before = state(path)
            write(path / "run")
    assert caught.value.code == 5 and "\n" not in str(caught.value) and state(path) == before
    return str(caught.value).partition(" (")[2]


@pytest.mark.parametrize("happens", FOLDERS)
@pytest.mark.parametrize("name", WRITES)
def test_nothing_is_written_once_the_folder_or_its_lock_is_gone(tmp_path, other, name, happens):
    said = lost(tmp_path, happens, other, WRITES[name])
    what = {
        "is another folder now": (a_new_one, a_link, of_a_copy, a_file),
        "No such file or directory": (moved, removed, the_lock, every_file),
        "was replaced": (another_lock,),
    }
    assert happens in next(cases for text, cases in what.items() if text in said)


@pytest.mark.parametrize("happens", FILES)
@pytest.mark.parametrize("name", ["write", "write below", "checkpoint"])
def test_a_whole_file_is_not_written_once_any_file_is_gone(tmp_path, other, name, happens):
    lost(tmp_path, happens, other, WRITES[name])


@pytest.mark.parametrize("happens", [another_file, a_shorter_file])
@pytest.mark.parametrize("name", ["append", "truncate", "rename", "remove"])
def test_a_file_is_not_changed_that_something_else_has_changed(tmp_path, other, name, happens):
    assert "rows: was changed by something else" in lost(tmp_path, happens, other, WRITES[name])


@pytest.mark.parametrize("name", ["rows", "below/rows"])
def test_rows_are_not_begun_anew_in_the_middle(tmp_path, name):
    with pytest.raises(Lost, match=f"run/{name}: No such file or directory"), begun(tmp_path / "run"):
        (tmp_path / "run" / name).unlink()
        files.append(tmp_path / "run" / name, "more\n")
    assert not (tmp_path / "run" / name).exists()


def test_a_result_says_finished_only_if_all_is_there(tmp_path, other):
    run = Run(tmp_path / "run", "a: 1")
    run.record({"step": 1})
    (tmp_path / "run" / "metrics.jsonl").unlink()
    with pytest.raises(OSError, match=r"metrics\.jsonl"):
        run.finish({})
    assert not (tmp_path / "run" / "result.json").exists()


def test_a_continued_run_knows_what_it_has_read(tmp_path, other):
    with Run(tmp_path / "run", "a: 1") as run:
        run.record({"step": 1})
    with pytest.raises(Lost, match="metrics.jsonl: No such file"), Run(tmp_path / "run", "a: 1") as run:
        assert read_rows(run.path / "metrics.jsonl")
        (run.path / "metrics.jsonl").unlink()
        run.record({"step": 2})


def test_what_others_do_in_the_folder_does_not_matter(tmp_path):
    """Notes of the user, the runs of other processes in folders below, other times and rights of files."""
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch").mkdir()
    with Run(tmp_path / "link" / "run", "a: 1") as run:
        run.record({"step": 1})
        (run.path / "notes").write_text("one")
        files.write_text(run.path / "weights", "mine")
        (run.path / "job").mkdir()
        for text in ("child", "the child goes on"):
            (run.path / "job" / "metrics.jsonl").write_text(text)
            assert files.read_text(run.path / "job" / "metrics.jsonl") == text
            files.append(run.path / "rows", "row\n")
        os.utime(run.path / "rows", (0, 0))
        (run.path / "config.yaml").chmod(0o600)
        files.remove(run.path / "weights")
        files.write_text(run.path / "weights", "mine again")
        shutil.rmtree(run.path / "job")
        (run.path / "notes").unlink()
        (tmp_path / "scratch").rename(tmp_path / "larger")  # and the same folder is found there
        (tmp_path / "link").unlink()
        (tmp_path / "link").symlink_to(tmp_path / "larger")
        run.finish({})
    assert read_json(run.path / "status.json")["status"] == "finished"


@pytest.mark.parametrize("out", ["run", "../here/run", "./a/../run", "a/b", "."])
def test_paths_of_all_kinds(tmp_path, monkeypatch, out):
    (tmp_path / "here" / "a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    if out == ".":
        (tmp_path / "here" / "a").rmdir()
    with pytest.raises(Lost, match="was replaced|is another folder now"), Run(Path(out), "a: 1") as run:
        run.record({"step": 1})
        assert held.holder(run.path / "x" / "y")[1] == ["x"] and held.holder(run.path / "x")[0].path == run.path
        assert not held.holder(run.path) and not held.holder(run.path / ".." / "beside") and not held.holder(tmp_path)
        if out == ".":  # wherever it is moved, the process goes with it
            (tmp_path / "here").rename(tmp_path / "there")
            run.record({"step": 2})
            another_lock(Path(out), None)
        else:
            a_new_one(Path(out), None)
        run.record({"step": 3})


def test_the_innermost_run_counts(tmp_path):
    with Run(tmp_path / "run", "a: 1") as outer, Run(outer.path / "inside", "a: 1") as inner:
        assert held.holder(inner.path / "x")[0].path == inner.path
        assert held.holder(outer.path / "insides")[0].path == outer.path


def test_a_second_run_in_this_process_is_refused(tmp_path):
    with Run(tmp_path / "run", "a: 1"):
        (tmp_path / "run").rename(tmp_path / "moved")
        with pytest.raises(InputError, match="run: cannot be used as a folder"):
            Run(tmp_path / "run", "a: 1")
        (tmp_path / "moved").rename(tmp_path / "run")


def test_a_folder_is_let_go(tmp_path):
    before = len(os.listdir("/dev/fd"))
    with Run(tmp_path / "one", "a: 1"):
        assert len(os.listdir("/dev/fd")) == before + 2
    Run(tmp_path / "two", "a: 1")
    gc.collect()
    assert len(os.listdir("/dev/fd")) == before and not held.holder(tmp_path / "one" / "x")
    shutil.rmtree(tmp_path / "one")
    files.make_folder(tmp_path / "one")
    files.write_text(tmp_path / "one" / "x", "no run any more")


def test_threads_write_at_the_same_time(tmp_path):
    """One that looks while another has written, and does not know the size yet, would see a changed file."""
    with Run(tmp_path / "run", "a: 1") as run:

        def work(number):
            for _ in range(100):
                files.append(run.path / f"rows{number % 2}", "row\n")
                run.write(f"file{number}", "x" * number)

        failed = []
        threads = [threading.Thread(target=lambda n=n: failed.append(n) if work(n) else None) for n in range(4)]
        hook, threading.excepthook = threading.excepthook, lambda problem: failed.append(problem.exc_value)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        threading.excepthook = hook
    assert not failed and (run.path / "rows0").read_text() == "row\n" * 200
